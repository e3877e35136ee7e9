/* SPDX-License-Identifier: Apache-2.0 */
/* userfaultfd with UFFD_FEATURE_SIGBUS: the thread that faults takes SIGBUS and serves the fault in its handler. */
#include <errno.h>

#include "fault_signal.h"
#include "uffd.h"
#include "uffd_abi.h"
#include "util/compiler.h"
#include "util/fd.h"
#include "util/sys.h"

#define CONTEXTS 16

static struct uffd_mmu contexts[CONTEXTS]; /* in use when fd > 0; changed under the lock of spaces */

static void inline_wake(struct mmu *m, uint64_t addr, uint64_t len)
{
	(void)m, (void)addr, (void)len; /* the handler's return is the wake-up */
}

static void inline_destroy(struct mmu *m)
{
	struct uffd_mmu *u = container_of(m, struct uffd_mmu, mmu);

	fd_close(u->fd);
	u->fd = 0;
}

/* The parent's userfaultfd acts on the parent's memory: the child needs its own. */
static int inline_fork_child(struct mmu *m)
{
	struct uffd_mmu *u = container_of(m, struct uffd_mmu, mmu);
	int fd;

	fd_close(u->fd);
	fd = uffd_open(false, true, &u->user_mode_only);
	u->fd = fd < 0 ? 0 : fd;
	return fd < 0 ? fd : 0;
}

static const struct mmu_ops inline_ops = {
	.name = "userfaultfd, inline",
	.attach = uffd_attach,
	.copy = uffd_copy,
	.map = uffd_map,
	.protect = uffd_protect,
	.unprotect = uffd_unprotect,
	.break_cow = uffd_break_cow,
	.move = uffd_move,
	.zap = uffd_zap,
	.zap_many = uffd_zap_many,
	.wake = inline_wake,
	.descriptor = uffd_descriptor,
	.destroy = inline_destroy,
	.fork_child = inline_fork_child,
};

int uffd_go_inline(struct uffd_mmu *u)
{
	int fd = uffd_open(false, true, &u->user_mode_only);

	if (fd < 0)
		return fd;
	u->fd = fd;
	u->mmu.ops = &inline_ops;
	u->mmu.by_threads = u->poison = false;
	return 0;
}

int uffd_inline_create(struct mmu **out)
{
	struct uffd_mmu *u = NULL;
	int fd;

	for (int i = 0; i < CONTEXTS && !u; i++)
		if (contexts[i].fd == 0)
			u = &contexts[i];
	if (!u)
		return -ENOMEM;
	fd = uffd_open(false, true, &u->user_mode_only);
	if (fd < 0)
		return fd;
	*u = (struct uffd_mmu){.mmu = {.ops = &inline_ops, .map_can_wp = true}, .fd = fd, .user_mode_only = true};
	*out = &u->mmu;
	return fault_signal_install(SIGBUS);
}
