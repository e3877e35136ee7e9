/* SPDX-License-Identifier: Apache-2.0 */
#include "fd.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "compiler.h"
#include "lock.h"
#include "sys.h"

#define OURS_MAX 65536 /* descriptors above this are ours without being known as such */
#define RETIRED_MAX 1024
#define ENOUGH 64 /* where fewer are allowed, none is kept from the program */

static _Atomic uint64_t ours[OURS_MAX / 64];
static _Atomic bool locks_in_use;

static struct mutex retired_lock = MUTEX_INIT(RANK_LEAF);
static struct retired {
	int fd;
	uint64_t dev, ino;
} retired[RETIRED_MAX];
static _Atomic int nretired;

static void mark(int fd, bool on)
{
	if (fd < 0 || fd >= OURS_MAX)
		return;
	if (on)
		atomic_fetch_or(&ours[fd / 64], 1ULL << fd % 64);
	else
		atomic_fetch_and(&ours[fd / 64], ~(1ULL << fd % 64));
}

bool fd_is_ours(int fd)
{
	return fd >= 0 && fd < OURS_MAX && (atomic_load_explicit(&ours[fd / 64], memory_order_relaxed) >> fd % 64 & 1);
}

int fd_next_ours(int from)
{
	int fd = from < 0 ? 0 : from;

	while (fd < OURS_MAX) {
		uint64_t bits = atomic_load_explicit(&ours[fd / 64], memory_order_relaxed) >> fd % 64;

		if (bits)
			return fd + __builtin_ctzll(bits);
		fd += 64 - fd % 64;
	}
	return INT_MAX;
}

static bool get_limit(struct rlimit *rl)
{
	return !sys_call(SYS_prlimit64, 0, RLIMIT_NOFILE, 0, (long)rl, 0, 0);
}

static bool set_limit(const struct rlimit *rl)
{
	return !sys_call(SYS_prlimit64, 0, RLIMIT_NOFILE, (long)rl, 0, 0, 0);
}

/* The upper part of what RLIMIT_NOFILE allows, at most 256 below it. */
static int high_base(void)
{
	struct rlimit rl;

	if (!get_limit(&rl))
		return 0;
	rl.rlim_cur = min_u64(rl.rlim_cur, OURS_MAX);
	return (int)(rl.rlim_cur > 512 ? rl.rlim_cur - 256 : rl.rlim_cur / 2);
}

int fd_dup_high(int fd)
{
	int high = sys_fcntl(fd, F_DUPFD_CLOEXEC, high_base());

	if (high == -EMFILE || high == -EINVAL)
		high = sys_fcntl(fd, F_DUPFD_CLOEXEC, 3);
	mark(high, true);
	return high == -EINVAL ? -EMFILE : high; /* the limit is below 3 */
}

int fd_move_high(int fd)
{
	int high;

	if (fd < 0)
		return fd;
	if (!atomic_load(&locks_in_use)) {
		high = fd_dup_high(fd);
		if (high >= 0) {
			sys_close(fd);
			return high;
		}
	}
	mark(fd, true);
	return fd;
}

