/* SPDX-License-Identifier: Apache-2.0 */
/*
 * System calls that read pages of a private mapping while another thread stores to them for the first time: copies DIRECTORY CALLS. Each call gets all, and
 * right but for the byte that is stored to; none says EFAULT.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PAGE 4096UL
#define PAGES (32UL << 8)
#define PART 16 /* pages that are written and stored to together */
#define STORED 8

static char *map;
static _Atomic unsigned long turn;
static _Atomic bool ended;

static size_t first_of(unsigned long n)
{
	return n * 37 % (PAGES - PART);
}

static void *store(void *unused)
{
	for (unsigned long seen = 0; !atomic_load(&ended);) {
		unsigned long now = atomic_load(&turn);

		for (size_t i = 0; now != seen && i < PART; i++)
			((volatile char *)map)[(first_of(now) + i) * PAGE + STORED] = 1;
		seen = now;
	}
	return unused;
}

static void make_file(const char *dir)
{
	static char page[PAGE];
	char path[256];
	int fd;

	snprintf(path, sizeof path, "%s/copies-XXXXXX", dir);
	fd = mkstemp(path);
	for (size_t i = 0; i <= PAGES; i++) { /* the last one of zeros, where strings end */
		memset(page, (int)i, PAGE);
		if (write(fd, page, PAGE) != (ssize_t)PAGE)
			exit(2);
	}
	unlink(path);
	map = mmap(NULL, (PAGES + 1) * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	if (map == MAP_FAILED)
		exit(2);
	close(fd);
}

/* ---- Ways to give a part, by one buffer or by one for each half ---- */

static ssize_t by_write(int fd, char *from, size_t len)
{
	return write(fd, from, len);
}

static ssize_t by_writev(int fd, char *from, size_t len)
{
	struct iovec halves[] = {{from, len / 2}, {from + len / 2, len / 2}};

	return writev(fd, halves, 2);
}

static ssize_t by_vmsplice(int fd, char *from, size_t len)
{
	struct iovec halves[] = {{from, len / 2}, {from + len / 2, len / 2}};

	return vmsplice(fd, halves, 2, 0);
}

/* With a descriptor, which comes once. */
static ssize_t by_sendmsg(int fd, char *from, size_t len)
{
	struct iovec halves[] = {{from, len / 2}, {from + len / 2, len / 2}};
	union {
		char room[CMSG_SPACE(sizeof fd)];
		struct cmsghdr head;
	} control = {.head = {.cmsg_len = CMSG_LEN(sizeof fd), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS}};
	struct msghdr m = {.msg_iov = halves, .msg_iovlen = 2, .msg_control = &control, .msg_controllen = sizeof control};

	memcpy(CMSG_DATA(&control.head), &fd, sizeof fd);
	return sendmsg(fd, &m, 0);
}

/* A message for each half. */
static ssize_t by_sendmmsg(int fd, char *from, size_t len)
{
	struct iovec halves[] = {{from, len / 2}, {from + len / 2, len / 2}};
	struct mmsghdr m[] = {{.msg_hdr = {.msg_iov = &halves[0], .msg_iovlen = 1}}, {.msg_hdr = {.msg_iov = &halves[1], .msg_iovlen = 1}}};

	return sendmmsg(fd, m, 2, 0) == 2 ? (ssize_t)m[0].msg_len + m[1].msg_len : -1;
}

enum between { PIPE, STREAM, DATAGRAMS, BETWEEN };

static const struct way {
	const char *name;
	ssize_t (*give)(int fd, char *from, size_t len);
	enum between between;
	int messages; /* of a datagram socket: so many, each of which comes whole; of a stream: in how many pieces it may come */
	int descriptors;
} ways[] = {
	{"write", by_write, PIPE, 1, 0},
	{"writev", by_writev, PIPE, 1, 0},
	{"writev of a datagram", by_writev, DATAGRAMS, 1, 0},
	{"vmsplice", by_vmsplice, PIPE, 1, 0},
	{"sendmsg", by_sendmsg, STREAM, 1000, 1},
	{"sendmsg of a datagram", by_sendmsg, DATAGRAMS, 1, 1},
	{"sendmmsg", by_sendmmsg, STREAM, 1000, 0},
	{"sendmmsg of datagrams", by_sendmmsg, DATAGRAMS, 2, 0},
};

static int ends[BETWEEN][2];

static bool make_ends(void)
{
	int room = 8 * PART * PAGE;

	if (pipe(ends[PIPE]) || fcntl(ends[PIPE][1], F_SETPIPE_SZ, 2 * PART * PAGE) < 0)
		return false;
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends[STREAM]) || socketpair(AF_UNIX, SOCK_DGRAM, 0, ends[DATAGRAMS]))
		return false;
	return !setsockopt(ends[STREAM][1], SOL_SOCKET, SO_SNDBUF, &room, sizeof room) &&
	       !setsockopt(ends[DATAGRAMS][1], SOL_SOCKET, SO_SNDBUF, &room, sizeof room);
}

