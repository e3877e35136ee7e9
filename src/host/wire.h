/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a host and its clients say to each other.
 *
 * A host keeps the page caches of files for several processes; see docs/host.md. Each client has
 *
 *   a socket    SOCK_SEQPACKET: the greeting, and whatever passes descriptors. Its end is the client's end
 *   an area     memory shared with the host alone: slots for requests. The thread that wants something fills a slot and waits for it
 *   the board   memory shared by all: where workers of the host wait for requests, and which files the host has
 *
 * A request by slot:
 *
 *   client  takes a free slot (known to the client alone), fills it, state = POSTED, sets its bit in area.pending,
 *           adds one to board.bell, wakes a worker if board.looking is 0 and board.sleepers is not; finds it POSTED still
 *           after a while: wakes a worker, and after a second one more
 *   host    a worker that finds the bit clears it (whose clearing it was serves it), state = TAKEN, serves it, fills result and out,
 *           state = DONE, wakes whoever waits for the state
 *   client  reads the answer, state = FREE; or, where it wanted none, finds some time or other that the slot is DONE
 *
 * A change of a file by other means than its mappings has two steps (WIRE_CHANGE): the first DONE says that nothing of the file is
 * filled or written back until the client sets state = RESUME, with what it has changed; the worker waits for it.
 *
 * What the host wants is in area.recall: memory that it has lent. It adds to `pages`, or sets `idle`, then rings, and waits for nothing; the client takes
 * what is there (exchange with 0), gives back by WIRE_RETURN, and says so when it will not.
 *
 * The host believes nothing of what is in an area: values are checked, and may change while it looks at them. It never waits for a client,
 * changes excepted, which end with their client.
 */
#ifndef FL_HOST_WIRE_H
#define FL_HOST_WIRE_H

#include <stdatomic.h>
#include <stdint.h>

#include "util/compiler.h"

#define WIRE_VERSION 10
#define WIRE_SLOTS 64
#define WIRE_MESSAGE_SLOT (WIRE_SLOTS - 1) /* for WIRE_MESSAGE alone: what waits in all others keeps no file from being opened */
#define WIRE_FILTER 1024

/* ---- By slot. Results are 0 or -errno unless said otherwise. Pages are of FL_PAGE_SIZE ---- */

enum wire_op {
	WIRE_NOTHING,
	/*
	 * A fault. arg: index of the page, address, pages from there to the end of the mapping, pages from its start to there, advice (enum
	 * ra_advice), mmu. flags: WIRE_WRITE, WIRE_PRESENT, WIRE_PRIVATE, WIRE_ALONE, WIRE_PIN. Answers as filemap_fault(); with WIRE_PIN as
	 * filemap_pin(). The same is done for so many pages more as the flags say from WIRE_MORE on, up to the first for which it cannot be. out:
	 * WIRE_MISSED when a page was not in memory; pages for which it was done.
	 */
	WIRE_FAULT,
	WIRE_UNPIN, /* arg: index, pages. Takes one pin of this client's away from each. -EINVAL: the first has none. out: pages that had one */
	WIRE_MAP, /* arg: address, pgoff, pages, mmu: a shared mapping is there from now on. Nothing is mapped in it yet. flags: WIRE_LOCKED */
	WIRE_UNMAP,   /* arg: address, pages, mmu: what was mapped there (of any file) is not any more. file is not used */
	WIRE_LOCK,    /* arg: address, pages, mmu; flags: WIRE_LOCKED or not. -ENOMEM: over the host's limit */
	WIRE_READ,    /* arg: index. The page's bytes as they are now, in the slot's page; out: bytes within the file */
	WIRE_SYNC,    /* arg: first, last page; flags: WIRE_WAIT (else started), WIRE_DURABLE. By handle. out: wb_err of the file */
	WIRE_SYNC_ID, /* the same by dev, ino in arg[2], arg[3]; 0 when the host does not have the file */
	/*
	 * arg: dev, ino. -ENOENT: the host does not have the file. On RESUME arg: offset, length, whether whole pages go, as for a hole. out: size of the
	 * file, both times.
	 */
	WIRE_CHANGE,
	WIRE_PREFETCH, /* arg: index, pages */
	WIRE_RESIDENT, /* arg: index, pages (FL_PAGE_SIZE at most): a byte for each in the slot's page: WIRE_IN_MEMORY, WIRE_DIRTY or 0 */
	WIRE_COOL,     /* arg: first, last; flags: WIRE_WRITE for MADV_PAGEOUT, else MADV_COLD */
	WIRE_REMOVE,   /* arg: first, last: a hole in the file, as MADV_REMOVE. -EACCES when the file was not opened for writing */
	WIRE_CLOSE,    /* file */
	/*
	 * arg: pages of memory of the client's own. All, or -ENOMEM; -EAGAIN: others have been asked for theirs. flags: WIRE_WAIT when the client can take
	 * none of its own pages out of memory.
	 */
	WIRE_BORROW,
	WIRE_RETURN, /* arg: pages that it gives back, and pages it was asked for that it will not */
	WIRE_SHRUNK, /* file. out: where the file ended at its shortest since this was last asked, in bytes; UINT64_MAX: it has not shrunk */
	WIRE_LEAVE, /* arg: dev, ino: the kernel maps the file for good. -EBUSY: the host has it, and the client is to map it by the host as well */
	WIRE_SETTLE,   /* 0 when the host has given up what clients had that have ended: their files are open here until then */
	WIRE_SYNC_ALL, /* what is dirty of all files, whoever has them, is written */
	WIRE_MESSAGE, /* takes what has been sent by the socket: when this is answered, so is that. -EAGAIN: nothing has; -EPROTO: it was no message */
	WIRE_OPS
};

