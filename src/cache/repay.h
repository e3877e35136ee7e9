/* SPDX-License-Identifier: Apache-2.0 */
/* A client of a host gives back what it has borrowed when the host asks for it, whatever the program is doing. */
#ifndef FL_CACHE_REPAY_H
#define FL_CACHE_REPAY_H

#include <stdbool.h>
#include <stdint.h>

/* The cache is made. Whether a client has some pages to work with from now on, which it never gives back. */
bool repay_has_room(void);
/* The engine is about to be started: what it uses so far it will always need. Nothing happens without a host. */
void repay_begin(void);
/* No more, until it begins again. Holds no lock. */
void repay_end(void);
/* So much is about to be lent. Called with any lock held. */
void repay_may_have_to(uint64_t pages);
/*
 * Around what wants a process with one thread, or changes whom a thread acts as: the thread ends, if there is one, and is there again after. The
 * caller holds no lock.
 */
void repay_pause(void);
void repay_go_on(void);
/* In a forked child: until it is whole nothing may be reclaimed beside it. */
void repay_fork_child_begin(void);
void repay_fork_child_end(void);

#endif
