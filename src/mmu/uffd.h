/* SPDX-License-Identifier: Apache-2.0 */
/* The native MMU: userfaultfd(2). Faults are served inline (uffd_inline.c) or by threads (uffd_thread.c). */
#ifndef FL_MMU_UFFD_H
#define FL_MMU_UFFD_H

#include "mmu.h"

struct uffd_mmu {
	struct mmu mmu;
	int fd;
	bool user_mode_only;
	bool poison; /* UFFDIO_POISON (Linux 6.6) */
	struct uffd_threads *pool;
};

/*
 * Opens a userfaultfd with what the native family needs. `kernel_faults`: faults of system calls are to be served
 * too, which takes privilege. -ENOSYS: no userfaultfd, or a feature is missing; -EPERM: refused.
 */
int uffd_open(bool kernel_faults, bool sigbus, bool *user_mode_only);
/* The same, of kernel faults, where the thread has the privilege without using it: seteuid(2). For who is alone in the process. */
int uffd_open_with_privilege(bool *user_mode_only);
/* Accesses to the page fail from now on, until it is filled. 0, -EEXIST when it is there, or -errno. */
int uffd_poison(struct mmu *m, uint64_t addr);
/* Whether the kernel has UFFDIO_POISON. */
bool uffd_can_poison(void);

/* A context that serves faults in the thread that faults. Installs the SIGBUS handler on first use. */
int uffd_inline_create(struct mmu **out);
/* In a forked child, that cannot have threads or may not have what they need: one that is served inline from now on. */
int uffd_go_inline(struct uffd_mmu *u);
/* A context with threads of its own. */
int uffd_thread_create(struct mmu **out);
/*
 * The threads of all such contexts act as what the process was when they were made. They are replaced by others, made by the caller: after a change of
 * user. And they are away from uffd_threads_pause() to uffd_threads_renew(): around what wants a process with one thread. Faults wait meanwhile. The
 * caller holds the lock of spaces, and no other.
 */
void uffd_threads_pause(void);
void uffd_threads_renew(void);

void mmu_set_fault_handler(mmu_fault_fn fn);
mmu_fault_fn mmu_fault_handler(void);

/* Shared by both kinds. */
int uffd_attach(struct mmu *m, uint64_t addr, uint64_t len, unsigned flags);
int uffd_copy(struct mmu *m, uint64_t addr, const void *src, uint64_t len, unsigned flags, uint64_t *done);
int uffd_map(struct mmu *m, uint64_t addr, uint64_t len, unsigned flags);
int uffd_protect(struct mmu *m, uint64_t addr, uint64_t len);
int uffd_unprotect(struct mmu *m, uint64_t addr, uint64_t len);
int uffd_break_cow(struct mmu *m, uint64_t addr);
int uffd_move(struct mmu *m, uint64_t to, uint64_t from, uint64_t len, uint64_t *moved);
int uffd_zap(struct mmu *m, uint64_t addr, uint64_t len);
void uffd_zap_many(struct mmu *m, const struct mmu_range *ranges, uint32_t n);
int uffd_descriptor(struct mmu *m);
void uffd_wake(struct mmu *m, uint64_t addr, uint64_t len);

#endif
