/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a run of a list leaves behind: one record or more for each operation, the same on every implementation that
 * does the same. One trace for each thread, in memory that the run's processes share with who started it.
 */
#ifndef DIFF_TRACE_H
#define DIFF_TRACE_H

#include <stdatomic.h>
#include <stdint.h>
#include <sys/types.h>

#include "op.h"

#define RECORDS_MAX 65536

enum record_kind {
	RECORD_CALL,   /* result, err; hash: of what was read */
	RECORD_ACCESS, /* result: value or bytes done; sig, code and addr when a signal ended it */
	RECORD_LAYOUT, /* one mapped range: addr, result: its length, code: protection and sharing, hash: of file and offset */
	RECORD_SWEEP,  /* the same range: hash of its pages, err: pages that raised a signal, addr and code of the first */
	RECORD_FILE,   /* result: size, hash: contents */
	RECORD_SKIP,   /* refused by the runner: it could reach what is not the list's */
	RECORD_LINE,   /* a line of what a soft space dumps: addr: the number it begins with, hash: of all of it */
	RECORD_END,    /* the last of a complete trace */
};

struct record {
	uint32_t op; /* index in the thread's list; its length: the checks at the end */
	uint8_t kind, process, sig;
	int32_t err, code;
	int64_t result, addr; /* addresses as in op.h */
	uint64_t hash;
};

/* In place of an address that the kernel chose, which is different in each run. */
#define ADDR_ELSEWHERE addr_make(126, 0)

struct trace {
	_Atomic uint32_t turn;  /* operation << 8 | a bit for each process that is alive, or in family.c whose it is; waited for by futex */
	_Atomic uint32_t alive; /* family.c: a bit for each process */
	_Atomic uint32_t owner; /* kept.c: the process whose turn it is; waited for by futex */
	_Atomic uint32_t broken; /* a signal that nobody expected */
	pid_t pid[PROCESSES];
	int parent[PROCESSES];
	uint32_t n;
	struct record records[RECORDS_MAX];
};

#endif
