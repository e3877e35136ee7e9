/* SPDX-License-Identifier: Apache-2.0 */
/* mmap(2), ERRORS: SIGSEGV and SIGBUS, with what siginfo_t tells, and what handlers may do. */
#include "conformance.h"

#include <pthread.h>
#include <sys/time.h>

/* "SIGSEGV: Attempted write into a region mapped as read-only"; POSIX: SEGV_ACCERR, the address of the access. */
CONFORMS(what_may_not_be_accessed)
{
	map_layout(w, "rnqs");
	for (size_t at = 0; at < PAGE; at += 1365) {
		assert_caught(try_write(ARENA + at, 1), SIGSEGV, SEGV_ACCERR, ARENA + at);
		assert_caught(try_read(ARENA + PAGE + at), SIGSEGV, SEGV_ACCERR, ARENA + PAGE + at);
		assert_caught(try_write(ARENA + PAGE + at, 1), SIGSEGV, SEGV_ACCERR, ARENA + PAGE + at);
		assert_caught(try_write(ARENA + 2 * PAGE + at, 1), SIGSEGV, SEGV_ACCERR, ARENA + 2 * PAGE + at);
	}
	assert_int_equal(ARENA[0], mark(0));
	assert_int_equal(ARENA[2 * PAGE], mark(2));
}

CONFORMS(what_is_not_mapped)
{
	map_layout(w, "s.s");
	assert_caught(try_read(ARENA + PAGE + 9), SIGSEGV, SEGV_MAPERR, ARENA + PAGE + 9);
	assert_caught(try_write(ARENA + PAGE + 9, 1), SIGSEGV, SEGV_MAPERR, ARENA + PAGE + 9);
	assert_caught(try_write(ARENA - 1, 1), SIGSEGV, SEGV_MAPERR, ARENA - 1);
	assert_caught(try_write(ARENA + 3 * PAGE, 1), SIGSEGV, SEGV_MAPERR, ARENA + 3 * PAGE);
}

/* "SIGBUS: ... beyond the end of the mapped file"; BUS_ADRERR, the address of the access. Again each time. */
CONFORMS(what_is_beyond_the_end_of_the_file)
{
	assert_ok(w->c->ftruncate(w->fd, PAGE));
	map_layout(w, "sspp");
	for (int i = 0; i < 3; i++)
		for (size_t at = PAGE; at < 4 * PAGE; at += 1111) {
			assert_caught(try_read(ARENA + at), SIGBUS, BUS_ADRERR, ARENA + at);
			assert_caught(try_write(ARENA + at, 1), SIGBUS, BUS_ADRERR, ARENA + at);
		}
}

/* Protection is looked at before the end of the file. */
CONFORMS(protection_comes_first)
{
	assert_ok(w->c->ftruncate(w->fd, 0));
	map_layout(w, "rn");
	assert_caught(try_read(ARENA), SIGBUS, BUS_ADRERR, ARENA);
	assert_caught(try_write(ARENA, 1), SIGSEGV, SEGV_ACCERR, ARENA);
	assert_caught(try_read(ARENA + PAGE), SIGSEGV, SEGV_ACCERR, ARENA + PAGE);
}

/* An access across two pages of which one can be had. */
CONFORMS(accesses_across_pages)
{
	uint64_t word;

	assert_ok(w->c->ftruncate(w->fd, PAGE));
	map_layout(w, "ss");
	assert_caught(try_read(ARENA + PAGE), SIGBUS, BUS_ADRERR, ARENA + PAGE);
	memcpy(&word, ARENA + PAGE - 8, 8);
	assert_int_equal((char)word, mark(0));
}

/* ---- Default actions ---- */

static int ended_by(struct world *w, void (*access)(struct world *w))
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		signal(SIGSEGV, SIG_DFL);
		access(w);
		_exit(99); /* it did not end */
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFSIGNALED(status) ? WTERMSIG(status) : -WEXITSTATUS(status);
}

static void write_protected(struct world *w)
{
	(void)w;
	*(volatile char *)ARENA = 1;
}

static void read_unmapped(struct world *w)
{
	(void)w;
	(void)*(volatile char *)(ARENA + 5 * PAGE);
}

/* SIGSEGV without a handler ends the process. */
CONFORMS(default_action_of_sigsegv)
{
	map_layout(w, "rr");
	assert_int_equal(ended_by(w, write_protected), SIGSEGV);
	assert_int_equal(ended_by(w, read_unmapped), SIGSEGV);
}

static void blocked(struct world *w)
{
	sigset_t all;
	struct sigaction a = {.sa_handler = exit};

	(void)w;
	sigaction(SIGSEGV, &a, NULL);
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	*(volatile char *)ARENA = 1;
}

