/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Line plots as SVG: enough for a few series of medians, most of them over a logarithmic x axis, and no more. Text is the font that the
 * viewer has; colours can be told apart with any kind of sight, and each series has a marker of its own shape.
 *
 *   title
 *   subtitle
 *   legend, in columns
 *   y |  frame: LEFT..RIGHT, top of the frame..BOTTOM
 *     +--------------
 *           x label
 */
#include "plot.h"

#include <math.h>

#define WIDTH 860.0
#define HEIGHT 520.0
#define LEFT 96.0
#define RIGHT 826.0
#define BOTTOM 452.0
#define LEGEND_TOP 84.0
#define LEGEND_ROW 20.0
#define Y_TICKS 6
#define MARK_ROW 18.0
#define MARK_ROOM 8 /* the axis goes on so many times as far as a mark: its text is there */
#define GOAL_COLOUR "#a01c1c"

static const char *const colours[PLOT_SERIES] = {"#0b62b0", "#d1560c", "#12825c", "#b0508f", "#7a6a00", "#4a4a4a"};

struct axis {
	bool log;
	double low, high; /* values */
	double from, to;  /* pixels */
	double step;      /* of ticks: between two, or the factor where it is logarithmic */
};

static double place(const struct axis *a, double v)
{
	double part = a->log ? log(v / a->low) / log(a->high / a->low) : (v - a->low) / (a->high - a->low);

	return a->from + part * (a->to - a->from);
}

static double next_tick(const struct axis *a, double v)
{
	return a->log ? v * a->step : v + a->step;
}

/* ---- How far the axes reach ---- */

static void reach(const struct plot *p, bool of_x, double *low, double *high)
{
	double goal = of_x ? p->goal_x : p->goal_y;

	*low = goal > 0 ? goal : INFINITY;
	*high = goal;
	for (size_t s = 0; s < p->nseries; s++)
		for (size_t i = 0; i < p->series[s].n; i++) {
			double v = of_x ? p->series[s].x[i] : p->series[s].y[i];

			*low = fmin(*low, v);
			*high = fmax(*high, v);
		}
	for (size_t i = 0; of_x && i < p->nmarks; i++) {
		*low = fmin(*low, p->mark[i].x);
		*high = fmax(*high, p->mark[i].x * MARK_ROOM);
	}
	if (!(*low <= *high)) /* no point at all */
		*low = *high = 1;
}

/* Outwards to powers of the base. The small part keeps what is a power already from being taken for a little more. */
static void round_log(struct axis *a, double base)
{
	a->step = base;
	a->low = pow(base, floor(log(a->low) / log(base) + 1e-9));
	a->high = pow(base, ceil(log(a->high) / log(base) - 1e-9));
	if (a->high <= a->low)
		a->high = a->low * base;
}

/* From 0, in steps of 1, 2 or 5 times a power of ten. */
static void round_linear(struct axis *a)
{
	double raw = a->high / Y_TICKS, power = pow(10, floor(log10(raw))), lead = raw / power;

	a->step = power * (lead <= 1 ? 1 : lead <= 2 ? 2 : lead <= 5 ? 5 : 10);
	a->low = 0;
	a->high = ceil(a->high / a->step * 1.02) * a->step;
}

static double frame_top(const struct plot *p)
{
	return LEGEND_TOP + LEGEND_ROW * (double)((p->nseries + p->columns - 1) / p->columns) + 8;
}

static struct axis x_axis(const struct plot *p)
{
	struct axis a = {.log = p->x_base > 0, .step = p->x_step, .from = LEFT + 14, .to = RIGHT - 14};

	reach(p, true, &a.low, &a.high);
	if (a.log)
		round_log(&a, p->x_base);
	else if (a.high <= a.low)
		a.high = a.low + a.step;
	return a;
}

static struct axis y_axis(const struct plot *p)
{
	struct axis a = {.log = p->log_y, .from = BOTTOM, .to = frame_top(p) + MARK_ROW * (double)p->nmarks};

	reach(p, false, &a.low, &a.high);
	if (a.log)
		round_log(&a, 10);
	else
		round_linear(&a);
	return a;
}

/* ---- Drawing ---- */

static void escaped(FILE *out, const char *s)
{
	for (; *s; s++)
		switch (*s) {
		case '<':
			fputs("&lt;", out);
			break;
		case '>':
			fputs("&gt;", out);
			break;
		case '&':
			fputs("&amp;", out);
			break;
		default:
			putc(*s, out);
		}
}

static void text(FILE *out, double x, double y, const char *how, const char *s)
{
	fprintf(out, "<text x=\"%.1f\" y=\"%.1f\" %s>", x, y, how);
	escaped(out, s);
	fputs("</text>\n", out);
}