/* Bytes of one message, or what a pipe has; how many descriptors came with them. */
static ssize_t receive(const struct way *w, char *to, size_t len, int *descriptors)
{
	union {
		char room[CMSG_SPACE(sizeof(int))];
		struct cmsghdr head;
	} control;
	struct iovec v = {to, len};
	struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
	ssize_t n = w->between == PIPE ? read(ends[PIPE][0], to, len) : recvmsg(ends[w->between][0], &m, 0);
	struct cmsghdr *c = w->between == PIPE || n < 0 ? NULL : CMSG_FIRSTHDR(&m);
	int fd;

	if (c) {
		memcpy(&fd, CMSG_DATA(c), sizeof fd);
		close(fd);
		(*descriptors)++;
	}
	return n;
}

static bool comes_whole(const struct way *w, char *to, size_t len)
{
	int descriptors = 0, messages = 0;
	ssize_t n = 1;
	size_t done = 0;

	for (; done < len && n > 0; done += n > 0 ? (size_t)n : 0, messages++)
		n = receive(w, to + done, len - done, &descriptors);
	return done == len && messages <= w->messages && descriptors == w->descriptors;
}

static bool is_right(const char *got, size_t page, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (got[i] != (char)(page + i / PAGE) && i % PAGE != STORED)
			return false;
	return true;
}

/* Whether all goes well. */
static bool give_part(const struct way *w, size_t first)
{
	static char got[PART * PAGE];

	if (w->give(ends[w->between][1], map + first * PAGE, sizeof got) != sizeof got)
		fprintf(stderr, "copies: %s stops short: %m\n", w->name);
	else if (!comes_whole(w, got, sizeof got))
		fprintf(stderr, "copies: %s was divided\n", w->name);
	else if (!is_right(got, first, sizeof got))
		fprintf(stderr, "copies: %s gave other bytes\n", w->name);
	else
		return true;
	return false;
}

#define STRUCTS 8

/* What is there makes no sense to these calls, but it can be read. */
static bool is_refused(unsigned call, const void *at)
{
	static char path[] = "/bin/true", *none[] = {NULL};
	char *argv[] = {path, (char *)at, NULL};
	int error;
	pid_t pid;

	switch (call % STRUCTS) {
	case 0:
		return setsockopt(ends[STREAM][0], SOL_SOCKET, SO_RCVBUF, at, sizeof(int));
	case 1:
		return !access(at, F_OK) || errno == EFAULT;
	case 2:
		return opendir(at) || errno == EFAULT;
	case 3:
		return !truncate(at, 0) || errno == EFAULT;
	case 4:
		return fopen(at, "r") || errno == EFAULT;
	case 5:
		return !execve(at, none, none) || errno == EFAULT;
	case 6: /* mostly too long */
		error = posix_spawn(&pid, path, NULL, NULL, argv, none);
		errno = error;
		return error ? error == EFAULT : waitpid(pid, NULL, 0) != pid;
	default:
		return clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, at, NULL) == EFAULT;
	}
}

/* Each page until it is stored to. */
static bool read_structs(size_t first)
{
	static unsigned call;

	for (size_t i = 0; i < PART; call++) {
		char *page = map + (first + i) * PAGE;

		i += ((volatile char *)page)[STORED] == 1;
		if (!is_refused(call, page + 64))
			continue;
		fprintf(stderr, "copies: a struct, or a path, cannot be read (%u): %m\n", call % STRUCTS);
		return false;
	}
	return true;
}

int main(int argc, char **argv)
{
	unsigned long calls = argc > 2 ? strtoul(argv[2], NULL, 10) : 0, kinds = sizeof ways / sizeof *ways + 1, kind;
	pthread_t thread;
	bool fine = true;

	if (!calls || !make_ends())
		return 2;
	make_file(argv[1]);
	pthread_create(&thread, NULL, store, NULL);
	for (unsigned long n = 1; n <= calls && fine; n++) {
		kind = n % kinds;
		atomic_store(&turn, n);
		fine = kind + 1 < kinds ? give_part(&ways[kind], first_of(n)) : read_structs(first_of(n));
		if (n % 500 == 0)
			madvise(map, PAGES * PAGE, MADV_DONTNEED);
	}
	atomic_store(&ended, true);
	pthread_join(thread, NULL);
	return !fine;
}
