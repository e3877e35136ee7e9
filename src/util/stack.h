/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which calls of a thread have been left, for good, without coming to their end: by siglongjmp(3) in a signal handler, and the like. Stacks grow downwards: what
 * is called lies below who calls.
 */
#ifndef FL_UTIL_STACK_H
#define FL_UTIL_STACK_H

#include <stdbool.h>
#include <stdint.h>

enum stack_move {
	STACK_MAY_COME_BACK, /* as by swapcontext(3) */
	STACK_FOR_GOOD,
};

/*
 * Whether the call that has its variables at `frame`, of this thread, is over once the thread goes on with its stack pointer at `sp`. Never true of one that
 * may go on: of stacks that the program has made itself (coroutines) it is not known where they end. Slow where it is likely; keeps no lock, as for a fault.
 */
bool stack_is_left(uintptr_t frame, uintptr_t sp, enum stack_move move);

#endif
