/* SPDX-License-Identifier: Apache-2.0 */
/*
 *   memory   | no access | stack ... top | thread-local variables ... | thread pointer, and what the C library keeps there |
 *
 * Thread-local variables lie below the thread pointer, at the same distance in each thread. Those of ours begin as zeros. What others have there is out of
 * reach for code that calls nothing of theirs.
 */
#include "thread.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "compiler.h"
#include "own.h"
#include "sys.h"

#define THREAD_STARTING UINT32_MAX
#define STACK_BYTES (64UL << 10)
#define AROUND_BYTES (64UL << 10) /* of ours, on either side of the one that is looked at */
#define ABOVE_BYTES (2 * FL_PAGE_SIZE)

#ifdef __SANITIZE_THREAD__
#define POSSIBLE false /* its run-time has to know each thread */
#else
#define POSSIBLE true
#endif

static _Thread_local __attribute__((tls_model("initial-exec"))) char one_of_ours;

/* What stands at the thread pointer of x86-64. */
struct head {
	void *self, *unused, *also_self;
	uint64_t more[2];
	uint64_t canary; /* of the stack protector */
};

static struct head *own_head(void)
{
	struct head *h;

	__asm__("mov %%fs:0, %0" : "=r"(h));
	return h;
}

static uint64_t below_bytes(void)
{
	return page_align_up((uint64_t)((char *)own_head() - &one_of_ours) + AROUND_BYTES);
}

static uint64_t memory_bytes(void)
{
	return STACK_BYTES + below_bytes() + ABOVE_BYTES;
}

static int get_memory(struct thread *t)
{
	void *p;

	if (t->memory) { /* of the one before */
		sys_madvise(t->memory, memory_bytes(), MADV_DONTNEED);
		return 0;
	}
	p = own_reserve(memory_bytes());
	if (sys_is_err(p))
		return sys_err(p);
	sys_madvise(p, memory_bytes(), MADV_NOHUGEPAGE);
	sys_mprotect(p, FL_PAGE_SIZE, PROT_NONE); /* what outgrows the stack ends here, and not in what lies below */
	t->memory = p;
	return 0;
}

static struct head *make_head(const struct thread *t)
{
	struct head *h = (struct head *)((char *)t->memory + STACK_BYTES + below_bytes());

	*h = (struct head){.self = h, .also_self = h, .canary = own_head()->canary};
	return h;
}

/* Who traces the program from its start does not stop it (CLONE_UNTRACED): he may look at memory that this thread has to bring in. */
#define FLAGS                                                                                                                    \
	(CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM | CLONE_SETTLS | CLONE_PARENT_SETTID | \
	 CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID | CLONE_UNTRACED)

/* The new thread finds what to call on its stack, and with what. */
static long clone_thread(struct thread *t, void (*run)(void *), void *arg, struct head *head)
{
	void **top = (void **)((char *)t->memory + STACK_BYTES) - 2;
	_Atomic uint32_t *unjoined = &t->unjoined, *id = &t->tid;
	register _Atomic uint32_t *tid __asm__("r10") = id;
	register void *tls __asm__("r8") = head;
	long ret;

	top[0] = (void *)run;
	top[1] = arg;
	__asm__ volatile("syscall\n\t"
			 "test %%rax, %%rax\n\t"
			 "jnz 1f\n\t"
			 "xor %%ebp, %%ebp\n\t"
			 "pop %%rax\n\t"
			 "pop %%rdi\n\t"
			 "call *%%rax\n\t"
			 "mov %[exit], %%eax\n\t"
			 "xor %%edi, %%edi\n\t"
			 "syscall\n\t"
			 "hlt\n\t"
			 "1:"
			 : "=a"(ret)
			 : "0"(SYS_clone), "D"(FLAGS), "S"(top), "d"(unjoined), "r"(tid), "r"(tls), [exit] "i"(SYS_exit)
			 : "rcx", "r11", "memory");
	return ret;
}

bool thread_runs(const struct thread *t)
{
	return atomic_load_explicit(&t->tid, memory_order_relaxed);
}

int thread_start(struct thread *t, void (*run)(void *arg), void *arg)
{
	uint32_t none = 0;
	uint64_t old;
	long err;

	if (!POSSIBLE)
		return -ENOSYS;
	if (!atomic_compare_exchange_strong(&t->tid, &none, THREAD_STARTING))
		return 0;
	err = get_memory(t);
	if (!err) {
		old = sys_sigmask(SIG_SETMASK, ~0ULL);
		err = clone_thread(t, run, arg, make_head(t));
		sys_sigmask(SIG_SETMASK, old);
	}
	if (err < 0)
		atomic_store(&t->tid, 0);
	return err < 0 ? (int)err : 0;
}

#define LOOK_NS 100000000ull

/* Its number is free just before it leaves the list of threads, and the kernel does both with the lock that a look at what is pending takes. */
static void wait_until_uncounted(long tid)
{
	long pid = sys_call(SYS_getpid, 0, 0, 0, 0, 0, 0);
	uint64_t pending;

	while (sys_call(SYS_tgkill, pid, tid, 0, 0, 0, 0) != -ESRCH)
		sys_yield();
	sys_call(SYS_rt_sigpending, (long)&pending, sizeof pending, 0, 0, 0, 0);
}

void thread_join(struct thread *t)
{
	uint32_t tid;

	while ((tid = atomic_load(&t->tid)))
		if (tid == THREAD_STARTING)
			sys_yield();
		else
			sys_futex_wait_shared(&t->tid, tid, LOOK_NS);
	tid = atomic_exchange(&t->unjoined, 0);
	if (tid)
		wait_until_uncounted(tid);
}

void thread_fork_child(struct thread *t)
{
	atomic_store(&t->tid, 0);
	atomic_store(&t->unjoined, 0);
}
