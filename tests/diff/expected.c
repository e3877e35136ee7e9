/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Differences that user space cannot avoid. Each entry matches one operation under one condition, and gives the
 * reason. A defect never goes here. What follows in a list cannot be compared, since one side did something that the
 * other did not.
 *
 * One cannot be told from the records. To Linux, mappings of a file that was opened twice are of two files: they do not merge, and neither
 * mremap nor remap_file_pages takes a range that has both. Faultline knows files, and not who has opened them: it would have to
 * keep a descriptor of each. That this is all is shown by running the list again with each file opened once.
 *
 * Another could be a defect by what the records say: a locked stack that would grow beyond half of the budget is an access that fails.
 * There the list runs again with a budget that it cannot use up.
 */
#include "compare.h"

#include <errno.h>
#include <signal.h>
#include <sys/mman.h>

struct expected {
	enum op_code code;
	bool (*matches)(const struct op *o, const struct record *judge, const struct record *tested);
	const char *reason;
};

static bool over_lock_limit(const struct op *o, const struct record *judge, const struct record *tested)
{
	int limit = o->code == OP_MLOCK || o->code == OP_MLOCKALL ? ENOMEM : EAGAIN;

	return judge->kind == RECORD_CALL && judge->result != -1 && tested->result == -1 && tested->err == limit;
}

/* Both fail: the limit is asked before it is seen that there is no place to grow. */
static bool over_lock_limit_first(const struct op *o, const struct record *judge, const struct record *tested)
{
	(void)o;
	return judge->kind == RECORD_CALL && judge->result == -1 && judge->err == ENOMEM && tested->result == -1 && tested->err == EAGAIN;
}

static const char lock_limit[] = "half of the budget may be locked, where the kernel has all of memory";

static const struct expected table[] = {
	{OP_MLOCK, over_lock_limit, lock_limit},  {OP_MLOCKALL, over_lock_limit, lock_limit},     {OP_MMAP, over_lock_limit, lock_limit},
	{OP_MREMAP, over_lock_limit, lock_limit}, {OP_MREMAP, over_lock_limit_first, lock_limit}, {OP_CODES, NULL, NULL},
};

bool may_be_of_two_opens(const struct difference *d)
{
	if (d->kind != DIFFERENT || d->judge.kind != RECORD_CALL || d->judge.result != -1)
		return false;
	return (d->code == OP_MREMAP && d->judge.err == EFAULT) || (d->code == OP_REMAP_FILE_PAGES && d->judge.err == EINVAL);
}

static bool grows_down(const struct op *o)
{
	return o->code == OP_MMAP && (o->arg[4] & MAP_GROWSDOWN);
}

static bool locks(const struct op *o)
{
	return o->code == OP_MLOCK || (o->code == OP_MMAP && (o->arg[4] & MAP_LOCKED));
}

static bool has(const struct list *l, bool (*what)(const struct op *))
{
	for (size_t i = 0; i < l->n; i++)
		if (what(&l->ops[i]))
			return true;
	return false;
}

bool may_be_of_a_locked_stack(const struct list *l, const struct difference *d)
{
	bool fails = d->tested.kind == RECORD_ACCESS ? d->tested.sig == SIGSEGV && d->tested.code == SEGV_MAPERR
						     : d->tested.kind == RECORD_CALL && d->tested.result < d->judge.result;

	return d->kind == DIFFERENT && !d->judge.sig && d->judge.kind == d->tested.kind && fails && has(l, grows_down) && has(l, locks);
}

const char *expected_difference(const struct op *o, const struct record *judge, const struct record *tested)
{
	for (const struct expected *e = table; e->matches; e++)
		if (e->code == o->code && e->matches(o, judge, tested))
			return e->reason;
	return NULL;
}