static void line(FILE *out, double x1, double y1, double x2, double y2, const char *how)
{
	fprintf(out, "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" %s/>\n", x1, y1, x2, y2, how);
}

static void marker(FILE *out, size_t shape, double x, double y)
{
	const char *fill = colours[shape];

	switch (shape % 4) {
	case 0:
		fprintf(out, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"4.2\" fill=\"%s\"/>\n", x, y, fill);
		break;
	case 1:
		fprintf(out, "<rect x=\"%.1f\" y=\"%.1f\" width=\"7.6\" height=\"7.6\" fill=\"%s\"/>\n", x - 3.8, y - 3.8, fill);
		break;
	case 2:
		fprintf(out, "<path d=\"M%.1f %.1fl5 8.6h-10z\" fill=\"%s\"/>\n", x, y - 5.4, fill);
		break;
	default:
		fprintf(out, "<path d=\"M%.1f %.1fl5 5l-5 5l-5-5z\" fill=\"%s\"/>\n", x, y - 5, fill);
	}
}

static const char *plain_tick(double v)
{
	static char s[32];

	if (v >= 1e6)
		snprintf(s, sizeof s, "%.0f,%03d,%03d", floor(v / 1e6), (int)fmod(v / 1e3, 1e3), (int)fmod(v, 1e3));
	else if (v >= 1e3)
		snprintf(s, sizeof s, "%.0f,%03d", floor(v / 1e3), (int)fmod(v, 1e3));
	else
		snprintf(s, sizeof s, "%g", v);
	return s;
}

static void draw_x_axis(const struct plot *p, const struct axis *x, const struct axis *y, FILE *out)
{
	for (double v = x->low; v < x->high * 1.001; v = next_tick(x, v)) {
		double at = place(x, v);

		line(out, at, y->from, at, y->to, "class=\"grid\"");
		line(out, at, y->from, at, y->from + 5, "class=\"axis\"");
		text(out, at, y->from + 21, "text-anchor=\"middle\"", p->x_tick ? p->x_tick(v) : plain_tick(v));
	}
	line(out, LEFT, y->from, RIGHT, y->from, "class=\"axis\"");
	text(out, (LEFT + RIGHT) / 2, y->from + 48, "text-anchor=\"middle\"", p->x_label);
}

static void draw_y_axis(const struct plot *p, const struct axis *y, FILE *out)
{
	char turned[80];

	for (double v = y->low; v < y->high * 1.001; v = next_tick(y, v)) {
		double at = place(y, v);

		line(out, LEFT, at, RIGHT, at, "class=\"grid\"");
		line(out, LEFT - 5, at, LEFT, at, "class=\"axis\"");
		text(out, LEFT - 10, at + 4.5, "text-anchor=\"end\"", p->y_tick ? p->y_tick(v) : plain_tick(v));
	}
	line(out, LEFT, y->from, LEFT, y->to, "class=\"axis\"");
	snprintf(turned, sizeof turned, "text-anchor=\"middle\" transform=\"rotate(-90 24 %.1f)\"", (y->from + y->to) / 2);
	text(out, 24, (y->from + y->to) / 2, turned, p->y_label);
}

static const char *dashes(const struct plot_series *s)
{
	if (s->goal)
		return " stroke-dasharray=\"2 3\"";
	return s->dashed ? " stroke-dasharray=\"7 5\"" : "";
}

static const char *colour_of(const struct plot *p, size_t series)
{
	return series == PLOT_SERIES || p->series[series].goal ? GOAL_COLOUR : colours[series];
}

/* Of a goal, a bar across: it is seen where there is one alone. */
static void series_marker(const struct plot *p, size_t i, double x, double y, FILE *out)
{
	if (p->series[i].goal)
		fprintf(out, "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" stroke=\"%s\" stroke-width=\"2.5\"/>\n", x - 8, y,
			x + 8, y, GOAL_COLOUR);
	else if (!p->series[i].bare)
		marker(out, i, x, y);
}

static void draw_series(const struct plot *p, size_t i, const struct axis *x, const struct axis *y, FILE *out)
{
	const struct plot_series *s = &p->series[i];

	fprintf(out, "<polyline fill=\"none\" stroke=\"%s\" stroke-width=\"%s\" stroke-linejoin=\"round\"%s points=\"", colour_of(p, i),
		s->goal ? "1.5" : "2", dashes(s));
	for (size_t k = 0; k < s->n; k++)
		fprintf(out, "%.1f,%.1f ", place(x, s->x[k]), place(y, s->y[k]));
	fputs("\"/>\n", out);
	for (size_t k = 0; k < s->n; k++)
		series_marker(p, i, place(x, s->x[k]), place(y, s->y[k]), out);
}

/* Rows lie between the frame's top and the curves. Marks come in order, so a line passes no text but those of marks at its left. */
static double mark_row(const struct plot *p, size_t i)
{
	return frame_top(p) + MARK_ROW * (double)(i + 1) - 4;
}

static void draw_mark_line(const struct plot *p, size_t i, const struct axis *x, const struct axis *y, FILE *out)
{
	double at = place(x, p->mark[i].x);

	fprintf(out,
		"<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" stroke=\"%s\" stroke-width=\"1.2\" stroke-dasharray=\"2 3\"/>\n", at,
		mark_row(p, i) - 11, at, y->from, colour_of(p, p->mark[i].series));
}

static void draw_mark_text(const struct plot *p, size_t i, const struct axis *x, FILE *out)
{
	double at = place(x, p->mark[i].x);
	bool left = at > RIGHT - 100;
	char how[160];

	snprintf(how, sizeof how, "text-anchor=\"%s\" fill=\"%s\" stroke=\"#fff\" stroke-width=\"4\" paint-order=\"stroke\"",
		 left ? "end" : "start", colour_of(p, p->mark[i].series));
	text(out, left ? at - 5 : at + 5, mark_row(p, i), how, p->mark[i].text);
}

static void draw_marks(const struct plot *p, const struct axis *x, const struct axis *y, FILE *out)
{
	for (size_t i = 0; i < p->nmarks; i++)
		draw_mark_line(p, i, x, y, out);
	for (size_t i = 0; i < p->nmarks; i++)
		draw_mark_text(p, i, x, out);
}

static void draw_legend(const struct plot *p, FILE *out)
{
	for (size_t i = 0; i < p->nseries; i++) {
		double left = LEFT + (double)(i % p->columns) * (RIGHT - LEFT) / (double)p->columns;
		double at = LEGEND_TOP + LEGEND_ROW * (double)(i / p->columns);

		fprintf(out, "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" stroke=\"%s\" stroke-width=\"2\"%s/>\n", left, at,
			left + 34, at, colour_of(p, i), dashes(&p->series[i]));
		series_marker(p, i, left + 17, at, out);
		text(out, left + 42, at + 4.5, "", p->series[i].name);
	}
}

/* Down and left of the mark is what the goal allows. */
static void draw_goal(const struct plot *p, const struct axis *x, const struct axis *y, FILE *out)
{
	double at_x = place(x, p->goal_x), at_y = place(y, p->goal_y);

	if (!(p->goal_x > 0))
		return;
	line(out, LEFT, at_y, at_x, at_y, "class=\"goal\"");
	line(out, at_x, at_y, at_x, y->from, "class=\"goal\"");
	text(out, LEFT + 8, at_y - 6, "fill=\"" GOAL_COLOUR "\"", "goal");
}

static void head(const struct plot *p, FILE *out)
{
	fprintf(out,
		"<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%.0f\" height=\"%.0f\" viewBox=\"0 0 %.0f %.0f\" "
		"font-family=\"'Helvetica Neue', Helvetica, Arial, 'DejaVu Sans', sans-serif\" font-size=\"13\" fill=\"#333\">\n"
		"<style>.grid{stroke:#e4e4e4}.axis{stroke:#555}.goal{stroke:#a01c1c;stroke-width:1.3;stroke-dasharray:2 3}</style>\n"
		"<rect width=\"100%%\" height=\"100%%\" fill=\"#fff\"/>\n",
		WIDTH, HEIGHT, WIDTH, HEIGHT);
	text(out, LEFT, 36, "font-size=\"19\" font-weight=\"bold\" fill=\"#111\"", p->title);
	if (p->subtitle)
		text(out, LEFT, 58, "fill=\"#666\"", p->subtitle);
}

bool plot_add(struct plot_series *s, double x, double y)
{
	if (s->n == PLOT_POINTS)
		return false;
	s->x[s->n] = x;
	s->y[s->n++] = y;
	return true;
}

bool plot_write(const struct plot *p, FILE *out)
{
	struct axis x = x_axis(p), y = y_axis(p);

	head(p, out);
	draw_x_axis(p, &x, &y, out);
	draw_y_axis(p, &y, out);
	draw_goal(p, &x, &y, out);
	for (size_t i = 0; i < p->nseries; i++)
		draw_series(p, i, &x, &y, out);
	draw_marks(p, &x, &y, out);
	draw_legend(p, out);
	fputs("</svg>\n", out);
	return !ferror(out);
}
