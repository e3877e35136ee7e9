/* SPDX-License-Identifier: Apache-2.0 */
/* What the kernel knows of a process and its threads: users, scheduling, names. */
#include <stdarg.h>

#include "base/real.h"
#include "held.h"
#include "process/users.h"

#define THREE FILLS(real, sizeof *real), FILLS(effective, sizeof *effective), FILLS(kept, sizeof *kept)

WRAPPER int getresuid(uid_t *real, uid_t *effective, uid_t *kept)
{
	RETURN_HELD(REAL(getresuid)(real, effective, kept), THREE);
}

WRAPPER int getresgid(gid_t *real, gid_t *effective, gid_t *kept)
{
	RETURN_HELD(REAL(getresgid)(real, effective, kept), THREE);
}

WRAPPER int setgroups(size_t n, const gid_t *groups)
{
	users_pause();
	RETURN_HELD((int)users_go_on(REAL(setgroups)(n, groups)), READS(groups, n * sizeof *groups));
}

WRAPPER int sched_getparam(pid_t pid, struct sched_param *p)
{
	RETURN_HELD(REAL(sched_getparam)(pid, p), FILLS(p, sizeof *p));
}

WRAPPER int sched_setparam(pid_t pid, const struct sched_param *p)
{
	RETURN_HELD(REAL(sched_setparam)(pid, p), READS(p, sizeof *p));
}

WRAPPER int sched_setscheduler(pid_t pid, int policy, const struct sched_param *p)
{
	RETURN_HELD(REAL(sched_setscheduler)(pid, policy, p), READS(p, sizeof *p));
}

WRAPPER int sched_rr_get_interval(pid_t pid, struct timespec *t)
{
	RETURN_HELD(REAL(sched_rr_get_interval)(pid, t), FILLS(t, sizeof *t));
}

WRAPPER int pthread_getaffinity_np(pthread_t thread, size_t size, cpu_set_t *set)
{
	RETURN_HELD_ERROR(REAL(pthread_getaffinity_np)(thread, size, set), FILLS(set, size));
}

WRAPPER int pthread_setaffinity_np(pthread_t thread, size_t size, const cpu_set_t *set)
{
	RETURN_HELD_ERROR(REAL(pthread_setaffinity_np)(thread, size, set), READS(set, size));
}

WRAPPER int pthread_getname_np(pthread_t thread, char *name, size_t size)
{
	RETURN_HELD_ERROR(REAL(pthread_getname_np)(thread, name, size), FILLS(name, size));
}

/* How many there are is the version's to say, in memory that the kernel may have to correct. */
#define CAPABILITIES (_LINUX_CAPABILITY_U32S_3 * sizeof(struct __user_cap_data_struct))

WRAPPER int capget(cap_user_header_t header, cap_user_data_t data)
{
	RETURN_HELD(REAL(capget)(header, data), FILLS(header, sizeof *header), FILLS(data, CAPABILITIES));
}

WRAPPER int capset(cap_user_header_t header, const cap_user_data_t data)
{
	RETURN_HELD(REAL(capset)(header, data), FILLS(header, sizeof *header), READS(data, CAPABILITIES));
}

/* How much the first argument after the option points to; 0 when it is a number. */
static size_t arg_size(int option)
{
	switch (option) {
	case PR_SET_NAME:
	case PR_GET_NAME:
		return 16;
	case PR_GET_PDEATHSIG:
	case PR_GET_CHILD_SUBREAPER:
	case PR_GET_TSC:
	case PR_GET_UNALIGN:
	case PR_GET_FPEMU:
	case PR_GET_FPEXC:
	case PR_GET_ENDIAN:
		return sizeof(int);
	case PR_GET_TID_ADDRESS:
		return sizeof(int *);
	default:
		return 0;
	}
}

WRAPPER int prctl(int option, ...)
{
	unsigned long v[4];
	va_list ap;

	va_start(ap, option);
	for (int i = 0; i < 4; i++)
		v[i] = va_arg(ap, unsigned long);
	va_end(ap);
	RETURN_HELD(REAL(prctl)(option, v[0], v[1], v[2], v[3]), FILLS((void *)v[0], arg_size(option)));
}
