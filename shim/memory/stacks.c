/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stacks in anonymous memory of ours: the kernel puts signal frames there, also that of a fault, and cannot bring a page in; and who makes room must not do that on
 * a page which may have to leave. Memory that is told to be a stack becomes plain memory of the kernel's, with what it holds.
 */
#include "stacks.h"

#include <errno.h>
#include <sys/mman.h>
#include <ucontext.h>

#include "api/engine.h"
#include "base/mapped.h"
#include "base/real.h"
#include "futexes.h"
#include "memory.h"
#include "util/own.h"
#include "util/sys.h"

#define STACK_MAX (8UL << 20) /* threads have no larger one, mostly */

/* ---- Parts of it. Shared memory, and a file's, must stay what it is. ---- */

struct part {
	uint64_t start, end;
};

/* Where the first of ours is from `at` on. */
static bool find_part(uint64_t at, struct part *p)
{
	struct mm *mm = engine_space();
	struct sigguard g = sigguard_enter();
	const struct vma *v;

	mutex_lock(&mm->mmap_lock);
	v = vma_find(&mm->index, at);
	if (v)
		*p = (struct part){v->start, v->end};
	mutex_unlock(&mm->mmap_lock);
	sigguard_leave(g);
	return v;
}

/* Other threads may use what shares a page with the stack, and wait meanwhile. This one must not be running there. */
static void part_to_kernel(const struct part *p)
{
	uint64_t len = p->end - p->start, here = (uintptr_t)__builtin_frame_address(0), addr;
	struct mmap_request rq = {.addr = p->start, .len = len, .foreign = true, .keeps = true};
	struct sigguard g;
	void *copy;
	int err;

	if (here >= p->start && here < p->end)
		return;
	copy = own_map(len, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1);
	if (sys_is_err(copy))
		return;
	futexes_unmapped((void *)p->start, len);
	rq.from = (uintptr_t)copy;
	g = sigguard_enter();
	err = mm_mmap(engine_space(), &rq, &addr);
	sigguard_leave(g);
	if (err)
		sys_munmap(copy, len);
}

static void range_to_kernel(uint64_t start, uint64_t end)
{
	struct part p;

	for (uint64_t at = start; at < end && find_part(at, &p) && p.start < end; at = p.end) {
		p = (struct part){max_u64(p.start, start), min_u64(p.end, end)};
		part_to_kernel(&p);
	}
}

/* In whole pages; what shares a page with the stack goes along. */
void stack_to_kernel(void *stack, size_t size)
{
	uint64_t start = page_align_down((uintptr_t)stack), end = page_align_up((uintptr_t)stack + size);

	if (!NOTHING_MAPPED && stack && start < end && is_mapped_by_us((void *)start, end - start))
		range_to_kernel(start, end);
}

/* Of the part, as far below `end` as a stack may go; less may lie below it than that. */
static uint64_t lowest(const struct part *p, uint64_t end)
{
	return end - min_u64(STACK_MAX, end - p->start);
}

void stack_below_to_kernel(void *top)
{
	uint64_t last = (uintptr_t)top - 1, end = page_align_up((uintptr_t)top);
	struct part p;

	if (!NOTHING_MAPPED && top && is_mapped_by_us((void *)last, 1) && find_part(last, &p) && p.start <= last)
		range_to_kernel(lowest(&p, end), end);
}

/*
 * ---- Where nobody tells, as of coroutines of the program's own making ----
 *
 * With inline faults such a stack cannot be for long. With faults by threads it can, until a call runs on it that makes room, and waits for a page of it that it
 * is about to take out of memory. So before a call does anything it is seen where it runs.
 */

#define ABOVE (64UL << 10) /* what called the call */
#define ROOM (64UL << 10)

_Atomic bool stacks_are_watched;
/* About there a stack had to stay what it is. */
static _Thread_local uintptr_t hopeless __attribute__((tls_model("initial-exec")));

void stacks_watch(void)
{
	if (!engine_space()->inline_faults)
		atomic_store(&stacks_are_watched, true);
}

/* On another stack. */
static void around_to_kernel(void *here)
{
	uint64_t sp = (uintptr_t)here, end = page_align_up(sp);
	struct part p;

	if (find_part(sp, &p) && p.start <= sp)
		range_to_kernel(lowest(&p, end), min_u64(p.end, end + ABOVE));
}

__attribute__((naked, noinline)) static void call_on(__attribute__((unused)) void *top, __attribute__((unused)) void (*fn)(void *arg),
						     __attribute__((unused)) void *arg)
{
	__asm__("push %rbp\n\t"
		"mov %rsp, %rbp\n\t"
		"mov %rdi, %rsp\n\t"
		"mov %rdx, %rdi\n\t"
		"call *%rsi\n\t"
		"mov %rbp, %rsp\n\t"
		"pop %rbp\n\t"
		"ret");
}

/* No handler runs there. */
static void leave_stack(void *here)
{
	char *room = own_map(ROOM, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1);
	uint64_t mask;

	if (sys_is_err(room))
		return;
	mask = sys_sigmask(SIG_SETMASK, ~0ULL);
	call_on(room + ROOM, around_to_kernel, here);
	sys_sigmask(SIG_SETMASK, mask);
	sys_munmap(room, ROOM);
}

void stacks_look(void)
{
	uintptr_t here = (uintptr_t)__builtin_frame_address(0);

	if (likely(!engine_space() || !mm_overlaps(engine_space(), here, 1)) || hopeless - here + ABOVE < 2 * ABOVE)
		return;
	leave_stack((void *)here);
	if (mm_overlaps(engine_space(), here, 1))
		hopeless = here;
}

/* ---- Who tells ---- */

/* Stacks of threads, which need no alternate one then. */
WRAPPER int pthread_attr_setstack(pthread_attr_t *attr, void *stack, size_t size)
{
	int saved = errno;

	stack_to_kernel(stack, size);
	errno = saved;
	return REAL(pthread_attr_setstack)(attr, stack, size);
}

/* Stacks of contexts. Arguments that are on the stack stay where they are. */
__attribute__((used)) static void *before_context(const ucontext_t *c)
{
	int saved = errno;

	stack_to_kernel(c->uc_stack.ss_sp, c->uc_stack.ss_size);
	errno = saved;
	return (void *)(uintptr_t)REAL(makecontext);
}

WRAPPER __attribute__((naked)) void makecontext(__attribute__((unused)) ucontext_t *c, __attribute__((unused)) void (*fn)(void),
						__attribute__((unused)) int n, ...)
{
	__asm__("push %rdi\n\t"
		"push %rsi\n\t"
		"push %rdx\n\t"
		"push %rcx\n\t"
		"push %r8\n\t"
		"push %r9\n\t"
		"sub $8, %rsp\n\t"
		"call before_context\n\t"
		"add $8, %rsp\n\t"
		"pop %r9\n\t"
		"pop %r8\n\t"
		"pop %rcx\n\t"
		"pop %rdx\n\t"
		"pop %rsi\n\t"
		"pop %rdi\n\t"
		"mov %rax, %r11\n\t"
		"xor %eax, %eax\n\t" /* no vector registers */
		"jmp *%r11");
}
