/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files whose shared mappings the kernel has: all further mappings of such a file go there too, or two mappings of one
 * file would show different bytes.
 */
#ifndef FL_SHIM_LEFT_H
#define FL_SHIM_LEFT_H

#include <stdbool.h>
#include <sys/stat.h>

bool left_has(const struct stat *st);
/* `writable`: stores may come through the mapping. Entries of files that are only read give way when the table is full. */
void left_add(const struct stat *st, bool writable);
/* A line for the report: "PATH: left to the kernel: WHY". */
void left_note(int fd, const char *why);
/* The same of memory without a file. */
void left_note_memory(const char *why);
/* "WHAT: refused: WHY". */
void left_note_refused(const char *what, const char *why);
/* The engine has started, and with it the report. */
void left_report_early(void);

#endif