/* Keeps fd for later, for good where there is no room to remember it. False when it is no file that can carry locks. */
static bool retire(int fd)
{
	struct stat st;

	if (sys_fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return false;
	mutex_lock(&retired_lock);
	if (nretired < RETIRED_MAX)
		retired[nretired++] = (struct retired){.fd = fd, .dev = st.st_dev, .ino = st.st_ino};
	mutex_unlock(&retired_lock);
	return true;
}

void fd_close(int fd)
{
	if (fd < 0)
		return;
	mark(fd, false);
	sys_close(fd);
}

void fd_close_file(int fd)
{
	if (fd < 0 || (atomic_load(&locks_in_use) && retire(fd)))
		return;
	fd_close(fd);
}

static bool is_of_kind(const struct retired *r, const struct stat *st, int flags)
{
	return r->ino == st->st_ino && r->dev == st->st_dev && ((sys_fcntl(r->fd, F_GETFL, 0) ^ flags) & FD_KIND) == 0;
}

int fd_take_retired(int fd, int flags)
{
	struct stat st;
	int taken = -1;

	if (likely(!fd_have_retired()) || sys_fstat(fd, &st))
		return -1;
	mutex_lock(&retired_lock);
	for (int i = 0; i < nretired && taken < 0; i++)
		if (is_of_kind(&retired[i], &st, flags)) {
			taken = retired[i].fd;
			retired[i] = retired[--nretired];
		}
	mutex_unlock(&retired_lock);
	return taken;
}

void fd_locks_in_use(void)
{
	if (!atomic_load_explicit(&locks_in_use, memory_order_relaxed))
		atomic_store(&locks_in_use, true);
}

bool fd_locks_are_in_use(void)
{
	return atomic_load_explicit(&locks_in_use, memory_order_relaxed);
}

void fd_take_over(int fd)
{
	sys_fcntl(fd, F_SETFD, FD_CLOEXEC);
	mark(fd, true);
	retire(fd);
}

bool fd_have_retired(void)
{
	return atomic_load_explicit(&nretired, memory_order_relaxed) > 0;
}

void fd_program_closed(uint64_t dev, uint64_t ino)
{
	mutex_lock(&retired_lock);
	for (int i = 0; i < nretired;) {
		if (retired[i].dev != dev || retired[i].ino != ino) {
			i++;
			continue;
		}
		mark(retired[i].fd, false);
		sys_close(retired[i].fd);
		retired[i] = retired[--nretired];
	}
	mutex_unlock(&retired_lock);
}

/* ---- Spares ---- */

static int spare[FD_SPARES]; /* all that there are; the others are 0 */
static bool room_made;
static struct rlimit limit_before; /* while room_made; without end when it was not raised */

static int highest_spare(void)
{
	int high = 0;

	for (int i = 0; i < FD_SPARES; i++)
		high = spare[i] > high ? spare[i] : high;
	return high;
}

static int new_spare(void)
{
	int high = highest_spare(), fd;

	if (high)
		return fd_dup_high(high);
	fd = (int)sys_call(SYS_eventfd2, 0, EFD_CLOEXEC, 0, 0, 0, 0);
	if (fd < 0)
		return fd;
	high = fd_dup_high(fd);
	sys_close(fd);
	return high;
}

static void close_spares(void)
{
	for (int i = 0; i < FD_SPARES; i++) {
		if (spare[i])
			fd_close(spare[i]);
		spare[i] = 0;
	}
}

static bool fill_spares(void)
{
	for (int i = 0; i < FD_SPARES; i++) {
		int fd = spare[i] ? spare[i] : new_spare();

		if (fd < 0)
			return false;
		spare[i] = fd;
	}
	return true;
}

bool fd_keep_spares(void)
{
	struct rlimit rl;

	if (spare[FD_SPARES - 1])
		return true;
	if (get_limit(&rl) && rl.rlim_cur >= ENOUGH && fill_spares())
		return true;
	close_spares();
	return false;
}

/* That descriptors as high as the spares can be made. *before: the limit until then, if it had to be raised. */
static bool raise_limit(struct rlimit *before)
{
	rlim_t needed = (rlim_t)highest_spare() + 1;
	struct rlimit rl;

	*before = (struct rlimit){RLIM_INFINITY, RLIM_INFINITY};
	if (!get_limit(&rl) || rl.rlim_cur >= needed)
		return true;
	*before = rl;
	rl.rlim_cur = needed;
	rl.rlim_max = max_u64(rl.rlim_max, needed); /* for who has the privilege */
	return set_limit(&rl);
}

static void lower_limit(const struct rlimit *before)
{
	if (before->rlim_cur != RLIM_INFINITY)
		set_limit(before);
}

static int count_ours_above_limit(void)
{
	struct rlimit rl;
	int n = 0;

	if (!get_limit(&rl) || rl.rlim_cur >= OURS_MAX)
		return 0;
	for (int fd = fd_next_ours((int)rl.rlim_cur); fd != INT_MAX; fd = fd_next_ours(fd + 1))
		n++;
	return n;
}

#define FREE_MAX 128

static bool are_free(int n)
{
	int fd[FREE_MAX], got = 0;

	while (got < n && got < FREE_MAX && (fd[got] = (int)sys_call(SYS_eventfd2, 0, EFD_CLOEXEC, 0, 0, 0, 0)) >= 0)
		got++;
	for (int i = 0; i < got; i++)
		sys_close(fd[i]);
	return got == n;
}

/* What lies above a limit leaves, where it is closed, no room for what takes its place in the child. */
bool fd_can_make_room(void)
{
	struct rlimit before;

	if (!fd_keep_spares() || !raise_limit(&before))
		return are_free(FD_SPARES + count_ours_above_limit());
	lower_limit(&before);
	return true;
}

void fd_make_room(void)
{
	if (room_made)
		return;
	room_made = true;
	if (raise_limit(&limit_before))
		close_spares();
}

void fd_end_room(void)
{
	if (!room_made)
		return;
	fd_keep_spares();
	lower_limit(&limit_before);
	room_made = false;
}

void fd_drop_spares(void)
{
	close_spares();
}

void fd_fork_child(void)
{
	mutex_init(&retired_lock, RANK_LEAF);
	atomic_store(&locks_in_use, false);
	while (nretired)
		fd_close(retired[--nretired].fd);
}
