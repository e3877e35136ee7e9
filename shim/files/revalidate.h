/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Other processes may change a file that we have mapped. Programs that share files guard that with locks, so a lock that
 * was just taken is the moment to look: pages read before another process wrote are dropped, and come back from the file.
 */
#ifndef FL_SHIM_REVALIDATE_H
#define FL_SHIM_REVALIDATE_H

#include <stdbool.h>

#include "cache/address_space.h"

/* What the file looks like now is what our pages were read from. */
void revalidate_remember(int fd);
/* Drops clean pages when the file is not as remembered; dirty ones are written first. */
void revalidate(struct address_space *as);
/* The file behind fd, when it is mapped: for a lock taken, and for one about to be given up. */
void revalidate_locked(int fd);
void revalidate_unlocking(int fd);
/* Whether mappings of the file were given to the kernel (a fork does that). */
bool revalidate_handed(struct address_space *as);
void revalidate_forked(void);

#endif
