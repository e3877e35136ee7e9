/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Masks with SIGBUS in them are as any others, before the program has mapped a file and after: of handlers, of jumps out of them, of new threads, over
 * fork and exec.
 */
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/select.h>
#include <time.h>
#include <ucontext.h>

#include "check.h"

#define SIZE (4UL << 20)

static volatile int caught, depth, deepest;
static volatile bool was_blocked;
static volatile pid_t caught_by;
static siginfo_t caught_info;
static int signo = SIGBUS; /* or, with `segv`, SIGSEGV */
static sigset_t only_it;
static char *map, *bad;
static sigjmp_buf out;
static const char *self;

static bool is_blocked(int sig)
{
	sigset_t set;

	CHECK(!pthread_sigmask(SIG_BLOCK, NULL, &set));
	return sigismember(&set, sig);
}

static bool is_pending(void)
{
	sigset_t set;

	CHECK(!sigpending(&set));
	return sigismember(&set, signo);
}

static void on_it(int sig, siginfo_t *info, void *context)
{
	(void)sig, (void)context;
	deepest = ++depth > deepest ? depth : deepest;
	caught++;
	caught_info = *info;
	caught_by = gettid();
	was_blocked = is_blocked(signo);
	if (caught == 1)
		CHECK(!raise(signo));
	depth--;
}

static void set_handler(int sig, void (*handler)(int, siginfo_t *, void *), int flags, const sigset_t *mask)
{
	struct sigaction act = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | flags};

	if (mask)
		act.sa_mask = *mask;
	CHECK(!sigaction(sig, &act, NULL));
}

static void map_now(void)
{
	int fd = pattern_file(SIZE);

	map = map_file(fd, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED);
	CHECK(!ftruncate(fd, SIZE / 2) && (uint8_t)map[5 * PAGE] == pattern(5 * PAGE));
	bad = map + SIZE / 2 + PAGE;
	if (signo == SIGSEGV)
		CHECK(!mprotect(bad, SIZE / 4, PROT_NONE));
}

static void read_page(const char *at)
{
	(void)*(const volatile char *)at;
}

/* The child dies of it. */
static void dies(void (*run)(void))
{
	int status;
	pid_t child = fork();

	if (!child) {
		run();
		_exit(7);
	}
	CHECK(waitpid(child, &status, 0) == child && WIFSIGNALED(status) && WTERMSIG(status) == signo);
}

/* ---- In its own handler ---- */

static void blocked_in_its_handler(void)
{
	set_handler(signo, on_it, 0, NULL);
	CHECK(!raise(signo));
	CHECK(caught == 2 && deepest == 1 && was_blocked && caught_info.si_signo == signo && !caught_info.si_errno);
	CHECK(caught_info.si_code == SI_TKILL && caught_info.si_pid == getpid() && !is_blocked(signo) && !is_pending());
}

static void not_with_nodefer(void)
{
	set_handler(signo, on_it, SA_NODEFER, NULL);
	CHECK(!raise(signo));
	CHECK(caught == 2 && deepest == 2 && !was_blocked);
}

static void on_fault_again(int sig, siginfo_t *info, void *context)
{
	(void)sig, (void)info, (void)context;
	read_page(bad);
}

static void fault_in_its_handler(void)
{
	set_handler(signo, on_fault_again, 0, NULL);
	read_page(bad);
}

static void fault_while_blocked(void)
{
	set_handler(signo, on_it, 0, NULL);
	CHECK(!sigprocmask(SIG_BLOCK, &only_it, NULL));
	read_page(bad);
}

static void on_jump(int sig, siginfo_t *info, void *context)
{
	(void)sig, (void)context;
	caught_info = *info;
	caught++;
	siglongjmp(out, 1);
}

static void jumps(int save_mask)
{
	set_handler(signo, on_jump, 0, NULL);
	for (volatile int i = 0; i < 3; i++) {
		if (!sigsetjmp(out, save_mask))
			read_page(bad + (size_t)i * PAGE);
		CHECK(caught == i + 1 && caught_info.si_code == (signo == SIGSEGV ? SEGV_ACCERR : BUS_ADRERR) &&
		      caught_info.si_addr == bad + (size_t)i * PAGE);
		CHECK(is_blocked(signo) == !save_mask);
	}
}

