/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two addresses are on one stack where both are on the thread's own, or on its alternate one. Of the thread's own stack the upper end is known: libc has the thread
 * pointer there, and the first thread what the kernel has given the program. Below it is memory that nobody can read.
 */
#include "stack.h"

#include <signal.h>
#include <sys/auxv.h>
#include <sys/syscall.h>

#include "compiler.h"
#include "sys.h"

static uintptr_t first_thread, first_top; /* its thread pointer, and the upper end of its stack */

static uintptr_t thread_pointer(void)
{
	uintptr_t p;

	__asm__("mov %%fs:0, %0" : "=r"(p));
	return p;
}

__attribute__((constructor)) static void at_start(void)
{
	first_top = (uintptr_t)getauxval(AT_RANDOM);
	if (sys_gettid() == sys_call(SYS_getpid, 0, 0, 0, 0, 0, 0))
		first_thread = thread_pointer();
}

static uintptr_t top_of_own(void)
{
	uintptr_t p = thread_pointer();

	return p == first_thread || !first_thread ? first_top : p;
}

#define PAGES 64

/* A byte of each page. */
static bool is_readable(uintptr_t start, uintptr_t end)
{
	char bytes[PAGES];
	struct iovec to = {bytes, 0}, from[PAGES];

	for (uintptr_t at = page_align_down(start); at < end;) {
		for (to.iov_len = 0; to.iov_len < PAGES && at < end; at += FL_PAGE_SIZE)
			from[to.iov_len++] = (struct iovec){(void *)at, 1};
		if (sys_call(SYS_process_vm_readv, sys_gettid(), (long)&to, 1, (long)from, (long)to.iov_len, 0) != (long)to.iov_len)
			return false;
	}
	return true;
}

static bool is_left_on_alternate(uintptr_t frame, uintptr_t sp)
{
	stack_t alt;

	if (sys_call(SYS_sigaltstack, 0, (long)&alt, 0, 0, 0, 0) || (alt.ss_flags & SS_DISABLE))
		return false;
	return frame - (uintptr_t)alt.ss_sp < alt.ss_size && (frame < sp || sp - (uintptr_t)alt.ss_sp >= alt.ss_size);
}

bool stack_is_left(uintptr_t frame, uintptr_t sp, enum stack_move move)
{
	if (frame < sp && sp < top_of_own() && is_readable(frame, top_of_own()))
		return true;
	return move == STACK_FOR_GOOD && is_left_on_alternate(frame, sp);
}
