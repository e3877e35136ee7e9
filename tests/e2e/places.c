/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Threads that map, unmap, protect and advise the same places at once, some for a file and some for memory: no byte of the file changes. Each
 * munmap(2) and madvise(2) waits a moment at the kernel's door, where that is allowed: by then the place may be another's.
 */
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>

#include "check.h"

#define PAGES 512UL
#define PLACES 32UL /* pages, within which all happens */
#define THREADS 4

static char *arena;
static int fd;
static atomic_bool stop;
static _Thread_local sigjmp_buf failed;

/* ---- The door ---- */

static atomic_int door = -1;

static void sleep_us(long us)
{
	nanosleep(&(struct timespec){.tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000}, NULL);
}

static void *keep_door(void *arg)
{
	while (atomic_load(&door) < 0)
		sleep_us(1000);
	for (;;) {
		struct seccomp_notif call = {.id = 0};
		struct seccomp_notif_resp go = {.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE};

		if (ioctl(atomic_load(&door), SECCOMP_IOCTL_NOTIF_RECV, &call))
			continue;
		sleep_us(100);
		go.id = call.id;
		ioctl(atomic_load(&door), SECCOMP_IOCTL_NOTIF_SEND, &go);
	}
	return arg;
}

/* For this thread and those that it creates from now on. */
static void put_up_door(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_munmap, 1, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_madvise, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog filter = {.len = ARRAY_SIZE(code), .filter = code};
	pthread_t t;
	int listener;

	CHECK(!pthread_create(&t, NULL, keep_door, NULL));
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	listener = (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &filter);
	if (listener >= 0)
		atomic_store(&door, listener);
	else
		printf("places: without delays: %s\n", strerror(errno));
}

/* ---- The threads ---- */

static void on_signal(int sig)
{
	(void)sig;
	siglongjmp(failed, 1);
}

static unsigned next(unsigned *seed)
{
	*seed = *seed * 1664525u + 1013904223u;
	return *seed >> 8;
}

/* What it reads may be of a mapping of memory by now; what it stores is what the file has there. */
static void store_same(char *p, size_t page)
{
	if (!sigsetjmp(failed, 1))
		*(volatile char *)p = (char)pattern(page * PAGE);
}

static void one_call(unsigned *seed)
{
	size_t page = next(seed) % PLACES, n = next(seed) % 8 + 1, len = n * PAGE;
	char *p = arena + page * PAGE;

	switch (next(seed) % 8) {
	case 0:
	case 1:
	case 2:
		mmap(p, len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, (off_t)(page * PAGE));
		break;
	case 3:
		mmap(p, len, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
		break;
	case 4:
		munmap(p, len);
		break;
	case 5:
		mprotect(p, len, next(seed) % 2 ? PROT_READ | PROT_WRITE : PROT_READ);
		break;
	case 6:
		madvise(p, len, MADV_DONTNEED);
		break;
	case 7:
		store_same(p, page);
		break;
	}
}

static void check_page(size_t page)
{
	char buf[PAGE];

	CHECK(pread(fd, buf, PAGE, (off_t)(page * PAGE)) == (ssize_t)PAGE);
	for (size_t i = 0; i < PAGE; i++)
		CHECK((uint8_t)buf[i] == pattern(page * PAGE + i));
}

static void *change(void *arg)
{
	unsigned seed = (unsigned)(uintptr_t)arg * 7919 + 1;

	while (!atomic_load(&stop))
		one_call(&seed);
	return NULL;
}

static void *look(void *arg)
{
	unsigned seed = (unsigned)(uintptr_t)arg;

	while (!atomic_load(&stop))
		check_page(next(&seed) % (PLACES + 8));
	return NULL;
}

int main(int argc, char **argv)
{
	long ms = argc > 1 ? atol(argv[1]) : 1000;
	pthread_t t[THREADS + 1];

	fd = pattern_file(PAGES * PAGE);
	arena = mmap(NULL, (PLACES + 8) * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(arena != MAP_FAILED);
	CHECK(map_file(fd, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED)); /* something is mapped for all the time */
	signal(SIGSEGV, on_signal);
	signal(SIGBUS, on_signal);
	put_up_door();
	for (size_t i = 0; i <= THREADS; i++)
		CHECK(!pthread_create(&t[i], NULL, i < THREADS ? change : look, (void *)i));
	sleep_us(ms * 1000);
	atomic_store(&stop, true);
	for (size_t i = 0; i <= THREADS; i++)
		pthread_join(t[i], NULL);
	for (size_t i = 0; i < PAGES; i++)
		check_page(i);
	return 0;
}