static void jump_without_mask(void)
{
	jumps(0);
}

static void faults(void)
{
	map_now();
	dies(fault_in_its_handler);
	dies(fault_while_blocked);
	dies(jump_without_mask);
	jumps(1);
	CHECK((uint8_t)map[9 * PAGE] == pattern(9 * PAGE));
}

/* ---- In other handlers ---- */

static volatile int seen_inside;

static void on_usr1(int sig, siginfo_t *info, void *context)
{
	(void)sig, (void)info, (void)context;
	was_blocked = is_blocked(signo);
	CHECK(!kill(getpid(), signo));
	CHECK(!caught || !was_blocked);
	seen_inside = caught;
	if (map)
		read_page(map + 3 * PAGE);
}

static void mask_of_a_handler(void)
{
	struct sigaction was;

	set_handler(signo, on_jump, 0, NULL);
	set_handler(SIGUSR1, on_usr1, 0, &only_it);
	CHECK(!sigaction(SIGUSR1, NULL, &was) && sigismember(&was.sa_mask, signo) == 1 && !sigismember(&was.sa_mask, SIGSTKFLT));
	if (!sigsetjmp(out, 1)) {
		CHECK(!raise(SIGUSR1));
		CHECK(false);
	}
	CHECK(was_blocked && !seen_inside && caught == 1 && caught_info.si_code == SI_USER && !is_blocked(signo));
	caught = 0;
	set_handler(SIGUSR1, on_usr1, 0, NULL);
	if (!sigsetjmp(out, 1))
		CHECK(!raise(SIGUSR1));
	CHECK(!was_blocked && caught == 1);
}

/* ---- Masks that come back ---- */

static void on_count(int sig, siginfo_t *info, void *context)
{
	(void)sig, (void)context;
	caught++;
	caught_info = *info;
	caught_by = gettid();
}

static void jump_to_a_mask(void)
{
	ucontext_t there;
	volatile bool been = false;

	set_handler(signo, on_count, 0, NULL);
	if (!sigsetjmp(out, 1)) {
		CHECK(!sigprocmask(SIG_BLOCK, &only_it, NULL) && !raise(signo) && is_pending() && !caught);
		siglongjmp(out, 1);
	}
	CHECK(caught == 1 && !is_blocked(signo) && !is_pending());
	CHECK(!sigprocmask(SIG_BLOCK, &only_it, NULL) && !getcontext(&there));
	if (!been) {
		been = true;
		CHECK(!sigprocmask(SIG_UNBLOCK, &only_it, NULL));
		setcontext(&there);
	}
	CHECK(is_blocked(signo) && !raise(signo) && caught == 1);
	CHECK(!sigprocmask(SIG_UNBLOCK, &only_it, NULL) && caught == 2);
}

static void sets_are_told_back(void)
{
	sigset_t all, set;

	sigfillset(&all);
	CHECK(!sigprocmask(SIG_BLOCK, &only_it, NULL) && !sigprocmask(SIG_BLOCK, NULL, &set));
	for (int sig = 1; sig < 65; sig++)
		CHECK(sigismember(&set, sig) == (sig == signo));
	CHECK(!sigprocmask(SIG_SETMASK, &all, &set) && sigismember(&set, signo) && !sigismember(&set, SIGSTKFLT));
	CHECK(!sigprocmask(SIG_UNBLOCK, &only_it, &set));
	for (int sig = 1; sig < 65; sig++)
		CHECK(sigismember(&set, sig) == (sig != SIGKILL && sig != SIGSTOP && sig != 32 && sig != 33));
	CHECK(!is_blocked(signo) && is_blocked(SIGSTKFLT) && is_blocked(SIGUSR1));
}

/* ---- Threads ---- */

static void *tell_blocked(void *arg)
{
	(void)arg;
	return is_blocked(signo) ? (void *)1 : NULL;
}

static void *sleep_on(void *arg)
{
	(void)arg;
	while (!caught)
		usleep(1000);
	return NULL;
}

