/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One word for each descriptor. A wrong answer would let a call pass a mapped file by, so it is remembered only what cannot change unseen:
 *
 *      UNKNOWN --- a wrapper has made it (identity_opened) ---> OURS --- the kernel was asked (identity_file) ---> KNOWN
 *         ^                                                      |                                                   |
 *         '------- before a wrapper closes it, or libc may do so by itself, as for a stream (identity_gone) ---------'
 *
 * Each arrow but the second begins a new generation, so that an answer of the kernel's for a descriptor that was closed and made anew in the meantime
 * is not kept. KNOWN is a place in the filters of mapped files (wire_filter()), or that it is no regular file. Where a filter says that there may
 * be a mapping, the kernel is asked, as it is for what is UNKNOWN: what libc opens for itself, or came from the process's parent, but for
 * the standard streams.
 *
 * A child of vfork(2) has descriptors of its own and this memory: what it closes is forgotten, and what it finds out is not kept.
 */
#include "identity.h"

#include <fcntl.h>
#include <stdatomic.h>

#include "process/process.h"
#include "util/sys.h"

enum state { UNKNOWN, OURS, KNOWN, NO_FILE }; /* the last two are sure: they have the bit of KNOWN */

#define FDS 4096
#define STATE_BITS 2
#define PLACE_BITS 16
#define STATE_MASK ((1U << STATE_BITS) - 1)
#define GENERATION (1ULL << 32) /* the rest: state, place */

_Static_assert(WIRE_FILTER <= 1 << PLACE_BITS, "a place fits");

static _Atomic uint64_t words[FDS];
static _Atomic bool shared;

static enum state state_of(uint64_t word)
{
	return word & STATE_MASK;
}

static uint32_t place_of(uint64_t word)
{
	return (uint32_t)word >> STATE_BITS;
}

static void begin(int fd, enum state s)
{
	uint64_t w;

	if (fd < 0 || fd >= FDS)
		return;
	w = atomic_load_explicit(&words[fd], memory_order_relaxed);
	while (!atomic_compare_exchange_weak(&words[fd], &w, (w & ~(GENERATION - 1)) + GENERATION + s))
		;
}

int identity_opened(int fd)
{
	begin(fd, OURS);
	return fd;
}

void identity_gone(int fd)
{
	if (fd >= 0 && fd < FDS && state_of(atomic_load_explicit(&words[fd], memory_order_relaxed)) != UNKNOWN)
		begin(fd, UNKNOWN);
}

void identity_gone_range(unsigned first, unsigned last)
{
	for (unsigned fd = first; fd <= last && fd < FDS; fd++)
		identity_gone((int)fd);
}

void identity_shared(void)
{
	atomic_store(&shared, true);
}

/* Those that the process starts with, of which libc closes none by itself that a wrapper does not see. */
__attribute__((constructor)) static void at_start(void)
{
	for (int fd = 0; fd <= 2; fd++)
		if (sys_fcntl(fd, F_GETFD, 0) >= 0)
			begin(fd, OURS);
}

static void keep(int fd, uint64_t word, const struct stat *st)
{
	uint64_t known = word - OURS + (S_ISREG(st->st_mode) ? KNOWN | wire_filter(st->st_dev, st->st_ino) << STATE_BITS : NO_FILE);

	if (!atomic_load_explicit(&shared, memory_order_relaxed) && process_is_own())
		atomic_compare_exchange_strong(&words[fd], &word, known);
}

static uint64_t word_of(int fd)
{
	return fd >= 0 && fd < FDS ? atomic_load(&words[fd]) : UNKNOWN;
}

static bool is_sure(uint64_t word)
{
	return (word & KNOWN) && !atomic_load_explicit(&shared, memory_order_relaxed);
}

/* Whether it is known to be no mapped file. */
static bool is_none(uint64_t word)
{
	return is_sure(word) && (state_of(word) == NO_FILE || !file_io_maybe(place_of(word)));
}

static __attribute__((noinline)) struct address_space *ask(int fd, uint64_t word)
{
	struct stat st;

	if (!file_io_any() || sys_fstat(fd, &st))
		return NULL;
	if (state_of(word) == OURS)
		keep(fd, word, &st);
	return file_io_find(&st);
}

struct address_space *identity_file(int fd)
{
	uint64_t word = word_of(fd);

	return likely(is_none(word)) ? NULL : ask(fd, word);
}

static __attribute__((noinline)) struct address_space *find_now(int fd)
{
	struct stat st;

	return sys_fstat(fd, &st) ? NULL : file_io_find(&st);
}

static __attribute__((noinline)) struct address_space *ask_and_start(int fd, uint64_t word, struct inflight *f)
{
	struct stat st;

	if (sys_fstat(fd, &st))
		return NULL;
	if (state_of(word) == OURS)
		keep(fd, word, &st);
	return file_io_start_at(&st, f);
}

struct address_space *identity_start(int fd, struct inflight *f)
{
	uint64_t word = word_of(fd);

	f->slot = NULL;
	if (!inflight_needed())
		return identity_file(fd);
	if (unlikely(!is_sure(word)))
		return ask_and_start(fd, word, f);
	if (state_of(word) == NO_FILE)
		return NULL;
	inflight_begin(f, place_of(word));
	return likely(!file_io_maybe(place_of(word))) ? NULL : find_now(fd);
}

bool identity_is_mapped(int fd)
{
	struct address_space *as = identity_file(fd);

	if (as)
		file_io_put(as);
	return as;
}
