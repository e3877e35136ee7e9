/* SPDX-License-Identifier: Apache-2.0 */
/* Lines of a file of proc(5), without libc's streams, which may be the program's to wrap, or locked. */
#ifndef FL_SHIM_PROC_LINES_H
#define FL_SHIM_PROC_LINES_H

#include <stddef.h>
#include <stdint.h>

/* A path and what precedes it. A longer line comes in pieces. */
#define PROC_LINE_MAX (4096 + 128)

struct proc_lines {
	int fd;
	size_t at, end; /* what of buf is not given out yet */
	char buf[2 * PROC_LINE_MAX];
};

/* 0 or -errno. */
int proc_lines_open(struct proc_lines *p, const char *path);
/* For a descriptor that is the caller's and stays open. */
void proc_lines_begin(struct proc_lines *p, int fd);
/* The next line, without its end of line, until the next call; NULL when there is none, or it cannot be read. */
char *proc_lines_next(struct proc_lines *p);
void proc_lines_close(struct proc_lines *p);

#endif
