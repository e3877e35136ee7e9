/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pins for a call of libc's: as file_io_hold(). What is not given up in the call is when it is left, by cancellation (unwind.c) or a jump (signals/jumps.c), and
 * at the latest with the thread.
 */
#ifndef FL_SHIM_PINS_H
#define FL_SHIM_PINS_H

#include <stdbool.h>
#include <stddef.h>

int pin(const void *at, size_t len, bool write, const void *frame);
void unpin(const void *at, size_t len, const void *frame);

#endif
