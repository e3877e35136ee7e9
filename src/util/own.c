/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Programs lie at the lower and the upper end of the address space: code and heap below 1 TiB, or from 0x55... on, mappings and stacks from 0x7f...
 * downwards; runtimes that choose addresses of their own do so below 32 TiB. Here is 42 TiB, a little different in each process.
 */
#include "own.h"

#include <stdatomic.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "compiler.h"
#include "sys.h"

#ifdef __SANITIZE_THREAD__
#define APART 0 /* it knows of no memory there */
#else
#define APART (42UL << 40)
#endif
#define SPAN (16UL << 40)
#define SPREAD (1UL << 40)

static uint64_t choose_start(void)
{
	uint64_t random = 0;

	sys_call(SYS_getrandom, (long)&random, sizeof random, 0, 0, 0, 0);
	return page_align_down(random % SPREAD) + FL_PAGE_SIZE;
}

/* One place after the other; from the start again when all of the span has been used once. */
void *own_place(size_t len)
{
	static _Atomic uint64_t next;
	uint64_t at = atomic_load(&next), from;

	if (!APART)
		return NULL;
	do
		from = at && at + len < SPAN ? at : choose_start();
	while (!atomic_compare_exchange_weak(&next, &at, from + page_align_up(len)));
	return (void *)(APART + from);
}

/* A program's core dump would have a GiB of zeros for tables, and what is in memory files. */
static void *keep_from_dumps(void *p, size_t len)
{
	if (!sys_is_err(p))
		sys_madvise(p, len, MADV_DONTDUMP);
	return p;
}

void *own_map(size_t len, int flags, int fd)
{
	void *p = sys_mmap(own_place(len), len, PROT_READ | PROT_WRITE, flags, fd, 0);

	return fd < 0 ? p : keep_from_dumps(p, len);
}

void *own_reserve(size_t len)
{
	return keep_from_dumps(own_map(len, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1), len);
}
