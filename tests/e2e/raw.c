/* SPDX-License-Identifier: Apache-2.0 */
/* System calls by number, next to a mapped file: they see it, and are seen, as libc's functions. */
#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include "check.h"

#define SIZE (2UL << 20)

struct raw_action {
	void *handler;
	uint64_t flags;
	void *restorer;
	uint64_t mask;
};

#define SIGBUS_BIT (1UL << (SIGBUS - 1))
#define SIGUSR1_BIT (1UL << (SIGUSR1 - 1))

static void memory(void)
{
	int fd = pattern_file(SIZE);
	char *p = (char *)syscall(SYS_mmap, NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0L);

	CHECK(p != MAP_FAILED && (uint8_t)p[77] == pattern(77));
	CHECK(!syscall(SYS_mprotect, p, PAGE, PROT_READ));
	CHECK(!syscall(SYS_mlock2, p, PAGE, 0));
	FAILS(EBUSY, syscall(SYS_msync, p, PAGE, MS_ASYNC | MS_INVALIDATE));
	CHECK(!syscall(SYS_munlock, p, PAGE));
	CHECK(!syscall(SYS_mlockall, MCL_CURRENT | MCL_ONFAULT) && !syscall(SYS_munlockall));
	p = (char *)syscall(SYS_mremap, p, SIZE, SIZE / 2, 0);
	CHECK(p != MAP_FAILED && !syscall(SYS_munmap, p, SIZE / 2));
	close(fd);
}

static void files(void)
{
	int fd = pattern_file(SIZE);
	char *p = map_file(fd, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED), small[8] = "by call";
	struct iovec v = {small, sizeof small};

	CHECK(syscall(SYS_pwritev, fd, &v, 1, 5000L, 0L) == sizeof small && !strcmp(p + 5000, "by call"));
	strcpy(p + 9000, "stored");
	CHECK(syscall(SYS_preadv2, fd, &v, 1, 9000L, 0L, 0) == sizeof small && !strcmp(small, "stored"));
	v = (struct iovec){p + SIZE / 2, PAGE};
	CHECK(syscall(SYS_preadv, fd, &v, 1, 0L, 0L) == (long)PAGE && (uint8_t)p[SIZE / 2 + 9] == pattern(9));
	CHECK(syscall(SYS_lseek, fd, 0L, SEEK_SET) == 0 && syscall(SYS_write, fd, "first", 5L) == 5 && !memcmp(p, "first", 5));
	CHECK(!syscall(SYS_ftruncate, fd, 3 * PAGE) && !syscall(SYS_ftruncate, fd, SIZE) && p[3 * PAGE] == 0);
	CHECK(!syscall(SYS_fallocate, fd, 3, 0L, (long)PAGE) && p[0] == 0); /* a hole */
	CHECK(!munmap(p, SIZE));
	close(fd);
}

/* As the kernel has the file: no wrapper sees it. */
static char byte_of_file(int fd, long at)
{
	register long r10 __asm__("r10") = at;
	char c = 0;
	long result;

	__asm__ volatile("syscall"
			 : "=a"(result)
			 : "0"((long)SYS_pread64), "D"((long)fd), "S"(&c), "d"(1L), "r"(r10)
			 : "rcx", "r11", "memory");
	CHECK(result == 1);
	return c;
}

static void all_files(void)
{
	int fd = pattern_file(SIZE);
	char *p = map_file(fd, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED);

	p[7] = 's';
	CHECK(!syscall(SYS_sync) && byte_of_file(fd, 7) == 's');
	CHECK(!munmap(p, SIZE));
	close(fd);
}

static void *end_thread(void *arg)
{
	(void)arg;
	syscall(SYS_exit, 4);
	return NULL;
}

static char *stores;
static int stored;

static void store_and_end(void)
{
	char *q = map_file(pattern_file(SIZE), SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE);
	pthread_t thread;

	stores[9] = 'e';
	for (size_t at = 0; at < SIZE; at += PAGE)
		q[at] = 1; /* so much that a thread of a host's client may be needed to give it back */
	CHECK(!pthread_create(&thread, NULL, end_thread, NULL) && !pthread_join(thread, NULL));
	stores[10] = 'e';
	syscall(SYS_exit, 3);
}

static pthread_barrier_t both;

static void *store_beside(void *arg)
{
	(void)arg;
	stores[9] = 'e';
	pthread_barrier_wait(&both);
	syscall(SYS_exit, 4);
	return NULL;
}

static void end_both_at_once(void)
{
	pthread_t thread;

	CHECK(!pthread_barrier_init(&both, NULL, 2) && !pthread_create(&thread, NULL, store_beside, NULL));
	stores[10] = 'e';
	pthread_barrier_wait(&both);
	syscall(SYS_exit, 3);
}

/* Goes on when the first thread has ended, which is a zombie as long as others are there. */
static void *store_after_first(void *arg)
{
	char path[64], text[256] = "", *other;
	int fd;

	(void)arg;
	snprintf(path, sizeof path, "/proc/self/task/%d/stat", getpid());
	do {
		fd = open(path, O_RDONLY);
		CHECK(fd >= 0 && read(fd, text, sizeof text - 1) > 0);
		close(fd);
	} while (!strstr(text, ") Z "));
	stores[9] = 's';
	CHECK(!msync(stores, SIZE, MS_SYNC) && byte_of_file(stored, 9) == 's');
	other = map_file(pattern_file(SIZE), SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE);
	CHECK((uint8_t)other[77] == pattern(77) && pwrite(stored, other + PAGE, PAGE, 0) == (long)PAGE &&
	      stores[5] == (char)pattern(PAGE + 5));
	stores[9] = stores[10] = 'e';
	syscall(SYS_exit, 4);
	return NULL;
}

