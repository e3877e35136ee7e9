/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls that race with each other and with accesses, and arguments that mean nothing. What they answer may vary; nothing may
 * crash, hang or leak, and what must not be touched stays. Accesses that race are made where they cannot fail, or in system
 * calls, which tell by an error.
 */
#include "conformance.h"

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#define THREADS 4
#define MILLISECONDS 300
#define RACE_PAGES 32UL

struct racer {
	struct world *w;
	unsigned seed;
	atomic_bool *stop;
	unsigned long calls;
};

static unsigned next(struct racer *r)
{
	r->seed = r->seed * 1664525u + 1013904223u;
	return r->seed >> 8;
}

/* Pages of the first half of the arena, within which all racing happens. */
static char *some_page(struct racer *r)
{
	return ARENA + next(r) % RACE_PAGES * PAGE;
}

static size_t some_length(struct racer *r)
{
	return (next(r) % 8 + 1) * PAGE;
}

static void sleep_ms(long ms)
{
	nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}, NULL);
}

static void race(struct world *w, void *(*fn)(void *), size_t threads)
{
	atomic_bool stop = false;
	struct racer r[THREADS];
	pthread_t t[THREADS];

	for (size_t i = 0; i < threads; i++) {
		r[i] = (struct racer){.w = w, .seed = (unsigned)i * 7919 + 1, .stop = &stop};
		assert_int_equal(pthread_create(&t[i], NULL, fn, &r[i]), 0);
	}
	sleep_ms(MILLISECONDS);
	for (size_t i = 0; i < threads; i++) /* on a busy machine one may not have had its turn */
		for (int n = 0; n < 3000 && !__atomic_load_n(&r[i].calls, __ATOMIC_RELAXED); n++)
			sleep_ms(10);
	atomic_store(&stop, true);
	for (size_t i = 0; i < threads; i++) {
		pthread_join(t[i], NULL);
		assert_true(r[i].calls > 0);
	}
}

/* ---- All calls on one range ---- */

static void one_call(struct racer *r)
{
	static const int advice[] = {MADV_NORMAL, MADV_RANDOM, MADV_WILLNEED, MADV_DONTNEED, MADV_COLD, MADV_PAGEOUT, MADV_REMOVE};
	static const int sync[] = {MS_SYNC, MS_ASYNC, MS_INVALIDATE};
	static const int types[] = {MAP_SHARED, MAP_PRIVATE, MAP_PRIVATE | MAP_ANONYMOUS, MAP_SHARED | MAP_ANONYMOUS};
	const struct calls *c = r->w->c;
	unsigned char vec[16];
	char *p = some_page(r), *q = some_page(r);
	size_t length = some_length(r);
	int type;

	switch (next(r) % 12) {
	case 0:
	case 1:
	case 2:
		type = types[next(r) % COUNT(types)];
		c->mmap(p, length, (int)(next(r) % 4), type | MAP_FIXED, type & MAP_ANONYMOUS ? -1 : r->w->fd,
			(off_t)(next(r) % 64 * PAGE));
		break;
	case 3:
		c->munmap(p, length);
		break;
	case 4:
		c->mprotect(p, length, (int)(next(r) % 4));
		break;
	case 5:
		c->mremap(p, length, some_length(r), MREMAP_MAYMOVE | MREMAP_FIXED, q);
		break;
	case 6:
		c->mremap(p, length, some_length(r), 0);
		break;
	case 7:
		c->msync(p, length, sync[next(r) % COUNT(sync)]);
		break;
	case 8:
		c->madvise(p, length, advice[next(r) % COUNT(advice)]);
		break;
	case 9:
		c->mincore(p, length, vec);
		break;
	case 10:
		c->ftruncate(r->w->fd, (off_t)(next(r) % 64 * PAGE));
		break;
	case 11:
		c->mlock2(p, length, MLOCK_ONFAULT);
		c->munlock(p, length);
		break;
	}
	r->calls++;
}

static void *all_calls(void *arg)
{
	struct racer *r = arg;

	while (!atomic_load(r->stop))
		one_call(r);
	return NULL;
}

