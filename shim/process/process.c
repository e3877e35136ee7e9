/* SPDX-License-Identifier: Apache-2.0 */
/*
 * exit() is covered by the engine's destructor; here are the ends and new beginnings that run none.
 *
 * A child of vfork(2) runs on its parent's memory: its exit or exec ends nothing of ours, and handing mappings over
 * there would be the parent's loss. It is told by its process id. (A child made by an instruction looks the same, and has no mappings of ours that work; one of
 * clone(2) with the parent's descriptors and memory of its own has none at all.)
 */
#include "process.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <sys/syscall.h>

#include "api/engine.h"
#include "arguments/arguments.h"
#include "arguments/unserved.h"
#include "base/mapped.h"
#include "base/peek.h"
#include "base/real.h"
#include "files/identity.h"
#include "files/kept.h"
#include "files/revalidate.h"
#include "last_thread.h"
#include "memory/futexes.h"
#include "memory/locked.h"
#include "memory/stacks.h"
#include "stdio/stream.h"
#include "users.h"
#include "util/fd.h"
#include "util/sys.h"

static _Atomic long own_pid;

static long current_pid(void)
{
	return sys_call(SYS_getpid, 0, 0, 0, 0, 0, 0);
}

static void after_fork_parent(void)
{
	if (anything_mapped())
		revalidate_forked();
}

static void after_fork_child(void)
{
	atomic_store(&own_pid, current_pid());
	locked_fork_child();
	futexes_fork_child();
	arguments_fork_child();
	after_fork_parent();
}

/* fork(3), which runs handlers. */
static void before_handled_fork(void)
{
	unserved_before_fork();
	stream_before_fork();
}

static void after_handled_fork_parent(void)
{
	stream_after_fork_parent();
	after_fork_parent();
}

static void after_handled_fork_child(void)
{
	stream_after_fork_child();
	after_fork_child();
}

/*
 * Before any other handlers are made known, also those of libraries that start before this one: between ours nothing is served, and the engine's locks are
 * held. Handlers that come after find mappings as they are at any other time, and may wait for a thread that is about to map something.
 */
static void follow_forks(void)
{
	static _Atomic bool once;

	if (atomic_exchange(&once, true))
		return;
	engine_follow_forks();
	pthread_atfork(before_handled_fork, after_handled_fork_parent, after_handled_fork_child);
}

/* pthread_atfork(3), of which each program and library has its own copy. */
WRAPPER int __register_atfork(void (*prepare)(void), void (*parent)(void), void (*child)(void), void *library)
{
	follow_forks();
	return REAL(__register_atfork)(prepare, parent, child, library);
}

__attribute__((constructor)) static void at_start(void)
{
	atomic_store(&own_pid, current_pid());
	kept_take_over();
	follow_forks();
	engine_join_host(); /* files that other processes have mapped are known to all */
}

bool process_is_own(void)
{
	return current_pid() == atomic_load(&own_pid);
}

static bool concerns_us(void)
{
	return engine_started() && anything_mapped() && process_is_own();
}

static void flush(enum flush how)
{
	int saved = errno;

	if (concerns_us())
		engine_flush(how);
	errno = saved;
}

void process_ends(void)
{
	flush(FLUSH_TO_END);
}

/* ---- Ends ---- */

WRAPPER void _exit(int status)
{
	process_ends();
	REAL(_exit)(status);
	__builtin_unreachable();
}

WRAPPER void _Exit(int status)
{
	process_ends();
	REAL(_Exit)(status);
	__builtin_unreachable();
}

/* What is stored is written also where nobody can tell whether this is the last. The thread that a client of a host can have is away meanwhile. */
void process_thread_ends(int status)
{
	enum last_thread last;

	if (!process_is_own() || !engine_started())
		return;
	last_thread_begins_to_end();
	users_pause();
	last = last_thread_is_this();
	if (last == LAST_THREAD_IS_THIS) {
		process_ends();
		if (engine_fault_threads())
			REAL(_exit)(status);
		return;
	}
	if (last == LAST_THREAD_UNKNOWN)
		flush(FLUSH_ALL);
	users_go_on(0);
}

/* Its handlers may still store: what they store after this reaches the file through the kernel's mappings. */
WRAPPER void quick_exit(int status)
{
	process_ends();
	REAL(quick_exit)(status);
	__builtin_unreachable();
}

/* ---- clone, and fork with and without its handlers ---- */

/* What is done about a child with memory of its own: in the parent before and after, and in the child. */
struct way {
	void (*prepare)(void), (*parent)(void), (*child)(void);
};

static void parent_goes_on(void)
{
	engine_fork_parent();
	after_fork_parent();
}

static void child_begins(void)
{
	engine_fork_child();
	after_fork_child();
}