static void end_first(void)
{
	pthread_t thread;

	CHECK(!pthread_create(&thread, NULL, store_after_first, NULL));
	syscall(SYS_exit, 3);
}

/* The end of a process is that of its last thread, and its status too; before Linux 5.19 it is that of the first. */
static void ends_as(void (*in_child)(void))
{
	int fd = pattern_file(SIZE), status;
	pid_t child = fork();

	if (!child) {
		stored = fd;
		stores = map_file(fd, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED);
		in_child();
	}
	CHECK(child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status));
	CHECK(WEXITSTATUS(status) == 3 || (in_child != store_and_end && WEXITSTATUS(status) == 4));
	CHECK(byte_of_file(fd, 9) == 'e' && byte_of_file(fd, 10) == 'e');
	close(fd);
}

static void ends(void)
{
	for (int i = 0; i < 8; i++) {
		ends_as(store_and_end);
		ends_as(end_both_at_once);
	}
	ends_as(end_first);
}

static volatile sig_atomic_t caught;

static void on_signal(int sig)
{
	caught = sig;
}

/* The program's view of dispositions and masks; faults are served throughout. */
static void signals(void)
{
	struct raw_action act, old;
	uint64_t all = ~0UL, before, now;
	struct sigaction as_libc;
	int fd = pattern_file(SIZE);
	char *p = map_file(fd, SIZE, PROT_READ, MAP_SHARED);

	CHECK((uint8_t)p[0] == pattern(0));
	CHECK(!sigaction(SIGUSR1, &(struct sigaction){.sa_handler = on_signal, .sa_flags = SA_RESTART}, NULL));
	CHECK(!syscall(SYS_rt_sigaction, SIGUSR1, NULL, &act, 8L)); /* with libc's way back from a handler */
	act.mask = SIGBUS_BIT | SIGUSR1_BIT;
	CHECK(!syscall(SYS_rt_sigaction, SIGBUS, &act, &old, 8L) && old.handler == (void *)SIG_DFL);
	CHECK(!syscall(SYS_rt_sigaction, SIGBUS, NULL, &old, 8L) && old.handler == (void *)on_signal);
	CHECK((old.mask & SIGUSR1_BIT) && (old.flags & SA_RESTART));
	CHECK(!sigaction(SIGBUS, NULL, &as_libc) && as_libc.sa_handler == on_signal);
	act.mask = SIGBUS_BIT;
	CHECK(!syscall(SYS_rt_sigaction, SIGUSR1, &act, NULL, 8L));
	CHECK(!syscall(SYS_rt_sigaction, SIGUSR1, NULL, &old, 8L) && old.mask == SIGBUS_BIT);
	FAILS(EINVAL, syscall(SYS_rt_sigaction, SIGUSR1, &old, NULL, 4L));
	CHECK(!syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, &before, 8L));
	CHECK(!syscall(SYS_rt_sigprocmask, SIG_SETMASK, NULL, &now, 8L) && (now & SIGBUS_BIT) && !(before & SIGBUS_BIT));
	for (size_t at = 0; at < SIZE; at += PAGE)
		CHECK((uint8_t)p[at] == pattern(at)); /* a fault with all signals blocked */
	CHECK(!syscall(SYS_rt_sigprocmask, SIG_SETMASK, &before, NULL, 8L));
	CHECK(!raise(SIGUSR1) && caught == SIGUSR1);
	CHECK(!raise(SIGBUS) && caught == SIGBUS);
	CHECK(!munmap(p, SIZE));
	close(fd);
}

static char *touched;

static void on_signal_that_touches(int sig)
{
	caught = (uint8_t)touched[SIZE / 2] == pattern(SIZE / 2) ? sig : 0;
}

/* A handler that runs in a call with a mask that has SIGBUS, which is blocked in it to the program: what it touches comes in all the same. */
static void masks_of_calls(void)
{
	uint64_t usr1 = SIGUSR1_BIT, bus = SIGBUS_BIT;
	struct {
		const uint64_t *set;
		size_t size;
	} mask = {&bus, 8};
	int fd = pattern_file(SIZE), epoll = epoll_create1(0);

	CHECK(!sigaction(SIGUSR1, &(struct sigaction){.sa_handler = on_signal_that_touches}, NULL) && epoll >= 0);
	for (int i = 0; i < 2; i++) {
		struct epoll_event e;

		touched = map_file(fd, SIZE, PROT_READ, MAP_SHARED);
		CHECK(!syscall(SYS_rt_sigprocmask, SIG_BLOCK, &usr1, NULL, 8L) && !raise(SIGUSR1));
		caught = 0;
		if (i)
			FAILS(EINTR, syscall(SYS_pselect6, 0, NULL, NULL, NULL, NULL, &mask));
		else if (syscall(SYS_epoll_pwait2, epoll, &e, 1, NULL, &bus, 8L) && errno != ENOSYS)
			CHECK(errno == EINTR);
		CHECK(!syscall(SYS_rt_sigprocmask, SIG_UNBLOCK, &usr1, NULL, 8L) && caught == SIGUSR1);
		CHECK(!munmap(touched, SIZE));
	}
	close(epoll);
	close(fd);
}

int main(int argc, char **argv)
{
	static const struct test_case cases[] = {{"memory", memory}, {"files", files},     {"all_files", all_files},
						 {"ends", ends},     {"signals", signals}, {"masks_of_calls", masks_of_calls}};

	(void)argc;
	return run_cases(cases, ARRAY_SIZE(cases), argv + 1);
}
