/* SPDX-License-Identifier: Apache-2.0 */
/* The disk's own limit, as fio(1) finds it: reads with O_DIRECT by io_uring, many at a time. */
#ifndef BENCH_FIO_H
#define BENCH_FIO_H

#include <stdbool.h>
#include <stdint.h>

bool fio_is_there(void);
struct fio_job {
	const char *path;
	uint64_t size;
	bool random;
	unsigned block;   /* bytes */
	unsigned depth;   /* in flight, of each thread */
	bool all_at_once; /* as many as the depth are started together, and the next ones when all of them have ended */
	unsigned threads;
	double seconds;
};

/* How many reads in a second, all threads together. 0: it failed, and said so. */
double fio_reads(const struct fio_job *job);

#endif