static void threads(void)
{
	pthread_attr_t attr;
	sigset_t set;
	pthread_t t;
	void *ret;

	set_handler(signo, on_count, 0, NULL);
	CHECK(!pthread_create(&t, NULL, sleep_on, NULL) && !pthread_sigmask(SIG_BLOCK, &only_it, NULL));
	CHECK(!kill(getpid(), signo)); /* which another thread takes */
	CHECK(!pthread_join(t, NULL) && caught == 1 && caught_by != gettid() && caught_info.si_code == SI_USER && !is_pending());
	CHECK(!pthread_create(&t, NULL, tell_blocked, NULL) && !pthread_join(t, &ret) && ret);
	CHECK(!pthread_sigmask(SIG_UNBLOCK, &only_it, NULL));
	CHECK(!pthread_create(&t, NULL, tell_blocked, NULL) && !pthread_join(t, &ret) && !ret);
	CHECK(!pthread_attr_init(&attr) && !pthread_attr_setsigmask_np(&attr, &only_it));
	CHECK(!pthread_attr_getsigmask_np(&attr, &set) && sigismember(&set, signo) && !sigismember(&set, SIGSTKFLT));
	CHECK(!pthread_create(&t, &attr, tell_blocked, NULL) && !pthread_join(t, &ret) && ret);
}

static void *wait_for_it(void *arg)
{
	siginfo_t info;

	(void)arg;
	CHECK(sigwaitinfo(&only_it, &info) == signo && info.si_signo == signo && info.si_code == SI_USER && !info.si_errno);
	return NULL;
}

/* One that has it blocked waits; it is sent to the process, whose first thread has it blocked as well. */
static void waiting_threads(void)
{
	pthread_t t;

	CHECK(!pthread_sigmask(SIG_BLOCK, &only_it, NULL) && !pthread_create(&t, NULL, wait_for_it, NULL));
	usleep(20000);
	CHECK(!kill(getpid(), signo) && !pthread_join(t, NULL) && !is_pending());
}

/* ---- Calls with a mask ---- */

static void on_alarm(int sig)
{
	(void)sig;
	was_blocked = is_blocked(signo);
}

static void *send_soon(void *to)
{
	usleep(20000);
	CHECK(!pthread_kill(*(pthread_t *)to, signo));
	return NULL;
}

/* It is sent while they wait. */
static void comes_in_calls(const sigset_t *none)
{
	pthread_t me = pthread_self(), t;

	for (int i = 0; i < 4; i++) {
		int before = caught;

		CHECK(!pthread_create(&t, NULL, send_soon, &me));
		FAILS(EINTR, i == 0   ? ppoll(NULL, 0, NULL, none)
			     : i == 1 ? pselect(0, NULL, NULL, NULL, NULL, none)
			     : i == 2 ? sigsuspend(none)
				      : syscall(SYS_ppoll, NULL, 0, NULL, none, 8));
		CHECK(caught == before + 1 && is_blocked(signo) && !is_pending() && !pthread_join(t, NULL));
	}
}

static void calls(void)
{
	struct timespec soon = {.tv_nsec = 1000000}, none = {0};
	sigset_t set;

	set_handler(signo, on_count, 0, NULL);
	CHECK(!sigprocmask(SIG_BLOCK, &only_it, NULL) && !raise(signo));
	CHECK(!ppoll(NULL, 0, &soon, &only_it) && !pselect(0, NULL, NULL, NULL, &soon, &only_it) && !caught);
	sigemptyset(&set);
	FAILS(EINTR, ppoll(NULL, 0, &none, &set));
	CHECK(caught == 1 && is_blocked(signo));
	CHECK(!raise(signo));
	FAILS(EINTR, pselect(0, NULL, NULL, NULL, NULL, &set));
	CHECK(caught == 2 && is_blocked(signo) && !raise(signo));
	FAILS(EINTR, sigsuspend(&set));
	CHECK(caught == 3 && is_blocked(signo) && !is_pending());
	comes_in_calls(&set);
	CHECK(!sigprocmask(SIG_UNBLOCK, &only_it, NULL));
	CHECK(signal(SIGALRM, on_alarm) != SIG_ERR && !ualarm(1000, 0));
	FAILS(EINTR, sigsuspend(&only_it));
	CHECK(was_blocked && !is_blocked(signo));
}

/* ---- Processes ---- */