static const struct way followed = {engine_fork_prepare, parent_goes_on, child_begins};
static const struct way apart = {engine_clone_prepare, engine_clone_parent, engine_clone_child}; /* with its parent's descriptors */

static bool is_apart(uint64_t flags)
{
	return (flags & (CLONE_VM | CLONE_FILES)) == CLONE_FILES;
}

struct start {
	int (*fn)(void *arg);
	void *arg;
	const struct way *way;
};

/* Its end is that of the process, also where threads of ours serve faults. */
static int start_child(void *arg)
{
	struct start s = *(const struct start *)arg;
	int status;

	s.way->child();
	status = s.fn(s.arg);
	process_ends();
	REAL(_exit)(status);
	__builtin_unreachable();
}

/* Its child would lack what it needs for our mappings: to the program that is the limit of a system that has no more to give. */
static int fail_to_fork(void)
{
	errno = EAGAIN;
	return -1;
}

/* The rest is done by handlers, which cannot make it fail. */
WRAPPER pid_t fork(void)
{
	stacks_check();
	return engine_can_fork() ? REAL(fork)() : fail_to_fork();
}

static int clone_child(struct start *s, void *stack, int flags, void *const v[3])
{
	int pid, saved;

	s->way->prepare();
	pid = REAL(clone)(start_child, stack, flags, s, v[0], v[1], v[2]);
	saved = errno;
	s->way->parent();
	errno = saved;
	return pid;
}

WRAPPER int clone(int (*fn)(void *arg), void *stack, int flags, void *arg, ...)
{
	va_list ap;
	void *v[3];

	va_start(ap, arg);
	for (int i = 0; i < 3; i++)
		v[i] = va_arg(ap, void *);
	va_end(ap);
	stacks_check();
	stack_below_to_kernel(stack);
	process_clones((uint64_t)flags);
	if (flags & CLONE_VM)
		return REAL(clone)(fn, stack, flags, arg, v[0], v[1], v[2]);
	if (is_apart((uint64_t)flags))
		return clone_child(&(struct start){fn, arg, &apart}, stack, flags, v);
	return engine_can_fork() ? clone_child(&(struct start){fn, arg, &followed}, stack, flags, v) : fail_to_fork();
}

/* A call that returns twice, and runs no handlers. */
static long call_twice(const struct way *way, long (*call)(const void *arg), const void *arg)
{
	long pid;
	int saved;

	stacks_check();
	way->prepare();
	pid = call(arg);
	saved = errno;
	if (pid)
		way->parent();
	else
		way->child();
	errno = saved;
	return pid;
}

static long fork_by(long (*call)(const void *arg), const void *arg)
{
	return engine_can_fork() ? call_twice(&followed, call, arg) : fail_to_fork();
}

static long call_fork(const void *arg)
{
	(void)arg;
	return REAL(_Fork)();
}

WRAPPER pid_t _Fork(void)
{
	if (!REAL(_Fork)) { /* before glibc 2.34 */
		errno = ENOSYS;
		return -1;
	}
	return (pid_t)fork_by(call_fork, NULL);
}

/* ---- By number ---- */

/* On a stack of its own a child does not return from a function. */
static long clone_by(uint64_t flags, uint64_t stack, long (*call)(const void *arg), const void *arg)
{
	if ((flags & CLONE_VM) || stack)
		return call(arg);
	return is_apart(flags) ? call_twice(&apart, call, arg) : fork_by(call, arg);
}

static long call_clone(const void *arg)
{
	const long *a = arg;

	return REAL(syscall)(SYS_clone, a[0], a[1], a[2], a[3], a[4]);
}

long process_raw_clone(const long args[5])
{
	stack_below_to_kernel((void *)args[1]);
	process_clones((uint64_t)args[0]);
	if (args[0] == SIGCHLD && !args[1])
		return fork();
	return clone_by((uint64_t)args[0], (uint64_t)args[1], call_clone, args);
}

/* The kernel's struct clone_args as it was at first. What came later is behind it, and more than there is on the stack is left to the kernel. */
struct clone3 {
	union {
		struct {
			uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls;
		};
		char bytes[256];
	};
	size_t size;
};

#define CLONE3_SIZE 64

static long call_clone3(const void *arg)
{
	const struct clone3 *c = arg;

	return REAL(syscall)(SYS_clone3, c->bytes, c->size);
}

/* From a copy: while the process forks, memory of ours is out of reach. */
long process_raw_clone3(const void *args, size_t size)
{
	struct clone3 c = {.size = size};

	if (size < CLONE3_SIZE || size > sizeof c.bytes || !peek(c.bytes, args, size)) {
		process_clones(CLONE_FILES); /* it may say so */
		return REAL(syscall)(SYS_clone3, args, size);
	}
	stack_to_kernel((void *)c.stack, c.stack_size);
	process_clones(c.flags);
	return clone_by(c.flags, c.stack, call_clone3, &c);
}

