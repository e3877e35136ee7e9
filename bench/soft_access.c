/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Accesses by a cpu: hits and misses of the TLB, with the page present; beside plain loads and stores over memory of the same
 * shape.
 *
 * A pattern is a list of cells, one word on a line of its own each. Neighbours in the list are on different pages, so that each access
 * looks at another entry of the TLB, and at other sets of the processor's cache.
 *
 *   near   64 pages, 256 lines                        all in the TLB and in the first level of the processor's cache
 *   all    1024 pages, in random order                all in the TLB
 *   miss   2048 pages in turn, 2 for each TLB entry   never in the TLB; page tables and data in the second level of the cache
 *   far    as many pages as 64 MiB have, random       hardly ever in the TLB; nothing is near
 */
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "figures.h"
#include "soft_cost.h"

struct pattern {
	size_t n, pages;
	uint32_t *offset;         /* of each cell */
	uint64_t *guest;          /* its address in the space */
	_Atomic uint64_t **plain; /* and its like in plain memory */
	uint64_t base;
	char *memory;
};

typedef double run_fn(fl_cpu *cpu, const struct pattern *p, size_t n);

static void shuffle(uint32_t *v, size_t n)
{
	uint64_t state = 88172645463325252ull;

	for (size_t i = n - 1; i > 0; i--) {
		size_t j = next_random(&state) % (i + 1);
		uint32_t t = v[i];

		v[i] = v[j];
		v[j] = t;
	}
}

static void *array(size_t n, size_t size)
{
	void *p = calloc(n, size);

	if (!p)
		die("no memory");
	return p;
}

static struct pattern pattern_new(fl_space *space, fl_cpu *cpu, size_t pages, size_t lines, bool random)
{
	struct pattern p = {.n = pages * lines, .pages = pages};

	p.offset = array(p.n, sizeof *p.offset);
	p.guest = array(p.n, sizeof *p.guest);
	p.plain = array(p.n, sizeof *p.plain);
	p.base = map_anonymous(space, pages * PAGE);
	p.memory = map_plain(pages * PAGE);
	for (size_t i = 0; i < p.n; i++)
		p.offset[i] = (uint32_t)(i % pages * PAGE + (i / pages + i % pages) * 64 % PAGE);
	if (random)
		shuffle(p.offset, p.n);
	for (size_t i = 0; i < p.n; i++) {
		p.guest[i] = p.base + p.offset[i];
		p.plain[i] = (_Atomic uint64_t *)(p.memory + p.offset[i]);
		*p.plain[i] = i;
		expect(!fl_store64(cpu, p.guest[i], i), "a store to memory that is mapped");
	}
	return p;
}

static void pattern_free(fl_space *space, struct pattern *p)
{
	fl_space_munmap(space, (void *)(uintptr_t)p->base, p->pages * PAGE);
	munmap(p->memory, p->pages * PAGE);
	free(p->offset);
	free(p->guest);
	free(p->plain);
}

/* ---- Loads that do not wait for each other ---- */

static double loads(fl_cpu *cpu, const struct pattern *p, size_t n)
{
	uint64_t sum = 0, v, rounds = n / p->n + 1;
	double start = now_ns(), ns;

	for (uint64_t r = 0; r < rounds; r++)
		for (size_t i = 0; i < p->n; i++) {
			fl_load64(cpu, p->guest[i], &v);
			sum += v;
		}
	keep(sum);
	ns = now_ns() - start;
	expect(sum == rounds * (p->n * (p->n - 1) / 2), "the sum of what was loaded");
	return ns / (double)(rounds * p->n);
}

static double plain_loads(fl_cpu *cpu, const struct pattern *p, size_t n)
{
	uint64_t sum = 0, rounds = n / p->n + 1;
	double start = now_ns();

	(void)cpu;
	for (uint64_t r = 0; r < rounds; r++)
		for (size_t i = 0; i < p->n; i++)
			sum += atomic_load_explicit(p->plain[i], memory_order_relaxed);
	keep(sum);
	return (now_ns() - start) / (double)(rounds * p->n);
}

/* ---- Loads each of which needs what the one before has loaded ---- */

static void make_chains(fl_cpu *cpu, const struct pattern *p)
{
	uint32_t *order = array(p->n, sizeof *order);

	for (size_t i = 0; i < p->n; i++)
		order[i] = (uint32_t)i;
	shuffle(order, p->n);
	for (size_t i = 0; i < p->n; i++) {
		uint32_t at = order[i], to = order[(i + 1) % p->n];

		expect(!fl_store64(cpu, p->guest[at], p->guest[to]), "a store to memory that is mapped");
		*p->plain[at] = (uintptr_t)p->plain[to];
	}
	free(order);
}

static double chained_loads(fl_cpu *cpu, const struct pattern *p, size_t n)
{
	uint64_t at = p->guest[0], total = (n / p->n + 1) * p->n;
	double start = now_ns(), ns;

	for (uint64_t i = 0; i < total; i++)
		fl_load64(cpu, at, &at);
	keep(at);
	ns = now_ns() - start;
	expect(at == p->guest[0], "the end of the chain");
	return ns / (double)total;
}

