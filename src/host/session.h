/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A session: one client of the host, and all that it has here. It lives from the connection to its end, and then for as long as somebody still
 * serves a request of it: who does has a reference, and the last one takes everything apart.
 *
 *   sessions   the list, with a reference for each; a worker that looks for requests goes over it
 *   files      what the client has opened: handles, each with a reference to the address_space
 *   maps       its shared mappings, as entries of the reverse maps (mappings.h), each with a reference to the handle
 *   pins       pages that must stay mapped, with how often (pins.h)
 *
 * session.lock is taken before every lock of the cache, and not held while files are given up, which may write.
 */
#ifndef FL_HOST_SESSION_H
#define FL_HOST_SESSION_H

#include <stdatomic.h>
#include <stdbool.h>
#include <sys/types.h>

#include "cache/address_space.h"
#include "remote_mmu.h"
#include "table.h"
#include "util/lock.h"
#include "wire.h"

#define SESSIONS_MAX 1024
#define SESSION_MMUS 64
#define SESSION_FILES_MAX 65536
#define PIN_BUCKETS 64
#define AREA_PAGES (offsetof(struct wire_area, page) >> FL_PAGE_SHIFT) /* that are always in use */

/* What the client has opened once. */
struct handle {
	struct address_space *as; /* constant, with a reference */
	bool writable;            /* constant: by this handle */
	_Atomic uint32_t refs;    /* its number, its mappings, requests */
	_Atomic uint64_t lowest;  /* where the file ended at its shortest since WIRE_SHRUNK; UINT64_MAX */
};

struct client_mmu {
	struct uffd_mmu uffd;
	_Atomic uint32_t refs; /* its number, and requests */
	bool dropped;          /* session.lock: nothing new is mapped by it */
};

struct pin;

/* Memory of the budget that the client has for pages of its own; guarded by loan_lock of borrow.c. */
struct loan {
	uint64_t has, coming;        /* pages: that are lent, and that are about to be */
	uint64_t asked, asked_ns;    /* that it was asked to give back and has not answered for; since when */
	uint64_t idle_ns, barren_ns; /* not to be asked before: for what it does not use; for what it uses */
	uint64_t files_ns;           /* the same, for what files are short of */
	uint64_t tapped_ns;          /* when it was last asked for those, if it has not borrowed since; else 0 */
	uint64_t patience_ns;        /* how long it is left alone by files when it has borrowed */
	struct session *next;        /* of those that have borrowed */
	bool listed;
};

struct session {
	int sock;               /* constant, closed at the end */
	pid_t pid;              /* constant: whom to name in messages */
	struct wire_area *area; /* NULL until the greeting; then constant */
	_Atomic bool greeted;   /* area can be looked at */
	_Atomic bool ended;     /* only ever set: nothing more is served */
	_Atomic uint32_t refs;
	_Atomic uint32_t turns;      /* how often the socket was armed: what was done before an event is seen after it */
	_Atomic uint64_t pages_paid; /* a bit for each page of area that the budget has paid for */
	struct rwlock lock;
	struct table files;                   /* lock: struct handle * by number less one; NULL where closed */
	struct client_mmu *mmu[SESSION_MMUS]; /* lock */
	struct table maps;                    /* lock: struct mapping *, see mappings.h */
	struct pin *pins[PIN_BUCKETS];        /* lock (write) */
	struct loan loan;
	struct session *next_work; /* of the queue of workers.c, as is the next */
	bool queued;
};

/* A client that has connected. The caller has the list's reference. NULL when there are too many. */
struct session *session_create(int sock, pid_t pid);
struct session *session_get(struct session *s);
/* With the last reference everything that the client had is given up, which may take I/O. */
void session_put(struct session *s);
/* Nothing more is served. Whoever waits for the client stops. */
void session_end(struct session *s);
/* Out of the list; the caller has its reference. */
void session_unlist(struct session *s);
uint32_t session_count(void);
bool session_has_hung_up(const struct session *s);
/* Waits until nothing is left here of those that have; -ETIMEDOUT after ten seconds, or when who asks has hung up; -EBUSY when another asks. */
int session_settle(const struct session *asking);
/* Whether a client is there that has not hung up. */
bool session_any_alive(void);
/* One of the list, with a reference; NULL when there are not so many. */
struct session *session_at(uint32_t i);
/*
 * A request of some client that nobody has taken: it is the caller's then. The session with a reference, and the slot; NULL when there is none.
 */
struct session *session_find_request(uint32_t *slot);
/* Calls fn for every handle of every session, under locks: it must not wait. */
void session_each_handle(void (*fn)(struct handle *h, void *arg), void *arg);

/* Takes the reference to as over when it succeeds. -ENOMEM, -EMFILE. */
int session_add_file(struct session *s, struct address_space *as, bool writable, uint32_t *number);
/* With a reference; NULL when there is none. */
struct handle *session_file(struct session *s, uint32_t number);
/* The number is free again, and its pins are gone. -EINVAL. */
int session_close_file(struct session *s, uint32_t number);
struct handle *handle_get(struct handle *h);
/* With the last one the file is given up, which may write it back. */
void handle_put(struct handle *h);

/* fd is its own in any case. -EINVAL, -ENOSYS, -ENOMEM. */
int session_add_mmu(struct session *s, int fd, uint32_t *number);
/* Caller holds session.lock. */
bool session_has_mmu(const struct session *s, uint64_t number);
/* With a reference. */
struct client_mmu *session_mmu(struct session *s, uint64_t number);
int session_drop_mmu(struct session *s, uint64_t number);
void mmu_put(struct client_mmu *m);

/* The budget pays for the page of a slot from when it is first used. 0 or -ENOMEM. */
int session_pay_page(struct session *s, uint32_t slot);

#endif
