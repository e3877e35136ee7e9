/* SPDX-License-Identifier: Apache-2.0 */
/* Threads that end by exit(2), by number, and the end of the process with the last of them. */
#ifndef FL_SHIM_LAST_THREAD_H
#define FL_SHIM_LAST_THREAD_H

/* This thread is about to end, and makes no way back. Those that have said so before have ended when this returns. */
void last_thread_begins_to_end(void);
/* Whether all others have ended or are ending, but for ours. It cannot be told without proc(5), or descriptors. */
enum last_thread { LAST_THREAD_UNKNOWN, LAST_THREAD_IS_THIS, LAST_THREAD_IS_ANOTHER };
enum last_thread last_thread_is_this(void);

#endif
