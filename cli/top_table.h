/* SPDX-License-Identifier: Apache-2.0 */
/* A view as lines of text, for paper and screen alike. */
#ifndef FL_CLI_TOP_TABLE_H
#define FL_CLI_TOP_TABLE_H

#include "sample.h"

enum top_column {
	COLUMN_MAPPED,
	COLUMN_MEMORY,
	COLUMN_FAULTS,
	COLUMN_HITS,
	COLUMN_TIME,
	COLUMN_READS,
	COLUMN_READ,
	COLUMN_WRITTEN,
	COLUMN_EVICTIONS,
	COLUMN_WRITEBACKS,
	COLUMN_NAME,
	COLUMNS
};

#define TABLE_HEADLINES 3

struct table {
	bool by_process;
	enum top_column sort;
	int width; /* columns of characters; 0: as wide as it gets */
	/* Filled in by top_table_make(). */
	bool has[COLUMNS];
	struct table_row *rows; /* in order: those with traffic first */
	size_t n;
	double seconds;
};

/* The column of a letter, or COLUMNS. */
enum top_column top_table_column(char letter);
/* Of all columns. */
const char *top_table_letters(void);

void top_table_make(struct table *t, const struct view *v);
void top_table_free(struct table *t);
/* Lines, without their ends, that the caller frees. `part`: 0 to TABLE_HEADLINES - 1. */
char *top_table_headline(const struct table *t, const struct view *v, int part);
char *top_table_titles(const struct table *t);
char *top_table_line(const struct table *t, size_t row);
bool top_table_is_idle(const struct table *t, size_t row);
/* Where the column that it is sorted by is in a line. False: it is not shown. */
bool top_table_sort_place(const struct table *t, int *start, int *len);

/* `s`, made safe to print and at most `width` columns wide, "..." in front where it was cut; 0: not cut. The caller frees it. */
char *top_table_fit(const char *s, int width);

#endif
