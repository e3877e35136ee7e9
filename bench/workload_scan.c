/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>

#include "workload.h"

void scan_from(struct actor *a, uint64_t from)
{
	struct run *r = a->run;

	for (uint64_t page = a->next; !is_over(a); page = page + 1 < r->pages ? page + 1 : from) {
		uint64_t at = page * PAGE;

		judge(a, at, load_lines(r, at), data_line_sum(at));
		a->ops++;
		a->bytes += PAGE;
		a->next = page + 1 < r->pages ? page + 1 : from;
	}
}

static void scan(struct actor *a)
{
	scan_from(a, 0);
}

void workload_scan(struct run *r, struct outcome *out)
{
	struct actor *a = actors_new(r, 1);
	int error = a ? 0 : -ENOMEM;

	if (!error) {
		a->words = false;
		error = actors_run(a, 1, &(struct act){scan, r->job->seconds, NULL}, out);
	}
	if (error)
		fail(out, "scan", -error);
	else
		actors_account(a, 1, out);
	free(a);
}
