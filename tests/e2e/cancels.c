/* SPDX-License-Identifier: Apache-2.0 */
/* Threads that are cancelled in calls which wait to fill mapped memory: it is given up with them, and can be locked, and leave memory, as before. */
#include <pthread.h>
#include <signal.h>
#include <sys/msg.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "check.h"

#define MIB (1UL << 20)
#define MAPPED (20 * MIB) /* more than half of the budget; a call pins no more than a fraction */
#define LOCKED (10 * MIB)

static char *map;
static int from, queue;

static void by_read(char *to)
{
	read(from, to, MIB / 4);
}

static void by_readv(char *to)
{
	struct iovec iov[2] = {{to, MIB / 2}, {to + MIB / 2, MIB / 2}};

	readv(from, iov, 2);
}

static void by_recv(char *to)
{
	recv(from, to, MIB, 0);
}

static void by_recvfrom(char *to)
{
	struct sockaddr address;
	socklen_t len = sizeof address;

	recvfrom(from, to, MIB, 0, &address, &len);
}

static void by_recvmsg(char *to)
{
	struct iovec iov = {to, MIB};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};

	recvmsg(from, &m, 0);
}

static void by_recvmmsg(char *to)
{
	struct iovec iov = {to, MIB};
	struct mmsghdr m = {.msg_hdr = {.msg_iov = &iov, .msg_iovlen = 1}};

	recvmmsg(from, &m, 1, 0, NULL);
}

static void by_msgrcv(char *to)
{
	msgrcv(queue, to, MIB - sizeof(long), 0, 0);
}

struct waiter {
	void (*call)(char *to);
	char *to;
};

static void *in_thread(void *arg)
{
	const struct waiter *w = arg;

	w->call(w->to);
	return NULL;
}

static void cancel_in(void (*call)(char *to), char *to)
{
	struct waiter w = {call, to};
	pthread_t thread;
	void *result;

	CHECK(!pthread_create(&thread, NULL, in_thread, &w));
	usleep(5000);
	CHECK(!pthread_cancel(thread) && !pthread_join(thread, &result) && result == PTHREAD_CANCELED);
}

static void lock_some(void)
{
	CHECK(!mlock(map, LOCKED) && !munlock(map, LOCKED));
}

static void calls(void)
{
	static void (*const all[])(char *to) = {by_read, by_readv, by_recv, by_recvfrom, by_recvmsg, by_recvmmsg, by_msgrcv};
	int fd = pattern_file(PAGE), pair[2];

	CHECK(!ftruncate(fd, (off_t)MAPPED) && !socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	map = map_file(fd, MAPPED, PROT_READ | PROT_WRITE, MAP_SHARED);
	from = pair[0];
	CHECK((queue = msgget(IPC_PRIVATE, 0600)) >= 0);
	if (mlock(map, LOCKED)) /* nobody may lock so much here */
		goto out;
	CHECK(!munlock(map, LOCKED));
	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		for (size_t at = 0; at < MAPPED; at += MIB)
			cancel_in(all[i], map + at);
		lock_some();
	}
	CHECK(map[0] == (char)pattern(0) && write(pair[1], "text", 4) == 4 && read(from, map, 4) == 4 && !memcmp(map, "text", 4));
out:
	CHECK(!msgctl(queue, IPC_RMID, NULL) && !munmap(map, MAPPED) && !close(fd) && !close(pair[0]) && !close(pair[1]));
}

static void by_vmsplice(char *bytes)
{
	struct iovec iov = {bytes, MIB};

	vmsplice(from, &iov, 1, 0);
}

static size_t mapped_bytes(void)
{
	FILE *f = fopen("/proc/self/statm", "r");
	size_t pages = 0;

	CHECK(f && fscanf(f, "%zu", &pages) == 1 && !fclose(f));
	return pages * PAGE;
}

/* What a pipe is given is a copy, which goes when the call is cancelled. */
static void copies(void)
{
	int fd = pattern_file(PAGE), ends[2];
	size_t before;

	CHECK(!ftruncate(fd, (off_t)MAPPED) && !pipe(ends));
	map = map_file(fd, MAPPED, PROT_READ | PROT_WRITE, MAP_SHARED);
	from = ends[1];
	by_vmsplice(map); /* as much as there is room for */
	before = mapped_bytes();
	for (size_t i = 0; i < MAPPED; i += MIB)
		cancel_in(by_vmsplice, map + i);
	CHECK(mapped_bytes() < before + MAPPED / 2);
	CHECK(!munmap(map, MAPPED) && !close(fd) && !close(ends[0]) && !close(ends[1]));
}

/* As cancelled, by the thread's own handler. */
static void leave(int sig)
{
	(void)sig;
	pthread_exit(PTHREAD_CANCELED);
}

static void left_by_a_handler(void)
{
	int fd = pattern_file(PAGE), ends[2];

	CHECK(!ftruncate(fd, (off_t)MAPPED) && !pipe(ends) && signal(SIGUSR1, leave) != SIG_ERR);
	map = map_file(fd, MAPPED, PROT_READ | PROT_WRITE, MAP_SHARED);
	from = ends[0];
	if (!mlock(map, LOCKED)) {
		CHECK(!munlock(map, LOCKED));
		for (size_t at = 0; at < MAPPED; at += MIB / 4) {
			struct waiter w = {by_read, map + at};
			pthread_t thread;

			CHECK(!pthread_create(&thread, NULL, in_thread, &w));
			usleep(5000);
			CHECK(!pthread_kill(thread, SIGUSR1) && !pthread_join(thread, NULL));
		}
		lock_some();
	}
	CHECK(!munmap(map, MAPPED) && !close(fd) && !close(ends[0]) && !close(ends[1]));
}

int main(int argc, char **argv)
{
	static const struct test_case cases[] = {{"calls", calls}, {"copies", copies}, {"left_by_a_handler", left_by_a_handler}};

	(void)argc;
	alarm(120);
	return run_cases(cases, ARRAY_SIZE(cases), argv + 1);
}
