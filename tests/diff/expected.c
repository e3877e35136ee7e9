/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Differences that user space cannot avoid. Each entry matches one operation under one condition, and gives the
 * reason. A defect never goes here. What follows in a list cannot be compared, since one side did something that the
 * other did not.
 */
#include "compare.h"

#include <errno.h>

struct expected {
	enum op_code code;
	bool (*matches)(const struct op *o, const struct record *judge, const struct record *tested);
	const char *reason;
};

static bool over_lock_limit(const struct op *o, const struct record *judge, const struct record *tested)
{
	int limit = o->code == OP_MLOCK ? ENOMEM : EAGAIN;

	return judge->kind == RECORD_CALL && judge->result != -1 && tested->result == -1 && tested->err == limit;
}

static const char lock_limit[] = "half of the budget may be locked, where the kernel has all of memory";

static const struct expected table[] = {
	{OP_MLOCK, over_lock_limit, lock_limit},
	{OP_MMAP, over_lock_limit, lock_limit},
	{OP_MREMAP, over_lock_limit, lock_limit},
	{OP_CODES, NULL, NULL},
};

const char *expected_difference(const struct op *o, const struct record *judge, const struct record *tested)
{
	for (const struct expected *e = table; e->matches; e++)
		if (e->code == o->code && e->matches(o, judge, tested))
			return e->reason;
	return NULL;
}
