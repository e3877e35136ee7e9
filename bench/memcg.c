/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The cgroup is made in our own, or, where that may have none (version 2: it has processes, or its children do not get the memory
 * controller), in the nearest one above that can. Nothing but the new cgroup is changed.
 */
#include "memcg.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "undo.h"
#include "util.h"

#define LIMIT_V1 "memory.limit_in_bytes"
#define LIMIT_V2 "memory.max"

struct place {
	char mount[PATH_MAX / 4], own[PATH_MAX / 4]; /* where the hierarchy is mounted; our cgroup in it, from its root */
	bool v2;
};

/* Whether one of the words between the commas is this. */
static bool has_word(const char *list, const char *word)
{
	size_t n = strlen(word);

	for (const char *at = list; at && *at; at = strchr(at, ','), at = at ? at + 1 : NULL)
		if (!strncmp(at, word, n) && strchr(",\n", at[n])) /* strchr() finds the end as well */
			return true;
	return false;
}

static bool find_mount(struct place *p)
{
	char line[4096], type[64], options[1024];
	FILE *f = fopen("/proc/self/mounts", "re");
	bool found = false;

	while (f && !found && fgets(line, sizeof line, f))
		if (sscanf(line, "%*s %1000s %60s %1000s", p->mount, type, options) == 3)
			found = p->v2 ? !strcmp(type, "cgroup2") : !strcmp(type, "cgroup") && has_word(options, "memory");
	if (f)
		fclose(f);
	return found;
}

/* Lines are number:controllers:path; version 2 has the number 0 and no controllers. */
static bool find_own(struct place *p)
{
	char line[4096];
	FILE *f = fopen("/proc/self/cgroup", "re");
	bool found = false;

	while (f && !found && fgets(line, sizeof line, f)) {
		char *controllers = strchr(line, ':'), *path = controllers ? strchr(controllers + 1, ':') : NULL;

		if (!path)
			continue;
		*path++ = 0;
		path[strcspn(path, "\n")] = 0;
		found = p->v2 ? !strncmp(line, "0:", 2) && !controllers[1] : has_word(controllers + 1, "memory");
		snprintf(p->own, sizeof p->own, "%s", strcmp(path, "/") ? path : "");
	}
	if (f)
		fclose(f);
	return found;
}

static int write_in(const char *folder, const char *file, const char *text)
{
	char path[PATH_MAX + 64];

	snprintf(path, sizeof path, "%s/%s", folder, file);
	return write_text(path, text);
}

/* No swap either, as far as that can be said: what is measured is the file. */
static int set_limit(const struct memcg *m, const struct place *p, uint64_t bytes)
{
	char text[32];
	int error;

	snprintf(text, sizeof text, "%llu", (unsigned long long)bytes);
	error = write_in(m->path, p->v2 ? LIMIT_V2 : LIMIT_V1, text);
	if (!error)
		write_in(m->path, p->v2 ? "memory.swap.max" : "memory.memsw.limit_in_bytes", p->v2 ? "0" : text);
	return error;
}

static int make_in(struct memcg *m, const struct place *p, uint64_t bytes)
{
	int error;

	snprintf(m->path, sizeof m->path, "%s%s/faultline-bench-%d", p->mount, p->own, (int)getpid());
	if (mkdir(m->path, 0755)) {
		error = -errno;
		*m->path = 0;
		return error;
	}
	undo_folder(m->path);
	error = set_limit(m, p, bytes);
	if (error)
		memcg_remove(m);
	return error;
}

int memcg_make(struct memcg *m, uint64_t bytes, uint64_t mapped)
{
	struct place p = {.v2 = false};
	int error, first;
	char *last;

	*m = (struct memcg){.path = ""};
	bytes += MEMCG_OWN + MEMCG_TABLES(mapped);
	if (!find_own(&p) || !find_mount(&p)) {
		p = (struct place){.v2 = true};
		if (!find_own(&p) || !find_mount(&p))
			return -ENOENT;
	}
	first = error = make_in(m, &p, bytes);
	while (error && (last = strrchr(p.own, '/'))) {
		*last = 0;
		error = make_in(m, &p, bytes);
	}
	return error ? first : 0;
}

int memcg_enter(const struct memcg *m, pid_t pid)
{
	char text[32];

	snprintf(text, sizeof text, "%d", (int)pid);
	return write_in(m->path, "cgroup.procs", text);
}

/* The kernel lets go of a process a moment after its parent has waited for it. */
void memcg_remove(struct memcg *m)
{
	for (int tries = 0; *m->path && rmdir(m->path) && errno == EBUSY && tries < 100; tries++)
		usleep(10000);
	undo_folder(NULL);
	*m->path = 0;
}
