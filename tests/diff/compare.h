/* SPDX-License-Identifier: Apache-2.0 */
/* Two runs of a list, and the first difference between them. */
#ifndef DIFF_COMPARE_H
#define DIFF_COMPARE_H

#include "backend.h"
#include "op.h"
#include "run.h"
#include "trace.h"

struct comparison {
	const struct backend *judge, *tested;
	struct backend_options options;
	const char *directory; /* where the files of runs are made */
	int timeout;           /* seconds, for each list */
	bool kept;             /* one process for each side, see kept.c */
	bool twice;            /* both are soft spaces: their addresses are the same, and so are their dumps */
	bool borders;          /* where mappings begin and end is compared, too */
	bool one_open;         /* each file is opened once, and the descriptors are copies */
	char *const *under;    /* a command that starts programs with the preload library: the tested side is one of them; else NULL */
};

/* A run of a list. */
struct side {
	const struct backend *backend;
	char directory[256];
	struct trace *traces;
	pid_t pid;
	int status;
	bool ended, hung;
};

enum difference_kind {
	SAME,
	DIFFERENT, /* a record */
	CRASHED,   /* `tested` ended by itself before the end of the list */
	HUNG,
};

struct difference {
	enum difference_kind kind;
	int thread;
	uint32_t op;  /* in the thread's own list */
	uint8_t code; /* OP_CODES: the checks at the end */
	struct record judge, tested;
	int status; /* of the process that crashed */
};

void side_remove_files(const char *path);
struct difference compare(const struct comparison *c, const struct list *l);
/* Of all comparisons since the last call: operations up to where each ended, and how many ended at an expected difference. */
struct compared {
	uint64_t operations, expected;
};
struct compared compared_so_far(void);
/* Whether the two are probably one defect. */
bool same_defect(const struct difference *a, const struct difference *b);
void difference_print(FILE *f, const struct comparison *c, const struct difference *d);

/* ---- under.c: a side that is a program started anew ---- */

/* Memory for traces that the program can find. */
struct trace *under_traces(int threads, int *fd);
/* In the process that becomes the program. */
_Noreturn void under_exec(const struct comparison *c, const struct run_request *rq, int fd);
/* In the program: runs the list, as the options say that under_exec() has given it. */
_Noreturn void under_run(struct comparison *c, struct list *l, int fd);

/* ---- expected.c ---- */

/* Why the records may differ, when what differs is something that user space cannot do or see; else NULL. */
const char *expected_difference(const struct op *o, const struct record *judge, const struct record *tested);
/* Whether it may come from a file that was opened more than once: then it is gone when each is opened once. */
bool may_be_of_two_opens(const struct difference *d);
/* Whether it may come from the limit of what can be locked, met by a stack that grows: then it is gone when the budget is larger. */
bool may_be_of_a_locked_stack(const struct list *l, const struct difference *d);

/* ---- shrink.c ---- */

/* Cuts a list that shows the difference down to one that still does, with simpler arguments. */
struct list shrink(const struct comparison *c, const struct list *l, const struct difference *d);

#endif
