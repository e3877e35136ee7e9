/* SPDX-License-Identifier: Apache-2.0 */
/* The kinds of page frames (struct frame_ops), see address_space.h. */
#ifndef FL_CACHE_FRAMES_H
#define FL_CACHE_FRAMES_H

#include "address_space.h"

extern const char frame_zeros[]; /* of a page */

extern const struct frame_ops shmem_frames;
extern const struct frame_ops pool_frames;
extern const struct frame_ops anon_frames;
extern const struct frame_ops hosted_frames;

/* Whether pages can be copied out of mappings here: a sandbox may forbid it. */
bool pool_frames_work(void);
/* A memfd that holds the frames of a file of any length; -errno. */
int shmem_frames_create(const char *name);
/* The mmu of all mappings hides pages (struct mmu): they are before their memory goes. Before the first file. */
void frames_hide_first(bool yes);
/* Nothing of it can be accessed, or all: who maps it meanwhile faults. */
void shmem_frames_hide(int memfd);
void shmem_frames_show(int memfd);
/*
 * Nobody stores to it any more, ever: -EBUSY while there is a shared mapping of it, or the kernel has hold of a page, as a device does that is to store
 * there. Takes a sixth of a second to say that.
 */
int shmem_frames_seal(int memfd);
/* The bitmap of a new anon object of as->anon_pages pages. */
int anon_swap_init(struct address_space *as);
void anon_swap_exit(struct address_space *as);
/* Pages of the budget that the bitmap holds. */
uint64_t anon_swap_pages(struct address_space *as);
/* In a child of fork, before it has an mmu of its own: the page's memory goes from where it is mapped. */
void anon_fork_zap(struct address_space *as, uint64_t index);

#endif
