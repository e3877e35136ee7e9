/* SPDX-License-Identifier: Apache-2.0 */
/* Line plots as SVG, see plot.c. */
#ifndef BENCH_PLOT_H
#define BENCH_PLOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#define PLOT_SERIES 6
#define PLOT_POINTS 160
#define PLOT_MARKS 8

struct plot_series {
	const char *name;
	bool dashed; /* for what is there to compare with */
	bool goal;   /* drawn as goals are */
	bool bare;   /* a line without markers: many points */
	size_t n;
	double x[PLOT_POINTS], y[PLOT_POINTS];
};

/* A place on the x axis, with a text beside it in a row of its own: the first on top, and at the left. */
struct plot_mark {
	double x;
	size_t series; /* whose colour it has; PLOT_SERIES: that of goals */
	char text[64];
};

/* x and y are positive. Texts are plain: what XML would misread is escaped. */
struct plot {
	const char *title, *subtitle; /* subtitle may be NULL */
	const char *x_label, *y_label;
	const char *(*x_tick)(double x); /* how a tick reads; NULL: 1, 10, ... 1,000 */
	const char *(*y_tick)(double y);
	double x_base; /* of the ticks of the x axis, which is logarithmic: 10, 4 or 2; 0: it is linear, from the first to the last point */
	double x_step; /* of the ticks of a linear one */
	bool log_y;
	double goal_x, goal_y; /* a mark where the goal is; 0, 0: none */
	size_t columns;        /* of the legend */
	size_t nseries;
	struct plot_series series[PLOT_SERIES];
	size_t nmarks;
	struct plot_mark mark[PLOT_MARKS];
};

/* A point more; false when there is no room. */
bool plot_add(struct plot_series *s, double x, double y);
/* False when it could not be written. */
bool plot_write(const struct plot *p, FILE *out);

#endif
