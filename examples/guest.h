/* SPDX-License-Identifier: Apache-2.0 */
/* The guest: one process of one thread, whose memory is a soft space and whose processor is Unicorn. */
#ifndef GUEST_H
#define GUEST_H

#include <stdbool.h>
#include <stdint.h>
#include <unicorn/unicorn.h>

#include <faultline_soft.h>

#define GUEST_PAGE 4096ull
#define GUEST_TOP 0x7ffffffff000ull /* where a process of 47 bits ends, and its stack begins */
#define GUEST_STACK (8ull << 20)
#define GUEST_WINDOW 128 /* pages at most that Unicorn has at a time, see guest_memory.c */
#define GUEST_FILES 64

struct guest_page {
	uint64_t addr;
	void *host; /* as fl_space_translate() gave it; NULL: the place is free */
	uint32_t perms;
};

struct guest {
	fl_space *space;
	fl_cpu *cpu; /* for strings */
	uc_engine *uc;
	const char *program; /* its absolute path */
	uint64_t seed;       /* 0: as the kernel's random numbers have it */
	bool verbose;

	struct guest_page window[GUEST_WINDOW];
	unsigned window_size, window_next; /* the oldest page is at window_next */
	uint64_t faults;

	int files[GUEST_FILES]; /* the host's descriptor for each of the guest's; -1: none */
	char buffer[65536];     /* on the way between files and the guest's memory */

	uint64_t signals_ignored; /* bit n - 1 for signal n */
	bool ended;
	int status; /* as of exit(2) */
	int signal; /* that ended it; 0: none */
};

/* The guest ends after this instruction. */
void guest_exit(struct guest *g, int status);
/* By a signal with no handler, unless it is ignored. */
void guest_signal(struct guest *g, int signal);
/* For what no process would meet: the emulator itself cannot go on. */
void guest_abandon(struct guest *g, const char *why);
/* Bytes for the guest that look random; with a seed, the same in each run. */
void guest_random(struct guest *g, void *buf, size_t size);

static inline uint64_t guest_page_of(uint64_t addr)
{
	return addr & ~(GUEST_PAGE - 1);
}

#endif
