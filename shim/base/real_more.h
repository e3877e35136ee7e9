/* SPDX-License-Identifier: Apache-2.0 */
/* More of real.h: functions that only give the kernel arguments in memory that may be ours, by the file that wraps them. */
#ifndef FL_SHIM_REAL_MORE_H
#define FL_SHIM_REAL_MORE_H

#include <dirent.h>
#include <grp.h>
#include <linux/capability.h>
#include <mqueue.h>
#include <sys/inotify.h>
#include <sys/ipc.h>
#include <sys/mount.h>
#include <sys/msg.h>
#include <sys/prctl.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/signalfd.h>
#include <sys/timex.h>
#include <sys/xattr.h>

/* libc has these two, and no header that tells of them. */
int capget(cap_user_header_t header, cap_user_data_t data);
int capset(cap_user_header_t header, const cap_user_data_t data);

#define REAL_XATTRS(X) \
	X(setxattr)    \
	X(lsetxattr)   \
	X(fsetxattr)   \
	X(getxattr)    \
	X(lgetxattr)   \
	X(fgetxattr)   \
	X(listxattr)   \
	X(llistxattr) X(flistxattr) X(removexattr) X(lremovexattr) X(fremovexattr)
#define REAL_NAMES(X) X(inotify_add_watch) X(memfd_create) X(name_to_handle_at) X(open_by_handle_at) X(mount) X(umount) X(umount2)
#define REAL_CLOCKS(X)   \
	X(timer_create)  \
	X(timer_settime) \
	X(timer_gettime) X(getitimer) X(setitimer) X(clock_settime) X(clock_adjtime) X(adjtimex) X(ntp_adjtime)
#define REAL_SIGWAITS(X) X(sigwait) X(sigwaitinfo) X(sigtimedwait) X(sigpending) X(signalfd)
#define REAL_QUEUES(X) \
	X(mq_open)     \
	X(mq_unlink)   \
	X(mq_send)     \
	X(mq_timedsend) X(mq_receive) X(mq_timedreceive) X(mq_getattr) X(mq_setattr) X(mq_notify)
#define REAL_SYSV(X) X(msgsnd) X(msgrcv) X(msgctl) X(semop) X(semtimedop) X(semctl) X(shmctl) X(shmat) X(shmdt)
#define REAL_TASKS(X)         \
	X(getresuid)          \
	X(getresgid)          \
	X(setgroups)          \
	X(sched_getparam)     \
	X(sched_setparam)     \
	X(sched_setscheduler) \
	X(sched_rr_get_interval) X(pthread_getaffinity_np) X(pthread_setaffinity_np) X(pthread_getname_np) X(capget) X(capset) X(prctl)
#define REAL_BYTES(X) X(vmsplice) X(getentropy) X(getdents64) X(getdirentries) X(getdirentries64) X(eventfd_read)
#define REAL_MORE(X)     \
	REAL_XATTRS(X)   \
	REAL_NAMES(X)    \
	REAL_CLOCKS(X)   \
	REAL_SIGWAITS(X) \
	REAL_QUEUES(X)   \
	REAL_SYSV(X)     \
	REAL_TASKS(X)    \
	REAL_BYTES(X)

#endif
