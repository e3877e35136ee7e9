/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A table of them. Those that concern mappings, files that are mapped, signals or users are made by their wrappers (syscall.c), or are not seen.
 * A size that depends on what is in memory (a socket's address) is told as the most that it can be: what is too much is left alone where it is not ours.
 */
#include "numbers.h"

#include <linux/capability.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <sys/times.h>
#include <sys/vfs.h>
#include <time.h>

#include "arguments/paths.h"
#include "util/compiler.h"

enum how { NO_POINTER, PATH, READ, FILL };

struct pointer {
	uint8_t arg, how;
	uint16_t size; /* of one */
	uint8_t times; /* 1 + the argument that says how many; 0: one */
};

#define IS_PATH(arg)            \
	{                       \
		arg, PATH, 0, 0 \
	}
#define IS_READ(arg, type)                 \
	{                                  \
		arg, READ, sizeof(type), 0 \
	}
#define IS_FILLED(arg, type)               \
	{                                  \
		arg, FILL, sizeof(type), 0 \
	}
#define ARE_READ(arg, type, n)                   \
	{                                        \
		arg, READ, sizeof(type), 1 + (n) \
	}
#define ARE_FILLED(arg, type, n)                 \
	{                                        \
		arg, FILL, sizeof(type), 1 + (n) \
	}

#define CAPABILITIES struct __user_cap_data_struct[_LINUX_CAPABILITY_U32S_3]
#define ADDRESS struct sockaddr_storage

/* Where the headers may lack a number it is given: numbers never change. */
#define NR_FACCESSAT2 439
#define NR_SIGNAL_BY_PIDFD 424
#define NR_OPEN_TREE 428
#define NR_MOVE_MOUNT 429
#define NR_FSOPEN 430
#define NR_FSPICK 433
#define NR_MOUNT_SETATTR 442
#define NR_CACHESTAT 451
#define NR_FCHMODAT2 452
#define NR_FUTEX_WAKE 454
#define NR_FUTEX_WAIT 455

/* Structs of which the headers may know nothing, by their size. */
#define CACHE_RANGE char[16]
#define CACHE_STATS char[40]
#define IO_EVENT char[32]
#define KERNEL_SET char[8]

static const struct pointer numbers[][NUMBERS_HELD] = {
	/* paths */
	[SYS_access] = {IS_PATH(0)},
	[SYS_faccessat] = {IS_PATH(1)},
	[NR_FACCESSAT2] = {IS_PATH(1)},
	[NR_FCHMODAT2] = {IS_PATH(1)},
	[SYS_chdir] = {IS_PATH(0)},
	[SYS_mkdir] = {IS_PATH(0)},
	[SYS_mkdirat] = {IS_PATH(1)},
	[SYS_rmdir] = {IS_PATH(0)},
	[SYS_mknod] = {IS_PATH(0)},
	[SYS_mknodat] = {IS_PATH(1)},
	[SYS_unlink] = {IS_PATH(0)},
	[SYS_unlinkat] = {IS_PATH(1)},
	[SYS_link] = {IS_PATH(0), IS_PATH(1)},
	[SYS_linkat] = {IS_PATH(1), IS_PATH(3)},
	[SYS_symlink] = {IS_PATH(0), IS_PATH(1)},
	[SYS_symlinkat] = {IS_PATH(0), IS_PATH(2)},
	[SYS_rename] = {IS_PATH(0), IS_PATH(1)},
	[SYS_renameat] = {IS_PATH(1), IS_PATH(3)},
	[SYS_renameat2] = {IS_PATH(1), IS_PATH(3)},
	[SYS_chmod] = {IS_PATH(0)},
	[SYS_fchmodat] = {IS_PATH(1)},
	[SYS_chown] = {IS_PATH(0)},
	[SYS_lchown] = {IS_PATH(0)},
	[SYS_fchownat] = {IS_PATH(1)},
	[SYS_statfs] = {IS_PATH(0), IS_FILLED(1, struct statfs)},
	[SYS_fstatfs] = {IS_FILLED(1, struct statfs)},
	[SYS_fanotify_mark] = {IS_PATH(4)},
	[SYS_pivot_root] = {IS_PATH(0), IS_PATH(1)},
	[SYS_swapon] = {IS_PATH(0)},
	[SYS_swapoff] = {IS_PATH(0)},
	[SYS_acct] = {IS_PATH(0)},
	[NR_OPEN_TREE] = {IS_PATH(1)},
	[NR_MOVE_MOUNT] = {IS_PATH(1), IS_PATH(3)},
	[NR_FSOPEN] = {IS_PATH(0)},
	[NR_FSPICK] = {IS_PATH(1)},
	[NR_MOUNT_SETATTR] = {IS_PATH(1), ARE_READ(3, char, 4)},
	[SYS_getcwd] = {ARE_FILLED(0, char, 1)},
	[SYS_getdents] = {ARE_FILLED(1, char, 2)},
	/* descriptors */
	[SYS_pipe] = {IS_FILLED(0, int[2])},
	[SYS_pipe2] = {IS_FILLED(0, int[2])},
	[SYS_socketpair] = {IS_FILLED(3, int[2])},
	[SYS_bind] = {ARE_READ(1, char, 2)},
	[SYS_connect] = {ARE_READ(1, char, 2)},
	[SYS_accept] = {IS_FILLED(1, ADDRESS), IS_FILLED(2, socklen_t)},
	[SYS_accept4] = {IS_FILLED(1, ADDRESS), IS_FILLED(2, socklen_t)},
	[SYS_getsockname] = {IS_FILLED(1, ADDRESS), IS_FILLED(2, socklen_t)},
	[SYS_getpeername] = {IS_FILLED(1, ADDRESS), IS_FILLED(2, socklen_t)},
	[SYS_getsockopt] = {IS_FILLED(3, ADDRESS), IS_FILLED(4, socklen_t)},
	[SYS_setsockopt] = {ARE_READ(3, char, 4)},
	[SYS_select] = {IS_FILLED(1, fd_set), IS_FILLED(2, fd_set), IS_FILLED(3, fd_set), IS_FILLED(4, struct timeval)},
	[SYS_signalfd] = {IS_READ(1, KERNEL_SET)},
	[SYS_signalfd4] = {IS_READ(1, KERNEL_SET)},
	[SYS_io_setup] = {IS_FILLED(1, long)},
	[SYS_io_getevents] = {ARE_FILLED(3, IO_EVENT, 2), IS_READ(4, struct timespec)},
	[NR_CACHESTAT] = {IS_READ(1, CACHE_RANGE), IS_FILLED(2, CACHE_STATS)},
	[SYS_perf_event_open] = {IS_FILLED(0, char[128])},
	[SYS_timerfd_settime] = {IS_READ(2, struct itimerspec), IS_FILLED(3, struct itimerspec)},
	[SYS_timerfd_gettime] = {IS_FILLED(1, struct itimerspec)},
	/* time */
	[SYS_time] = {IS_FILLED(0, time_t)},
	[SYS_gettimeofday] = {IS_FILLED(0, struct timeval), IS_FILLED(1, int[2])},
	[SYS_clock_getres] = {IS_FILLED(1, struct timespec)},
	[SYS_clock_nanosleep] = {IS_READ(2, struct timespec), IS_FILLED(3, struct timespec)},
	[SYS_settimeofday] = {IS_READ(0, struct timeval), IS_READ(1, int[2])},
	[SYS_times] = {IS_FILLED(0, struct tms)},
	/* processes */
	[SYS_wait4] = {IS_FILLED(1, int), IS_FILLED(3, struct rusage)},
	[SYS_waitid] = {IS_FILLED(2, siginfo_t), IS_FILLED(4, struct rusage)},
	[SYS_getrusage] = {IS_FILLED(1, struct rusage)},
	[SYS_getrlimit] = {IS_FILLED(1, struct rlimit)},
	[SYS_setrlimit] = {IS_READ(1, struct rlimit)},
	[SYS_prlimit64] = {IS_READ(2, struct rlimit), IS_FILLED(3, struct rlimit)},
	[SYS_sysinfo] = {IS_FILLED(0, struct sysinfo)},
	[SYS_getgroups] = {ARE_FILLED(1, gid_t, 0)},
	[SYS_sethostname] = {ARE_READ(0, char, 1)},
	[SYS_setdomainname] = {ARE_READ(0, char, 1)},
	[SYS_syslog] = {ARE_FILLED(1, char, 2)},
	[SYS_arch_prctl] = {IS_FILLED(1, long)},
	[SYS_capget] = {IS_FILLED(0, struct __user_cap_header_struct), IS_FILLED(1, CAPABILITIES)},
	[SYS_capset] = {IS_FILLED(0, struct __user_cap_header_struct), IS_READ(1, CAPABILITIES)},
	[SYS_getcpu] = {IS_FILLED(0, unsigned), IS_FILLED(1, unsigned)},
	[SYS_sched_getaffinity] = {ARE_FILLED(2, char, 1)},
	[SYS_sched_setaffinity] = {ARE_READ(2, char, 1)},
	[SYS_sched_getattr] = {ARE_FILLED(1, char, 2)},
	[SYS_sched_setattr] = {IS_FILLED(1, char[64])},
	[SYS_get_robust_list] = {IS_FILLED(1, void *), IS_FILLED(2, size_t)},
	[SYS_rt_sigqueueinfo] = {IS_READ(2, siginfo_t)},
	[SYS_rt_tgsigqueueinfo] = {IS_READ(3, siginfo_t)},
	[NR_SIGNAL_BY_PIDFD] = {IS_READ(2, siginfo_t)},
	/* locks; see syscall.c for those of several words */
	[NR_FUTEX_WAKE] = {IS_FILLED(0, int)},
	[NR_FUTEX_WAIT] = {IS_FILLED(0, int), IS_READ(4, struct timespec)},
	/* keys */
	[SYS_add_key] = {IS_PATH(0), IS_PATH(1), ARE_READ(2, char, 3)},
	[SYS_request_key] = {IS_PATH(0), IS_PATH(1), IS_PATH(2)},
	/* placement */
	[SYS_mbind] = {IS_READ(3, char[128])},
	[SYS_migrate_pages] = {IS_READ(2, char[128]), IS_READ(3, char[128])},
	[SYS_get_mempolicy] = {IS_FILLED(0, int), IS_FILLED(1, char[128])},
	[SYS_set_mempolicy] = {IS_READ(1, char[128])},
	[SYS_move_pages] = {ARE_READ(2, void *, 1), ARE_READ(3, int, 1), ARE_FILLED(4, int, 1)},
};

static struct held held_of(const struct pointer *p, const long *args)
{
	const void *at = (const void *)args[p->arg];
	size_t n = p->times ? (uint32_t)args[p->times - 1] : 1; /* of an int more may be garbage */

	if (p->how == PATH)
		return (struct held)STRING(at);
	return (struct held){.at = at, .len = n * p->size, .write = p->how == FILL};
}

size_t numbers_held(long nr, const long *args, struct held *h)
{
	size_t n = 0;

	if (nr < 0 || (size_t)nr >= ARRAY_SIZE(numbers))
		return 0;
	for (; n < NUMBERS_HELD && numbers[nr][n].how != NO_POINTER; n++)
		h[n] = held_of(&numbers[nr][n], args);
	return n;
}
