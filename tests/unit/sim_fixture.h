/* SPDX-License-Identifier: Apache-2.0 */
/* What tests over the simulated MMU share: a file with a known pattern, an engine started over it, and a clean end. */
#ifndef FL_TESTS_SIM_FIXTURE_H
#define FL_TESTS_SIM_FIXTURE_H

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "cache/budget.h"
#include "faultline.h"
#include "sim_mmu.h"
#include "util/compiler.h"

#define BUDGET (1UL << 20)
#define WORDS_PER_PAGE (FL_PAGE_SIZE / 8)

static inline uint64_t pattern(uint64_t word)
{
	return (word + 1) * 0x9e3779b97f4a7c15ull;
}

/* An unlinked file of so many pages whose words are pattern(). */
static inline int pattern_file(uint64_t pages)
{
	char path[] = "/var/tmp/faultline-sim-XXXXXX";
	uint64_t page[WORDS_PER_PAGE];
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	unlink(path);
	for (uint64_t p = 0; p < pages; p++) {
		for (uint64_t i = 0; i < WORDS_PER_PAGE; i++)
			page[i] = pattern(p * WORDS_PER_PAGE + i);
		assert_int_equal(write(fd, page, sizeof page), sizeof page);
	}
	return fd;
}

/* `inject`: rules of the fault store, NULL for none. */
static inline void sim_start(const char *inject)
{
	struct fl_options o = {.size = sizeof o, .budget = BUDGET, .faults = FL_FAULTS_INLINE};

	fl_exit();                              /* what a failed test has left */
	setenv("FAULTLINE_FRAMES", "shmem", 1); /* the simulated MMU knows mappings of a memfd */
	if (inject)
		setenv("FAULTLINE_INJECT", inject, 1);
	else
		unsetenv("FAULTLINE_INJECT");
	assert_int_equal(fl_init(&o), 0);
}

/* Nothing is left, the budget was kept, and all that a mapping costs has come back. */
static inline void sim_stop(void)
{
	struct fl_stats st = {.size = sizeof st};

	sim_check_writable_is_dirty();
	assert_int_equal(fl_stats(&st), 0);
	assert_true(st.peak_bytes <= st.budget_bytes);
	assert_int_equal(st.mappings, 0);
	assert_int_equal(st.files, 0);
	assert_int_equal(st.used_bytes, st.buffer_bytes + st.metadata_bytes + st.allowance_bytes);
	assert_int_equal(fl_exit(), 0);
}

static inline uint64_t *sim_map(int fd, uint64_t pages, int prot, int flags)
{
	void *p = fl_mmap(NULL, pages * FL_PAGE_SIZE, prot, flags, fd, 0);

	assert_ptr_not_equal(p, MAP_FAILED);
	return p;
}

static inline uint64_t load(const uint64_t *p)
{
	uint64_t v;

	assert_int_equal(sim_load64(p, &v), 0);
	return v;
}

static inline void store(uint64_t *p, uint64_t v)
{
	assert_int_equal(sim_store64(p, v), 0);
}

static inline uint64_t word_in_file(int fd, uint64_t word)
{
	uint64_t v;

	assert_int_equal(pread(fd, &v, 8, (off_t)(word * 8)), 8);
	return v;
}

#endif
