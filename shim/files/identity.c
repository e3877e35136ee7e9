/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One word for each descriptor. A wrong answer would let a call pass a mapped file by, so it is remembered only what cannot change unseen:
 *
 *      FD_UNKNOWN --- a wrapper has made it (identity_opened) ---> FD_OURS --- the kernel was asked (identity_ask) ---> FD_KNOWN
 *         ^                                                         |                                                     |
 *         '--------- before a wrapper closes it, or libc may do so by itself, as for a stream (identity_gone) ------------'
 *
 * Each arrow but the second begins a new generation, so that an answer of the kernel's for a descriptor that was closed and made anew in the meantime
 * is not kept. FD_KNOWN is a place in the filters of mapped files (wire_filter()), or that it is no regular file. Where a filter says that there may
 * be a mapping, the kernel is asked, as it is for what is FD_UNKNOWN: what libc opens for itself, or came from the process's parent, but for
 * the standard streams.
 *
 * A child of vfork(2) has descriptors of its own and this memory: what it closes is forgotten, and what it finds out is not kept.
 */
#include "identity.h"

#include <fcntl.h>
#include <stdatomic.h>

#include "process/process.h"
#include "util/sys.h"

#define GENERATION (1ULL << 32)

_Static_assert(WIRE_FILTER <= 1 << (32 - IDENTITY_STATE_BITS), "a place fits");

_Atomic uint64_t identity_words[IDENTITY_FDS];
_Atomic bool identity_is_shared;

static void begin(int fd, enum identity_state s)
{
	uint64_t w;

	if (fd < 0 || fd >= IDENTITY_FDS)
		return;
	w = atomic_load_explicit(&identity_words[fd], memory_order_relaxed);
	while (!atomic_compare_exchange_weak(&identity_words[fd], &w, (w & ~(GENERATION - 1)) + GENERATION + s))
		;
}

int identity_opened(int fd)
{
	begin(fd, FD_OURS);
	return fd;
}

void identity_gone(int fd)
{
	if (fd >= 0 && fd < IDENTITY_FDS && identity_state(atomic_load_explicit(&identity_words[fd], memory_order_relaxed)) != FD_UNKNOWN)
		begin(fd, FD_UNKNOWN);
}

void identity_gone_range(unsigned first, unsigned last)
{
	for (unsigned fd = first; fd <= last && fd < IDENTITY_FDS; fd++)
		identity_gone((int)fd);
}

void identity_shared(void)
{
	atomic_store(&identity_is_shared, true);
}

/* Those that the process starts with, of which libc closes none by itself that a wrapper does not see. */
__attribute__((constructor)) static void at_start(void)
{
	for (int fd = 0; fd <= 2; fd++)
		if (sys_fcntl(fd, F_GETFD, 0) >= 0)
			begin(fd, FD_OURS);
}

static void keep(int fd, uint64_t word, const struct stat *st)
{
	uint64_t known = word - FD_OURS +
			 (S_ISREG(st->st_mode) ? FD_KNOWN | wire_filter(st->st_dev, st->st_ino) << IDENTITY_STATE_BITS : FD_NO_FILE);

	if (!atomic_load_explicit(&identity_is_shared, memory_order_relaxed) && process_is_own())
		atomic_compare_exchange_strong(&identity_words[fd], &word, known);
}

struct address_space *identity_ask(int fd, uint64_t word)
{
	struct stat st;

	if (!file_io_any() || sys_fstat(fd, &st))
		return NULL;
	if (identity_state(word) == FD_OURS)
		keep(fd, word, &st);
	return file_io_find(&st);
}

struct address_space *identity_ask_now(int fd)
{
	struct stat st;

	return sys_fstat(fd, &st) ? NULL : file_io_find(&st);
}

struct address_space *identity_ask_and_start(int fd, uint64_t word, struct inflight *f)
{
	struct stat st;

	if (sys_fstat(fd, &st))
		return NULL;
	if (identity_state(word) == FD_OURS)
		keep(fd, word, &st);
	return file_io_start_at(&st, f);
}

bool identity_is_mapped(int fd)
{
	struct address_space *as = identity_file(fd);

	if (as)
		file_io_put(as);
	return as;
}
