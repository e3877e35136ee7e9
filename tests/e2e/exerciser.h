/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the exerciser share: the file, the copy of it in memory, and how a difference is told. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define SIZE_MAX_FILE (6UL << 20)
#define PAGE 4096UL

extern uint8_t *model, *scratch; /* what the file should hold; a buffer as long */
extern size_t model_size;
extern int fd;
extern const char *path;
extern size_t stored_beyond; /* the page that holds something behind the end of the file */

/* One shared mapping that stays over many steps; as long as the file can be. */
extern struct lasting {
	uint8_t *at;
	size_t len;
} map;

uint64_t next(void);
size_t below(size_t n);
void note(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
_Noreturn void fail(const char *what, size_t at);
void check(const char *what, const uint8_t *got, size_t off, size_t len);
void random_bytes(size_t len);            /* into scratch */
void model_write(size_t off, size_t len); /* from scratch */
void model_truncate(size_t size);

#define RANGE_STEPS 15
void range_step(unsigned what, size_t off, size_t len);