static void asks_in_child(void)
{
	CHECK(is_blocked(signo) && !is_pending());
	CHECK(!sigprocmask(SIG_UNBLOCK, &only_it, NULL) && !caught);
}

static void execs(void)
{
	execl(self, self, signo == SIGSEGV ? "segv" : "asked", "asked", (char *)NULL);
}

/* The mask goes to children and to what is executed; what is pending to the latter alone. */
static void processes(void)
{
	set_handler(signo, on_count, 0, NULL);
	CHECK(!sigprocmask(SIG_BLOCK, &only_it, NULL) && !raise(signo) && is_pending());
	in_child(asks_in_child);
	execs();
	CHECK(false);
}

static void asked(void)
{
	siginfo_t info;

	CHECK(is_blocked(signo) && is_pending() && !is_blocked(SIGSTKFLT));
	CHECK(sigwaitinfo(&only_it, &info) == signo && info.si_signo == signo && !is_pending());
	map_now();
	CHECK((uint8_t)map[7 * PAGE] == pattern(7 * PAGE));
}

/* ---- ---- */

static void default_is_to_die(void)
{
	CHECK(!sigprocmask(SIG_BLOCK, &only_it, NULL) && !raise(signo) && is_pending());
	CHECK(!sigprocmask(SIG_UNBLOCK, &only_it, NULL));
}

static void ends(void)
{
	dies(default_is_to_die);
	CHECK(signal(signo, SIG_IGN) != SIG_ERR);
	CHECK(!sigprocmask(SIG_BLOCK, &only_it, NULL) && !raise(signo));
	CHECK(!sigprocmask(SIG_UNBLOCK, &only_it, NULL) && !is_pending());
}

/* Hardly anybody uses it; it is a signal of its own all the same. */
static void another_signal(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGSTKFLT);
	set_handler(SIGSTKFLT, on_count, 0, NULL);
	CHECK(!raise(SIGSTKFLT) && caught == 1 && caught_info.si_signo == SIGSTKFLT);
	CHECK(!sigprocmask(SIG_BLOCK, &set, NULL) && is_blocked(SIGSTKFLT) && !is_blocked(signo));
	CHECK(!sigprocmask(SIG_UNBLOCK, &set, NULL) && !is_blocked(SIGSTKFLT));
	set_handler(signo, on_jump, 0, NULL);
	if (!sigsetjmp(out, 1))
		CHECK(!raise(signo));
	CHECK(caught == 2 && caught_info.si_signo == signo && !raise(SIGSTKFLT) && caught == 3);
}

static void (*one)(void);

static void with_mapping(void)
{
	map_now();
	one();
}

/* Each in a process of its own, that has a file mapped or none. */
static void both_ways(void (*run)(void))
{
	in_child(run);
	one = run;
	in_child(with_mapping);
}

#define BOTH(name)                    \
	static void name##_both(void) \
	{                             \
		both_ways(name);      \
	}
BOTH(blocked_in_its_handler)
BOTH(not_with_nodefer)
BOTH(mask_of_a_handler)
BOTH(jump_to_a_mask)
BOTH(sets_are_told_back)
BOTH(threads)
BOTH(waiting_threads)
BOTH(calls)
BOTH(processes)
BOTH(ends)
BOTH(another_signal)

static void faults_alone(void)
{
	in_child(faults);
}

int main(int argc, char **argv)
{
	static const struct test_case cases[] = {
		{"deferred", blocked_in_its_handler_both},
		{"nodefer", not_with_nodefer_both},
		{"faults", faults_alone},
		{"handler", mask_of_a_handler_both},
		{"jump", jump_to_a_mask_both},
		{"told", sets_are_told_back_both},
		{"threads", threads_both},
		{"waiting", waiting_threads_both},
		{"calls", calls_both},
		{"processes", processes_both},
		{"ends", ends_both},
		{"another", another_signal_both},
	};

	char **names = argv + 1;

	(void)argc;
	self = argv[0];
	if (*names && !strcmp(*names, "segv")) {
		signo = SIGSEGV;
		names++;
	}
	sigemptyset(&only_it);
	sigaddset(&only_it, signo);
	if (*names && !strcmp(*names, "asked")) {
		asked();
		return 0;
	}
	return run_cases(cases, ARRAY_SIZE(cases), names);
}
