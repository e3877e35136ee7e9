/* SPDX-License-Identifier: Apache-2.0 */
/* What clients ask for by slot. */
#ifndef FL_HOST_SERVE_H
#define FL_HOST_SERVE_H

#include "session.h"

/* A copy of what the client has written into its slot, which may change meanwhile; and the answer. */
struct request {
	struct session *s;
	uint32_t slot, op, flags, number;
	uint64_t arg[6], out[2];
	struct handle *file; /* of that number, with a reference; where the operation has one */
	bool answered;       /* the slot is not the worker's any more */
	uint32_t streamed;   /* pages that were read in for it */
};

/* Serves the request in a slot whose bit in area.pending the caller has cleared, and answers it. */
void serve_slot(struct session *s, uint32_t slot);
/* Answers now: the state is DONE. */
void serve_answer(struct request *r, int result);

#endif
