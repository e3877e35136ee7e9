/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A parent that waits in fork(2) until its child has what would go otherwise. It waits no longer than the child lives: then the pipe has
 * no writer.
 */
#ifndef FL_UTIL_HANDSHAKE_H
#define FL_UTIL_HANDSHAKE_H

#include <stdbool.h>

struct handshake {
	int fd[2]; /* -1 but over a fork: then nobody waits */
};

#define HANDSHAKE_INIT           \
	{                        \
		.fd = { -1, -1 } \
	}

/* Before fork(2). Where no descriptor can be had there is no waiting. */
void handshake_prepare(struct handshake *h);
/* In the child: whether the parent waits. */
bool handshake_is_made(const struct handshake *h);
/* In the parent: returns when the child has said so, has ended, or there is none. */
void handshake_wait(struct handshake *h);
/* In the child. */
void handshake_tell(struct handshake *h);

#endif
