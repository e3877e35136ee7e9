/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a measurement has changed on the machine, and must be as it was whatever ends the program: its own end, or a signal. One of each
 * kind at a time. For programs with one thread.
 */
#ifndef BENCH_UNDO_H
#define BENCH_UNDO_H

#include <sys/types.h>

/* Once, before the others: takes SIGINT, SIGTERM, SIGHUP and SIGQUIT, which then undo and end the program as they do. */
void undo_start(void);

/* In this order at the end. 0 or NULL: no longer. Texts are copied. */
void undo_process(pid_t pid);                              /* killed, and waited for */
void undo_setting(const char *path, const char *contents); /* written back */
void undo_folder(const char *path);                        /* removed; it is empty by then */
void undo_file(const char *path);                          /* removed */

#endif
