/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Looking at a word for some microseconds before sleeping on it. To put a processor to sleep and wake it costs 10 us and more on a virtual
 * machine, twice what a request to a host takes otherwise. It pays only when the change comes soon, so who looks remembers how it went: after
 * looks in vain it sleeps at once for a while.
 */
#ifndef FL_UTIL_SPIN_H
#define FL_UTIL_SPIN_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct spin {
	_Atomic int luck; /* below 0: so many more times without looking */
};

/* True when *word is not `old` any more; false: sleep. Never looks where there is one processor. */
bool spin_while(const _Atomic uint32_t *word, uint32_t old, struct spin *s);
/* The same for who knows that the change is about to come: looks for `us` whatever came of it before, which does not count either. */
bool spin_for(const _Atomic uint32_t *word, uint32_t old, unsigned us);

#endif
