/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SIGBUS as any other signal, with a mapping whose faults are served by it: what is sent to a thread that has it blocked is pending until it unblocks
 * it, or waits for it. Threads that start with it blocked are served as well.
 */
#include <mqueue.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/wait.h>
#include <time.h>

#include "check.h"

#define SIZE (2UL << 20)

static char *map;
static volatile int caught;
static siginfo_t caught_info;
static sigset_t sigbus;

static void on_sigbus(int sig, siginfo_t *info, void *context)
{
	(void)sig, (void)context;
	caught++;
	caught_info = *info;
}

static bool is_pending(void)
{
	sigset_t set;

	CHECK(!sigpending(&set));
	return sigismember(&set, SIGBUS);
}

static void block(void)
{
	caught = 0;
	CHECK(!sigprocmask(SIG_BLOCK, &sigbus, NULL));
}

static void unblock(void)
{
	CHECK(!sigprocmask(SIG_UNBLOCK, &sigbus, NULL));
}

/* Sent, several times, and not delivered; faults are served all the time. */
static void send_blocked(void (*send)(void))
{
	block();
	send();
	send();
	CHECK(is_pending() && !caught);
	CHECK(!madvise(map, SIZE, MADV_DONTNEED) && (uint8_t)map[5 * PAGE] == pattern(5 * PAGE));
}

static void by_raise(void)
{
	CHECK(!raise(SIGBUS));
}

static void by_kill(void)
{
	CHECK(!kill(getpid(), SIGBUS));
}

static void by_pthread_kill(void)
{
	CHECK(!pthread_kill(pthread_self(), SIGBUS));
}

static void by_sigqueue(void)
{
	CHECK(!sigqueue(getpid(), SIGBUS, (union sigval){.sival_int = 77}));
}

static void comes_when_unblocked(void)
{
	void (*const ways[])(void) = {by_raise, by_kill, by_pthread_kill, by_sigqueue};

	for (size_t i = 0; i < ARRAY_SIZE(ways); i++) {
		send_blocked(ways[i]);
		unblock();
		CHECK(caught == 1 && !is_pending() && caught_info.si_pid == getpid());
		if (ways[i] == by_sigqueue)
			CHECK(caught_info.si_code == SI_QUEUE && caught_info.si_value.sival_int == 77);
	}
	send_blocked(by_raise);
	CHECK(!pthread_sigmask(SIG_SETMASK, &(sigset_t){0}, NULL) && caught == 1);
	send_blocked(by_raise);
}

static void is_waited_for(void)
{
	struct timespec none = {0};
	siginfo_t info;
	int sig = 0;

	send_blocked(by_raise);
	CHECK(!sigwait(&sigbus, &sig) && sig == SIGBUS && !is_pending());
	send_blocked(by_sigqueue);
	CHECK(sigwaitinfo(&sigbus, &info) == SIGBUS && info.si_value.sival_int == 77 && !is_pending());
	send_blocked(by_kill);
	CHECK(sigtimedwait(&sigbus, &info, &none) == SIGBUS && info.si_signo == SIGBUS);
	FAILS(EAGAIN, sigtimedwait(&sigbus, NULL, &none));
	unblock();
	CHECK(!caught);
}

static void is_suspended_for(void)
{
	sigset_t set;

	send_blocked(by_raise);
	CHECK(!sigprocmask(SIG_BLOCK, NULL, &set) && sigismember(&set, SIGBUS) && !sigdelset(&set, SIGBUS));
	FAILS(EINTR, sigsuspend(&set));
	CHECK(caught == 1 && !is_pending());
	CHECK(!sigprocmask(SIG_BLOCK, NULL, &set) && sigismember(&set, SIGBUS));
	unblock();
}

/* The default action is for when it is unblocked. */
static void kills_when_unblocked(void)
{
	pid_t child = fork();
	int status;

	if (!child) {
		signal(SIGBUS, SIG_DFL);
		send_blocked(by_raise);
		unblock();
		_exit(1);
	}
	CHECK(waitpid(child, &status, 0) == child && WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS);
}

/* ---- Threads that libc makes for notifications, with signals blocked ---- */

static sem_t notified;

static void on_notice(union sigval value)
{
	size_t page = (size_t)value.sival_int;

	CHECK((uint8_t)map[page * PAGE + 5] == pattern(page * PAGE + 5));
	map[page * PAGE + 6] = 'n';
	CHECK(!sem_post(&notified));
}

static struct sigevent notice_of(int page)
{
	return (struct sigevent){.sigev_notify = SIGEV_THREAD, .sigev_notify_function = on_notice, .sigev_value = {.sival_int = page}};
}

static void by_timers(void)
{
	struct itimerspec soon = {.it_value = {.tv_nsec = 1000000}};
	timer_t timers[4];

	for (int i = 0; i < 4; i++) {
		struct sigevent event = notice_of(20 + i);

		CHECK(!timer_create(CLOCK_MONOTONIC, &event, &timers[i]) && !timer_settime(timers[i], 0, &soon, NULL));
	}
	for (int i = 0; i < 4; i++)
		CHECK(!sem_wait(&notified));
	for (int i = 0; i < 4; i++)
		CHECK(map[(20 + i) * PAGE + 6] == 'n' && !timer_delete(timers[i]));
}

static void by_queue(void)
{
	struct sigevent event = notice_of(30);
	char name[32];
	mqd_t q;

	snprintf(name, sizeof name, "/check.%d", getpid());
	q = mq_open(name, O_RDWR | O_CREAT | O_EXCL, 0600, NULL);
	if (q < 0)
		return;
	CHECK(!mq_notify(q, &event) && !mq_send(q, "x", 1, 0) && !sem_wait(&notified));
	CHECK(map[30 * PAGE + 6] == 'n' && !mq_close(q) && !mq_unlink(name));
}

static void in_threads(void)
{
	CHECK(!sem_init(&notified, 0, 0) && !madvise(map, SIZE, MADV_DONTNEED));
	by_timers();
	by_queue();
}

int main(int argc, char **argv)
{
	static const struct test_case cases[] = {
		{"unblocked", comes_when_unblocked}, {"waited", is_waited_for}, {"suspended", is_suspended_for},
		{"kills", kills_when_unblocked},     {"threads", in_threads},
	};
	struct sigaction act = {.sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO};

	(void)argc;
	map = map_file(pattern_file(SIZE), SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE);
	sigemptyset(&sigbus);
	sigaddset(&sigbus, SIGBUS);
	CHECK(!sigaction(SIGBUS, &act, NULL));
	return run_cases(cases, ARRAY_SIZE(cases), argv + 1);
}
