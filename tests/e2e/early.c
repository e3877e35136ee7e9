/* SPDX-License-Identifier: Apache-2.0 */
/*
 * early threads|processes: calls that change a file and begin before anybody has it mapped, and end after another thread, or process, has mapped it
 * and looked at it. Each waits at the kernel's door meanwhile. What they change is in the mapping afterwards, and stays in the file.
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
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>

#include "check.h"

#define SIZE (2UL << 20)
#define LONGER (SIZE + (1UL << 20))
#define AT (300 * PAGE)
#define NEW 'N' /* no byte of the pattern at AT */
#define BESIDE 'B'
#define HOLD_MS 100
#define NAME "early.data"

static void sleep_ms(long ms)
{
	nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}, NULL);
}

/* ---- The calls ---- */

static const char fresh_bytes[PAGE] = {NEW};

static int temporary(void)
{
	char name[] = "early.XXXXXX";
	int fd = mkstemp(name);

	CHECK(fd >= 0 && !unlink(name) && write(fd, fresh_bytes, PAGE) == (ssize_t)PAGE);
	return fd;
}

static void call_pwrite(int fd)
{
	CHECK(pwrite(fd, fresh_bytes, 1, AT) == 1);
}

static void call_write(int fd)
{
	CHECK(lseek(fd, AT, SEEK_SET) == AT && write(fd, fresh_bytes, 1) == 1);
}

static void call_writev(int fd)
{
	struct iovec iov = {.iov_base = (void *)fresh_bytes, .iov_len = 1};

	CHECK(lseek(fd, AT, SEEK_SET) == AT && writev(fd, &iov, 1) == 1);
}

static void call_pwritev(int fd)
{
	struct iovec iov = {.iov_base = (void *)fresh_bytes, .iov_len = 1};

	CHECK(pwritev(fd, &iov, 1, AT) == 1);
}

static void call_fwrite(int fd)
{
	FILE *f = fdopen(dup(fd), "r+");

	CHECK(f && !fseek(f, AT, SEEK_SET) && fwrite(fresh_bytes, 1, 1, f) == 1 && !fflush(f) && !fclose(f));
}

static void call_fprintf(int fd)
{
	FILE *f = fdopen(dup(fd), "r+");

	CHECK(f && !setvbuf(f, NULL, _IONBF, 0) && !fseek(f, AT, SEEK_SET) && fprintf(f, "%c", NEW) == 1 && !fclose(f));
}

static void call_copy(int fd)
{
	off64_t from = 0, to = AT;

	CHECK(copy_file_range(temporary(), &from, fd, &to, 1, 0) == 1);
}

static void call_sendfile(int fd)
{
	off_t from = 0;

	CHECK(lseek(fd, AT, SEEK_SET) == AT && sendfile(fd, temporary(), &from, 1) == 1);
}

static void call_splice(int fd)
{
	int ends[2];
	off64_t to = AT;

	CHECK(!pipe(ends) && write(ends[1], fresh_bytes, 1) == 1 && splice(ends[0], NULL, fd, &to, 1, 0) == 1);
	close(ends[0]);
	close(ends[1]);
}

static void call_ftruncate(int fd)
{
	CHECK(!ftruncate(fd, LONGER));
}

static void call_fallocate(int fd)
{
	CHECK(!fallocate(fd, 0, SIZE, LONGER - SIZE));
}

static void call_truncate(int fd)
{
	(void)fd;
	CHECK(!truncate(NAME, PAGE));
}

static void call_open(int fd)
{
	(void)fd;
	CHECK((fd = open(NAME, O_RDWR | O_TRUNC)) >= 0 && !close(fd));
}

static void call_fopen(int fd)
{
	FILE *f = fopen(NAME, "w");

	(void)fd;
	CHECK(f && !fclose(f));
}

static const struct {
	const char *name;
	long nr;
	void (*call)(int fd);
	size_t size; /* of the file after it */
} cases[] = {
	{"pwrite", SYS_pwrite64, call_pwrite, SIZE},
	{"write", SYS_write, call_write, SIZE},
	{"writev", SYS_writev, call_writev, SIZE},
	{"pwritev", SYS_pwritev, call_pwritev, SIZE},
	{"fwrite", SYS_write, call_fwrite, SIZE},
	{"fprintf", SYS_write, call_fprintf, SIZE},
	{"copy_file_range", SYS_copy_file_range, call_copy, SIZE},
	{"sendfile", SYS_sendfile, call_sendfile, SIZE},
	{"splice", SYS_splice, call_splice, SIZE},
	{"ftruncate", SYS_ftruncate, call_ftruncate, LONGER},
	{"fallocate", SYS_fallocate, call_fallocate, LONGER},
	{"truncate", SYS_truncate, call_truncate, PAGE},
	{"open", SYS_openat, call_open, 0},
	{"fopen", SYS_openat, call_fopen, 0},
};

/* ---- Who calls, and the door ---- */

struct stage {
	atomic_int turn, wanted, at_door, mapped, done; /* turn, done: cases so far; wanted: a case whose call has not come yet, -1: none */
	atomic_int without_door;
};
static struct stage *stage;

static bool is_wanted(const struct seccomp_data *d)
{
	int c = atomic_load(&stage->wanted);
	bool cuts = cases[c < 0 ? 0 : c].nr == SYS_openat;

	/* The same call by its younger form is the same. */
	if (c < 0 || !(d->nr == cases[c].nr || (d->nr == SYS_pwritev2 && (cases[c].nr == SYS_writev || cases[c].nr == SYS_pwritev))))
		return false;
	return !cuts || (d->args[2] & O_TRUNC);
}

