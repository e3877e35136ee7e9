/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Handlers of signals that leave a call which waits, by a jump: what mapped memory it was to fill can be locked, and leave memory, as before. And those that jump about
 * and come back to the call, whose memory must stay where it is.
 */
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/msg.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <ucontext.h>

#include "check.h"

#define MIB (1UL << 20)
#define MAPPED (20 * MIB) /* more than half of the budget */
#define LOCKED (10 * MIB)
#define PIECE (MIB / 4) /* a call pins no more at once */
#define FIFO "leaves.fifo"

_Noreturn void __longjmp_chk(jmp_buf env, int value);

static char *map;
static int ends[2], queue;

static void new_map(size_t size)
{
	int fd = pattern_file(PAGE);

	CHECK(!ftruncate(fd, (off_t)size));
	map = map_file(fd, size, PROT_READ | PROT_WRITE, MAP_SHARED);
	CHECK(!close(fd));
}

static void lock_some(void)
{
	CHECK(!mlock(map, LOCKED) && !munlock(map, LOCKED));
}

/* False: nobody may lock so much here. */
static bool can_lock(void)
{
	return !mlock(map, LOCKED) && !munlock(map, LOCKED);
}

static void handle(void (*handler)(int), int flags)
{
	struct sigaction act = {.sa_handler = handler, .sa_flags = flags};

	CHECK(!sigaction(SIGUSR1, &act, NULL));
}

static timer_t timer;

static void new_timer(void)
{
	CHECK(!timer_create(CLOCK_MONOTONIC, &(struct sigevent){.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1}, &timer));
}

static void send_soon(long us)
{
	CHECK(!timer_settime(timer, 0, &(struct itimerspec){.it_value.tv_nsec = us * 1000}, NULL));
}

/* ---- Calls that wait ---- */

static void by_read(char *to)
{
	read(ends[0], to, PIECE);
}

static void by_number(char *to)
{
	syscall(SYS_read, ends[0], to, PIECE);
}

static void by_readv(char *to)
{
	struct iovec iov[2] = {{to, PIECE / 2}, {to + PIECE / 2, PIECE / 2}};

	readv(ends[0], iov, 2);
}

static void by_recv(char *to)
{
	recv(ends[0], to, PIECE, 0);
}

static void by_recvfrom(char *to)
{
	struct sockaddr address;
	socklen_t len = sizeof address;

	recvfrom(ends[0], to, PIECE, 0, &address, &len);
}

static void by_recvmsg(char *to)
{
	struct iovec iov = {to, PIECE};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};

	recvmsg(ends[0], &m, 0);
}

static void by_recvmmsg(char *to)
{
	struct iovec iov = {to, PIECE};
	struct mmsghdr m = {.msg_hdr = {.msg_iov = &iov, .msg_iovlen = 1}};

	recvmmsg(ends[0], &m, 1, 0, NULL);
}

static void by_msgrcv(char *to)
{
	msgrcv(queue, to, PIECE - sizeof(long), 0, 0);
}

static void by_nanosleep(char *to)
{
	struct timespec *t = (struct timespec *)to;

	*t = (struct timespec){.tv_sec = 10};
	nanosleep(t, t + 1);
}

static void by_open(char *to)
{
	strcpy(to, FIFO);
	CHECK(open(to, O_RDONLY) < 0);
}

/* ---- Ways to leave them ---- */

static sigjmp_buf back;
static ucontext_t back_there;
static volatile bool left;

static void by_siglongjmp(int sig)
{
	(void)sig;
	siglongjmp(back, 1);
}

static void by_longjmp(int sig)
{
	(void)sig;
	longjmp(back, 1);
}

static void by_short_longjmp(int sig)
{
	(void)sig;
	_longjmp(back, 1);
}

static void by_checked_longjmp(int sig)
{
	(void)sig;
	__longjmp_chk(back, 1);
}