/* Blocked, it ends the process whatever the handler (signal(7)). */
CONFORMS(a_blocked_sigsegv)
{
	map_layout(w, "r");
	assert_int_equal(ended_by(w, blocked), SIGSEGV);
}

/* ---- Handlers ---- */

static char *volatile in_handler;
static volatile int handled;

/* Loads from and stores to mappings, pages that were not in memory. */
static void use_mapping(int sig)
{
	(void)sig;
	for (size_t i = 0; i < 8; i++) {
		handled += in_handler[i * PAGE] == mark(i);
		in_handler[i * PAGE + 1] = 'h';
	}
}

CONFORMS(handlers_use_mappings)
{
	struct sigaction a = {.sa_handler = use_mapping}, old;

	map_layout(w, "ssssssss");
	in_handler = ARENA;
	handled = 0;
	sigaction(SIGUSR1, &a, &old);
	raise(SIGUSR1);
	sigaction(SIGUSR1, &old, NULL);
	assert_int_equal(handled, 8);
	assert_int_equal(ARENA[7 * PAGE + 1], 'h');
}

static void count_and_use(int sig)
{
	(void)sig;
	handled++;
	in_handler[(size_t)(handled % 64) * PAGE + 2] = 'h';
}

/* A timer's handler that interrupts faults, and faults itself. */
CONFORMS(handlers_interrupt_faults)
{
	struct sigaction a = {.sa_handler = count_and_use, .sa_flags = SA_RESTART}, old;
	struct itimerval t = {.it_interval = {.tv_usec = 500}, .it_value = {.tv_usec = 500}}, off = {0};

	map_ok(w, ARENA, 64 * PAGE, RW, MAP_SHARED | MAP_FIXED, w->fd, 0);
	in_handler = ARENA;
	handled = 0;
	sigaction(SIGALRM, &a, &old);
	setitimer(ITIMER_REAL, &t, NULL);
	for (int round = 0; handled < 100 && round < 100000; round++) {
		for (size_t i = 0; i < 64; i++)
			ARENA[i * PAGE]++;
		assert_ok(w->c->madvise(ARENA, 64 * PAGE, round % 2 ? MADV_DONTNEED : MADV_PAGEOUT));
	}
	setitimer(ITIMER_REAL, &off, NULL);
	sigaction(SIGALRM, &old, NULL);
	assert_true(handled >= 100);
	for (size_t i = 1; i < 64; i++)
		assert_int_equal((char)(ARENA[i * PAGE] - mark(i)), (char)(ARENA[0] - mark(0)));
}

static sigjmp_buf nested;
static volatile sig_atomic_t nested_signal;

static void fault_again(int sig, siginfo_t *info, void *context)
{
	(void)context;
	if (sig == SIGSEGV) {
		(void)*(volatile char *)(ARENA + PAGE); /* not in memory until now */
		nested_signal = info->si_code;
		siglongjmp(nested, 1);
	}
}

/* A handler of SIGSEGV that itself touches a page that is not in memory. */
CONFORMS(a_fault_in_a_handler_of_a_fault)
{
	struct sigaction a = {.sa_sigaction = fault_again, .sa_flags = SA_SIGINFO}, old;

	map_layout(w, "rs");
	sigaction(SIGSEGV, &a, &old);
	nested_signal = 0;
	if (sigsetjmp(nested, 1) == 0)
		*(volatile char *)ARENA = 1;
	sigaction(SIGSEGV, &old, NULL);
	assert_int_equal(nested_signal, SEGV_ACCERR);
	assert_int_equal(ARENA[PAGE], mark(1));
}

/* An access that succeeds leaves errno alone. */
CONFORMS(errno_is_kept)
{
	map_layout(w, "sspp");
	for (size_t i = 0; i < 4; i++) {
		errno = 1000 + (int)i;
		ARENA[i * PAGE] = 'x';
		assert_int_equal(errno, 1000 + (int)i);
	}
}

/* Nor does it change the signal mask, also after a handler that jumped out. */
CONFORMS(the_signal_mask_is_kept)
{
	sigset_t set, now;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	sigprocmask(SIG_SETMASK, &set, NULL);
	assert_ok(w->c->ftruncate(w->fd, PAGE));
	map_layout(w, "ss");
	ARENA[0] = 'x';
	assert_caught(try_read(ARENA + PAGE), SIGBUS, BUS_ADRERR, ARENA + PAGE);
	assert_caught(try_write(ARENA + 2 * PAGE, 1), SIGSEGV, SEGV_MAPERR, ARENA + 2 * PAGE);
	sigprocmask(SIG_SETMASK, NULL, &now);
	for (int sig = 1; sig < 32; sig++)
		assert_int_equal(sigismember(&now, sig), sig == SIGUSR2);
	sigemptyset(&set);
	sigprocmask(SIG_SETMASK, &set, NULL);
}

