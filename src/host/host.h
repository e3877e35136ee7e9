/* SPDX-License-Identifier: Apache-2.0 */
/* The host: a process that keeps the page caches of files for others. */
#ifndef FL_HOST_HOST_H
#define FL_HOST_HOST_H

#include "api/engine.h"

struct host_options {
	struct engine_options engine; /* of which what concerns native spaces does not matter */
	int listen_fd;                /* SOCK_SEQPACKET, listening */
	/*
	 * A socket. The host lives until this reports its end and no client is left; if there is one then, it sends a byte. SIGTERM has it write everything back, a second one ends it. -1: it lives
	 * until SIGTERM or SIGINT and then until no client is left, accepting none any more; a second signal ends it.
	 */
	int hold_fd;
};

/*
 * Runs in a process of its own, before it has any other thread. 0 or -errno: it could not start, or, where *served, what was stored could not be
 * written back.
 */
int host_run(const struct host_options *o, bool *served);

#endif
