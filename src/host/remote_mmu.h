/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The MMU of a client: a userfaultfd of its own, which it has passed. What is asked of it acts on the client's memory. Pages can be mapped there
 * and protected; they leave by a hole in the frames' memfd, which takes them out of every mapping.
 */
#ifndef FL_HOST_REMOTE_MMU_H
#define FL_HOST_REMOTE_MMU_H

#include "mmu/uffd.h"

/* Addresses that a client may name: what the kernel answers for others than these tells nothing. */
#define REMOTE_ADDRESS_MIN MMU_ADDRESS_MIN
#define REMOTE_ADDRESS_END ((1UL << 47) - FL_PAGE_SIZE)

/*
 * `fd` becomes its own. -EINVAL when it is no userfaultfd, or has not been set up; -ENOSYS when the kernel cannot map write-protected;
 * -ESRCH when its process has died. fd is left alone then.
 */
int remote_mmu_open(struct uffd_mmu *u, int fd);
void remote_mmu_close(struct uffd_mmu *u);
/* Whether the memory is still there: somebody may store to it. */
bool remote_mmu_lives(const struct uffd_mmu *u);

#endif
