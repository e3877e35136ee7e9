/* SPDX-License-Identifier: Apache-2.0 */
/* What all measurements need: a clock, numbers that look random, and an end when something is wrong. */
#ifndef BENCH_UTIL_H
#define BENCH_UTIL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#define PAGE 4096UL
#define MIB (1UL << 20)

static inline uint64_t clock_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static inline double now_ns(void)
{
	return (double)clock_ns();
}

/* xorshift64: the same numbers in every run. The state is not 0. */
static inline uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

/* The rest of a loop must not be left out, or moved over the clock. */
static inline void keep(uint64_t v)
{
	__asm__ volatile("" : : "r"(v) : "memory");
}

/* Into a file that is there, as those of the kernel are: 0 or -errno. */
int write_text(const char *path, const char *text);
/* Ends the program, with what it was about and errno. */
_Noreturn void die(const char *what);
/* What is measured is checked as well, outside of the time: a wrong result ends the program. */
void expect(bool right, const char *what);

#endif
