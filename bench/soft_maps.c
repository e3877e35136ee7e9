/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mmap and munmap of one page with many VMAs present, beside the kernel's own, as far as vm.max_map_count lets it; and the look-up of
 * a VMA, for which there is no public call: hence the index from inside.
 *
 *   dense    one after the other, as mmap puts them: |||||||||||||
 *   holes    a page of each two, a hole after each:  | | | | | | |
 *   uneven   holes of random lengths, few of them large: where a VMA lies cannot be told from its number
 *
 * Neighbours have protections that keep them apart, and what is mapped and unmapped has a third: none of them merge.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "figures.h"
#include "mm/mm.h"
#include "output.h"
#include "plot.h"
#include "soft_cost.h"

enum layout {
	DENSE,
	HOLES,
	UNEVEN,
};

/* Where the page of a pair goes. */
enum place {
	ANYWHERE,    /* as the system chooses */
	RANDOM_HOLE, /* MAP_FIXED_NOREPLACE */
};

struct system {
	fl_space *space; /* NULL: the kernel's */
	uint64_t *at;    /* of each VMA */
	size_t n;
};

static const size_t counts[] = {0, 10, 1000, 10000, 60000, 100000, 1000000};

/* ---- Both alike ---- */

static uint64_t map(const struct system *s, uint64_t addr, size_t len, int prot, int flags)
{
	void *hint = (void *)(uintptr_t)addr, *p;

	flags |= MAP_PRIVATE | MAP_ANONYMOUS;
	p = s->space ? fl_space_mmap(s->space, hint, len, prot, flags, -1, 0) : mmap(hint, len, prot, flags, -1, 0);
	return (uintptr_t)p;
}

static int unmap(const struct system *s, uint64_t addr, size_t len)
{
	void *p = (void *)(uintptr_t)addr;

	return s->space ? fl_space_munmap(s->space, p, len) : munmap(p, len);
}

#define FAILED ((uint64_t)(uintptr_t)MAP_FAILED)

static uint64_t must_map(const struct system *s, uint64_t addr, size_t len, int prot, int flags)
{
	uint64_t at = map(s, addr, len, prot, flags);

	if (at == FAILED)
		die("mmap");
	expect(!(flags & MAP_FIXED_NOREPLACE) || at == addr, "a mapping is where it was asked for");
	return at;
}

/* ---- VMAs ---- */

static size_t hole(enum layout layout, uint64_t *random)
{
	uint64_t r = next_random(random);

	if (layout != UNEVEN)
		return layout == HOLES ? PAGE : 0;
	return (1 + (r % 64 ? (r >> 8) % 8 : (r >> 8) % 4096)) * PAGE;
}

/* From high addresses downwards, as mmap goes; only DENSE leaves the choice to it. */
static void map_many(struct system *s, size_t n, enum layout layout)
{
	size_t room = layout == UNEVEN ? n * 80 * PAGE + 64 * MIB : n * 2 * PAGE;
	uint64_t random = 88172645463325252ull, top = 0;

	s->at = calloc(n + 1, sizeof *s->at);
	if (!s->at)
		die("no memory");
	if (layout != DENSE && n) {
		uint64_t low = must_map(s, 0, room, PROT_NONE, MAP_NORESERVE);

		unmap(s, low, room);
		top = low + room;
	}
	for (s->n = 0; s->n < n; s->n++) {
		int prot = s->n & 1 ? PROT_NONE : PROT_READ;

		if (layout != DENSE)
			top -= PAGE + hole(layout, &random);
		s->at[s->n] = must_map(s, top, PAGE, prot, layout == DENSE ? 0 : MAP_FIXED_NOREPLACE);
	}
}

static void unmap_many(struct system *s)
{
	for (size_t i = 0; i < s->n; i++)
		unmap(s, s->at[i], PAGE);
	free(s->at);
	s->at = NULL;
	s->n = 0;
}

