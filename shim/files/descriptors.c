/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Descriptors of the engine's are not the program's: it cannot close them, and a number that one of them has is a number
 * it cannot have (dup2 onto it: EBADF, as for a number beyond the limit). They lie near RLIMIT_NOFILE, out of the way.
 *
 * POSIX record locks die with any close of the file (util/fd.h): taking the first one is told to the engine, and so are
 * the program's own closes after that.
 */
#include <errno.h>
#include <limits.h>
#include <linux/close_range.h>
#include <stdarg.h>
#include <sys/syscall.h>

#include "arguments/held.h"
#include "base/peek.h"
#include "base/real.h"
#include "identity.h"
#include "revalidate.h"
#include "util/fd.h"
#include "util/sys.h"

static int not_yours(void)
{
	errno = EBADF;
	return -1;
}

/* ---- close ---- */

static int close_and_tell(int fd)
{
	struct stat st;
	bool known = !sys_fstat(fd, &st);
	int result = REAL(close)(fd), saved = errno;

	if (known && S_ISREG(st.st_mode)) {
		struct sigguard g = sigguard_enter();

		fd_program_closed(st.st_dev, st.st_ino);
		sigguard_leave(g);
	}
	errno = saved;
	return result;
}

WRAPPER int close(int fd)
{
	if (unlikely(fd_is_ours(fd)))
		return not_yours();
	identity_gone(fd);
	return likely(!fd_have_retired()) ? REAL(close)(fd) : close_and_tell(fd);
}

WRAPPER int __close(int fd)
{
	return close(fd);
}

/* The range in the pieces between ours. */
WRAPPER int close_range(unsigned first, unsigned last, int flags)
{
	identity_gone_range(first, last);
	while (first <= last) {
		unsigned ours = first > INT_MAX ? INT_MAX : (unsigned)fd_next_ours((int)first);
		int err = 0;

		if (ours > last || ours == INT_MAX)
			return (int)shim_result(sys_call(SYS_close_range, first, last, flags, 0, 0, 0));
		if (ours > first)
			err = (int)sys_call(SYS_close_range, first, ours - 1, flags, 0, 0, 0);
		if (err)
			return (int)shim_result(err);
		first = ours + 1;
	}
	errno = EINVAL;
	return -1;
}

WRAPPER void closefrom(int first)
{
	unsigned from = first < 0 ? 0 : (unsigned)first;

	identity_gone_range(from, UINT_MAX);
	if (fd_next_ours((int)from) == INT_MAX && REAL(closefrom))
		REAL(closefrom)(first);
	else if (close_range(from, UINT_MAX, 0) && errno == ENOSYS)
		for (int fd = (int)from; fd < (int)sysconf(_SC_OPEN_MAX); fd++)
			close(fd);
}

/* ---- dup ---- */

WRAPPER int dup(int fd)
{
	return unlikely(fd_is_ours(fd)) ? not_yours() : identity_opened(REAL(dup)(fd));
}

WRAPPER int dup2(int fd, int to)
{
	if (unlikely(fd_is_ours(fd) || fd_is_ours(to)))
		return not_yours();
	identity_gone(to);
	return identity_opened(REAL(dup2)(fd, to));
}

WRAPPER int dup3(int fd, int to, int flags)
{
	if (unlikely(fd_is_ours(fd) || fd_is_ours(to)))
		return not_yours();
	identity_gone(to);
	return identity_opened(REAL(dup3)(fd, to, flags));
}

/* ---- What libc puts in the place of standard input, output and error ---- */

static void standard_streams_gone(void)
{
	identity_gone_range(STDIN_FILENO, STDERR_FILENO);
}

WRAPPER int daemon(int stay, int keep)
{
	int result = REAL(daemon)(stay, keep);

	standard_streams_gone();
	return result;
}

WRAPPER int login_tty(int fd)
{
	int result = REAL(login_tty)(fd);

	standard_streams_gone();
	return result;
}

WRAPPER int forkpty(int *terminal, char *name, const struct termios *t, const struct winsize *size)
{
	int pid = REAL(forkpty)(terminal, name, t, size);

	if (!pid)
		standard_streams_gone();
	return pid;
}

