/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Alternate signal stacks. Faults of ours are served on them, if the thread has one, in many threads at once and on any page; those of a program
 * may be made for less. One that another thread has too is enough for signals that end the program; one may be smaller than the kernel's frame and
 * our handler; one may lie in shared memory that is served, where the kernel finds no page to write its frame to. A thread that sets such a stack is given one
 * of ours by the kernel, and told that it has what it has set.
 *
 * What the kernel has counts: the end of a handler takes back what was set in it.
 */
#include <errno.h>
#include <sys/auxv.h>
#include <sys/syscall.h>

#include "arguments/held.h"
#include "base/peek.h"
#include "base/real.h"
#include "memory/memory.h"
#include "memory/stacks.h"
#include "util/lock.h"
#include "util/own.h"
#include "util/sys.h"

#define HANDLER 4500UL /* 3,640 bytes were seen, beside the kernel's frame */
#define SIGSTKSZ_OF_OLD 8192UL
#define OWN_MIN (64UL << 10)
#define ENTRIES 4096

/* Stacks that threads have set and use. */
static struct entry {
	int tid;
	uintptr_t start, end;
} entries[ENTRIES];
static uint32_t nr_entries;
static struct mutex lock = MUTEX_INIT(RANK_LEAF);

static _Thread_local struct {
	void *at; /* NULL: no stack of ours */
	size_t size;
	stack_t programs; /* in whose place it is */
} own __attribute__((tls_model("initial-exec")));

/* ---- Who has which ---- */

static bool has_ended(int tid)
{
	return sys_call(SYS_tkill, tid, 0, 0, 0, 0, 0) == -ESRCH;
}

/* Takes the thread's entry, and those of threads that have ended where they overlap, off the list; whether any is left that overlaps. */
static bool find_others(int tid, uintptr_t start, uintptr_t end)
{
	bool shared = false;

	for (uint32_t i = 0; i < nr_entries;) {
		struct entry *e = &entries[i];
		bool overlaps = e->start < end && start < e->end;

		if (e->tid == tid || (overlaps && has_ended(e->tid))) {
			*e = entries[--nr_entries];
			continue;
		}
		shared |= overlaps;
		i++;
	}
	return shared;
}

static void sweep(void)
{
	for (uint32_t i = 0; i < nr_entries;)
		if (has_ended(entries[i].tid))
			entries[i] = entries[--nr_entries];
		else
			i++;
}

/* SIGSTKSZ is, where the processor's registers have not outgrown it. */
static size_t enough(void)
{
	return max_u64(SIGSTKSZ_OF_OLD, getauxval(AT_MINSIGSTKSZ) + HANDLER);
}

/* Whether the thread can use it; it is known to, then. */
static bool claim(const stack_t *s)
{
	uintptr_t start = (uintptr_t)s->ss_sp;
	struct sigguard g = sigguard_enter();
	bool can = s->ss_size >= enough() && !is_mapped_by_us(s->ss_sp, s->ss_size);
	int tid = sys_gettid();

	mutex_lock(&lock);
	if (nr_entries == ENTRIES)
		sweep();
	can = !find_others(tid, start, start + s->ss_size) && nr_entries < ENTRIES && can;
	if (can)
		entries[nr_entries++] = (struct entry){.tid = tid, .start = start, .end = start + s->ss_size};
	mutex_unlock(&lock);
	sigguard_leave(g);
	return can;
}

/* Signals are blocked. */
static void give_up_claim(void)
{
	mutex_lock(&lock);
	find_others(sys_gettid(), 0, 0);
	mutex_unlock(&lock);
}

static pthread_mutex_t moving = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP; /* a signal handler may come in between */

/* The thread that has forked is alone. */
static void fork_child(void)
{
	stack_t now;

	moving = (pthread_mutex_t)PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;
	mutex_init(&lock, RANK_LEAF);
	nr_entries = 0;
	if (!sys_call(SYS_sigaltstack, 0, (long)&now, 0, 0, 0, 0) && !(now.ss_flags & SS_DISABLE) && now.ss_sp != own.at)
		claim(&now);
}

/* ---- Stacks of ours ---- */

static pthread_key_t ends;
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* At the end of the thread, on its own stack. */
static void free_own(void *at)
{
	static const stack_t none = {.ss_flags = SS_DISABLE};

	(void)at;
	if (!sys_call(SYS_sigaltstack, (long)&none, 0, 0, 0, 0, 0))
		sys_munmap(own.at, own.size);
	own.at = NULL;
}

static void prepare(void)
{
	pthread_key_create(&ends, free_own);
	pthread_atfork(NULL, NULL, fork_child);
}

static bool have_own(size_t size)
{
	void *at;

	size = page_align_up(max_u64(size, OWN_MIN));
	if (own.at && own.size >= size)
		return true;
	at = own_map(size, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1);
	if (sys_is_err(at))
		return false;
	own.at = at; /* a smaller one from before stays: the end of a handler may bring it back */
	own.size = size;
	pthread_setspecific(ends, at);
	return true;
}

/* The kernel has taken the program's, and would do with it. Without memory for another, so do we. Signals are blocked. */
static void replace(const stack_t *programs)
{
	stack_t s = {.ss_flags = programs->ss_flags};

	if (have_own(programs->ss_size)) {
		s.ss_sp = own.at;
		s.ss_size = own.size;
		own.programs = *programs;
		sys_call(SYS_sigaltstack, (long)&s, 0, 0, 0, 0, 0);
	}
}

/* ---- The call ---- */

static int set_or_ask(const stack_t *s, stack_t *old)
{
	struct sigguard g = sigguard_enter();
	stack_t programs = own.programs, wanted;
	const void *at = own.at;
	bool sets = s && peek(&wanted, s, sizeof wanted);
	int result = REAL(sigaltstack)(s, old), saved = errno;

	if (!result && old && at && old->ss_sp == at) {
		old->ss_sp = programs.ss_sp;
		old->ss_size = programs.ss_size;
	}
	if (!result && sets && (wanted.ss_flags & SS_DISABLE))
		give_up_claim();
	else if (!result && sets && !claim(&wanted))
		replace(&wanted);
	sigguard_leave(g);
	errno = saved;
	return result;
}

WRAPPER int sigaltstack(const stack_t *s, stack_t *old)
{
	int saved = errno;
	stack_t stack;

	pthread_once(&once, prepare);
	if (s && peek(&stack, s, sizeof stack) && !(stack.ss_flags & SS_DISABLE)) {
		pthread_mutex_lock(&moving); /* not while another thread uses it already */
		stack_to_kernel(stack.ss_sp, stack.ss_size);
		pthread_mutex_unlock(&moving);
	}
	errno = saved;
	RETURN_HELD(set_or_ask(s, old), READS(s, sizeof *s), FILLS(old, sizeof *old));
}
