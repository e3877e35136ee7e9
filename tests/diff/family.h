/* SPDX-License-Identifier: Apache-2.0 */
/* The processes of a list, whatever stands for them: who takes an operation, and what forks and ends are. */
#ifndef DIFF_FAMILY_H
#define DIFF_FAMILY_H

#include "run.h"

struct family_calls {
	/* 0, or -1 with errno. The parent goes on; the child is there when it is its turn. */
	int (*fork)(struct context *parent, int child);
	void (*end)(struct context *parent, int child);
};

/* The process that does the operation c->at; those from c->n on are the checks and ends that a list is finished by. */
int family_actor(const struct context *c);
/* Does it, when it is c's. False: that was the last one. */
bool family_act(struct context *c, const struct family_calls *calls);

#endif