enum wire_flag {
	WIRE_WRITE = 1,
	WIRE_PRESENT = 2,
	WIRE_ALONE = 4, /* map this page only: in a private mapping, its neighbours may be copies of the client's own */
	WIRE_PIN = 8,
	WIRE_LOCKED = 16,
	WIRE_WAIT = 32,
	WIRE_DURABLE = 64,
	WIRE_PRIVATE = 128,  /* the mapping is a private one: what is mapped is write-protected */
	WIRE_MORE = 1 << 16, /* times the pages, WIRE_PIN_MAX or WIRE_POPULATE_MAX - 1 at most, that are wanted after the first */
};

/* Pages at a time. */
#define WIRE_PIN_MAX 64
#define WIRE_POPULATE_MAX 512

enum { WIRE_MISSED = 1, WIRE_IN_MEMORY = 1, WIRE_DIRTY = 3 };

enum wire_state {
	WIRE_FREE,
	WIRE_POSTED,
	WIRE_TAKEN,
	WIRE_DONE,
	WIRE_RESUME,
};

struct wire_slot {
	_Atomic uint32_t state; /* futex */
	uint32_t op, flags, file;
	int32_t result;
	uint32_t unused;
	uint64_t arg[6], out[2];
	uint64_t pad[5];
};
_Static_assert(sizeof(struct wire_slot) == 128, "two cache lines each");

/* What the client is asked to give back. */
struct wire_recall {
	_Atomic uint32_t bell;  /* futex */
	_Atomic uint32_t pages; /* so many, also if it has to take them out of memory */
	_Atomic uint32_t idle;  /* 1: all that it does not use */
	_Atomic uint32_t heard; /* 1, set by the client: somebody listens to the bell. Else it is not asked */
};

struct wire_area {
	_Atomic uint64_t pending; /* a bit per slot */
	struct wire_recall recall;
	uint64_t pad[13];
	struct wire_slot slot[WIRE_SLOTS];
	_Alignas(FL_PAGE_SIZE) unsigned char page[WIRE_SLOTS][FL_PAGE_SIZE];
};

/* Changes of files in flight; see inflight.h. */
#define WIRE_INFLIGHT 256

struct wire_inflight {
	_Atomic uint32_t used; /* no slot from there on has ever been */
	uint32_t pad[15];
	struct {
		_Atomic uint64_t mark;
		uint64_t pad[7];
	} slot[WIRE_INFLIGHT];
};

struct wire_board {
	_Atomic uint32_t bell; /* futex */
	_Atomic uint32_t sleepers;
	_Atomic uint32_t files;         /* how many the host has */
	_Atomic uint32_t shrunk;        /* counts files that became shorter: who has private mappings asks (WIRE_SHRUNK) */
	_Atomic uint32_t pins_are_many; /* filemap_pins_are_many() of the host */
	_Atomic uint32_t soon;          /* not 0: somebody is about to ask. A worker that would sleep looks at the bell for a while first */
	_Atomic uint32_t looking;       /* 1: a worker looks at the bell, and none need be woken */
	uint32_t pad[9];
	_Atomic uint32_t filter[WIRE_FILTER]; /* files the host has, by wire_filter(): 0 says there is none */
	_Atomic uint32_t dirty[WIRE_FILTER];  /* their pages that are not clean: 0 says that the files have all that was stored */
	struct wire_inflight inflight;
};

static inline uint32_t wire_filter(uint64_t dev, uint64_t ino)
{
	return (uint32_t)((ino ^ dev * 31) * 0x9e3779b97f4a7c15ull >> 54);
}

/* ---- By socket: but for the greeting, the host looks at it when it is asked to (WIRE_MESSAGE) ---- */

enum wire_message_kind {
	WIRE_HELLO = 1, /* value: WIRE_VERSION. Answer: descriptors of area and board; value: budget of the host in bytes */
	WIRE_ADD_MMU,   /* with a userfaultfd. Answer: value: its number */
	WIRE_DROP_MMU,  /* value: its number. What is mapped by it is not any more */
	/*
	 * With a descriptor of the file, by which the host reads and writes it. flags: WIRE_OPEN_*. Answer: flags; file: handle, never 0; value: size of the file; wb_err;
	 * and the memfd that holds its pages. -EOPNOTSUPP: the kernel's, or left to it (WIRE_LEAVE); and what file_store_open() answers.
	 */
	WIRE_OPEN,
	/*
	 * A child is to come, which may not be able to connect: with another user, root or descriptors than its parent. Answer: a socket for it, as
	 * if it had connected.
	 */
	WIRE_CHILD,
};

enum wire_open_flag {
	WIRE_OPEN_SCRATCH = 1, /* shared anonymous memory: its bytes die with its last mapping */
	WIRE_OPEN_DIRECT = 2,  /* in the answer: the host reads it past the kernel's page cache */
};

struct wire_message {
	uint32_t kind, flags;
	int32_t result;
	uint32_t file;
	uint64_t value;
	uint32_t wb_err, unused;
};

#endif