/* ---- Locks ---- */

static bool is_dup(int cmd)
{
	return cmd == F_DUPFD || cmd == F_DUPFD_CLOEXEC;
}

static bool is_lock_call(int cmd)
{
	return cmd == F_SETLK || cmd == F_SETLKW || cmd == F_OFD_SETLK || cmd == F_OFD_SETLKW;
}

typedef int (*fcntl_fn)(int fd, int cmd, ...);

/* Stores made under a lock are in the file when it is given up; what others wrote under theirs is seen when it is taken. */
static int lock_call(fcntl_fn real, int fd, int cmd, const struct flock *l)
{
	struct flock copy;
	short type = l && peek(&copy, l, sizeof copy) ? copy.l_type : F_UNLCK;
	int result;

	if (cmd == F_SETLK || cmd == F_SETLKW)
		fd_locks_in_use();
	if (type == F_UNLCK || type == F_RDLCK) /* the latter may be a writer's lock turned down */
		revalidate_unlocking(fd);
	result = real(fd, cmd, l);
	if (!result && type != F_UNLCK)
		revalidate_locked(fd);
	return result;
}

/* How much the argument points to; 0 when it is a number, or none. */
static size_t arg_size(int cmd)
{
	switch (cmd) {
	case F_GETLK:
	case F_OFD_GETLK:
		return sizeof(struct flock);
	case F_GETOWN_EX:
	case F_SETOWN_EX:
		return sizeof(struct f_owner_ex);
	case F_GET_RW_HINT:
	case F_SET_RW_HINT:
	case F_GET_FILE_RW_HINT:
	case F_SET_FILE_RW_HINT:
		return sizeof(uint64_t);
	default:
		return is_lock_call(cmd) ? sizeof(struct flock) : 0;
	}
}

static int call_fcntl(fcntl_fn real, int fd, int cmd, void *arg)
{
	return is_lock_call(cmd) ? lock_call(real, fd, cmd, arg) : real(fd, cmd, arg);
}

static int do_fcntl(fcntl_fn real, int fd, int cmd, void *arg)
{
	if (unlikely(fd_is_ours(fd)))
		return not_yours();
	if (is_dup(cmd))
		return identity_opened(real(fd, cmd, arg));
	RETURN_HELD(call_fcntl(real, fd, cmd, arg), FILLS(arg, arg_size(cmd)));
}

WRAPPER int fcntl(int fd, int cmd, ...)
{
	va_list ap;
	void *arg;

	va_start(ap, cmd);
	arg = va_arg(ap, void *);
	va_end(ap);
	return do_fcntl(REAL(fcntl), fd, cmd, arg);
}

WRAPPER int fcntl64(int fd, int cmd, ...)
{
	va_list ap;
	void *arg;

	va_start(ap, cmd);
	arg = va_arg(ap, void *);
	va_end(ap);
	return do_fcntl(REAL(fcntl64) ? REAL(fcntl64) : REAL(fcntl), fd, cmd, arg);
}

WRAPPER int flock(int fd, int op)
{
	int result;

	if (!(op & LOCK_EX))
		revalidate_unlocking(fd);
	result = REAL(flock)(fd, op);
	if (!result && !(op & LOCK_UN))
		revalidate_locked(fd);
	return result;
}

static int do_lockf(int (*real)(int fd, int cmd, off_t len), int fd, int cmd, off_t len)
{
	int result;

	if (cmd == F_ULOCK)
		revalidate_unlocking(fd);
	else if (cmd != F_TEST)
		fd_locks_in_use();
	result = real(fd, cmd, len);
	if (!result && (cmd == F_LOCK || cmd == F_TLOCK))
		revalidate_locked(fd);
	return result;
}

WRAPPER int lockf(int fd, int cmd, off_t len)
{
	return do_lockf(REAL(lockf), fd, cmd, len);
}

WRAPPER int lockf64(int fd, int cmd, off64_t len)
{
	return do_lockf(REAL(lockf64), fd, cmd, len);
}
