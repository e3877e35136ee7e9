/* SPDX-License-Identifier: Apache-2.0 */
/* Sizes as people write them: "64M", "1.5GiB", "4096". */
#ifndef FL_UTIL_SIZE_H
#define FL_UTIL_SIZE_H

#include <stddef.h>
#include <stdint.h>

/*
 * Parses a byte count: digits, an optional fraction when a unit follows, and an optional unit K, M, G, T or P, alone
 * or followed by "B" or "iB", in either case, all powers of 1024. 0, or -EINVAL (not a size) or -ERANGE (over 2^63-1).
 */
int size_parse(const char *text, uint64_t *bytes);

/* Writes `bytes` for people ("64.0 MiB") into buf; returns buf. */
const char *size_format(uint64_t bytes, char *buf, size_t len);

#endif
