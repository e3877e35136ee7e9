/* SPDX-License-Identifier: Apache-2.0 */
/*
 * System calls: those on memory go to the soft space as they are, those on files to guest_files.c, and the few others that a
 * static C program makes are answered here. A handler gets the six arguments and returns a result or -errno.
 *
 * Calls that take pages away, or change what may be done with them, first take them from Unicorn. Those that only add need not.
 */
#include "guest_calls.h"

#include <asm/prctl.h>
#include <errno.h>
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <sys/time.h>
#include <sys/times.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "guest_files.h"
#include "guest_memory.h"

#define SIGNALS 64
#define SIGNAL_SET 8 /* bytes, as the kernel has it */
#define GUEST_SYS_MSEAL 462
#define GUEST_SYS_RSEQ 334

typedef long handler(struct guest *g, const uint64_t *arg);

static void *pointer(uint64_t addr)
{
	return (void *)addr;
}

static long or_errno(long result)
{
	return result < 0 ? -errno : result;
}

static long address(void *p)
{
	return p == MAP_FAILED ? -errno : (long)(uintptr_t)p;
}

/* What a call of the host left in *object. */
static long give(struct guest *g, uint64_t addr, const void *object, size_t size, long result)
{
	if (result < 0)
		return -errno;
	return memory_write(g, addr, object, size) ? result : -EFAULT;
}

/* ---- Memory ---- */

static long call_mmap(struct guest *g, const uint64_t *arg)
{
	int flags = (int)arg[3], fd = flags & MAP_ANONYMOUS ? -1 : files_host(g, arg[4]);

	if (flags & MAP_FIXED)
		memory_drop(g, arg[0], arg[1]);
	return address(fl_space_mmap(g->space, pointer(arg[0]), arg[1], (int)arg[2], flags, fd, (off_t)arg[5]));
}

static long call_munmap(struct guest *g, const uint64_t *arg)
{
	memory_drop(g, arg[0], arg[1]);
	return or_errno(fl_space_munmap(g->space, pointer(arg[0]), arg[1]));
}

static long call_mprotect(struct guest *g, const uint64_t *arg)
{
	memory_drop(g, arg[0], arg[1]);
	return or_errno(fl_space_mprotect(g->space, pointer(arg[0]), arg[1], (int)arg[2]));
}

static long call_mremap(struct guest *g, const uint64_t *arg)
{
	memory_drop(g, arg[0], arg[1]);
	if (arg[3] & MREMAP_FIXED)
		memory_drop(g, arg[4], arg[2]);
	return address(fl_space_mremap(g->space, pointer(arg[0]), arg[1], arg[2], (int)arg[3], pointer(arg[4])));
}

static long call_madvise(struct guest *g, const uint64_t *arg)
{
	memory_drop(g, arg[0], arg[1]);
	return or_errno(fl_space_madvise(g->space, pointer(arg[0]), arg[1], (int)arg[2]));
}

/* The heap may shrink: what lies above its end goes. A stack there comes back by itself. */
static long call_brk(struct guest *g, const uint64_t *arg)
{
	if (arg[0])
		memory_drop(g, arg[0], UINT64_MAX - arg[0]);
	return (long)(uintptr_t)fl_space_brk(g->space, pointer(arg[0]));
}

/* Pages that Unicorn writes stay as they are: pinned pages remain dirty. */
static long call_msync(struct guest *g, const uint64_t *arg)
{
	return or_errno(fl_space_msync(g->space, pointer(arg[0]), arg[1], (int)arg[2]));
}

static long call_mincore(struct guest *g, const uint64_t *arg)
{
	uint64_t pages = arg[1] / GUEST_PAGE + (arg[1] % GUEST_PAGE != 0);

	for (uint64_t done = 0, n; done < pages; done += n) {
		unsigned char *vec = (unsigned char *)g->buffer;

		n = pages - done < sizeof g->buffer ? pages - done : sizeof g->buffer;
		if (fl_space_mincore(g->space, pointer(arg[0] + done * GUEST_PAGE), n * GUEST_PAGE, vec))
			return -errno;
		if (!memory_write(g, arg[2] + done, vec, n))
			return -EFAULT;
	}
	return arg[0] % GUEST_PAGE ? -EINVAL : 0;
}

static long call_mlock(struct guest *g, const uint64_t *arg)
{
	return or_errno(fl_space_mlock2(g->space, pointer(arg[0]), arg[1], 0));
}

