/* SPDX-License-Identifier: Apache-2.0 */
/* Threads that end by exit(2), by number, and the end of the process with the last of them. */
#ifndef FL_SHIM_LAST_THREAD_H
#define FL_SHIM_LAST_THREAD_H

/* This thread is about to end, and makes no way back. Those that have said so before have ended when this returns. */
void last_thread_begins_to_end(void);
/* How many threads of the process go on, this one and ours not counted: 0 is the end. -1: it cannot be told. */
int last_thread_others(void);

#endif
