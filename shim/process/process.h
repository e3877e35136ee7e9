/* SPDX-License-Identifier: Apache-2.0 */
/* The process: which one this is, its end, and its becoming another program. */
#ifndef FL_SHIM_PROCESS_H
#define FL_SHIM_PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Before the end of the process without exit(): stores reach their files. */
void process_ends(void);
/* Before exit(2) by number, of one thread: with the program's last the process ends: what was stored is written. */
void process_thread_ends(int status);
/* Not a child of vfork(2), on the memory of its parent. */
bool process_is_own(void);

/* Before a clone(2) with these flags. */
void process_clones(uint64_t flags);
/* clone(2) and clone3(2) as the kernel has them: a child with memory of its own gets its mappings as one of fork(2) does. As libc's functions: errno. */
long process_raw_clone(const long args[5]);
long process_raw_clone3(const void *args, size_t size);

#endif
