/* SPDX-License-Identifier: Apache-2.0 */
/* Runs a list on one implementation, in processes of its own. */
#ifndef DIFF_RUN_H
#define DIFF_RUN_H

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "backend.h"
#include "op.h"
#include "trace.h"

/* A mapping at an address that the kernel chose; len 0: none. */
struct slot {
	char *addr;
	size_t len;
};

/* A range of mappings, see layout.c. */
struct range {
	char *start, *end;
	int prot;        /* PROT_*, and RANGE_SHARED */
	uint64_t offset; /* in the file; 0: also anonymous */
	uint64_t name;   /* a hash of it */
};
#define RANGE_SHARED 16
#define RANGES_MAX 2048

#define TEXT_MAX (1L << 20)
#define BUFFER_MAX (256L << 10)

/* Not thread-local: some thread's stack would have to hold it. */
struct scratch {
	char text[TEXT_MAX];
	char buffer[BUFFER_MAX];
	struct range all[RANGES_MAX], ranges[RANGES_MAX];
};

/* One thread of a run, or its copy in a forked process. */
struct context {
	const struct backend *backend;
	const struct op *ops; /* of this thread alone */
	uint32_t n, at;
	int thread, me;
	bool alone;       /* no other threads */
	bool kept;        /* run by kept.c */
	bool dontfork;    /* a mapping that is moved to a slot may not be there in a child: none is moved */
	bool page_tables; /* compared, too */
	bool absolute;    /* addresses are the same in every run */
	bool borders;     /* neighbours stay apart in layouts */
	bool one_open;    /* each file is opened once */
	uint32_t alive;   /* processes of this thread, a bit each, while it is the turn of `at` */
	struct trace *trace;
	char *zone; /* the window starts here */
	struct slot slots[SLOTS];
	int fds[FDS];
	int pipe[2];
	struct scratch *scratch;
	pthread_t id;
	size_t page; /* of what is mapped: 0: PAGE */
	/* What kept.c has to unmap besides the zone: mappings at addresses that the kernel chose. */
	struct slot *elsewhere;
	uint32_t *nelsewhere;
	bool *sealed; /* something cannot be unmapped any more */
};
#define ELSEWHERE_MAX 65536

struct run_request {
	const struct backend *backend;
	const struct list *list;
	struct backend_options options;
	const char *directory;
	struct trace *traces; /* one for each thread, zeroed */
	bool borders, one_open;
};

/* Never returns: the first process of a run. */
_Noreturn void run_child(const struct run_request *rq);

struct record *run_note(struct context *c, enum record_kind kind, int64_t result);

/* ---- step.c: one operation ---- */

void step_run(struct context *c, const struct op *o);
/* The layout, the pages of all mappings and the files. */
void step_final_checks(struct context *c);
/* The files' contents as any other process sees them, when nothing is mapped any more. */
void step_check_files(struct context *c);

/* ---- files.c: the files of a thread ---- */

enum {
	FD_A,
	FD_B,
	FD_C_RDONLY,
	FD_A_RDONLY,
	FD_A_WRONLY,
	FD_D_RDONLY,
	FD_EMPTY,
	FD_B_AGAIN,
	FD_DIRECTORY,
	FD_PIPE,
	FD_CLOSED,
	FD_SHARED,
	FD_UNMAPPED, /* so that copies between it and mappings cannot overlap */
	FD_C,        /* not for shared mappings, see file_keeps_size() */
	FD_MEMORY,   /* what the kernel maps: a memfd, and /dev/zero. Not in lists for soft spaces */
	FD_ZERO,
	FD_A_APPEND, /* nor are these two; the second is mapped, and not read or written: its buffers would have to be aligned */
	FD_B_DIRECT,
};

#define STRIPE (64L << 20) /* of the file that all threads share, one for each thread */

void files_make(struct context *c);
int files_open(int thread, int which);
int files_unlink(int thread, int which);
/* For reading and writing, whatever the entry says. */
int files_open_for_all(int thread, int which);
/* Where in the file an operation's offset is: in the file shared by all threads, in the thread's own stripe. */
int64_t file_offset(const struct op *o, int64_t fd, int64_t off);
/* Whether the file may have this size. */
bool file_keeps_size(int64_t fd, int64_t size);

/* ---- access.c: loads and stores that may raise a signal ---- */

struct access {
	int sig, code;
	char *addr;    /* si_addr */
	uint64_t done; /* bytes before it */
	uint64_t hash; /* of what was loaded, or the value */
};

#define HASH_START 0xcbf29ce484222325ull

/* `plain`: nobody else has a handler, and nothing is done about signal masks, which costs two system calls an access. */
void access_install_handlers(struct trace *traces, int n, bool plain);
void access_load(const struct backend *b, const char *p, int size, struct access *a);
void access_store(const struct backend *b, char *p, int size, uint64_t value, struct access *a);
void access_add(const struct backend *b, char *p, uint64_t value, struct access *a);
void access_exchange(const struct backend *b, char *p, int size, uint64_t value, struct access *a);
/* Stores a `ret` if it can and executes it if it can; a->done: 1 when there was one. */
#define RET 0xc3
void access_fetch(const struct backend *b, char *p, struct access *a);
/* Hashes a range in order of addresses, 8 bytes at a time, and stops at a signal; a->hash is the start. */
void access_hash(const struct backend *b, const char *p, size_t len, struct access *a);
void access_fill(const struct backend *b, char *p, size_t len, uint64_t value, struct access *a);
uint64_t hash_bytes(uint64_t h, const void *p, size_t len);

static inline uint64_t hash_word(uint64_t h, uint64_t word)
{
	h = (h ^ word) * 0x9e3779b97f4a7c15ull;
	return h ^ (h >> 29);
}

/* ---- layout.c: what is mapped ---- */

enum layout_kind { LAYOUT_OWN, LAYOUT_KERNEL };
/* The mappings of the thread's zone and slots; neighbours that differ in nothing that a program sees are one. */
size_t layout_read(const struct context *c, enum layout_kind kind, struct range *out);

/* ---- zone.c: which addresses an operation may reach ---- */

/* The address, or false: it is outside its slot. */
bool zone_resolve(const struct context *c, int64_t addr, char **out);
/* An address as it is told in traces. */
int64_t zone_canonical(const struct context *c, const void *p);
bool zone_contains(const struct context *c, const char *p, size_t len);
struct slot *zone_slot_of(struct context *c, const char *p);
/* Whether a call on the range stays in the zone or a slot, or is refused for its numbers alone. */
bool zone_allows(const struct context *c, const char *p, size_t len);

#endif
