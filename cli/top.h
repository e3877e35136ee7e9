/* SPDX-License-Identifier: Apache-2.0 */
/* `faultline top`: what mappings do, while they do it. */
#ifndef FL_CLI_TOP_H
#define FL_CLI_TOP_H

#include <stdbool.h>
#include <stdint.h>

#include "sample.h"
#include "top_table.h"

struct top {
	uint32_t pid; /* that was asked for, or 0 */
	char *only;   /* the directory of its run, or NULL: all */
	double delay;
	long count; /* refreshes, or 0: without end */
	bool batch, json;
	bool by_process;
	enum top_column sort;
	struct sample before;
};

/* The next view, between what was last sampled and now. */
void top_next(struct top *t, struct view *v);

/* On a terminal, until a key ends it. The exit status. */
int top_screen(struct top *t);
void top_json(const struct view *v);

int top_main(int argc, char **argv);

#endif