static long call_mlock2(struct guest *g, const uint64_t *arg)
{
	return or_errno(fl_space_mlock2(g->space, pointer(arg[0]), arg[1], (unsigned)arg[2]));
}

static long call_munlock(struct guest *g, const uint64_t *arg)
{
	return or_errno(fl_space_munlock(g->space, pointer(arg[0]), arg[1]));
}

static long call_mlockall(struct guest *g, const uint64_t *arg)
{
	return or_errno(fl_space_mlockall(g->space, (int)arg[0]));
}

static long call_munlockall(struct guest *g, const uint64_t *arg)
{
	(void)arg;
	return or_errno(fl_space_munlockall(g->space));
}

static long call_mseal(struct guest *g, const uint64_t *arg)
{
	return or_errno(fl_space_mseal(g->space, pointer(arg[0]), arg[1], arg[2]));
}

static long call_remap_file_pages(struct guest *g, const uint64_t *arg)
{
	memory_drop(g, arg[0], arg[1]);
	return or_errno(fl_space_remap_file_pages(g->space, pointer(arg[0]), arg[1], (int)arg[2], arg[3], (int)arg[4]));
}

/* ---- The process and its thread ---- */

static long call_exit(struct guest *g, const uint64_t *arg)
{
	guest_exit(g, (int)arg[0] & 0xff);
	return 0;
}

static long call_arch_prctl(struct guest *g, const uint64_t *arg)
{
	uint64_t base;

	switch (arg[0]) {
	case ARCH_SET_FS:
		uc_reg_write(g->uc, UC_X86_REG_FS_BASE, &arg[1]);
		return 0;
	case ARCH_SET_GS:
		uc_reg_write(g->uc, UC_X86_REG_GS_BASE, &arg[1]);
		return 0;
	case ARCH_GET_FS:
		uc_reg_read(g->uc, UC_X86_REG_FS_BASE, &base);
		return give(g, arg[1], &base, sizeof base, 0);
	default:
		return -EINVAL;
	}
}

static long call_zero(struct guest *g, const uint64_t *arg)
{
	(void)g, (void)arg;
	return 0;
}

/* Known, and rightly not there: the C library does without. */
static long call_absent(struct guest *g, const uint64_t *arg)
{
	(void)g, (void)arg;
	return -ENOSYS;
}

static long call_getpid(struct guest *g, const uint64_t *arg)
{
	(void)g, (void)arg;
	return getpid();
}

static long call_getppid(struct guest *g, const uint64_t *arg)
{
	(void)g, (void)arg;
	return getppid();
}

static long call_getuid(struct guest *g, const uint64_t *arg)
{
	(void)g, (void)arg;
	return getuid();
}

static long call_geteuid(struct guest *g, const uint64_t *arg)
{
	(void)g, (void)arg;
	return geteuid();
}

static long call_getgid(struct guest *g, const uint64_t *arg)
{
	(void)g, (void)arg;
	return getgid();
}

static long call_getegid(struct guest *g, const uint64_t *arg)
{
	(void)g, (void)arg;
	return getegid();
}

/* There is one thread: nobody sleeps, and nobody would wake it. */
static long call_futex(struct guest *g, const uint64_t *arg)
{
	int op = (int)arg[1] & FUTEX_CMD_MASK;

	(void)g;
	return op == FUTEX_WAKE ? 0 : op == FUTEX_WAIT ? -EAGAIN : -ENOSYS;
}

/* Handlers are not called: of the action only SIG_IGN matters. */
static long call_rt_sigaction(struct guest *g, const uint64_t *arg)
{
	uint64_t action[4] = {0}, bit = 1ull << (arg[0] - 1) % SIGNALS;

	if (arg[0] < 1 || arg[0] > SIGNALS)
		return -EINVAL;
	action[0] = g->signals_ignored & bit ? (uintptr_t)SIG_IGN : 0;
	if (arg[2] && !memory_write(g, arg[2], action, sizeof action))
		return -EFAULT;
	if (!arg[1])
		return 0;
	if (!memory_read(g, arg[1], action, sizeof action))
		return -EFAULT;
	g->signals_ignored = action[0] == (uintptr_t)SIG_IGN ? g->signals_ignored | bit : g->signals_ignored & ~bit;
	return 0;
}

static long call_rt_sigprocmask(struct guest *g, const uint64_t *arg)
{
	static const char none[SIGNAL_SET];

	return arg[2] ? give(g, arg[2], none, sizeof none, 0) : 0;
}

