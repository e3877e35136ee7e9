/* SPDX-License-Identifier: Apache-2.0 */
/* mlock(2) on mappings of ours: pins, remembered by range, since locks do not nest and pins do. */
#ifndef FL_SHIM_LOCKED_H
#define FL_SHIM_LOCKED_H

#include <stddef.h>

/* The range is about to be unmapped or replaced: its locks go. */
void locked_forget(const void *addr, size_t len);
/* Locks are not inherited by fork(2). */
void locked_fork_child(void);

#endif
