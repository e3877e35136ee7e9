/* SPDX-License-Identifier: Apache-2.0 */
/* The public calls that concern no mapping in particular; those that do are in space.c. See faultline.h. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cache/budget.h"
#include "engine.h"
#include "faultline.h"
#include "file_io.h"
#include "limits_of.h"
#include "util/compiler.h"
#include "util/log.h"

static int result(int err)
{
	if (!err)
		return 0;
	errno = -err;
	return -1;
}

FL_EXPORT const char *fl_version(void)
{
	return "0.1.0";
}

/* ---- Start and end ---- */

static int apply(const struct fl_options *in, struct engine_options *o)
{
	struct fl_options f = {0};

	memcpy(&f, in, in->size < sizeof f ? in->size : sizeof f);
	if (in->size < sizeof f.size || (unsigned)f.faults > FL_FAULTS_SIGSEGV || (unsigned)f.direct > FL_DIRECT_ON ||
	    (unsigned)f.handlers > FL_HANDLERS_DO_NOT_TOUCH)
		return -EINVAL;
	if (f.budget)
		o->budget = f.budget;
	if (o->budget < BUDGET_MIN || o->budget > (uint64_t)sysconf(_SC_PHYS_PAGES) * FL_PAGE_SIZE)
		return -EINVAL;
	if (f.faults && f.faults != FL_FAULTS_NONE)
		o->faults = engine_faults_of(f.faults);
	o->no_native = o->soft = f.faults == FL_FAULTS_NONE;
	o->quiet_handlers = f.handlers == FL_HANDLERS_DO_NOT_TOUCH;
	if (f.direct)
		o->direct = f.direct == FL_DIRECT_ON;
	if (f.swap_directory && strlen(f.swap_directory) >= sizeof o->swap_directory)
		return -EINVAL;
	if (f.host && strlen(f.host) >= sizeof o->host)
		return -EINVAL;
	if (f.host)
		snprintf(o->host, sizeof o->host, "%s", f.host);
	if (f.swap_directory)
		snprintf(o->swap_directory, sizeof o->swap_directory, "%s", f.swap_directory);
	return 0;
}

FL_EXPORT int fl_init(const struct fl_options *options)
{
	struct engine_options o;
	const char *what;
	int err;

	if (engine_started())
		return result(-EBUSY);
	err = engine_options_from_env(&o, &what);
	if (!err && options)
		err = apply(options, &o);
	return result(err ? err : engine_start(&o));
}

FL_EXPORT int fl_exit(void)
{
	return result(engine_stop());
}

/* A program that ends without fl_exit() has its stores written back. */
__attribute__((destructor)) static void at_exit(void)
{
	int err = engine_flush(FLUSH_TO_END);

	if (err)
		fl_log(LOG_ERROR, "at exit: stores could not be written back: %s", strerror(-err));
}

/* ---- Pins: in every space, since a buffer may lie in any ---- */

FL_EXPORT int fl_pin(const void *addr, size_t length, int flags)
{
	return result(flags & ~FL_PIN_WRITE ? -EINVAL : file_io_pin(addr, length, flags & FL_PIN_WRITE));
}

FL_EXPORT int fl_unpin(const void *addr, size_t length)
{
	file_io_unpin(addr, length);
	return 0;
}

/* ---- File calls ---- */

static ssize_t count_result(ssize_t n)
{
	if (n >= 0)
		return n;
	errno = (int)-n;
	return -1;
}

FL_EXPORT ssize_t fl_pread(int fd, void *buf, size_t count, off_t offset)
{
	return count_result(file_io_pread(fd, buf, count, offset));
}

FL_EXPORT ssize_t fl_pwrite(int fd, const void *buf, size_t count, off_t offset)
{
	return count_result(file_io_pwrite(fd, buf, count, offset));
}

FL_EXPORT int fl_ftruncate(int fd, off_t length)
{
	return result(file_io_ftruncate(fd, length));
}