static long call_kill(struct guest *g, const uint64_t *arg)
{
	if ((int)arg[0] != getpid())
		return -EPERM;
	if (arg[1] > SIGNALS)
		return -EINVAL;
	guest_signal(g, (int)arg[1]);
	return 0;
}

static long call_tgkill(struct guest *g, const uint64_t *arg)
{
	return call_kill(g, arg + 1);
}

static long call_prlimit64(struct guest *g, const uint64_t *arg)
{
	struct rlimit limit;
	long result = getrlimit((int)arg[1], &limit);

	if (arg[2])
		return -EPERM;
	if (!result && arg[1] == RLIMIT_STACK)
		limit.rlim_cur = GUEST_STACK;
	return arg[3] ? give(g, arg[3], &limit, sizeof limit, result) : or_errno(result);
}

/* ---- What the machine says ---- */

static long call_uname(struct guest *g, const uint64_t *arg)
{
	struct utsname name;

	return give(g, arg[0], &name, sizeof name, uname(&name));
}

static long call_sysinfo(struct guest *g, const uint64_t *arg)
{
	struct sysinfo info;

	return give(g, arg[0], &info, sizeof info, sysinfo(&info));
}

static long call_getrusage(struct guest *g, const uint64_t *arg)
{
	struct rusage usage;

	return give(g, arg[1], &usage, sizeof usage, getrusage((int)arg[0], &usage));
}

static long call_times(struct guest *g, const uint64_t *arg)
{
	struct tms t;
	clock_t now = times(&t);

	return arg[0] ? give(g, arg[0], &t, sizeof t, now) : now;
}

static long call_clock_gettime(struct guest *g, const uint64_t *arg)
{
	struct timespec t;

	return give(g, arg[1], &t, sizeof t, clock_gettime((clockid_t)arg[0], &t));
}

static long call_clock_getres(struct guest *g, const uint64_t *arg)
{
	struct timespec t;

	return give(g, arg[1], &t, sizeof t, clock_getres((clockid_t)arg[0], &t));
}

static long call_gettimeofday(struct guest *g, const uint64_t *arg)
{
	struct timeval t;

	return give(g, arg[0], &t, sizeof t, gettimeofday(&t, NULL));
}

static long call_time(struct guest *g, const uint64_t *arg)
{
	time_t t = time(NULL);

	return arg[0] ? give(g, arg[0], &t, sizeof t, t) : t;
}

static long call_clock_nanosleep(struct guest *g, const uint64_t *arg)
{
	struct timespec t;

	if (!memory_read(g, arg[2], &t, sizeof t))
		return -EFAULT;
	return -clock_nanosleep((clockid_t)arg[0], (int)arg[1], &t, NULL);
}

static long call_sched_getaffinity(struct guest *g, const uint64_t *arg)
{
	cpu_set_t set;
	size_t size = arg[1] < sizeof set ? arg[1] : sizeof set;

	return give(g, arg[2], &set, size, syscall(SYS_sched_getaffinity, 0, size, &set));
}

static long call_getrandom(struct guest *g, const uint64_t *arg)
{
	size_t size = arg[1] < sizeof g->buffer ? arg[1] : sizeof g->buffer;

	guest_random(g, g->buffer, size);
	return give(g, arg[0], g->buffer, size, (long)size);
}

/* ---- Which is which ---- */

