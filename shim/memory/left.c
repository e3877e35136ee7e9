/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A table of sets, never cleared: whether the kernel's mapping still exists is not followed. A file that is gone and whose
 * inode number another one got is left to the kernel for no reason, which costs memory but no bytes.
 */
#include "left.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>

#include "util/lock.h"
#include "util/report.h"
#include "util/sys.h"

#define SETS 512
#define WAYS 4

struct left {
	uint64_t dev, ino;
	bool used, writable;
};

static struct mutex lock = MUTEX_INIT(RANK_LEAF);
static struct left table[SETS][WAYS];
static _Atomic uint32_t count;
static uint32_t turn;

static struct left *set_of(const struct stat *st)
{
	return table[(st->st_ino * 0x9e3779b97f4a7c15ull ^ st->st_dev) >> 32 & (SETS - 1)];
}

static struct left *find(const struct stat *st)
{
	struct left *set = set_of(st);

	for (int i = 0; i < WAYS; i++)
		if (set[i].used && set[i].ino == st->st_ino && set[i].dev == st->st_dev)
			return &set[i];
	return NULL;
}

bool left_has(const struct stat *st)
{
	struct sigguard g;
	bool yes;

	if (!atomic_load(&count))
		return false;
	g = sigguard_enter();
	mutex_lock(&lock);
	yes = find(st);
	mutex_unlock(&lock);
	sigguard_leave(g);
	return yes;
}

static struct left *victim(struct left *set)
{
	for (int i = 0; i < WAYS; i++)
		if (!set[i].used)
			return &set[i];
	for (int i = 0; i < WAYS; i++)
		if (!set[i].writable)
			return &set[i];
	return &set[turn++ % WAYS];
}

void left_add(const struct stat *st, bool writable)
{
	struct sigguard g = sigguard_enter();
	struct left *l;

	mutex_lock(&lock);
	l = find(st);
	if (l)
		l->writable |= writable;
	else
		*victim(set_of(st)) = (struct left){.dev = st->st_dev, .ino = st->st_ino, .used = true, .writable = writable};
	mutex_unlock(&lock);
	sigguard_leave(g);
	atomic_store(&count, 1);
}

/* ---- Notes ---- */

/* Notes from before the engine's start, when there is no report yet. */
#define EARLY 4
static char early[EARLY][248];
static uint32_t nearly; /* lock */

static void keep_early(const char *text)
{
	struct sigguard g = sigguard_enter();

	mutex_lock(&lock);
	if (nearly < EARLY)
		memcpy(early[nearly++], text, sizeof early[0]);
	mutex_unlock(&lock);
	sigguard_leave(g);
}

static void note(const char *text)
{
	if (report_get())
		report_note(text);
	else
		keep_early(text);
}

void left_note(int fd, const char *why)
{
	char link[40], path[160], text[sizeof early[0]];
	long n;

	snprintf(link, sizeof link, "/proc/thread-self/fd/%d", fd);
	n = sys_call(SYS_readlink, (long)link, (long)path, sizeof path - 1, 0, 0, 0);
	path[n > 0 ? n : 0] = 0;
	snprintf(text, sizeof text, "%s: left to the kernel: %s", path, why);
	note(text);
}

void left_note_refused(const char *what, const char *why)
{
	char text[sizeof early[0]];

	snprintf(text, sizeof text, "%s: refused: %s", what, why);
	note(text);
}

void left_note_memory(const char *why)
{
	char text[sizeof early[0]];

	snprintf(text, sizeof text, "anonymous memory: left to the kernel: %s", why);
	report_note(text);
}

void left_report_early(void)
{
	uint32_t n = __atomic_exchange_n(&nearly, 0, __ATOMIC_ACQ_REL);

	for (uint32_t i = 0; i < n; i++)
		report_note(early[i]);
}