static double plain_chained_loads(fl_cpu *cpu, const struct pattern *p, size_t n)
{
	uint64_t at = (uintptr_t)p->plain[0], total = (n / p->n + 1) * p->n;
	double start = now_ns();

	(void)cpu;
	for (uint64_t i = 0; i < total; i++)
		at = atomic_load_explicit((_Atomic uint64_t *)at, memory_order_relaxed);
	keep(at);
	return (now_ns() - start) / (double)total;
}

/* ---- Stores ---- */

static void expect_all(fl_cpu *cpu, const struct pattern *p, uint64_t value)
{
	for (size_t i = 0; i < p->n; i++) {
		uint64_t v;

		expect(!fl_load64(cpu, p->guest[i], &v) && v == value, "what was stored");
	}
}

static double stores(fl_cpu *cpu, const struct pattern *p, size_t n)
{
	uint64_t rounds = n / p->n + 1;
	double start = now_ns(), ns;

	for (uint64_t r = 1; r <= rounds; r++)
		for (size_t i = 0; i < p->n; i++)
			fl_store64(cpu, p->guest[i], r);
	ns = now_ns() - start;
	expect_all(cpu, p, rounds);
	return ns / (double)(rounds * p->n);
}

static double plain_stores(fl_cpu *cpu, const struct pattern *p, size_t n)
{
	uint64_t rounds = n / p->n + 1;
	double start = now_ns();

	(void)cpu;
	for (uint64_t r = 1; r <= rounds; r++)
		for (size_t i = 0; i < p->n; i++)
			atomic_store_explicit(p->plain[i], r, memory_order_relaxed);
	return (now_ns() - start) / (double)(rounds * p->n);
}

static double swaps(fl_cpu *cpu, const struct pattern *p, size_t n)
{
	uint64_t rounds = n / p->n + 1, was, done = 0;
	double start, ns;

	for (size_t i = 0; i < p->n; i++)
		fl_store64(cpu, p->guest[i], 0);
	start = now_ns();
	for (uint64_t r = 0; r < rounds; r++)
		for (size_t i = 0; i < p->n; i++) {
			was = r;
			done += fl_cas64(cpu, p->guest[i], &was, r + 1) == 1;
		}
	ns = now_ns() - start;
	expect(done == rounds * p->n, "each compare-and-swap stores");
	expect_all(cpu, p, rounds);
	return ns / (double)(rounds * p->n);
}

static double plain_swaps(fl_cpu *cpu, const struct pattern *p, size_t n)
{
	uint64_t rounds = n / p->n + 1, was, done = 0;
	double start;

	(void)cpu;
	for (size_t i = 0; i < p->n; i++)
		*p->plain[i] = 0;
	start = now_ns();
	for (uint64_t r = 0; r < rounds; r++)
		for (size_t i = 0; i < p->n; i++) {
			was = r;
			done += atomic_compare_exchange_strong(p->plain[i], &was, r + 1);
		}
	keep(done);
	return (now_ns() - start) / (double)(rounds * p->n);
}

/* ---- Which of them, over what ---- */

static void in_turn(fl_cpu *cpu, const struct pattern *p, const char *name, double goal, size_t n, run_fn *ours, run_fn *plain)
{
	struct figure *f = figure_new(FAULTLINE, goal, "%s", name), *k = figure_new(PLAIN, 0, "%s", name);

	for (int i = 0; i < scale.repetitions; i++) {
		figure_add(f, ours(cpu, p, n));
		figure_add(k, plain(cpu, p, n));
	}
}

static void hits(fl_space *space, fl_cpu *cpu)
{
	struct pattern near = pattern_new(space, cpu, 64, 4, false), all = pattern_new(space, cpu, FL_TLB_ENTRIES, 1, true);

	in_turn(cpu, &near, "load, TLB hit", 5, scale.accesses, loads, plain_loads);
	in_turn(cpu, &near, "store, TLB hit", 0, scale.accesses, stores, plain_stores);
	in_turn(cpu, &near, "compare-and-swap, TLB hit", 0, scale.accesses, swaps, plain_swaps);
	make_chains(cpu, &near);
	in_turn(cpu, &near, "load, TLB hit, each needs the one before", 5, scale.accesses, chained_loads, plain_chained_loads);
	pattern_free(space, &near);
	in_turn(cpu, &all, "load, TLB hit, over all of the TLB at random", 5, scale.accesses, loads, plain_loads);
	pattern_free(space, &all);
}

static void misses(fl_space *space, fl_cpu *cpu)
{
	struct pattern miss = pattern_new(space, cpu, 2UL * FL_TLB_ENTRIES, 1, false);
	struct pattern far = pattern_new(space, cpu, scale.fault_bytes / PAGE, 1, true);

	in_turn(cpu, &miss, "load, TLB miss: walk of the page tables", 40, scale.accesses / 4, loads, plain_loads);
	in_turn(cpu, &miss, "store, TLB miss: walk of the page tables", 0, scale.accesses / 4, stores, plain_stores);
	pattern_free(space, &miss);
	in_turn(cpu, &far, "load, TLB miss, at random over many pages", 0, scale.accesses / 8, loads, plain_loads);
	pattern_free(space, &far);
}

void measure_accesses(const char *out)
{
	fl_space *space = space_new();
	fl_cpu *cpu = cpu_new(space);

	(void)out; /* there is nothing to plot */
	hits(space, cpu);
	misses(space, cpu);
	fl_cpu_destroy(cpu);
	fl_space_destroy(space);
}
