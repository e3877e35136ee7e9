/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs a program where userfaultfd is refused, as in many containers: a seccomp filter answers ERROR (an errno's number)
 * to userfaultfd(2) and to its twin, the ioctl of /dev/userfaultfd.
 *
 *     refuse ERROR PROGRAM [ARG...]
 *
 * or, with ":vm" after ERROR, only to process_vm_readv(2), process_vm_writev(2) and process_madvise(2), or with ":membarrier" to
 * membarrier(2): without these Faultline works, but otherwise.
 */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define NR offsetof(struct seccomp_data, nr)
#define REQUEST (offsetof(struct seccomp_data, args) + 8)
#define USERFAULTFD_IOC_NEW 0xaa00

#ifndef SYS_process_madvise
#define SYS_process_madvise 440
#endif

static int install(struct sock_filter *code, unsigned short len)
{
	struct sock_fprog filter = {.len = len, .filter = code};

	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter);
}

static int refuse_vm(unsigned error)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, NR),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_process_vm_readv, 2, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_process_vm_writev, 1, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_process_madvise, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};

	return install(code, sizeof code / sizeof code[0]);
}

static int refuse_membarrier(unsigned error)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, NR),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_membarrier, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};

	return install(code, sizeof code / sizeof code[0]);
}

static int refuse_userfaultfd(unsigned error)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, NR),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_userfaultfd, 3, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_ioctl, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, REQUEST),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, USERFAULTFD_IOC_NEW, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};

	return install(code, sizeof code / sizeof code[0]);
}

static int refuse(const char *what, unsigned error)
{
	if (strstr(what, ":vm"))
		return refuse_vm(error);
	return strstr(what, ":membarrier") ? refuse_membarrier(error) : refuse_userfaultfd(error);
}

int main(int argc, char **argv)
{
	unsigned error = argc > 2 ? (unsigned)atoi(argv[1]) : 0;

	if (!error) {
		fprintf(stderr, "usage: refuse ERROR PROGRAM [ARG...]\n");
		return 2;
	}
	if (refuse(argv[1], error)) {
		perror("refuse");
		return 77;
	}
	execvp(argv[2], argv + 2);
	perror(argv[2]);
	return 127;
}
