/* SPDX-License-Identifier: Apache-2.0 */
/*
 * process_vm_readv(2) and process_vm_writev(2). So programs look at memory of their own that may not be there, and move bytes from and to that of
 * others. What is ours is pinned for it, a page at a time, up to the first that cannot be had, as in the kernel. Of other processes the kernel sees what is
 * in memory.
 */
#include <errno.h>
#include <limits.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "api/engine.h"
#include "arguments/held.h"
#include "arguments/iov.h"
#include "base/mapped.h"
#include "base/peek.h"
#include "base/real.h"
#include "util/sys.h"

struct vm_copy {
	long nr;
	pid_t pid;
	const struct iovec *local, *remote;
	size_t nlocal, nremote;
};

static long call(const struct vm_copy *c, unsigned long flags)
{
	return sys_call(c->nr, c->pid, (long)c->local, (long)c->nlocal, (long)c->remote, (long)c->nremote, (long)flags);
}

/* Where the next byte is: `done` bytes into the first of `n` buffers. */
struct cursor {
	const struct iovec *v;
	size_t n, done;
};

/* The piece of a page that is next; empty at the end. */
static struct iovec piece(struct cursor *c)
{
	struct iovec p = {0};

	while (c->n && c->done == c->v->iov_len) {
		c->v++;
		c->n--;
		c->done = 0;
	}
	if (c->n) {
		p.iov_base = (char *)c->v->iov_base + c->done;
		p.iov_len = min_u64(c->v->iov_len - c->done, FL_PAGE_SIZE - ((uintptr_t)p.iov_base & FL_PAGE_MASK));
	}
	return p;
}

/* With faults by SIGSEGV a page that is in memory can be read by whoever asks for it, also where the program may only write. */
static bool is_unreadable(const void *remote)
{
	int prot = mm_protection_at((uintptr_t)remote);

	return prot >= 0 && !(prot & PROT_READ);
}

static bool is_self(pid_t pid)
{
	return pid == sys_call(SYS_getpid, 0, 0, 0, 0, 0, 0) || pid == sys_call(SYS_gettid, 0, 0, 0, 0, 0, 0);
}

/* An address in another process says nothing of what is there in this one. */
static long copy_piece(const struct vm_copy *whole, struct iovec *local, struct iovec *remote)
{
	struct vm_copy c = {whole->nr, whole->pid, local, remote, 1, 1};
	bool reads = c.nr == SYS_process_vm_readv, self = is_self(c.pid);
	struct held h[] = {{local->iov_base, local->iov_len, reads}, {self ? remote->iov_base : NULL, remote->iov_len, !reads}};
	long n;

	if (self && reads && is_unreadable(remote->iov_base))
		return -EFAULT;
	hold(h, 2);
	n = call(&c, 0);
	release(h, 2);
	return n;
}

static long copy_pieces(const struct vm_copy *c)
{
	struct cursor local = {c->local, c->nlocal, 0}, remote = {c->remote, c->nremote, 0};
	long done = 0;

	for (;;) {
		struct iovec l = piece(&local), r = piece(&remote);
		long n;

		l.iov_len = r.iov_len = min_u64(l.iov_len, r.iov_len);
		if (!l.iov_len)
			return done;
		n = copy_piece(c, &l, &r);
		if (n <= 0)
			return done ? done : n;
		done += n;
		local.done += (size_t)n;
		remote.done += (size_t)n;
		if ((size_t)n < l.iov_len)
			return done;
	}
}

static bool can_read_vector(const struct iovec *v, size_t n)
{
	return n <= IOV_MAX && can_peek(v, n * sizeof *v);
}

/* What makes no sense is the kernel's to refuse. */
static bool is_ours_to_copy(const struct vm_copy *c, unsigned long flags)
{
	if (flags || !can_read_vector(c->local, c->nlocal) || !can_read_vector(c->remote, c->nremote))
		return false;
	return iov_is_ours(c->local, (int)c->nlocal) || (is_self(c->pid) && iov_is_ours(c->remote, (int)c->nremote));
}

static ssize_t copy(const struct vm_copy *c, unsigned long flags)
{
	return shim_result(!NOTHING_MAPPED && is_ours_to_copy(c, flags) ? copy_pieces(c) : call(c, flags));
}

static size_t bytes(size_t n)
{
	return n <= IOV_MAX ? n * sizeof(struct iovec) : 0;
}

WRAPPER ssize_t process_vm_readv(pid_t pid, const struct iovec *local, size_t nlocal, const struct iovec *remote, size_t nremote,
				 unsigned long flags)
{
	struct vm_copy c = {SYS_process_vm_readv, pid, local, remote, nlocal, nremote};

	RETURN_HELD(copy(&c, flags), READS(local, bytes(nlocal)), READS(remote, bytes(nremote)));
}

WRAPPER ssize_t process_vm_writev(pid_t pid, const struct iovec *local, size_t nlocal, const struct iovec *remote, size_t nremote,
				  unsigned long flags)
{
	struct vm_copy c = {SYS_process_vm_writev, pid, local, remote, nlocal, nremote};

	RETURN_HELD(copy(&c, flags), READS(local, bytes(nlocal)), READS(remote, bytes(nremote)));
}
