/* SPDX-License-Identifier: Apache-2.0 */
/*
 * delayed COMMAND...: runs the command with delays at the kernel's door. Some of the system calls below wait for a random time before the kernel
 * looks at them, in the command and all that it starts: what threads do within microseconds of each other, and nearly always in one order,
 * comes in every order. FAULTLINE_DELAY_US (300): the longest delay; FAULTLINE_DELAY_SEED (1).
 *
 * seccomp(2) tells a supervisor of each call, which lets it go on later. Exit status: the command's; 77 where that is refused.
 */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SUPERVISORS 8
#define COUNT(a) (sizeof(a) / sizeof(a)[0])

static const int delayed[] = {
	SYS_mmap,
	SYS_munmap,
	SYS_mprotect,
	SYS_mremap,
	SYS_madvise,
	SYS_process_madvise,
	SYS_msync,
	SYS_ioctl,
	SYS_futex,
	SYS_fallocate,
	SYS_ftruncate,
	SYS_pread64,
	SYS_pwrite64,
	SYS_preadv,
	SYS_pwritev,
	SYS_process_vm_readv,
	SYS_process_vm_writev,
	SYS_io_submit,
	SYS_io_getevents,
	SYS_io_uring_enter,
	SYS_sendmsg,
	SYS_recvmsg,
	SYS_close,
	SYS_openat,
	SYS_fcntl,
	SYS_fstat,
	SYS_rt_sigprocmask,
	SYS_exit,
	SYS_exit_group,
	SYS_fsync,
	SYS_fdatasync,
};

static atomic_int listener = -1;
static unsigned long longest_us = 300;
static unsigned first_seed = 1;

static void sleep_us(unsigned long us)
{
	nanosleep(&(struct timespec){.tv_sec = (long)(us / 1000000), .tv_nsec = (long)(us % 1000000 * 1000)}, NULL);
}

static unsigned next(unsigned *seed)
{
	*seed = *seed * 1664525u + 1013904223u;
	return *seed >> 8;
}

/* Most calls go on at once, some wait for long: a thread must get ahead of others now and then. */
static void delay(unsigned *seed)
{
	unsigned n = next(seed) % 16;

	if (n < 3)
		sleep_us(next(seed) % longest_us);
	else if (n == 3)
		sleep_us(next(seed) % (longest_us / 10 + 1));
}

static void *supervise(void *arg)
{
	unsigned seed = first_seed * 8191 + (unsigned)(size_t)arg;

	while (atomic_load(&listener) < 0)
		sleep_us(1000);
	for (;;) {
		struct seccomp_notif call = {.id = 0};
		struct seccomp_notif_resp go = {.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE};

		if (ioctl(atomic_load(&listener), SECCOMP_IOCTL_NOTIF_RECV, &call)) {
			if (errno != EINTR && errno != ENOENT)
				return NULL;
			continue;
		}
		delay(&seed);
		go.id = call.id;
		ioctl(atomic_load(&listener), SECCOMP_IOCTL_NOTIF_SEND, &go);
	}
}

/* For this thread, and what it starts from now on. */
static int put_up_door(void)
{
	struct sock_filter code[COUNT(delayed) + 3] = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr))};
	struct sock_fprog filter = {.len = COUNT(code), .filter = code};
	size_t n = 1;

	for (size_t i = 0; i < COUNT(delayed); i++, n++)
		code[n] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)delayed[i], (unsigned char)(COUNT(delayed) - i),
						       0);
	code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF);
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &filter);
}

int main(int argc, char **argv)
{
	pthread_t t;
	int fd, status;
	pid_t child;

	if (argc < 2)
		return 2;
	if (getenv("FAULTLINE_DELAY_US"))
		longest_us = strtoul(getenv("FAULTLINE_DELAY_US"), NULL, 10) | 1;
	if (getenv("FAULTLINE_DELAY_SEED"))
		first_seed = (unsigned)strtoul(getenv("FAULTLINE_DELAY_SEED"), NULL, 10);
	for (size_t i = 0; i < SUPERVISORS; i++)
		if (pthread_create(&t, NULL, supervise, (void *)i))
			return 2;
	fd = put_up_door();
	if (fd < 0) {
		fprintf(stderr, "delayed: %s\n", strerror(errno));
		return 77;
	}
	atomic_store(&listener, fd);
	child = fork();
	if (child == 0) {
		execvp(argv[1], argv + 1);
		_exit(127);
	}
	if (child < 0 || waitpid(child, &status, 0) != child)
		return 2;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
