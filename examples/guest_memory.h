/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GUEST_MEMORY_H
#define GUEST_MEMORY_H

#include "guest.h"

/* Has Unicorn's page faults served from the space. 0 or -errno. */
int memory_start(struct guest *g);

/* Takes the pages of the range away from Unicorn: before the space's mappings change there. */
void memory_drop(struct guest *g, uint64_t addr, uint64_t length);
void memory_drop_all(struct guest *g);

/* Copies for system calls. False: EFAULT. */
bool memory_read(struct guest *g, uint64_t addr, void *buf, size_t size);
bool memory_write(struct guest *g, uint64_t addr, const void *buf, size_t size);
/* A string with its 0: its length, -EFAULT, or -ENAMETOOLONG. */
long memory_string(struct guest *g, uint64_t addr, char *buf, size_t size);

#endif
