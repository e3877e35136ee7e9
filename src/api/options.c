/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cache/budget.h"
#include "cache/io.h"
#include "engine.h"
#include "util/compiler.h"
#include "util/log.h"
#include "util/size.h"

#define MIN_MAP_DEFAULT (64UL << 10)

static uint64_t physical_memory(void)
{
	return (uint64_t)sysconf(_SC_PHYS_PAGES) * FL_PAGE_SIZE;
}

static int read_size(const char *name, uint64_t min, uint64_t max, uint64_t *value)
{
	const char *s = getenv(name);
	int err;

	if (!s || !*s)
		return 0;
	err = size_parse(s, value);
	return err || *value < min || *value > max ? -EINVAL : 0;
}

/* One of the given words, by its place; `value` is left alone when the variable is not set. */
static int read_word(const char *name, const char *const words[], int *value)
{
	const char *s = getenv(name);

	if (!s || !*s)
		return 0;
	for (int i = 0; words[i]; i++)
		if (!strcmp(s, words[i])) {
			*value = i;
			return 0;
		}
	return -EINVAL;
}

static int read_text(const char *name, char *buf, size_t len)
{
	const char *s = getenv(name);

	if (s && strlen(s) >= len)
		return -EINVAL;
	snprintf(buf, len, "%s", s ? s : "");
	return 0;
}

const char *const engine_fault_words[] = {
	[FAULTS_AUTO] = "", [FAULTS_INLINE] = "inline", [FAULTS_THREAD] = "thread", [FAULTS_SIGSEGV] = "sigsegv", NULL};

int engine_options_from_env(struct engine_options *o, const char **what)
{
	static const char *const off_on[] = {"0", "1", NULL};
	static const char *const levels[] = {"quiet", "error", "warn", "info", "debug", NULL};
	enum { POOL, SHMEM, SMALL };
	static const char *const frame_words[] = {[POOL] = "pool", [SHMEM] = "shmem", [SMALL] = "small", NULL};
	static const char *const io[] = {[IO_AIO] = "aio", [IO_SYNC] = "sync", [IO_DEFERRED] = "deferred", NULL};
	int fault_word = FAULTS_AUTO, direct = 0, frames = POOL;

	memset(o, 0, sizeof *o);
	o->budget = min_u64(BUDGET_DEFAULT, physical_memory() / 4);
	o->min_map = MIN_MAP_DEFAULT;
	o->log_level = LOG_WARN;
	if (read_size(*what = "FAULTLINE_BUDGET", BUDGET_MIN, physical_memory(), &o->budget) ||
	    read_size(*what = "FAULTLINE_MIN_MAP", 0, INT64_MAX, &o->min_map) ||
	    read_size(*what = "FAULTLINE_ANON", 0, INT64_MAX, &o->anon_min) ||
	    read_word(*what = "FAULTLINE_FAULTS", engine_fault_words, &fault_word) ||
	    read_word(*what = "FAULTLINE_DIRECT", off_on, &direct) || read_word(*what = "FAULTLINE_FRAMES", frame_words, &frames) ||
	    read_word(*what = "FAULTLINE_IO", io, &o->io) || read_word(*what = "FAULTLINE_LOG", levels, &o->log_level) ||
	    read_text(*what = "FAULTLINE_SWAP", o->swap_directory, sizeof o->swap_directory) ||
	    read_text(*what = "FAULTLINE_REPORT", o->report_directory, sizeof o->report_directory) ||
	    read_text(*what = "FAULTLINE_HOST", o->host, sizeof o->host) ||
	    read_text(*what = "FAULTLINE_INJECT", o->inject, sizeof o->inject))
		return -EINVAL;
	if (!strcmp(o->host, "auto") || !strcmp(o->host, "none")) /* for `faultline run` */
		o->host[0] = 0;
	o->faults = (enum engine_faults)fault_word;
	o->direct = direct;
	o->pool = frames != SHMEM;
	o->huge = frames == POOL;
	return 0;
}
