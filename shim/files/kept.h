/* SPDX-License-Identifier: Apache-2.0 */
/* What a process keeps when it becomes another program: its record locks, and what of ours they depend on. */
#ifndef FL_SHIM_KEPT_H
#define FL_SHIM_KEPT_H

#include <stdbool.h>
#include <stddef.h>

struct kept_file;

struct kept {
	char **envp; /* for the new program */
	struct kept_file *files;
	size_t n, size;
};

/* Before execve(2), in a process that has taken such locks. False: there is nothing to keep, and nothing is changed. Keeps errno. */
bool kept_before_exec(struct kept *k, char *const *envp);
/* All is as before. Keeps errno. */
void kept_exec_failed(struct kept *k);

/* At the start of the new program. */
void kept_take_over(void);

#endif