/* ---- System calls ---- */

/* "A system call on [bad memory] fails with EFAULT", no signal. fl_pread and fl_pwrite take the place of read and write. */
CONFORMS(system_calls_beyond_the_end_of_the_file)
{
	assert_ok(w->c->ftruncate(w->fd, PAGE));
	map_layout(w, "ss");
	assert_error(w->c->pread(w->read_only, ARENA + PAGE, 10, 0), EFAULT);
	assert_error(w->c->pwrite(w->fd, ARENA + PAGE, 10, 0), EFAULT);
	assert_int_equal(ARENA[0], mark(0));
	assert_ok(w->c->ftruncate(w->fd, 2 * PAGE));
	assert_int_equal(w->c->pread(w->read_only, ARENA + PAGE, 10, 0), 10);
	assert_int_equal(ARENA[PAGE], mark(0));
	assert_int_equal(ARENA[PAGE + 10], 0);
	assert_ok(w->c->ftruncate(w->fd, PAGE));
	assert_caught(try_read(ARENA + PAGE), SIGBUS, BUS_ADRERR, ARENA + PAGE);
}

/* Other system calls than those of faultline.h on pages that are not in memory: with inline faults they need a pin. */
CONFORMS(system_calls_on_absent_pages)
{
	int p[2];

	map_layout(w, "ss");
	assert_int_equal(pipe(p), 0);
	assert_error(write(p[1], ARENA, 10) == 10 ? 0 : -1, faults_inline(w->c) ? EFAULT : 0);
	ARENA[PAGE] = 'x';
	assert_int_equal(write(p[1], ARENA + PAGE, 10), 10);
	close(p[0]);
	close(p[1]);
}

static void read_with_sigbus_blocked(struct world *w)
{
	sigset_t set;

	(void)w;
	sigemptyset(&set);
	sigaddset(&set, SIGBUS);
	sigprocmask(SIG_BLOCK, &set, NULL);
	(void)*(volatile char *)ARENA;
}

/* A thread that blocks SIGBUS may touch mappings of the kernel, but not Faultline's with inline faults. */
CONFORMS(sigbus_is_blocked)
{
	map_layout(w, "rr");
	assert_int_equal(ended_by(w, read_with_sigbus_blocked), faults_inline(w->c) ? SIGBUS : -99);
}

/* ---- Threads ---- */

static void *read_all(void *arg)
{
	char *map = arg;
	uintptr_t others = 0;

	for (size_t i = 0; i < 3 * PAGE; i++)
		others += map[i] != mark(i / PAGE);
	return (void *)others;
}

/* Each thread that faults is served, each in its own time. */
CONFORMS(threads_fault_together)
{
	pthread_t thread[8];
	void *result;

	map_layout(w, "sss");
	for (size_t i = 0; i < 8; i++)
		pthread_create(&thread[i], NULL, read_all, ARENA);
	for (size_t i = 0; i < 8; i++) {
		pthread_join(thread[i], &result);
		assert_null(result);
	}
}

static void *touch_pages(void *arg)
{
	for (size_t i = 0; i < 60; i++) {
		usleep(3000);
		*((volatile char *)arg + i * PAGE) = 1;
	}
	return NULL;
}

/* What is beyond the end of the file is so at all times, whatever faults there are elsewhere. */
CONFORMS(nothing_is_ever_beyond_the_end)
{
	pthread_t thread;

	assert_ok(w->c->ftruncate(w->fd, PAGE));
	map_layout(w, "ss");
	map_ok(w, ARENA + 8 * PAGE, 60 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	pthread_create(&thread, NULL, touch_pages, ARENA + 8 * PAGE);
	do
		assert_caught(try_read(ARENA + PAGE), SIGBUS, BUS_ADRERR, ARENA + PAGE);
	while (pthread_tryjoin_np(thread, NULL));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RUN(what_may_not_be_accessed),
		RUN(what_is_not_mapped),
		RUN(what_is_beyond_the_end_of_the_file),
		RUN(protection_comes_first),
		RUN(accesses_across_pages),
		RUN(default_action_of_sigsegv),
		RUN(a_blocked_sigsegv),
		RUN(handlers_use_mappings),
		RUN(handlers_interrupt_faults),
		RUN_NEEDING(SIGSEGV_HANDLERS, a_fault_in_a_handler_of_a_fault),
		RUN(errno_is_kept),
		RUN(the_signal_mask_is_kept),
		RUN(system_calls_beyond_the_end_of_the_file),
		RUN(system_calls_on_absent_pages),
		RUN_NEEDING(SIGSEGV_HANDLERS, sigbus_is_blocked),
		RUN(threads_fault_together),
		RUN(nothing_is_ever_beyond_the_end),
	};

	return run_conformance_tests(tests);
}
