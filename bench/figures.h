/* SPDX-License-Identifier: Apache-2.0 */
/* What was measured, kept for the table, the JSON and the plots; see figures.c. */
#ifndef BENCH_FIGURES_H
#define BENCH_FIGURES_H

#include <stdbool.h>
#include <stdio.h>

#define REPETITIONS_MAX 16

/* Whose figure it is. A figure of the kernel or of plain memory stands beside Faultline's of the same name. */
enum side {
	FAULTLINE,
	KERNEL,
	PLAIN,
};

struct figure {
	char name[96];
	enum side side;
	double goal; /* ns; 0: none */
	int n;
	double ns[REPETITIONS_MAX]; /* for one operation, each the mean of one repetition */
	struct figure *next;
};

/* The text is made as by printf(). Ends the program when there is no memory. */
__attribute__((format(printf, 3, 4))) struct figure *figure_new(enum side side, double goal, const char *name, ...);
void figure_add(struct figure *f, double ns);
double figure_median(const struct figure *f);
/* "12.3 ns", "4.56 us", "7.89 ms": in one of a few buffers that are used in turn. */
const char *ns_text(double ns);
/* The same for a round number: "50 ns", "1.5 us". Good until the next call. */
const char *time_tick(double ns);

void figures_machine(FILE *out);
void figures_table(FILE *out);
void figures_json(FILE *out);
void figures_free(void);

#endif
