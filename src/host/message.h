/* SPDX-License-Identifier: Apache-2.0 */
/* What clients ask for by socket. */
#ifndef FL_HOST_MESSAGE_H
#define FL_HOST_MESSAGE_H

#include "session.h"

/* The descriptor of the board, for the greeting. Before the first client. */
void message_set_board(int fd);
/* Who takes in the client at the other end of a socket, and owns that. */
void message_set_adopt(void (*adopt)(int sock, pid_t pid));
/* Receives one message, if there is one, and answers it. False when the client has gone, or does not keep to the protocol. May take I/O. */
bool message_serve(struct session *s);

#endif