static void by_setcontext(int sig)
{
	(void)sig;
	left = true;
	setcontext(&back_there);
}

static void leave(void (*call)(char *to), char *to)
{
	if (sigsetjmp(back, 1))
		return;
	send_soon(1000);
	call(to);
	CHECK(!"the call has come to its end");
}

static void leave_by_context(void (*call)(char *to), char *to)
{
	left = false;
	CHECK(!getcontext(&back_there));
	if (left)
		return;
	send_soon(1000);
	call(to);
	CHECK(!"the call has come to its end");
}

static void leave_all(void (*call)(char *to), size_t step)
{
	for (size_t at = 0; at < MAPPED / PIECE; at++)
		leave(call, map + at * step);
	lock_some();
}

static void calls(void)
{
	static void (*const all[])(char *to) = {by_read, by_number, by_readv, by_recv, by_recvfrom, by_recvmsg, by_recvmmsg, by_msgrcv};

	CHECK(!socketpair(AF_UNIX, SOCK_STREAM, 0, ends) && (queue = msgget(IPC_PRIVATE, 0600)) >= 0);
	new_map(MAPPED);
	handle(by_siglongjmp, 0);
	for (size_t i = 0; i < ARRAY_SIZE(all) && can_lock(); i++)
		leave_all(all[i], PIECE);
	CHECK(map[0] == (char)pattern(0) && write(ends[1], "text", 4) == 4 && read(ends[0], map, 4) == 4 && !memcmp(map, "text", 4));
	CHECK(!msgctl(queue, IPC_RMID, NULL) && !munmap(map, MAPPED) && !close(ends[0]) && !close(ends[1]));
}

/* Those that hold little: as many pages as could be locked. */
static void small_calls(void)
{
	new_map(MAPPED);
	CHECK(!mkfifo(FIFO, 0600));
	handle(by_siglongjmp, 0);
	if (can_lock())
		for (size_t at = 0; at < 2048; at++) {
			leave(by_nanosleep, map + at * PAGE);
			leave(by_open, map + (2048 + at) * PAGE);
		}
	lock_some();
	CHECK(!unlink(FIFO) && !munmap(map, MAPPED));
}

static void ways(void)
{
	static void (*const all[])(int) = {by_longjmp, by_short_longjmp, by_checked_longjmp};
	static char stack[64 << 10];

	CHECK(!pipe(ends));
	new_map(MAPPED);
	for (size_t i = 0; i < ARRAY_SIZE(all) && can_lock(); i++) {
		handle(all[i], SA_NODEFER);
		leave_all(by_read, PIECE);
	}
	handle(by_setcontext, SA_NODEFER);
	for (size_t at = 0; at < MAPPED && can_lock(); at += PIECE)
		leave_by_context(by_read, map + at);
	lock_some();
	CHECK(!sigaltstack(&(stack_t){.ss_sp = stack, .ss_size = sizeof stack}, NULL));
	handle(by_siglongjmp, SA_ONSTACK);
	leave_all(by_read, PIECE);
	CHECK(!sigaltstack(&(stack_t){.ss_flags = SS_DISABLE}, NULL));
	CHECK(!munmap(map, MAPPED) && !close(ends[0]) && !close(ends[1]));
}

/* ---- Handlers in calls in handlers ---- */

static volatile size_t level_at;

/* It waits in a call of its own, and is left with that of the program. */
static void wait_as_well(int sig)
{
	(void)sig;
	handle(by_siglongjmp, SA_NODEFER);
	send_soon(1000);
	by_read(map + level_at);
}

static void nested(int flags)
{
	for (size_t at = 0; at < MAPPED && can_lock(); at += 2 * PIECE) {
		level_at = at + PIECE;
		handle(wait_as_well, SA_NODEFER | flags);
		leave(by_read, map + at);
	}
	lock_some();
}

