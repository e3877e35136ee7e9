/* SPDX-License-Identifier: Apache-2.0 */
/* The program as a child process: starting it, passing signals on, waiting for its end. */
#ifndef FL_CLI_CHILD_H
#define FL_CLI_CHILD_H

#include <stdint.h>

struct child_end {
	int exit_status; /* what a shell would say: 128 + signal when killed */
	int signal;      /* that killed it, or 0 */
	int exec_error;  /* errno of execve(2) when it was never started, or 0 */
	uint64_t wall_ns;
};

/*
 * From here until child_signals_release() the signals that end a process stay blocked, for the caller to clear up in peace. Those that come
 * while the program runs are passed on to it.
 */
void child_signals_take(void);
/* What came too late goes; then all is as it was. */
void child_signals_release(void);
/* In a process forked in between, which goes its own way. */
void child_signals_restore(void);

/*
 * Runs `path` with this process's environment until its end. 0, or -errno with nothing started. With signals taken. `chore`, unless NULL, is done
 * every few seconds meanwhile.
 */
int child_run(const char *path, char **argv, struct child_end *end, void (*chore)(void *arg), void *arg);

#endif
