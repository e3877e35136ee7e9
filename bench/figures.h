/* SPDX-License-Identifier: Apache-2.0 */
/* What was measured, kept for the table, the JSON and the plots; see figures.c. */
#ifndef BENCH_FIGURES_H
#define BENCH_FIGURES_H

#include <stdbool.h>
#include <stdio.h>

#define REPETITIONS_MAX 16

/* Whose figure it is. */
enum side {
	FAULTLINE,
	KERNEL,
	PLAIN, /* plain memory */
	DISK,
};

enum unit {
	NANOSECONDS,
	PER_SECOND,
	BYTES_PER_SECOND,
	PERCENT,
};

struct comparison;

struct figure {
	char name[96];
	char who[40]; /* more of whose it is; "": the side says it all */
	enum side side;
	enum unit unit;
	double goal; /* to be less than this; 0: none */
	int n;
	double value[REPETITIONS_MAX]; /* one for each repetition */
	struct comparison *against;
	struct figure *next;
};

/*
 * The text is made as by printf(). Ends the program when there is no memory. The unit is NANOSECONDS until it is set; a figure of
 * another side stands beside Faultline's of the same name when that one is compared with nothing else.
 */
__attribute__((format(printf, 3, 4))) struct figure *figure_new(enum side side, double goal, const char *name, ...);
void figure_add(struct figure *f, double value);
double figure_median(const struct figure *f);
/* "1.32 GB/s", and so on by the unit: in one of a few buffers that are used in turn. */
const char *figure_text(const struct figure *f, double value);

enum bound {
	NO_GOAL,
	AT_LEAST,
	AT_MOST,
};

/* A row of the table that sets f beside `other`, f being of FAULTLINE; the goal is a bound for their ratio. */
void figure_compare(struct figure *f, const struct figure *other, enum bound bound, double ratio);
/* Of two that were measured in turn, the median of the ratios; else the ratio of the medians. 0 without figures. */
double figure_ratio(const struct figure *f, const struct figure *other);

/* "12.3 ns", "4.56 us", "7.89 ms": in one of a few buffers that are used in turn. */
const char *ns_text(double ns);
/* The same for a round number: "50 ns", "1.5 us". Good until the next call. */
const char *time_tick(double ns);

void figures_machine(FILE *out);
/* The heads of the first column, and of the one for what stands beside. */
void figures_table(FILE *out, const char *first, const char *beside);
void figures_json(FILE *out);
void figures_free(void);

#endif
