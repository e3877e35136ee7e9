/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A store: where the bytes of a mapped object live. The page cache reads and writes it in whole pages.
 *
 * Operations run in the SIGBUS handler of whichever thread faults: they allocate nothing, take no lock that code
 * outside the engine can hold, and answer -errno. All are called from several threads at once.
 */
#ifndef FL_STORE_STORE_H
#define FL_STORE_STORE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "util/arena.h"

struct store;

struct store_ops {
	const char *name;
	/* Bytes read, fewer than len only at the end of the object; off and buf are page aligned. */
	ssize_t (*read)(struct store *s, void *buf, size_t len, uint64_t off);
	/* The bytes will be read soon: whatever can be done for that while nobody waits. NULL: nothing. */
	void (*expect)(struct store *s, uint64_t off, uint64_t len);
	/* As read(), of what can be had without waiting for it: all that read() would bring, or -errno. NULL: nothing can. */
	ssize_t (*read_now)(struct store *s, void *buf, size_t len, uint64_t off);
	/* 0 when all len bytes are written. off is page aligned; len ends at a page or at the end of the object. */
	int (*write)(struct store *s, const void *buf, size_t len, uint64_t off);
	int (*size)(struct store *s, uint64_t *size);
	/* Makes what was written durable, as fdatasync(2). */
	int (*sync)(struct store *s);
	/* The bytes will not be read again before they are written. May do nothing. */
	void (*discard)(struct store *s, uint64_t off, uint64_t len);
	/* Bytes anywhere, as another process would read them; buffered, any alignment. */
	ssize_t (*peek)(struct store *s, void *buf, size_t len, uint64_t off);
	/* Memory of its own that shows the page at off, for an enum fl_access; NULL where pages are read. */
	int (*fault)(struct store *s, uint64_t off, int access, void **page);
	/* A descriptor opened with O_DIRECT that does what read() or write() does; -EOPNOTSUPP, or NULL, where there is none. */
	int (*direct_fd)(struct store *s, bool write);
	void (*close)(struct store *s);
};

struct store {
	const struct store_ops *ops;
	bool writable;
};

/* ---- File store: a regular file, by descriptors of its own (file_store.c) ---- */

struct file_id {
	uint64_t dev, ino;
};

enum { FILE_STORE_DIRECT = 1 }; /* read and write with O_DIRECT where the file system allows */

/*
 * Takes a descriptor of its own for the file behind `fd`. -EMFILE; -EOPNOTSUPP when the file cannot be written at
 * chosen offsets (O_APPEND on a kernel without RWF_NOAPPEND, and no second way to open it).
 */
int file_store_open(struct arena *arena, int fd, unsigned flags, struct store **out);
/* Adds what `fd` can do and the store cannot yet: writing, when the first descriptor was read-only. */
int file_store_widen(struct store *s, int fd);
bool file_store_is_direct(struct store *s);
/* The buffered descriptor, for mapping the file itself. */
int file_store_fd(struct store *s);

/* ---- Swap: a region of an unlinked temporary file (swap_store.c) ---- */

/* Where the temporary file is made: a directory; NULL for $TMPDIR, /var/tmp, /tmp. */
/* 0, or -errno when the directory cannot hold one. */
int swap_set_directory(const char *dir);
/* Opens the temporary file when that has not been done, which a fault must not: before private memory is mapped. */
int swap_prepare(void);
/* A region for `bytes` bytes; -ENOENT and the like when there is no file, -EFBIG when it would be too long. */
int swap_store_open(struct arena *arena, uint64_t bytes, struct store **out);
/* A temporary file of `bytes` bytes of its own in the same place: a descriptor, or -errno. */
int swap_open_scratch(uint64_t bytes);
void swap_exit(void);
uint64_t swap_written(void);
/*
 * A forked child gets a file of its own with what the parent's held. 0 or -errno. The parent, whose swap must hold still
 * until then, waits for it in swap_fork_parent(); see address_space_fork_prepare().
 */
bool swap_in_use(void);
void swap_fork_prepare(void);
void swap_fork_parent(void);
void swap_fork_child_begin(void);
int swap_fork_child(void);
/* In the child: the parent need not wait. */
void swap_fork_end(void);

/* ---- Faults on demand: wraps a store for tests (fault_store.c) ---- */

/*
 * `spec`: comma-separated rules OP:ERROR:N[:COUNT], OP read, write or sync; ERROR an errno name (eio, enospc, eintr),
 * "short" (half the bytes), or "delay=MS"; the N-th call on (1 is the first), COUNT calls (default 1, 0 for ever).
 * -EINVAL for a rule it cannot read.
 */
int fault_store_set_rules(const char *spec);
/* The store itself when no rules are set. */
int fault_store_wrap(struct arena *arena, struct store *inner, struct store **out);
struct store *fault_store_inner(struct store *s);

#endif
