/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host of a run: a process of its own, which keeps the page caches of the files that the program and its descendants map. It outlives
 * the run's command when descendants do.
 */
#ifndef FL_CLI_HOST_H
#define FL_CLI_HOST_H

#include <stdbool.h>
#include <sys/types.h>

#include "options.h"

struct host {
	pid_t pid;
	int hold; /* it stays while this is open; -1: none was started */
};

/*
 * Starts one, if the options ask for it, and names it in the environment for the shim. 0, or the exit status to give, after a message.
 * Before anything else has threads.
 */
int host_start(const struct run_options *o, struct host *h);
/*
 * The program has ended. Waits until all is written back, unless processes of the run are left, for which the host stays. 0, or the exit status to
 * give, after a message: what was stored is lost.
 */
int host_let_go(struct host *h);

/* `faultline host`. */
int host_main(int argc, char **argv);

#endif
