/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A client's side of what wire.h describes: the one host that this process has joined, or none. Below the cache: knows nothing of pages.
 *
 * Calls by slot may be made in the SIGBUS handler and with any lock held, since the host never waits for a client. They are answered
 * by the host alone: when it has gone, -EHOSTDOWN.
 */
#ifndef FL_HOST_CHANNEL_H
#define FL_HOST_CHANNEL_H

#include <stdatomic.h>
#include <stdbool.h>

#include "util/compiler.h"
#include "wire.h"

/*
 * Joins the host at `name`: the path of a socket, or '@' and the name of an abstract one. 0, when joined already too; -ENOENT,
 * -ECONNREFUSED: no host there; -EPERM: another user's; -EPROTO: of another version.
 */
int channel_join(const char *name);
extern FL_HIDDEN _Atomic bool channel_is_joined;
static inline bool channel_joined(void)
{
	return atomic_load_explicit(&channel_is_joined, memory_order_acquire);
}
void channel_leave(void);
/*
 * Before the process becomes another user, or goes where the host is out of reach: connects now, if that was put off after a fork until the first
 * call. What goes wrong is said. Its children are vouched for from now on.
 */
void channel_keep(void);
/* Cheap: whether there is nothing for it to do. */
bool channel_is_kept(void);
/* The host's budget in bytes. */
uint64_t channel_budget(void);

struct channel_call {
	uint32_t op, flags, file;
	uint64_t arg[6];
	uint64_t out[2];
	void *page;       /* where the slot's page is copied to after; NULL: it is not wanted */
	uint32_t in_page; /* so many bytes of it */
	uint32_t look_us; /* it is looked for the answer for so long before the caller sleeps; 0: as long as that has paid lately */
	bool woken;       /* set by the call: a worker had to be woken for it */
	/* What the caller does while the host is at it; NULL: nothing. channel_call() alone. */
	void (*meanwhile)(const struct channel_call *c);
	void *with;
};
int channel_call(struct channel_call *c);
/* The same, and the answer is not waited for, unless many are not there yet. */
int channel_hint(struct channel_call *c);

/* Cheap: a worker of the host that serves the caller's next request, or has served it, is awake for the one after. */
void channel_follows(void);
/* A call comes soon: a worker wakes meanwhile. */
void channel_is_coming(void);

/* A call in two steps (WIRE_CHANGE). After a begin that answered 0 comes the end, from any thread; out and result are those of each. */
struct channel_pair {
	struct channel_call call;
	int slot;
};
int channel_begin(struct channel_pair *p);
int channel_end(struct channel_pair *p);

/* By socket. A descriptor goes along with the message, or none (-1); *got is what came with the answer, which is written over the message. */
int channel_message(struct wire_message *m, int fd, int *got);

/* Cheap: whether the host may have this file; one at this place of the filter; any. */
bool channel_has(uint64_t dev, uint64_t ino);
extern FL_HIDDEN _Atomic uint32_t *_Atomic channel_filter; /* the host's; one that is all 0 where there is none */
static inline bool channel_has_at(uint32_t place)
{
	return atomic_load(&atomic_load_explicit(&channel_filter, memory_order_relaxed)[place]);
}
bool channel_has_any(void);
/* Cheap: whether anything that was stored to this file by its mappings may not be in it yet. */
bool channel_has_dirty(uint64_t dev, uint64_t ino);
/* How many pages may be so, and those of other files at its place of the filter. */
uint32_t channel_dirty(uint64_t dev, uint64_t ino);
/* The host has the file, and nothing may. */
bool channel_is_clean(uint64_t dev, uint64_t ino);
/* Where changes in flight are marked; NULL: no host. */
extern FL_HIDDEN struct wire_inflight *_Atomic channel_marks;
static inline struct wire_inflight *channel_inflight(void)
{
	return atomic_load_explicit(&channel_marks, memory_order_acquire);
}
/* Whether what is mapped there is the channel's own. */
bool channel_is_at(uint64_t addr);
/* What the host asks back of what it has lent: looked at, which takes it; and waited for, until the bell is not `seen` any more or for ns. */
struct channel_recall {
	uint32_t pages;
	bool idle;
};
uint32_t channel_recall_bell(void);
struct channel_recall channel_take_recall(void);
void channel_wait_recall(uint32_t seen, uint64_t ns);
/* Whether somebody listens; else nothing is asked for. */
void channel_hear_recall(bool heard);
/* Wakes who waits. */
void channel_ring_recall(void);

/* Cheap: whether much of the host's memory is pinned. Of one that has been joined. */
bool channel_pins_are_many(void);
/* Changes when some file has become shorter. */
uint32_t channel_shrunk(void);

/*
 * fork. With `needed`, and after channel_keep(), a channel for the child is made before, since it may not be able to later; where that fails, the host has gone for the
 * child. Else the child makes its own when it first calls.
 */
void channel_fork_prepare(bool needed);
void channel_fork_parent(void);
void channel_fork_child(bool needed);
/* In a child that has its parent's descriptors: the channel stays the parent's, and to the child the host has gone. */
void channel_forsake(void);

#endif