static void in_handlers(void)
{
	static char stack[64 << 10];

	CHECK(!pipe(ends));
	new_map(MAPPED);
	nested(0);
	CHECK(!sigaltstack(&(stack_t){.ss_sp = stack, .ss_size = sizeof stack}, NULL));
	nested(SA_ONSTACK);
	CHECK(!sigaltstack(&(stack_t){.ss_flags = SS_DISABLE}, NULL));
	CHECK(!munmap(map, MAPPED) && !close(ends[0]) && !close(ends[1]));
}

/* ---- Threads ---- */

static void mask(int how)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	CHECK(!pthread_sigmask(how, &set, NULL));
}

static void *leave_here(void *at)
{
	mask(SIG_UNBLOCK);
	leave(by_read, at);
	return NULL;
}

static void *back_in_here[5];

/* No call of libc's. */
static void by_builtin(int sig)
{
	(void)sig;
	__builtin_longjmp(back_in_here, 1);
}

static __attribute__((noinline)) void *leave_by_builtin(void *at)
{
	mask(SIG_UNBLOCK);
	if (__builtin_setjmp(back_in_here))
		return NULL;
	send_soon(1000);
	by_read(at);
	return NULL;
}

static void in_threads(void)
{
	static void *(*const all[])(void *) = {leave_here, leave_by_builtin};

	CHECK(!pipe(ends));
	new_map(MAPPED);
	mask(SIG_BLOCK); /* the signal is the thread's */
	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		handle(i ? by_builtin : by_siglongjmp, SA_NODEFER);
		for (size_t at = 0; at < MAPPED && can_lock(); at += PIECE) {
			pthread_t thread;

			CHECK(!pthread_create(&thread, NULL, all[i], map + at) && !pthread_join(thread, NULL));
		}
		lock_some();
	}
	mask(SIG_UNBLOCK);
	CHECK(!munmap(map, MAPPED) && !close(ends[0]) && !close(ends[1]));
}

/* ---- Handlers that come back ---- */

#define LARGE (64 * MIB) /* than which the budget is smaller */
#define CALLS 3

static char *large;
static volatile unsigned came;

/* What can leave memory leaves it. */
static void use_memory(void)
{
	for (size_t at = 0; at < LARGE; at += PAGE)
		large[at]++;
}

static __attribute__((noinline)) void jump_about(void)
{
	sigjmp_buf here;

	if (!sigsetjmp(here, 1))
		siglongjmp(here, 1);
}

static void answer(void)
{
	use_memory();
	came++;
	CHECK(write(ends[1], "text", 4) == 4);
}

static void jump_and_return(int sig)
{
	(void)sig;
	jump_about();
	answer();
}

static ucontext_t there, here_again;
static char other_stack[256 << 10];

static void on_another_stack(void)
{
	jump_about();
	CHECK(mincore(large, PAGE, &(unsigned char){0}) == 0);
}

/* On another stack, which begins anew each time, and then where *next says. */
static void make_there(void (*fn)(void), ucontext_t *next)
{
	CHECK(!getcontext(&there));
	there.uc_stack = (stack_t){.ss_sp = other_stack, .ss_size = sizeof other_stack};
	there.uc_link = next;
	makecontext(&there, fn, 0);
}

static void change_stacks(int sig)
{
	(void)sig;
	make_there(on_another_stack, &here_again);
	CHECK(!swapcontext(&here_again, &there));
	answer();
}

static void comes_back(void (*handler)(int), int flags)
{
	handle(handler, SA_RESTART | flags);
	for (unsigned i = 0; i < CALLS; i++) {
		char *to = map + i * PIECE;

		came = 0;
		send_soon(5000);
		CHECK(read(ends[0], to, PIECE) == 4 && !memcmp(to, "text", 4));
		CHECK(came == 1);
	}
}

