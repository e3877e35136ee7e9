/* SPDX-License-Identifier: Apache-2.0 */
/* What clients ask for by socket. */
#ifndef FL_HOST_MESSAGE_H
#define FL_HOST_MESSAGE_H

#include "session.h"

/* The descriptor of the board, for the greeting. Before the first client. */
void message_set_board(int fd);
/* Who takes in the client at the other end of a socket, and owns that. */
void message_set_adopt(void (*adopt)(int sock, pid_t pid));
/* Receives a greeting, if there is one, and answers it. False when the client has gone, or does not keep to the protocol. */
bool message_greet(struct session *s);
/* The same for what comes after it. 0; -EAGAIN, -EPROTO, -ECONNRESET. May take I/O. */
int message_serve(struct session *s);

#endif
