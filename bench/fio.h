/* SPDX-License-Identifier: Apache-2.0 */
/* The disk's own limit, as fio(1) finds it: reads with O_DIRECT by io_uring, many at a time. */
#ifndef BENCH_FIO_H
#define BENCH_FIO_H

#include <stdbool.h>
#include <stdint.h>

bool fio_is_there(void);
/* Reads of `block` bytes, in order or at random, for so long: how many in a second. 0: it failed, and said so. */
double fio_reads(const char *path, uint64_t size, bool random, unsigned block, unsigned depth, double seconds);

#endif
