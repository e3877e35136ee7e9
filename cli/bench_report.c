/* SPDX-License-Identifier: Apache-2.0 */
#include "bench_report.h"

#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "faultline.h"
#include "text.h"
#include "util/size.h"

/* Closer than that, one run differs from the next by as much. */
#define ALIKE 0.05

static const char *rate_format(double v, bool bytes, char *buf)
{
	static const char *const factors[] = {"", "K", "M", "G"};
	int f = 0;

	for (; v >= 999.5 && f < 3; f++)
		v /= 1000;
	snprintf(buf, NUMBER_MAX, "%.*f %s%s", v >= 99.95 ? 0 : v >= 9.995 ? 1 : 2, v, factors[f], bytes ? "B/s" : "/s");
	return buf;
}

static char *verdict_of(const struct bench_row *row)
{
	if (row->ratio > 1 - ALIKE && row->ratio < 1 + ALIKE)
		return text_format("%s reads as fast", row->key);
	return text_format("%s reads %.2f times as fast", row->key, row->ratio);
}

/* The one sentence. The caller frees it. */
static char *conclusion(const struct bench_request *rq, const struct bench_result *r)
{
	char *part[BENCH_ROWS], budget[NUMBER_MAX], *all;

	for (int i = 0; i < BENCH_ROWS; i++)
		part[i] = verdict_of(&r->row[i]);
	size_format(rq->budget, budget, sizeof budget);
	all = text_format("Within %s, Faultline does %s, %s and %s as kernel mmap%s.", budget, part[0], part[1], part[2],
			  r->capped ? "" : ", but the kernel's side was not held to that, so it is no fair comparison");
	for (int i = 0; i < BENCH_ROWS; i++)
		free(part[i]);
	return all;
}

/* ---- Text ---- */

static void print_head(const struct bench_request *rq, const struct bench_result *r)
{
	char size[NUMBER_MAX], budget[NUMBER_MAX], *name = text_escape(rq->file, TEXT_TERMINAL);

	size_format(rq->bytes, size, sizeof size);
	size_format(rq->budget, budget, sizeof budget);
	printf("%s: %s, read within %s\n", name, size, budget);
	if (r->capped)
		puts("The kernel's side is in a memory cgroup of that size.\n");
	else
		printf("The kernel's side is NOT held to that: no memory cgroup can be made here (%s).\n"
		       "It has all of this machine's memory. Run this as root for a fair comparison.\n\n",
		       strerror(-r->uncapped));
	free(name);
}

static void print_row(const struct bench_row *row)
{
	char ours[NUMBER_MAX], kernels[NUMBER_MAX];

	printf("%-26s %12s %12s %8.2f   %s\n", row->name, rate_format(row->faultline, row->bytes, ours),
	       rate_format(row->kernel, row->bytes, kernels), row->ratio, row->advice);
}

void bench_report_text(const struct bench_request *rq, const struct bench_result *r)
{
	char *sentence = conclusion(rq, r);

	print_head(rq, r);
	printf("%-26s %12s %12s %8s   %s\n", "", "Faultline", "kernel mmap", "ratio", "kernel's best advice");
	for (int i = 0; i < BENCH_ROWS; i++)
		print_row(&r->row[i]);
	printf("\n%s\n", sentence);
	free(sentence);
}

/* ---- JSON ---- */

static void add_text(struct json_object *o, const char *key, const char *text)
{
	char *clean = text_escape(text, TEXT_JSON);

	json_object_object_add(o, key, json_object_new_string(clean));
	free(clean);
}

/* As many digits as it is worth. */
static void add_decimal(struct json_object *o, const char *key, double v)
{
	char text[NUMBER_MAX];

	snprintf(text, sizeof text, "%.3f", v);
	json_object_object_add(o, key, json_object_new_double_s(v, text));
}

static struct json_object *row_json(const struct bench_row *row)
{
	struct json_object *o = json_object_new_object();

	add_text(o, "workload", row->key);
	json_object_object_add(o, "threads", json_object_new_int64(row->threads));
	add_text(o, "unit", row->bytes ? "bytes per second" : "reads per second");
	json_object_object_add(o, "faultline", json_object_new_int64((int64_t)row->faultline));
	json_object_object_add(o, "kernel", json_object_new_int64((int64_t)row->kernel));
	add_text(o, "kernel_advice", row->advice);
	add_decimal(o, "ratio", row->ratio);
	return o;
}

void bench_report_json(const struct bench_request *rq, const struct bench_result *r)
{
	struct json_object *o = json_object_new_object(), *rows = json_object_new_array();
	char *sentence = conclusion(rq, r);

	add_text(o, "faultline_version", fl_version());
	add_text(o, "file", rq->file);
	json_object_object_add(o, "file_bytes", json_object_new_uint64(rq->bytes));
	json_object_object_add(o, "budget_bytes", json_object_new_uint64(rq->budget));
	add_decimal(o, "seconds_per_run", rq->seconds);
	json_object_object_add(o, "kernel_capped", json_object_new_boolean(r->capped));
	if (!r->capped)
		add_text(o, "kernel_not_capped_because", strerror(-r->uncapped));
	for (int i = 0; i < BENCH_ROWS; i++)
		json_object_array_add(rows, row_json(&r->row[i]));
	json_object_object_add(o, "rows", rows);
	add_text(o, "conclusion", sentence);
	puts(json_object_to_json_string_ext(o, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_NOSLASHESCAPE));
	json_object_put(o);
	free(sentence);
}
