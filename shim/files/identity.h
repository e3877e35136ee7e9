/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is known of the program's descriptors, one word for each, so that calls that pass bytes, to a socket or to a file that nobody has mapped, need not ask the
 * kernel which file that is. See identity.c for what may be remembered. The rest
 * of a word is a place in the filters of mapped files, and above that a generation.
 */
#ifndef FL_SHIM_IDENTITY_H
#define FL_SHIM_IDENTITY_H

#include "api/file_io.h"

enum identity_state { FD_UNKNOWN, FD_OURS, FD_KNOWN, FD_NO_FILE }; /* the last two are sure: they have the bit of FD_KNOWN */

#define IDENTITY_FDS 4096
#define IDENTITY_STATE_BITS 2

extern FL_HIDDEN _Atomic uint64_t identity_words[IDENTITY_FDS];
extern FL_HIDDEN _Atomic bool identity_is_shared;

static inline uint64_t identity_word(int fd)
{
	return (unsigned)fd < IDENTITY_FDS ? atomic_load(&identity_words[fd]) : FD_UNKNOWN;
}

static inline enum identity_state identity_state(uint64_t word)
{
	return word & ((1U << IDENTITY_STATE_BITS) - 1);
}

static inline uint32_t identity_place(uint64_t word)
{
	return (uint32_t)word >> IDENTITY_STATE_BITS;
}

static inline bool identity_is_sure(uint64_t word)
{
	return (word & FD_KNOWN) && !atomic_load_explicit(&identity_is_shared, memory_order_relaxed);
}

/* Whether it is known to be no mapped file. */
static inline bool identity_is_none(uint64_t word)
{
	return identity_is_sure(word) && (identity_state(word) == FD_NO_FILE || !file_io_maybe(identity_place(word)));
}

struct address_space *identity_ask(int fd, uint64_t word);
struct address_space *identity_ask_now(int fd);
struct address_space *identity_ask_and_start(int fd, uint64_t word, struct inflight *f);

/* As file_io_lookup(). errno stays as it is. */
static inline struct address_space *identity_file(int fd)
{
	uint64_t word = identity_word(fd);

	return likely(identity_is_none(word)) ? NULL : identity_ask(fd, word);
}

/* As file_io_start(). */
static inline __attribute__((always_inline)) struct address_space *identity_start(int fd, struct inflight *f)
{
	uint64_t word = identity_word(fd);

	f->slot = NULL;
	if (!inflight_needed())
		return identity_file(fd);
	if (unlikely(!identity_is_sure(word)))
		return identity_ask_and_start(fd, word, f);
	if (identity_state(word) == FD_NO_FILE)
		return NULL;
	inflight_begin(f, identity_place(word));
	return likely(!file_io_maybe(identity_place(word))) ? NULL : identity_ask_now(fd);
}

/* Whether there is one. */
bool identity_is_mapped(int fd);

/* A call of the program's has made it (-1: has failed), and nothing but calls that the shim sees will close it. Returns fd. */
int identity_opened(int fd);
/* It is about to be closed, or to belong to libc, which closes by itself. */
void identity_gone(int fd);
void identity_gone_range(unsigned first, unsigned last);
/* Another process has the same descriptors from now on: nothing is remembered any more. */
void identity_shared(void);

#endif
