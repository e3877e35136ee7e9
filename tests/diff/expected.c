/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Differences that user space cannot avoid. Each entry matches one operation under one condition, and gives the
 * reason. A defect never goes here.
 */
#include "compare.h"

struct expected {
	enum op_code code;
	bool (*matches)(const struct op *o, const struct record *judge, const struct record *tested);
	const char *reason;
};

static const struct expected table[] = {
	{OP_CODES, NULL, NULL},
};

const char *expected_difference(const struct op *o, const struct record *judge, const struct record *tested)
{
	for (const struct expected *e = table; e->matches; e++)
		if (e->code == o->code && e->matches(o, judge, tested))
			return e->reason;
	return NULL;
}
