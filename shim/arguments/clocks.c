/* SPDX-License-Identifier: Apache-2.0 */
/* Timers of a process, and clocks that are set. Those of descriptors, and clocks that are read, are in structs.c. */
#include <errno.h>

#include "base/real.h"
#include "held.h"
#include "signals/notify.h"

/* ---- Timers. In glibc before 2.34 they are in a library of their own, which may not be there. ---- */

WRAPPER int timer_create(clockid_t id, struct sigevent *event, timer_t *timer)
{
	struct sigevent copy;

	if (!REAL(timer_create))
		return (int)shim_result(-ENOSYS);
	RETURN_HELD(REAL(timer_create)(id, (struct sigevent *)notify_event(event, &copy), timer), READS(event, sizeof *event),
		    FILLS(timer, sizeof *timer));
}

WRAPPER int timer_settime(timer_t timer, int flags, const struct itimerspec *t, struct itimerspec *old)
{
	if (!REAL(timer_settime))
		return (int)shim_result(-ENOSYS);
	RETURN_HELD(REAL(timer_settime)(timer, flags, t, old), READS(t, sizeof *t), FILLS(old, sizeof *old));
}

WRAPPER int timer_gettime(timer_t timer, struct itimerspec *t)
{
	if (!REAL(timer_gettime))
		return (int)shim_result(-ENOSYS);
	RETURN_HELD(REAL(timer_gettime)(timer, t), FILLS(t, sizeof *t));
}

WRAPPER int getitimer(__itimer_which_t which, struct itimerval *t)
{
	RETURN_HELD(REAL(getitimer)(which, t), FILLS(t, sizeof *t));
}

WRAPPER int setitimer(__itimer_which_t which, const struct itimerval *t, struct itimerval *old)
{
	RETURN_HELD(REAL(setitimer)(which, t, old), READS(t, sizeof *t), FILLS(old, sizeof *old));
}

/* ---- Clocks ---- */

WRAPPER int clock_settime(clockid_t id, const struct timespec *t)
{
	RETURN_HELD(REAL(clock_settime)(id, t), READS(t, sizeof *t));
}

WRAPPER int clock_adjtime(clockid_t id, struct timex *t)
{
	RETURN_HELD(REAL(clock_adjtime)(id, t), FILLS(t, sizeof *t));
}

WRAPPER int adjtimex(struct timex *t)
{
	RETURN_HELD(REAL(adjtimex)(t), FILLS(t, sizeof *t));
}

WRAPPER int ntp_adjtime(struct timex *t)
{
	RETURN_HELD(REAL(ntp_adjtime)(t), FILLS(t, sizeof *t));
}
