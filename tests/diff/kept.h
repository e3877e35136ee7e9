/* SPDX-License-Identifier: Apache-2.0 */
/* Runs many lists in one process for each side. */
#ifndef DIFF_KEPT_H
#define DIFF_KEPT_H

#include "compare.h"

/* Runs the list on both sides; their traces, and how they ended, are in *judge and *tested until the next call. */
void kept_run(const struct comparison *c, const struct list *l, struct side *judge, struct side *tested);
/* The next list begins with new processes. */
void kept_renew(void);
/* Ends the processes and removes their files. */
void kept_end(void);

#endif