/* How many the kernel lets this process have, some left for what it has and will need; 0 where that cannot be told. */
static size_t kernel_room(void)
{
	FILE *f = fopen("/proc/sys/vm/max_map_count", "re"), *maps = fopen("/proc/self/maps", "re");
	unsigned long max = 0, used = 0;
	int c;

	if (f && fscanf(f, "%lu", &max) != 1)
		max = 0;
	while (maps && (c = getc(maps)) != EOF)
		used += c == '\n';
	if (f)
		fclose(f);
	if (maps)
		fclose(maps);
	return max > used + 200 ? max - used - 200 : 0;
}

/* Addresses in the order of their use, so that looking them up is not part of what is measured. */
static uint64_t *picks(const struct system *s, size_t count, bool random)
{
	uint64_t *v = calloc(count, sizeof *v), state = 88172645463325252ull;

	if (!v)
		die("no memory");
	for (size_t i = 0; i < count && s->n; i++)
		v[i] = s->at[(random ? next_random(&state) : i) % s->n];
	return v;
}

/* ---- Pairs ---- */

static double pair_ns(const struct system *s, enum place place)
{
	uint64_t *after = picks(s, scale.pairs, true), at;
	size_t wrong = 0;
	double start = now_ns(), ns;

	for (size_t i = 0; i < scale.pairs; i++) {
		if (place == ANYWHERE)
			at = map(s, 0, PAGE, PROT_READ | PROT_WRITE, 0);
		else
			at = map(s, after[i] + PAGE, PAGE, PROT_READ | PROT_WRITE, MAP_FIXED_NOREPLACE);
		wrong += at == FAILED || unmap(s, at, PAGE);
	}
	ns = (now_ns() - start) / (double)scale.pairs;
	free(after);
	expect(!wrong, "mmap and munmap of a page");
	return ns;
}

struct pair_kind {
	const char *name;
	enum layout layout;
	enum place place;
	const char *series[2]; /* in the plot: Faultline, the kernel */
};

static const struct pair_kind kinds[] = {
	{"dense", DENSE, ANYWHERE, {"Faultline, dense", "kernel, dense"}},
	{"the highest hole", HOLES, ANYWHERE, {"Faultline, the highest hole", "kernel, the highest hole"}},
	{"any hole", HOLES, RANDOM_HOLE, {"Faultline, any hole", "kernel, any hole"}},
};

/* The same VMAs in both systems, and each repetition one after the other. */
static void pairs_at(const struct pair_kind *kind, size_t n, struct plot_series series[2])
{
	struct system ours = {.space = space_new()}, kernels = {.space = NULL};
	bool with_kernel = n < kernel_room();
	struct figure *f = figure_new(FAULTLINE, n == 100000 ? 1000 : 0, "mmap + munmap, %zu VMAs, %s", n, kind->name);
	struct figure *k = with_kernel ? figure_new(KERNEL, 0, "%s", f->name) : NULL;

	map_many(&ours, n, kind->layout);
	map_many(&kernels, with_kernel ? n : 0, kind->layout);
	for (int i = 0; i < scale.repetitions; i++) {
		figure_add(f, pair_ns(&ours, kind->place));
		if (k)
			figure_add(k, pair_ns(&kernels, kind->place));
	}
	unmap_many(&kernels);
	fl_space_destroy(ours.space);
	free(ours.at);
	if (n) /* which has no place on a logarithmic axis */
		plot_add(&series[0], (double)n, figure_median(f));
	if (n && k)
		plot_add(&series[1], (double)n, figure_median(k));
}

static void measure_kind(const struct pair_kind *kind, struct plot *p)
{
	struct plot_series *series = &p->series[p->nseries];

	p->nseries += 2;
	series[0].name = kind->series[0];
	series[1].name = kind->series[1];
	series[1].dashed = true;
	for (size_t i = 0; i < sizeof counts / sizeof *counts && counts[i] <= scale.mappings_max; i++)
		if (counts[i] || kind->place == ANYWHERE)
			pairs_at(kind, counts[i], series);
}