/* A mapping beside the race is not touched by it. */
CONFORMS(all_calls_at_once)
{
	char *beside = ARENA + 100 * PAGE;

	map_ok(w, beside, 4 * PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	memset(beside, 'x', 4 * PAGE);
	race(w, all_calls, THREADS);
	for (size_t i = 0; i < 4 * PAGE; i++)
		assert_int_equal(beside[i], 'x');
}

/* ---- Accesses while the rest of the range changes ---- */

static atomic_ulong others;

/* Pages 64 and on stay mapped; their contents are known. */
static void *read_and_write(void *arg)
{
	struct racer *r = arg;
	char *mine = ARENA + 64 * PAGE;

	while (!atomic_load(r->stop)) {
		size_t i = next(r) % 16;

		others += mine[i * PAGE + 1] != mark(i);
		((volatile char *)mine)[i * PAGE + 100 + r->seed % 7] = 'x';
		r->calls++;
	}
	return NULL;
}

static void *calls_beside(void *arg)
{
	struct racer *r = arg;
	const struct calls *c = r->w->c;
	char *shared = ARENA + 64 * PAGE;

	while (!atomic_load(r->stop)) {
		size_t i = next(r) % 16;

		switch (next(r) % 5) {
		case 0:
			c->madvise(shared + i * PAGE, PAGE, MADV_DONTNEED);
			break;
		case 1:
			c->madvise(shared + i * PAGE, PAGE, MADV_PAGEOUT);
			break;
		case 2:
			c->msync(shared + i * PAGE, PAGE, MS_SYNC);
			break;
		case 3:
			c->mmap(ARENA + i * PAGE, PAGE, RW, MAP_SHARED | MAP_FIXED, r->w->fd, (off_t)(i * PAGE));
			break;
		case 4:
			c->munmap(ARENA + i * PAGE, PAGE);
			break;
		}
		r->calls++;
	}
	return NULL;
}

static void *half_and_half(void *arg)
{
	struct racer *r = arg;

	return r->seed % 2 ? read_and_write(arg) : calls_beside(arg);
}

CONFORMS(accesses_while_pages_come_and_go)
{
	map_ok(w, ARENA + 64 * PAGE, 16 * PAGE, RW, MAP_SHARED | MAP_FIXED, w->fd, 0);
	others = 0;
	race(w, half_and_half, THREADS);
	assert_int_equal(others, 0);
	for (size_t i = 0; i < 16; i++)
		assert_int_equal(ARENA[(64 + i) * PAGE + 1], mark(i));
}

/* Protection that goes to and fro between readable and writable: what is read is never other than what was stored. */
static void *toggle(void *arg)
{
	struct racer *r = arg;
	char *mine = ARENA + 64 * PAGE;

	while (!atomic_load(r->stop)) {
		if (r->seed % 2) {
			size_t i = next(r) % 16 | 1;

			others += mine[i * PAGE] != mark(i);
			r->seed |= 1;
		} else {
			r->w->c->mprotect(mine, 16 * PAGE, PROT_READ | (r->calls % 2 ? PROT_WRITE : 0));
			r->w->c->madvise(mine, 16 * PAGE, MADV_DONTNEED);
		}
		r->calls++;
	}
	return NULL;
}

CONFORMS(reads_while_protection_changes)
{
	map_ok(w, ARENA + 64 * PAGE, 16 * PAGE, RW, MAP_PRIVATE | MAP_FIXED, w->fd, 0);
	others = 0;
	race(w, toggle, THREADS);
	assert_int_equal(others, 0);
}

/* ---- A mapping that takes the place of one in use ---- */

static atomic_ulong signals;

static void *read_on(void *arg)
{
	struct racer *r = arg;

	while (!atomic_load(r->stop)) {
		struct caught c = try_read(ARENA + 100);

		signals += c.signal != 0;
		others += !c.signal && c.value != mark(0) && c.value != mark(1);
		others += c.signal && c.signal != SIGSEGV;
		r->calls++;
	}
	return NULL;
}

/*
 * The kernel replaces in one step. With Faultline an access at that moment may raise SIGSEGV; it never finds anything but
 * the old page or the new one.
 */
CONFORMS(a_mapping_in_use_is_replaced)
{
	struct racer r = {.w = w};
	atomic_bool stop = false;
	pthread_t t;

	r.stop = &stop;
	others = signals = 0;
	map_layout(w, "s");
	assert_int_equal(pthread_create(&t, NULL, read_on, &r), 0);
	for (int i = 0; i < 3000; i++)
		map_ok(w, ARENA, PAGE, RW, (i % 3 ? MAP_SHARED : MAP_PRIVATE) | MAP_FIXED, w->fd, i % 2 ? 0 : PAGE);
	atomic_store(&stop, true);
	pthread_join(t, NULL);
	assert_int_equal(others, 0);
	if (!w->c->faultline)
		assert_int_equal(signals, 0);
}

/* ---- A mapping that goes while it is used ---- */

static void *use_what_goes(void *arg)
{
	struct racer *r = arg;

	while (!atomic_load(r->stop)) {
		char *p = some_page(r) + 8;
		struct caught c = next(r) % 2 ? try_read(p) : try_write(p, 'x');

		others += c.signal && c.signal != SIGSEGV;
		r->calls++;
	}
	return NULL;
}

/* An access to what another thread unmaps or protects at that moment raises SIGSEGV, if any signal. */
CONFORMS(a_mapping_in_use_goes)
{
	struct racer r = {.w = w};
	atomic_bool stop = false;
	pthread_t t;

	r.stop = &stop;
	others = 0;
	assert_int_equal(pthread_create(&t, NULL, use_what_goes, &r), 0);
	for (int i = 0; i < 3000; i++) {
		map_ok(w, ARENA, RACE_PAGES * PAGE, i % 4 < 3 ? RW : PROT_READ, (i % 3 ? MAP_SHARED : MAP_PRIVATE) | MAP_FIXED, w->fd, 0);
		if (i % 2)
			assert_ok(w->c->munmap(ARENA, RACE_PAGES * PAGE));
	}
	atomic_store(&stop, true);
	pthread_join(t, NULL);
	assert_int_equal(others, 0);
}

/* ---- A place where nothing is mapped ---- */

static _Atomic(char *) hole;

static void *look_into_hole(void *arg)
{
	struct racer *r = arg;
	unsigned char vec[ARENA_PAGES];

	while (!atomic_load(r->stop)) {
		char *p = atomic_load(&hole);

		others += p && mincore(p, ARENA_PAGES * PAGE, vec) == 0;
		r->calls++;
	}
	return NULL;
}

/* A program may come back to what it has unmapped, with MAP_FIXED: no call on another mapping puts anything there meanwhile. */
CONFORMS(a_hole_stays)
{
	struct racer r = {.w = w};
	atomic_bool stop = false;
	pthread_t t;
	char *p;

	r.stop = &stop;
	others = 0;
	atomic_store(&hole, NULL);
	map_layout(w, "s"); /* what Faultline needs to begin with */
	assert_int_equal(pthread_create(&t, NULL, look_into_hole, &r), 0);
	p = mmap(NULL, ARENA_PAGES * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(p, MAP_FAILED);
	assert_ok(munmap(p, ARENA_PAGES * PAGE));
	atomic_store(&hole, p);
	for (int i = 0; i < 50; i++) {
		assert_ok(w->c->munmap(ARENA, ARENA_PAGES * PAGE));
		map_ok(w, ARENA, ARENA_PAGES * PAGE, RW, MAP_SHARED | MAP_FIXED, w->fd, 0);
		for (size_t page = 0; page < ARENA_PAGES; page++)
			ARENA[page * PAGE + 5] = 'x';
		assert_int_equal(w->c->pwrite(w->fd, "y", 1, 7), 1);
	}
	atomic_store(&stop, true);
	pthread_join(t, NULL);
	assert_int_equal(others, 0);
}

/* ---- A place that a mapping is moved to ---- */

#define MOVED_BYTES (16 * PAGE)

static char *map_anywhere(struct racer *r, int flags)
{
	char *p = r->w->c->mmap(NULL, MOVED_BYTES, RW, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);

	if (p != MAP_FAILED)
		p[0] = (char)r->seed;
	return p;
}

/* MAP_STACK has the preload library leave the memory to the kernel. */
static void *move_and_map(void *arg)
{
	struct racer *r = arg;
	const struct calls *c = r->w->c;
	bool moves = r->seed % 2;
	char *p, *q;

	while (!atomic_load(r->stop)) {
		p = map_anywhere(r, 0);
		if (moves && p != MAP_FAILED) {
			q = map_anywhere(r, MAP_STACK);
			others += c->mremap(q, MOVED_BYTES, MOVED_BYTES, MREMAP_MAYMOVE | MREMAP_FIXED, p) != p;
		}
		others += p == MAP_FAILED || p[0] != (char)r->seed || c->munmap(p, MOVED_BYTES);
		r->calls++;
	}
	return NULL;
}

/* mremap replaces what is at the new place in one step: no other mapping gets there in between. */
CONFORMS(a_place_is_moved_to)
{
	others = 0;
	race(w, move_and_map, THREADS);
	assert_int_equal(others, 0);
}

static void *move_file(void *arg)
{
	struct racer *r = arg;
	const struct calls *c = r->w->c;

	while (!atomic_load(r->stop)) {
		char *p = mmap(NULL, FILE_BYTES, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		char *q = c->mmap(NULL, FILE_BYTES, RW, r->calls % 2 ? MAP_SHARED : MAP_PRIVATE, r->w->fd, 0);

		others += c->mremap(q, FILE_BYTES, FILE_BYTES, MREMAP_MAYMOVE | MREMAP_FIXED, p) != p || *p != mark(0);
		others += c->munmap(p, FILE_BYTES) != 0;
		r->calls++;
	}
	return NULL;
}

static void *use_memory(void *arg)
{
	struct racer *r = arg;

	while (!atomic_load(r->stop)) {
		volatile char *p = mmap(NULL, FILE_BYTES, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		*p = 'm';
		for (int i = 0; i < 300; i++)
			others += *p != 'm';
		munmap((char *)p, FILE_BYTES);
		r->calls++;
	}
	return NULL;
}

static void *move_file_or_use_memory(void *arg)
{
	struct racer *r = arg;

	return r->seed % 2 ? move_file(r) : use_memory(r);
}

/* The same for a mapping of a file, and memory that the kernel maps in other threads. */
CONFORMS(a_place_that_a_file_is_moved_to)
{
	others = 0;
	race(w, move_file_or_use_memory, THREADS);
	assert_int_equal(others, 0);
}

/* ---- One result for one ---- */

static atomic_int winners;

static void *claim(void *arg)
{
	struct racer *r = arg;

	for (size_t i = 0; i < RACE_PAGES; i++) {
		if (r->w->c->mmap(ARENA + i * PAGE, PAGE, RW, MAP_SHARED | MAP_FIXED_NOREPLACE, r->w->fd, 0) != MAP_FAILED)
			winners++;
		r->calls++;
	}
	return NULL;
}

/* Of several that want a place with MAP_FIXED_NOREPLACE, one gets it. */
CONFORMS(one_gets_the_place)
{
	winners = 0;
	race(w, claim, THREADS);
	assert_int_equal(winners, RACE_PAGES);
}

static void *map_and_unmap(void *arg)
{
	struct racer *r = arg;
	const struct calls *c = r->w->c;

	while (!atomic_load(r->stop)) {
		size_t page = next(r) % 32, length = some_length(r);
		char *p = c->mmap(NULL, length, RW, next(r) % 2 ? MAP_SHARED : MAP_PRIVATE, r->w->fd, (off_t)(page * PAGE));

		if (p != MAP_FAILED) {
			others += p[length - PAGE + 5] != mark(page + length / PAGE - 1);
			c->munmap(p, length);
		}
		r->calls++;
	}
	return NULL;
}

/* Mappings of one file come and go in all threads; the last one to go writes back, the first one to come reads. */
CONFORMS(mappings_come_and_go)
{
	others = 0;
	race(w, map_and_unmap, THREADS);
	assert_int_equal(others, 0);
}

/* Between mmap and munmap of one place, an access finds the page or nothing: in a system call, which tells. */
static void *probe_place(void *arg)
{
	struct racer *r = arg;
	const struct calls *c = r->w->c;

	while (!atomic_load(r->stop)) {
		if (r->seed % 2) {
			ssize_t n = c->pwrite(r->w->fd, ARENA, 1, FILE_BYTES + 8);
			char byte = 0;

			if (n == 1 && c->pread(r->w->fd, &byte, 1, FILE_BYTES + 8) == 1)
				others += byte != mark(3);
			r->seed = 1;
		} else {
			c->mmap(ARENA, PAGE, RW, MAP_SHARED | MAP_FIXED, r->w->fd, 3 * PAGE);
			c->munmap(ARENA, PAGE);
			r->seed = 2;
		}
		r->calls++;
	}
	return NULL;
}

CONFORMS(a_place_that_comes_and_goes)
{
	others = 0;
	race(w, probe_place, 2);
	assert_int_equal(others, 0);
}

/* ---- Arguments that mean nothing ---- */

static void *odd_pointer(struct racer *r)
{
	static const uintptr_t odd[] = {
		0,
		1,
		8,
		PAGE,
		PAGE - 1,
		1UL << 46,
		1UL << 47,
		(1UL << 47) - PAGE,
		1UL << 63,
		UINTPTR_MAX,
		UINTPTR_MAX - PAGE + 1,
		0xffff800000000000,
	};
	unsigned n = next(r) % (COUNT(odd) + 4);

	return n < COUNT(odd) ? (void *)odd[n] : (void *)(some_page(r) + (n % 2 ? next(r) % PAGE : 0));
}

static size_t odd_length(struct racer *r)
{
	static const size_t odd[] = {0,        1, PAGE - 1, PAGE, PAGE + 1, 1UL << 31, 1UL << 47, 1UL << 63, SIZE_MAX, SIZE_MAX - PAGE + 1,
				     INT64_MAX};

	return odd[next(r) % COUNT(odd)];
}

/* Never MAP_FIXED, nor a call that could take away memory of the program: those only within the arena. */
static void nonsense(struct racer *r)
{
	const struct calls *c = r->w->c;
	void *p = odd_pointer(r), *out;
	size_t length = odd_length(r);
	bool ours = (char *)p >= ARENA && (char *)p < ARENA + RACE_PAGES * PAGE && length <= 8 * PAGE;

	switch (next(r) % 9) {
	case 0:
		out = c->mmap(p, length, (int)next(r),
			      (int)next(r) & ~(MAP_FIXED | MAP_LOCKED | MAP_POPULATE | MAP_GROWSDOWN | MAP_HUGETLB), (int)(next(r) % 3) - 2,
			      (off_t)odd_length(r));
		if (out != MAP_FAILED)
			c->munmap(out, length);
		break;
	case 1:
		if (ours || length >= 1UL << 47)
			c->munmap(p, length);
		break;
	case 2:
		if (ours || length >= 1UL << 47)
			c->mprotect(p, ours ? length : 0, (int)next(r));
		break;
	case 3:
		if (ours)
			c->mremap(p, length, odd_length(r), (int)(next(r) % 16) & ~(MREMAP_FIXED | MREMAP_MAYMOVE), odd_pointer(r));
		break;
	case 4:
		c->msync(p, length, (int)(next(r) % 16));
		break;
	case 5:
		if (ours)
			c->madvise(p, length, (int)(next(r) % 110));
		break;
	case 6:
		if (length <= 8 * PAGE)
			c->mincore(p, length, odd_pointer(r));
		break;
	case 7:
		c->pread(r->w->fd, ours ? p : NULL, length, (off_t)odd_length(r));
		break;
	case 8:
		c->munlock(p, length);
		break;
	}
	r->calls++;
}

CONFORMS(arguments_that_mean_nothing)
{
	struct racer r = {.w = w, .seed = 12345};

	map_layout(w, "sssspppprrrraaaa");
	for (int i = 0; i < 5000; i++)
		nonsense(&r);
	assert_ok(w->c->munmap(ARENA, 1UL << 40)); /* what has grown */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RUN(all_calls_at_once),
		RUN(accesses_while_pages_come_and_go),
		RUN(reads_while_protection_changes),
		RUN_NEEDING(LIBRARY, a_mapping_in_use_is_replaced),
		RUN(a_mapping_in_use_goes),
		RUN(a_hole_stays),
		RUN_SYSTEM(a_place_is_moved_to),
		RUN(a_place_that_a_file_is_moved_to),
		RUN(one_gets_the_place),
		RUN(mappings_come_and_go),
		RUN(a_place_that_comes_and_goes),
		RUN(arguments_that_mean_nothing),
	};

	return run_conformance_tests(tests);
}
