/* SPDX-License-Identifier: Apache-2.0 */
/* Memory locks: which pages have one, and a process that may lock only so much. */
#ifndef FL_TESTS_LOCKS_H
#define FL_TESTS_LOCKS_H

#include "conformance.h"

/* A letter a page: 'L' locked, 'u' not, '-' not mapped. MS_INVALIDATE asks and changes nothing. The answer is static. */
static inline const char *lock_map(struct world *w, size_t pages)
{
	static char picture[ARENA_PAGES + 1];

	for (size_t i = 0; i < pages; i++) {
		int error = ERROR_OF(w->c->msync(ARENA + i * PAGE, PAGE, MS_INVALIDATE));

		picture[i] = error == EBUSY ? 'L' : error == ENOMEM ? '-' : error ? '?' : 'u';
	}
	picture[pages] = 0;
	return picture;
}

#define assert_locks(w, picture) assert_string_equal(lock_map(w, strlen(picture)), picture)

struct limited {
	struct rlimit old;
	bool privileged;
};

/* Nothing may be asserted before unlimited(): the process is another user's. */
static inline void limit_locked_pages(struct limited *l, rlim_t pages)
{
	struct rlimit r;

	assert_int_equal(getrlimit(RLIMIT_MEMLOCK, &l->old), 0);
	r = (struct rlimit){.rlim_cur = pages * PAGE, .rlim_max = l->old.rlim_max};
	assert_int_equal(setrlimit(RLIMIT_MEMLOCK, &r), 0);
	l->privileged = geteuid() == 0;
	if (l->privileged)
		assert_int_equal(seteuid(65534), 0);
}

static inline void unlimited(struct limited *l)
{
	if (l->privileged)
		assert_int_equal(seteuid(0), 0);
	assert_int_equal(setrlimit(RLIMIT_MEMLOCK, &l->old), 0);
}

#endif
