/* SPDX-License-Identifier: Apache-2.0 */
/* Messages of a stream whose buffers are mapped, and more than memory: all of it is sent, once, in order, with what else the message has. */
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include "check.h"

#define SIZE (48UL << 20)
#define PIECES 3

static uint64_t word_of(size_t page)
{
	return (page + 1) * 0x9e3779b97f4a7c15ull;
}

static char *map_large(void)
{
	char name[] = "messages.XXXXXX";
	int fd = mkstemp(name);

	CHECK(fd >= 0 && !unlink(name) && !ftruncate(fd, SIZE));
	return map_file(fd, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED);
}

/* Two pieces, and an empty one before. */
static void divide(struct iovec v[PIECES], char *map)
{
	v[0] = (struct iovec){map, 0};
	v[1] = (struct iovec){map, SIZE / 3 + 5};
	v[2] = (struct iovec){map + SIZE / 3 + 5, SIZE - SIZE / 3 - 5};
}

static void receive_all(int from)
{
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control;
	char *map = map_large();
	struct stat st;
	int fd = -1;

	for (size_t done = 0; done < SIZE;) {
		struct iovec v = {map + done, SIZE - done};
		struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
		ssize_t n = recvmsg(from, &m, 0);

		CHECK(n > 0 && m.msg_iov == &v && m.msg_iovlen == 1);
		if (m.msg_controllen)
			memcpy(&fd, CMSG_DATA(&control.header), sizeof fd);
		done += (size_t)n;
	}
	CHECK(fd >= 0 && !fstat(fd, &st) && recv(from, &(char){0}, 1, 0) == 0);
	for (size_t at = 0; at < SIZE; at += PAGE)
		CHECK(*(uint64_t *)(map + at) == word_of(at / PAGE));
	_exit(0);
}

int main(void)
{
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = {.header = {.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS}};
	struct iovec v[PIECES];
	struct msghdr m = {.msg_iov = v, .msg_iovlen = PIECES, .msg_control = &control, .msg_controllen = sizeof control};
	int pair[2], status;
	char *map;
	pid_t child;

	CHECK(!socketpair(AF_UNIX, SOCK_STREAM, 0, pair) && (child = fork()) >= 0);
	if (!child) {
		close(pair[0]);
		receive_all(pair[1]);
	}
	close(pair[1]);
	map = map_large();
	for (size_t at = 0; at < SIZE; at += PAGE)
		*(uint64_t *)(map + at) = word_of(at / PAGE);
	divide(v, map);
	memcpy(CMSG_DATA(&control.header), &(int){0}, sizeof(int));
	CHECK(sendmsg(pair[0], &m, 0) == (ssize_t)SIZE && !close(pair[0]));
	CHECK(waitpid(child, &status, 0) == child && !status);
	return 0;
}
