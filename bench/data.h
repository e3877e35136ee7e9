/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file that is measured. Each of its words is a function of its place, so whatever is read can be judged without a copy:
 *
 *   word 1 of each page    what was stored last (0 at first) and a sum of that and the place: half a store is seen, and so is another's
 *   all others             a linear function of the offset, different everywhere; so the sum over a page's lines is known at once
 */
#ifndef BENCH_DATA_H
#define BENCH_DATA_H

#include <stdbool.h>
#include <stdint.h>

#include "util.h"

#define DATA_STEP 0x9e3779b97f4a7c15ULL
#define DATA_START 0x2545f4914f6cdd1dULL
#define LINE 64

static inline uint64_t data_word(uint64_t offset)
{
	return DATA_START + (offset / 8) * DATA_STEP;
}

/* Of the first words of the lines of the page at this offset. */
static inline uint64_t data_line_sum(uint64_t page)
{
	uint64_t lines = PAGE / LINE, words = LINE / 8;

	return lines * data_word(page) + DATA_STEP * words * (lines * (lines - 1) / 2);
}

static inline uint64_t data_stored(uint64_t page, uint32_t value)
{
	return (uint64_t)value << 32 | (uint32_t)((page / PAGE + 1) * 2654435761u ^ value * 2246822519u);
}

/* Whether a word 1 is one that data_stored() made for this page, or was made with the file. */
static inline bool data_is_stored(uint64_t page, uint64_t word)
{
	return word == data_stored(page, (uint32_t)(word >> 32));
}

/* A file of so many bytes, on disk when this returns, or one that is there and looks as if it was. 0 or -errno: -EEXIST when it is another's. */
int data_make(const char *path, uint64_t bytes);

#endif
