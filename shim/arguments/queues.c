/* SPDX-License-Identifier: Apache-2.0 */
/* POSIX message queues. In glibc before 2.34 they are in a library of their own, which may not be there. */
#include <errno.h>
#include <stdarg.h>

#include "base/real.h"
#include "held.h"
#include "paths.h"
#include "signals/notify.h"

#define RETURN_QUEUE(name, arguments, ...)                      \
	do {                                                    \
		if (!REAL(name))                                \
			return (int)shim_result(-ENOSYS);       \
		RETURN_HELD(REAL(name) arguments, __VA_ARGS__); \
	} while (0)

/* Closed by libc, unseen: nothing is remembered of the descriptor. */
WRAPPER mqd_t mq_open(const char *name, int flags, ...)
{
	struct mq_attr *attr = NULL;
	mode_t mode = 0;
	va_list ap;

	if (flags & O_CREAT) {
		va_start(ap, flags);
		mode = va_arg(ap, mode_t);
		attr = va_arg(ap, struct mq_attr *);
		va_end(ap);
	}
	RETURN_QUEUE(mq_open, (name, flags, mode, attr), STRING(name), READS(attr, sizeof *attr));
}

WRAPPER int mq_unlink(const char *name)
{
	RETURN_QUEUE(mq_unlink, (name), STRING(name));
}

WRAPPER int mq_send(mqd_t q, const char *buf, size_t len, unsigned priority)
{
	RETURN_QUEUE(mq_send, (q, buf, len, priority), READS(buf, len));
}

WRAPPER int mq_timedsend(mqd_t q, const char *buf, size_t len, unsigned priority, const struct timespec *until)
{
	RETURN_QUEUE(mq_timedsend, (q, buf, len, priority, until), READS(buf, len), READS(until, sizeof *until));
}

WRAPPER ssize_t mq_receive(mqd_t q, char *buf, size_t len, unsigned *priority)
{
	RETURN_QUEUE(mq_receive, (q, buf, len, priority), FILLS(buf, len), FILLS(priority, sizeof *priority));
}

WRAPPER ssize_t mq_timedreceive(mqd_t q, char *buf, size_t len, unsigned *priority, const struct timespec *until)
{
	RETURN_QUEUE(mq_timedreceive, (q, buf, len, priority, until), FILLS(buf, len), FILLS(priority, sizeof *priority),
		     READS(until, sizeof *until));
}

WRAPPER int mq_getattr(mqd_t q, struct mq_attr *attr)
{
	RETURN_QUEUE(mq_getattr, (q, attr), FILLS(attr, sizeof *attr));
}

WRAPPER int mq_setattr(mqd_t q, const struct mq_attr *attr, struct mq_attr *old)
{
	RETURN_QUEUE(mq_setattr, (q, attr, old), READS(attr, sizeof *attr), FILLS(old, sizeof *old));
}

WRAPPER int mq_notify(mqd_t q, const struct sigevent *event)
{
	struct sigevent copy;

	RETURN_QUEUE(mq_notify, (q, notify_event(event, &copy)), READS(event, sizeof *event));
}
