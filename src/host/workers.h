/* SPDX-License-Identifier: Apache-2.0 */
/* The threads that serve clients. */
#ifndef FL_HOST_WORKERS_H
#define FL_HOST_WORKERS_H

#include "session.h"

/* `done` is called with a session whose message was served, or that has gone (false): the worker does not use it after. */
int workers_start(struct wire_board *board, void (*done)(struct session *s, bool alive));
/* There is a message of its, or it has ended. It is in the queue once at most. */
void workers_queue(struct session *s);
/* Waits for all of them, and what they are doing. */
void workers_stop(void);

#endif
