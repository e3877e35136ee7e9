/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A process of its own for each run: what one contender leaves behind - memory, mappings, counters - is nothing to the next, and the
 * kernel's can be put into a memory cgroup before it maps anything. It is the same program again, with other arguments.
 */
#ifndef BENCH_WORKER_H
#define BENCH_WORKER_H

#include "job.h"
#include "memcg.h"

/* The arguments with which this program calls worker_main(): argv[0] and on, NULL at the end. They stay where they are. */
void worker_program(char *const *arguments);
/* Runs the job and waits for it. What goes wrong, the death of the process included, is the outcome's error. memcg: or NULL. */
void worker_run(const struct job *job, const struct memcg *memcg, struct outcome *out);
/* There: takes the job from standard input, does it, and writes the outcome to standard output. The exit status. */
int worker_main(void);

#endif
