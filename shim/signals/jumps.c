/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Jumps by which a signal handler may leave a call of libc's in the middle: what our wrapper holds for that call is given up before. Where a jump goes to is in
 * libc's jmp_buf, the stack pointer as the seventh word, mangled with a word at the thread pointer; whether that is so is seen at the start.
 */
#include <stdint.h>

#include "api/file_io.h"
#include "base/real.h"

#define STACK_POINTER 6

static bool are_known; /* where the stack pointer is, and how */

static uintptr_t target_of(const struct __jmp_buf_tag *env)
{
	uintptr_t p = (uintptr_t)env->__jmpbuf[STACK_POINTER];

	__asm__("ror $17, %0\n\txor %%fs:0x30, %0" : "+r"(p));
	return p;
}

__attribute__((constructor)) static void at_start(void)
{
	uintptr_t here;
	jmp_buf env;

	if (_setjmp(env))
		return;
	__asm__("mov %%rsp, %0" : "=r"(here));
	are_known = target_of(env) == here;
}

static void leave(const struct __jmp_buf_tag *env)
{
	if (likely(are_known))
		file_io_jump(target_of(env), STACK_FOR_GOOD);
}

WRAPPER void longjmp(jmp_buf env, int value)
{
	leave(env);
	REAL(longjmp)(env, value);
}

WRAPPER void _longjmp(jmp_buf env, int value)
{
	leave(env);
	REAL(_longjmp)(env, value);
}

WRAPPER void siglongjmp(sigjmp_buf env, int value)
{
	leave(env);
	REAL(siglongjmp)(env, value);
}

/* As _FORTIFY_SOURCE has all three. */
WRAPPER void __longjmp_chk(struct __jmp_buf_tag *env, int value)
{
	leave(env);
	REAL(__longjmp_chk)(env, value);
}

/* ---- Contexts ---- */

static uintptr_t target_of_context(const ucontext_t *c)
{
	return (uintptr_t)c->uc_mcontext.gregs[REG_RSP];
}

WRAPPER int setcontext(const ucontext_t *to)
{
	file_io_jump(target_of_context(to), STACK_FOR_GOOD);
	return REAL(setcontext)(to);
}

/* Which function does it. */
__attribute__((used)) static __typeof__(&swapcontext) before_swap(const ucontext_t *from, const ucontext_t *to)
{
	(void)from;
	file_io_jump(target_of_context(to), STACK_MAY_COME_BACK);
	return REAL(swapcontext);
}

/* The context is the caller's, who may come back by it more than once. */
WRAPPER __attribute__((naked)) int swapcontext(__attribute__((unused)) ucontext_t *from, __attribute__((unused)) const ucontext_t *to)
{
	__asm__("push %rdi\n\t"
		"push %rsi\n\t"
		"sub $8, %rsp\n\t"
		"call before_swap\n\t"
		"add $8, %rsp\n\t"
		"pop %rsi\n\t"
		"pop %rdi\n\t"
		"jmp *%rax");
}