static handler *const handlers[] = {
	[SYS_read] = file_read,
	[SYS_write] = file_write,
	[SYS_open] = file_open,
	[SYS_close] = file_close,
	[SYS_stat] = file_stat,
	[SYS_fstat] = file_fstat,
	[SYS_lstat] = file_lstat,
	[SYS_lseek] = file_lseek,
	[SYS_mmap] = call_mmap,
	[SYS_mprotect] = call_mprotect,
	[SYS_munmap] = call_munmap,
	[SYS_brk] = call_brk,
	[SYS_rt_sigaction] = call_rt_sigaction,
	[SYS_rt_sigprocmask] = call_rt_sigprocmask,
	[SYS_ioctl] = file_ioctl,
	[SYS_pread64] = file_pread,
	[SYS_pwrite64] = file_pwrite,
	[SYS_readv] = file_readv,
	[SYS_writev] = file_writev,
	[SYS_access] = file_access,
	[SYS_sched_yield] = call_zero,
	[SYS_mremap] = call_mremap,
	[SYS_msync] = call_msync,
	[SYS_mincore] = call_mincore,
	[SYS_madvise] = call_madvise,
	[SYS_dup] = file_dup,
	[SYS_dup2] = file_dup2,
	[SYS_dup3] = file_dup2,
	[SYS_getpid] = call_getpid,
	[SYS_exit] = call_exit,
	[SYS_uname] = call_uname,
	[SYS_kill] = call_kill,
	[SYS_fcntl] = file_fcntl,
	[SYS_fsync] = file_fsync,
	[SYS_fdatasync] = file_fsync,
	[SYS_ftruncate] = file_ftruncate,
	[SYS_getcwd] = file_getcwd,
	[SYS_unlink] = file_unlink,
	[SYS_readlink] = file_readlink,
	[SYS_gettimeofday] = call_gettimeofday,
	[SYS_getrusage] = call_getrusage,
	[SYS_sysinfo] = call_sysinfo,
	[SYS_times] = call_times,
	[SYS_getuid] = call_getuid,
	[SYS_getgid] = call_getgid,
	[SYS_geteuid] = call_geteuid,
	[SYS_getegid] = call_getegid,
	[SYS_getppid] = call_getppid,
	[SYS_sigaltstack] = call_zero,
	[SYS_mlock] = call_mlock,
	[SYS_munlock] = call_munlock,
	[SYS_mlockall] = call_mlockall,
	[SYS_munlockall] = call_munlockall,
	[SYS_arch_prctl] = call_arch_prctl,
	[SYS_gettid] = call_getpid,
	[SYS_tkill] = call_kill,
	[SYS_time] = call_time,
	[SYS_futex] = call_futex,
	[SYS_sched_getaffinity] = call_sched_getaffinity,
	[SYS_remap_file_pages] = call_remap_file_pages,
	[SYS_getdents64] = file_getdents64,
	[SYS_set_tid_address] = call_getpid,
	[SYS_clock_gettime] = call_clock_gettime,
	[SYS_clock_getres] = call_clock_getres,
	[SYS_clock_nanosleep] = call_clock_nanosleep,
	[SYS_exit_group] = call_exit,
	[SYS_tgkill] = call_tgkill,
	[SYS_openat] = file_openat,
	[SYS_newfstatat] = file_newfstatat,
	[SYS_unlinkat] = file_unlinkat,
	[SYS_readlinkat] = file_readlinkat,
	[SYS_faccessat] = file_faccessat,
	[SYS_set_robust_list] = call_zero,
	[SYS_prlimit64] = call_prlimit64,
	[SYS_getrandom] = call_getrandom,
	[SYS_mlock2] = call_mlock2,
	[GUEST_SYS_RSEQ] = call_absent,
	[GUEST_SYS_MSEAL] = call_mseal,
};

static long answer(struct guest *g, uint64_t number, const uint64_t *arg)
{
	if (number < sizeof handlers / sizeof *handlers && handlers[number])
		return handlers[number](g, arg);
	if (g->verbose)
		fprintf(stderr, "guest: no system call %llu\n", (unsigned long long)number);
	return -ENOSYS;
}

static void on_syscall(uc_engine *uc, void *user)
{
	static const int registers[6] = {UC_X86_REG_RDI, UC_X86_REG_RSI, UC_X86_REG_RDX, UC_X86_REG_R10, UC_X86_REG_R8, UC_X86_REG_R9};
	uint64_t number = 0, arg[6] = {0};
	long result;

	uc_reg_read(uc, UC_X86_REG_RAX, &number);
	for (int i = 0; i < 6; i++)
		uc_reg_read(uc, registers[i], &arg[i]);
	result = answer(user, number, arg);
	uc_reg_write(uc, UC_X86_REG_RAX, &result);
}

/* Faults of the processor that are not of memory. */
static void on_interrupt(uc_engine *uc, uint32_t vector, void *user)
{
	static const int signals[] = {
		[0] = SIGFPE, [1] = SIGTRAP, [3] = SIGTRAP, [4] = SIGSEGV, [6] = SIGILL, [16] = SIGFPE, [17] = SIGBUS, [19] = SIGFPE};
	int signal = vector < sizeof signals / sizeof *signals ? signals[vector] : 0;

	(void)uc;
	guest_signal(user, signal ? signal : SIGSEGV);
}

int calls_start(struct guest *g)
{
	uc_hook hook;

	if (uc_hook_add(g->uc, &hook, UC_HOOK_INSN, (void *)on_syscall, g, 1, 0, UC_X86_INS_SYSCALL) != UC_ERR_OK ||
	    uc_hook_add(g->uc, &hook, UC_HOOK_INTR, (void *)on_interrupt, g, 1, 0) != UC_ERR_OK)
		return -ENOMEM;
	return 0;
}
