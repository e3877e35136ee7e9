/* SPDX-License-Identifier: Apache-2.0 */
/* Facts about this machine and this process. Nothing here prints or changes anything that stays. */
#ifndef FL_CLI_PROBE_H
#define FL_CLI_PROBE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BUDGET_MIN (1ull << 20)

uint64_t probe_memory(void); /* physical, bytes */
uint64_t probe_default_budget(void);

/* The first line of a file of /proc or /sys without its newline, into buf. 0 or -errno. */
int probe_line(const char *path, char *buf, size_t len);
/* The value of `key` ("CapEff") in /proc/self/status, into buf. 0 or -errno. */
int probe_status(const char *key, char *buf, size_t len);

bool probe_seccomp(void); /* a filter judges our system calls */
bool probe_ptrace(void);  /* CAP_SYS_PTRACE is in force */

int probe_aio(void); /* 0 or -errno */

/* Whether O_DIRECT works on a file, or on new files in a directory. 0; -EINVAL when it does not; -errno: cannot tell. */
int probe_direct(const char *path);

/* 0 when the library can swap to the directory `path` (an unnamed file can be made in it), or -errno. */
int probe_swap(const char *path);
/* Where the library swaps to when no --swap is given; NULL when that will not do. */
const char *probe_swap_directory(void);

#endif
