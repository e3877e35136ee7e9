/* SPDX-License-Identifier: Apache-2.0 */
/* fork of a space, from 1 MiB to 1 GiB resident, all of it private and written since the last fork; beside fork(2). */
#include <stdio.h>

#include "figures.h"
#include "output.h"
#include "plot.h"
#include "soft_cost.h"

struct parent {
	fl_space *space;
	fl_cpu *cpu;
	uint64_t addr;
	size_t bytes;
};

/* Every page is one's own again: the first fork and the last have the same to do. */
static void write_all(const struct parent *p, uint64_t tag)
{
	fill_pages(p->cpu, p->addr, p->bytes, tag);
}

/* The child has what the parent had; and does not see what the parent does. Looked at here and there. */
static void check_child(const struct parent *p, fl_space *child, uint64_t tag)
{
	for (size_t off = 0; off < p->bytes; off += p->bytes / 16) {
		uint64_t v = 0;

		expect(!fl_store64(p->cpu, p->addr + off, 1), "a store after a fork");
		expect(fl_space_read(child, p->addr + off, &v, sizeof v, NULL) == sizeof v && v == off + tag, "the bytes of the child");
	}
}

static void one_fork(const struct parent *p, uint64_t tag, struct figure *fork_time, struct figure *end_time)
{
	fl_space *child;
	double start;

	write_all(p, tag);
	start = now_ns();
	child = fl_space_fork(p->space);
	figure_add(fork_time, now_ns() - start);
	if (!child)
		die("fl_space_fork");
	check_child(p, child, tag);
	start = now_ns();
	fl_space_destroy(child);
	figure_add(end_time, now_ns() - start);
}

static void forks_at(size_t bytes, struct plot *plot)
{
	struct parent p = {.space = space_new(), .bytes = bytes};
	struct figure *f = figure_new(FAULTLINE, bytes == 1024 * MIB ? 5e6 : 0, "fork, %zu MiB resident", bytes / MIB);
	struct figure *k = figure_new(KERNEL, 0, "%s", f->name), *end = figure_new(FAULTLINE, 0, "end of the child, %zu MiB", bytes / MIB);

	p.cpu = cpu_new(p.space);
	p.addr = map_anonymous(p.space, bytes);
	for (int i = 0; i < scale.repetitions; i++) {
		one_fork(&p, 2 + (uint64_t)i, f, end);
		figure_add(k, kernel_fork_ns(bytes));
	}
	fl_cpu_destroy(p.cpu);
	fl_space_destroy(p.space);
	plot_add(&plot->series[0], (double)bytes / MIB, figure_median(f));
	plot_add(&plot->series[1], (double)bytes / MIB, figure_median(k));
}

static const char *size_tick(double mib)
{
	static char s[32];

	snprintf(s, sizeof s, mib >= 1024 ? "%.0f GiB" : "%.0f MiB", mib >= 1024 ? mib / 1024 : mib);
	return s;
}

void measure_forks(const char *out)
{
	struct plot p = {
		.title = "fork",
		.subtitle = "private anonymous memory in pages of 4 KiB, all written since the last fork; medians",
		.x_label = "memory resident",
		.y_label = "time of the call",
		.x_tick = size_tick,
		.y_tick = time_tick,
		.x_base = 4,
		.log_y = true,
		.goal_x = 1024,
		.goal_y = 5e6,
		.columns = 2,
		.nseries = 2,
		.series = {{.name = "Faultline, fl_space_fork()"}, {.name = "kernel, fork(2)", .dashed = true}},
	};

	for (size_t bytes = MIB; bytes <= scale.resident_max; bytes *= 4)
		forks_at(bytes, &p);
	write_plot(&p, out, "fork.svg");
}