static void those_that_return(void)
{
	static char stack[256 << 10];
	char *first;

	CHECK(!pipe(ends));
	new_map(LARGE);
	large = map;
	new_map(MAPPED);
	first = map;
	comes_back(jump_and_return, 0);
	comes_back(change_stacks, 0);
	CHECK(!sigaltstack(&(stack_t){.ss_sp = stack, .ss_size = sizeof stack}, NULL));
	comes_back(jump_and_return, SA_ONSTACK);
	CHECK(!sigaltstack(&(stack_t){.ss_flags = SS_DISABLE}, NULL));
	CHECK(!munmap(first, MAPPED) && !munmap(large, LARGE) && !close(ends[0]) && !close(ends[1]));
}

/* ---- A context is there more than once ---- */

static ucontext_t twice;

static void nothing(void)
{
}

static __attribute__((noinline)) void use_stack(void)
{
	volatile char bytes[4096];

	memset((char *)bytes, 0xff, sizeof bytes);
}

static void contexts(void)
{
	volatile unsigned times = 0;

	make_there(nothing, &twice);
	CHECK(!swapcontext(&twice, &there));
	use_stack();
	if (++times < 5)
		setcontext(&twice);
	CHECK(times == 5);
}

/* ---- A change of a file that is left is no change in flight ---- */

#define NAME "leaves.data"

static atomic_int stage;

static void *leave_a_write(void *unused)
{
	struct rlimit limit;
	int fd = open(NAME, O_RDWR);

	CHECK(fd >= 0 && !getrlimit(RLIMIT_FSIZE, &limit));
	limit.rlim_cur = 4 * MIB;
	CHECK(!setrlimit(RLIMIT_FSIZE, &limit));
	for (volatile unsigned i = 0; i < 3; i++) /* each would have a mark of its own */
		if (!sigsetjmp(back, 1)) {
			pwrite(fd, "text", 4, 4 * MIB);
			CHECK(!"the write has come to its end");
		}
	limit.rlim_cur = limit.rlim_max;
	CHECK(!setrlimit(RLIMIT_FSIZE, &limit));
	atomic_store(&stage, 1);
	while (atomic_load(&stage) < 2)
		usleep(1000);
	CHECK(!close(fd));
	return unused;
}

/* How long it takes to map it meanwhile, in milliseconds. */
static long map_beside(void)
{
	struct timespec before, after;
	pthread_t thread;
	int fd = open(NAME, O_RDWR | O_CREAT | O_EXCL, 0600);

	CHECK(fd >= 0 && !ftruncate(fd, (off_t)(4 * MIB)));
	atomic_store(&stage, 0);
	CHECK(!pthread_create(&thread, NULL, leave_a_write, NULL));
	while (!atomic_load(&stage))
		usleep(1000);
	clock_gettime(CLOCK_MONOTONIC, &before);
	map = map_file(fd, 4 * MIB, PROT_READ | PROT_WRITE, MAP_SHARED);
	CHECK(!map[MIB]);
	clock_gettime(CLOCK_MONOTONIC, &after);
	atomic_store(&stage, 2);
	CHECK(!pthread_join(thread, NULL) && !munmap(map, 4 * MIB) && !close(fd) && !unlink(NAME));
	return (after.tv_sec - before.tv_sec) * 1000 + (after.tv_nsec - before.tv_nsec) / 1000000;
}

/* Who waits for the mark waits for a second each time; a busy machine takes as long now and then. */
static void changes(void)
{
	unsigned tries = 0;

	CHECK(signal(SIGXFSZ, by_siglongjmp) != SIG_ERR);
	while (map_beside() >= 500)
		CHECK(++tries < 5);
}

int main(int argc, char **argv)
{
	static const struct test_case cases[] = {{"changes", changes},
						 {"calls", calls},
						 {"small_calls", small_calls},
						 {"ways", ways},
						 {"in_handlers", in_handlers},
						 {"in_threads", in_threads},
						 {"those_that_return", those_that_return},
						 {"contexts", contexts}};

	(void)argc;
	alarm(240);
	new_timer();
	return run_cases(cases, ARRAY_SIZE(cases), argv + 1);
}
