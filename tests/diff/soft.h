/* SPDX-License-Identifier: Apache-2.0 */
/* The soft spaces of a list: one for each of its processes. */
#ifndef DIFF_SOFT_H
#define DIFF_SOFT_H

#include <stdint.h>

#include "op.h"

/* A space for process 0. 0, or -1 with errno, as all of these. */
int guest_create(const struct soft_kind *k);
int guest_fork(int parent, int child);
int guest_destroy(int process);
/* The calls of soft_backend are this process's from now on. */
void guest_enter(int process);
/* Not 0: the engine still has something of a list. */
uint64_t guest_remains(void);
/* A descriptor to read FL_DUMP_PAGES from. */
int guest_open_pages(void);

#endif