static void hold(void)
{
	atomic_store(&stage->wanted, -1);
	atomic_store(&stage->at_door, 1);
	for (int ms = 0; ms < HOLD_MS && !atomic_load(&stage->mapped); ms++)
		sleep_ms(1);
}

static atomic_int listener = -1;

static void *keep_door(void *arg)
{
	while (atomic_load(&listener) < 0)
		sleep_ms(1);
	for (;;) {
		struct seccomp_notif call = {.id = 0};
		struct seccomp_notif_resp go = {.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE};

		if (ioctl(atomic_load(&listener), SECCOMP_IOCTL_NOTIF_RECV, &call))
			continue;
		if (is_wanted(&call.data))
			hold();
		go.id = call.id;
		ioctl(atomic_load(&listener), SECCOMP_IOCTL_NOTIF_SEND, &go);
	}
	return arg;
}

#define AT_DOOR(nr) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, nr, 0, 1), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF)

static bool put_up_door(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		AT_DOOR(SYS_pwrite64),
		AT_DOOR(SYS_write),
		AT_DOOR(SYS_writev),
		AT_DOOR(SYS_pwritev),
		AT_DOOR(SYS_pwritev2),
		AT_DOOR(SYS_copy_file_range),
		AT_DOOR(SYS_sendfile),
		AT_DOOR(SYS_splice),
		AT_DOOR(SYS_ftruncate),
		AT_DOOR(SYS_fallocate),
		AT_DOOR(SYS_truncate),
		AT_DOOR(SYS_openat),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog filter = {.len = ARRAY_SIZE(code), .filter = code};
	pthread_t t;
	int fd;

	CHECK(!pthread_create(&t, NULL, keep_door, NULL));
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	fd = (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &filter);
	atomic_store(&listener, fd);
	return fd >= 0;
}

static void *caller(void *arg)
{
	if (!put_up_door()) {
		printf("early: not tried: %s\n", strerror(errno));
		atomic_store(&stage->without_door, 1);
		return arg;
	}
	for (int i = 0; i < (int)ARRAY_SIZE(cases); i++) {
		int fd;

		while (atomic_load(&stage->turn) <= i)
			sleep_ms(1);
		fd = open(NAME, O_RDWR);
		CHECK(fd >= 0);
		atomic_store(&stage->wanted, i);
		cases[i].call(fd);
		close(fd);
		atomic_store(&stage->done, i + 1);
	}
	return arg;
}

/* ---- Who maps ---- */

static sigjmp_buf beyond;

static void on_sigbus(int sig)
{
	(void)sig;
	siglongjmp(beyond, 1);
}

static bool is_there(const char *p)
{
	if (sigsetjmp(beyond, 1))
		return false;
	(void)*(const volatile char *)p;
	return true;
}

static void new_file(void)
{
	int from = pattern_file(SIZE), to = open(NAME, O_RDWR | O_CREAT | O_EXCL, 0600);
	off_t at = 0;

	CHECK(pattern(AT) != NEW && to >= 0 && sendfile(to, from, &at, SIZE) == (ssize_t)SIZE);
	CHECK(!close(from) && !close(to));
}

static void check_bytes(const char *bytes)
{
	CHECK(bytes[0] == NEW);
	CHECK(bytes[1] == BESIDE);
	CHECK((uint8_t)bytes[2] == pattern(AT + 2));
}

static void one_case(int i)
{
	struct stat st;
	volatile char *p;
	char bytes[3];
	int fd;

	new_file();
	fd = open(NAME, O_RDWR);
	atomic_store(&stage->mapped, 0);
	atomic_store(&stage->at_door, 0);
	atomic_store(&stage->turn, i + 1);
	for (int ms = 0; !atomic_load(&stage->at_door); ms++) {
		CHECK(ms < 20000 && "the call has not come");
		sleep_ms(1);
	}
	p = map_file(fd, LONGER, PROT_READ | PROT_WRITE, MAP_SHARED);
	if (is_there((char *)p + AT))
		p[AT + 1] = BESIDE;
	atomic_store(&stage->mapped, 1);
	while (atomic_load(&stage->done) <= i)
		sleep_ms(1);
	CHECK(is_there((char *)p + SIZE) == (cases[i].size > SIZE));
	CHECK(is_there((char *)p + AT) == (cases[i].size >= SIZE));
	if (cases[i].size == SIZE)
		check_bytes((char *)p + AT);
	CHECK(!msync((void *)p, LONGER, MS_SYNC) || cases[i].size < SIZE);
	CHECK(!munmap((void *)p, LONGER) && !fstat(fd, &st) && (size_t)st.st_size == cases[i].size);
	if (cases[i].size == SIZE) {
		CHECK(pread(fd, bytes, 3, AT) == 3);
		check_bytes(bytes);
	}
	CHECK(!close(fd) && !unlink(NAME));
}

int main(int argc, char **argv)
{
	bool threads = argc > 1 && !strcmp(argv[1], "threads");
	pthread_t t;
	pid_t child = 0;

	stage = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(stage != MAP_FAILED);
	atomic_store(&stage->wanted, -1);
	if (threads) {
		CHECK(!pthread_create(&t, NULL, caller, NULL));
	} else {
		child = fork();
		CHECK(child >= 0);
		if (!child) {
			prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
			caller(NULL);
			return 0;
		}
	}
	signal(SIGBUS, on_sigbus);
	for (int i = 0; i < (int)ARRAY_SIZE(cases) && !atomic_load(&stage->without_door); i++) {
		fprintf(stderr, "early: %s, %s\n", cases[i].name, threads ? "threads" : "processes");
		one_case(i);
	}
	if (!threads) {
		int status;

		CHECK(waitpid(child, &status, 0) == child && !status);
	}
	return 0;
}