static void measure_pairs(const char *out)
{
	struct plot p = {
		.title = "mmap + munmap of one page",
		.subtitle = "anonymous memory; medians; the kernel up to vm.max_map_count",
		.x_label = "VMAs present",
		.y_label = "mmap + munmap",
		.y_tick = time_tick,
		.x_base = 10,
		.goal_x = 100000,
		.goal_y = 1000,
		.columns = 2,
	};

	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
		measure_kind(&kinds[i], &p);
	write_plot(&p, out, "mappings.svg");
}

/* ---- Look-up ---- */

/* As a fault: without a lock but the VMA's. */
static double lock_ns(struct vma_index *x, const uint64_t *addrs)
{
	size_t wrong = 0;
	double start = now_ns(), ns;

	for (size_t i = 0; i < scale.lookups; i++) {
		struct vma *v = vma_lock_read(x, addrs[i]);

		if (!v || v->start != addrs[i])
			wrong++;
		if (v)
			vma_unlock_read(v);
	}
	ns = (now_ns() - start) / (double)scale.lookups;
	expect(!wrong, "the look-up of a VMA");
	return ns;
}

/* As mmap and its kin: they hold mmap_lock. The VMA itself is not looked at. */
static double find_ns(struct vma_index *x, const uint64_t *addrs)
{
	size_t found = 0;
	double start = now_ns(), ns;

	for (size_t i = 0; i < scale.lookups; i++)
		found += vma_find(x, addrs[i]) != NULL;
	ns = (now_ns() - start) / (double)scale.lookups;
	expect(found == scale.lookups, "the look-up of a VMA");
	return ns;
}

static void lookups_of(const struct system *s, bool random, const char *layout, struct plot_series *find, struct plot_series *lock)
{
	double goal = s->n == 1000000 ? 100 : 0;
	const char *order = random ? "random" : "in order";
	struct figure *f = figure_new(FAULTLINE, goal, "find-VMA, %zu VMAs, %s, %s", s->n, layout, order);
	struct figure *l = figure_new(FAULTLINE, 0, "find-VMA and lock it, %zu VMAs, %s, %s", s->n, layout, order);
	struct vma_index *x = &((struct mm *)s->space)->index;
	uint64_t *addrs = picks(s, scale.lookups, random);

	for (int i = 0; i < scale.repetitions; i++) {
		figure_add(f, find_ns(x, addrs));
		figure_add(l, lock_ns(x, addrs));
	}
	free(addrs);
	if (find)
		plot_add(find, (double)s->n, figure_median(f));
	if (lock)
		plot_add(lock, (double)s->n, figure_median(l));
}

static void lookups_at(size_t n, enum layout layout, const char *name, struct plot_series *series)
{
	struct system s = {.space = space_new()};

	map_many(&s, n, layout);
	lookups_of(&s, true, name, &series[0], &series[1]);
	lookups_of(&s, false, name, layout == UNEVEN ? &series[2] : NULL, NULL);
	free(s.at);
	fl_space_destroy(s.space);
}

static void measure_lookups(const char *out)
{
	struct plot p = {
		.title = "Look-up of a VMA by address",
		.subtitle = "medians; find: what a call does that holds mmap_lock; find and lock: what a fault does",
		.x_label = "VMAs",
		.y_label = "one look-up",
		.y_tick = time_tick,
		.x_base = 10,
		.goal_x = 1000000,
		.goal_y = 100,
		.columns = 2,
		.nseries = 5,
		.series =
			{
				{.name = "find, random, uneven layout"},
				{.name = "find and lock, random, uneven layout"},
				{.name = "find, in order, uneven layout"},
				{.name = "find, random, dense layout", .dashed = true},
				{.name = "find and lock, random, dense layout", .dashed = true},
			},
	};

	for (size_t i = 0; i < sizeof counts / sizeof *counts && counts[i] <= scale.mappings_max; i++)
		if (counts[i] >= 1000 && counts[i] != 60000) {
			lookups_at(counts[i], DENSE, "dense", &p.series[3]);
			lookups_at(counts[i], UNEVEN, "uneven", &p.series[0]);
		}
	write_plot(&p, out, "lookup.svg");
}

void measure_mappings(const char *out)
{
	measure_pairs(out);
	measure_lookups(out);
}