void process_clones(uint64_t flags)
{
	if ((flags & CLONE_FILES) && !(flags & CLONE_VM))
		identity_shared();
}

/* ---- exec ---- */

#define ARGS_MAX 4096

struct exec {
	int (*call)(const struct exec *e);
	int fd;
	const char *path;
	char *const *argv, *const *envp;
	int flags;
};

/* The new program has the record locks of this one. */
static int call_keeping(const struct exec *e)
{
	struct exec with = *e;
	struct kept k;
	int result;

	if (likely(!fd_locks_are_in_use()) || !process_is_own() || !kept_before_exec(&k, e->envp))
		return e->call(e);
	with.envp = k.envp;
	result = e->call(&with);
	kept_exec_failed(&k);
	return result;
}

static int run(const struct exec *e)
{
	struct arguments_held held;
	struct again again = {0};
	int result;
	bool more;

	if (NOTHING_MAPPED)
		return call_keeping(e);
	flush(FLUSH_TO_EXEC);
	do {
		again.moves = file_io_moves();
		arguments_hold(&(struct arguments){.path = e->path, .vectors = {e->argv, e->envp}}, &held);
		result = call_keeping(e);
		more = says_efault(result) && arguments_again(&again, &held);
		arguments_release(&held);
	} while (more);
	if (process_is_own())
		engine_exec_failed();
	return result;
}

static int call_execve(const struct exec *e)
{
	return REAL(execve)(e->path, e->argv, e->envp);
}

static int call_execvpe(const struct exec *e)
{
	return REAL(execvpe)(e->path, e->argv, e->envp);
}

static int call_fexecve(const struct exec *e)
{
	return REAL(fexecve)(e->fd, e->argv, e->envp);
}

static int call_execveat(const struct exec *e)
{
	if (REAL(execveat))
		return REAL(execveat)(e->fd, e->path, e->argv, e->envp, e->flags);
	return (int)shim_result(sys_call(SYS_execveat, e->fd, (long)e->path, (long)e->argv, (long)e->envp, e->flags, 0));
}

WRAPPER int execve(const char *path, char *const argv[], char *const envp[])
{
	return run(&(struct exec){.call = call_execve, .path = path, .argv = argv, .envp = envp});
}

WRAPPER int execv(const char *path, char *const argv[])
{
	return execve(path, argv, environ);
}

WRAPPER int execvpe(const char *file, char *const argv[], char *const envp[])
{
	return run(&(struct exec){.call = call_execvpe, .path = file, .argv = argv, .envp = envp});
}

WRAPPER int execvp(const char *file, char *const argv[])
{
	return execvpe(file, argv, environ);
}

WRAPPER int fexecve(int fd, char *const argv[], char *const envp[])
{
	return run(&(struct exec){.call = call_fexecve, .fd = fd, .argv = argv, .envp = envp});
}

WRAPPER int execveat(int dir, const char *path, char *const argv[], char *const envp[], int flags)
{
	return run(&(struct exec){.call = call_execveat, .fd = dir, .path = path, .argv = argv, .envp = envp, .flags = flags});
}

/* The argument list, NULL at its end included; -1 when it is longer than can be taken on a stack. */
static int gather(const char *first, va_list ap, char *argv[])
{
	int n = 0;

	for (const char *s = first; n < ARGS_MAX; s = va_arg(ap, const char *)) {
		argv[n++] = (char *)s;
		if (!s)
			return n;
	}
	errno = E2BIG;
	return -1;
}

WRAPPER int execl(const char *path, const char *arg, ...)
{
	char *argv[ARGS_MAX];
	va_list ap;
	int n;

	va_start(ap, arg);
	n = gather(arg, ap, argv);
	va_end(ap);
	return n < 0 ? -1 : execve(path, argv, environ);
}

WRAPPER int execlp(const char *file, const char *arg, ...)
{
	char *argv[ARGS_MAX];
	va_list ap;
	int n;

	va_start(ap, arg);
	n = gather(arg, ap, argv);
	va_end(ap);
	return n < 0 ? -1 : execvpe(file, argv, environ);
}

WRAPPER int execle(const char *path, const char *arg, ...)
{
	char *argv[ARGS_MAX], *const *envp = NULL;
	va_list ap;
	int n;

	va_start(ap, arg);
	n = gather(arg, ap, argv);
	if (n > 0)
		envp = va_arg(ap, char *const *);
	va_end(ap);
	return n < 0 ? -1 : execve(path, argv, envp);
}
