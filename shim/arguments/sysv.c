/* SPDX-License-Identifier: Apache-2.0 */
/* System V messages, semaphores, shared memory. What *ctl() calls fill differs by command: the largest is held. */
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdint.h>

#include "base/real.h"
#include "held.h"
#include "memory/futexes.h"
#include "memory/memory.h"
#include "memory/remap.h"
#include "util/size.h"

/* ---- Messages: a type, then the text ---- */

#define MESSAGE_SIZE(len) ((len) < SSIZE_MAX ? (len) + sizeof(long) : 0)

WRAPPER int msgsnd(int id, const void *m, size_t len, int flags)
{
	RETURN_HELD(REAL(msgsnd)(id, m, len, flags), READS(m, MESSAGE_SIZE(len)));
}

WRAPPER ssize_t msgrcv(int id, void *m, size_t len, long type, int flags)
{
	RETURN_HELD(REAL(msgrcv)(id, m, len, type, flags), FILLS(m, MESSAGE_SIZE(len)));
}

WRAPPER int msgctl(int id, int cmd, struct msqid_ds *buf)
{
	RETURN_HELD(REAL(msgctl)(id, cmd, buf), FILLS(buf, sizeof *buf));
}

/* ---- Semaphores ---- */

WRAPPER int semop(int id, struct sembuf *ops, size_t n)
{
	RETURN_HELD(REAL(semop)(id, ops, n), READS(ops, n * sizeof *ops));
}

WRAPPER int semtimedop(int id, struct sembuf *ops, size_t n, const struct timespec *timeout)
{
	RETURN_HELD(REAL(semtimedop)(id, ops, n, timeout), READS(ops, n * sizeof *ops), READS(timeout, sizeof *timeout));
}

static size_t semaphores(int id)
{
	int saved = errno;
	struct semid_ds ds;
	size_t n = REAL(semctl)(id, 0, IPC_STAT, &ds) ? 0 : ds.sem_nsems;

	errno = saved;
	return n;
}

/* How much the argument points to; 0 when it is a number, or none. */
static size_t arg_size(int id, int cmd)
{
	switch (cmd) {
	case GETALL:
	case SETALL:
		return semaphores(id) * sizeof(unsigned short);
	case IPC_STAT:
	case IPC_SET:
	case SEM_STAT:
	case SEM_STAT_ANY:
		return sizeof(struct semid_ds);
	case IPC_INFO:
	case SEM_INFO:
		return sizeof(struct seminfo);
	default:
		return 0;
	}
}

WRAPPER int semctl(int id, int i, int cmd, ...)
{
	va_list ap;
	void *arg;

	va_start(ap, cmd);
	arg = va_arg(ap, void *);
	va_end(ap);
	RETURN_HELD(REAL(semctl)(id, i, cmd, arg), FILLS(arg, arg_size(id, cmd)));
}

/* ---- Shared memory ---- */

WRAPPER int shmctl(int id, int cmd, struct shmid_ds *buf)
{
	RETURN_HELD(REAL(shmctl)(id, cmd, buf), FILLS(buf, sizeof *buf));
}

/* Attached to what is ours: elsewhere first, since that may fail, and then moved there. */
static void *attach_over_ours(int id, char *at, int flags)
{
	struct shmid_ds ds;
	void *p;
	int err;

	if (REAL(shmctl)(id, IPC_STAT, &ds))
		return (void *)-1;
	p = REAL(shmat)(id, NULL, flags & ~(SHM_REMAP | SHM_RND));
	if (p == (void *)-1)
		return p;
	futexes_unmapped(at, ds.shm_segsz);
	err = move_onto_ours(p, page_align_up(ds.shm_segsz), at);
	if (err) {
		REAL(shmdt)(p);
		return (void *)shim_result(err);
	}
	return at;
}

static bool is_over_ours(int id, const char *at)
{
	int saved = errno;
	struct shmid_ds ds;
	bool over = !((uintptr_t)at & FL_PAGE_MASK) && !REAL(shmctl)(id, IPC_STAT, &ds) && is_mapped_by_us(at, ds.shm_segsz);

	errno = saved;
	return over;
}

/* Where SHM_REMAP is not given the kernel refuses a place that is in use. */
WRAPPER void *shmat(int id, const void *addr, int flags)
{
	char *at = (char *)addr;

	if (NOTHING_MAPPED || !addr || !(flags & SHM_REMAP))
		return REAL(shmat)(id, addr, flags);
	if (flags & SHM_RND)
		at -= (uintptr_t)at & FL_PAGE_MASK;
	return is_over_ours(id, at) ? attach_over_ours(id, at, flags) : REAL(shmat)(id, addr, flags);
}
