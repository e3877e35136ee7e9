/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tested side under the preload library: the tester itself, started anew by a command such as `faultline run --budget 4M --`. To it the
 * calls are the kernel's. It finds the list in a file, and the trace by a descriptor.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "compare.h"
#include "run.h"

#define WORDS_MAX 64

static struct trace *map_traces(int threads, int fd)
{
	struct trace *t = mmap(NULL, sizeof *t * (size_t)threads, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);

	if (t == MAP_FAILED)
		abort();
	return t;
}

struct trace *under_traces(int threads, int *fd)
{
	*fd = memfd_create("traces", MFD_CLOEXEC);
	if (*fd < 0 || ftruncate(*fd, (off_t)(sizeof(struct trace) * (size_t)threads)))
		abort();
	return map_traces(threads, *fd);
}

static void write_list(const struct run_request *rq, const char *path)
{
	FILE *f = fopen(path, "w");

	if (!f)
		abort();
	list_print(f, rq->list);
	fclose(f);
}

_Noreturn void under_exec(const struct comparison *c, const struct run_request *rq, int fd)
{
	char list[300], self[300] = "", traces[16], threads[16], *words[WORDS_MAX + 12];
	size_t n = 0;

	for (; c->under[n] && n < WORDS_MAX; n++)
		words[n] = c->under[n];
	snprintf(list, sizeof list, "%s/list", rq->directory);
	snprintf(traces, sizeof traces, "%d", fd);
	snprintf(threads, sizeof threads, "%d", rq->list->threads);
	write_list(rq, list);
	if (readlink("/proc/self/exe", self, sizeof self - 1) < 0 || fcntl(fd, F_SETFD, 0))
		abort();
	char *options[] = {self,
			   "--side",
			   traces,
			   "--threads",
			   threads,
			   "--directory",
			   (char *)rq->directory,
			   "--replay",
			   list,
			   rq->borders    ? "--borders"
			   : rq->one_open ? "--one-open"
					  : NULL,
			   NULL};

	memcpy(words + n, options, sizeof options);
	execvp(words[0], words);
	perror(words[0]);
	_exit(96);
}

_Noreturn void under_run(struct comparison *c, struct list *l, int fd)
{
	struct run_request rq = {.backend = &shim_backend,
				 .list = l,
				 .directory = c->directory,
				 .traces = map_traces(l->threads, fd),
				 .borders = c->borders,
				 .one_open = c->one_open};

	run_child(&rq);
}
