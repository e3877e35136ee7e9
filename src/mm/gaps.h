/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The free ranges of an address space, for who has to choose an address: see gaps.c.
 *
 * Ranges are [start, end), in bytes. The caller's lock protects a struct gaps; nothing here takes one but the arena's.
 */
#ifndef FL_MM_GAPS_H
#define FL_MM_GAPS_H

#include <stdbool.h>
#include <stdint.h>

#include "util/arena.h"

#define GAPS_LEAF_MAX 31
#define GAPS_INNER_MAX 20
#define GAPS_LEAF_MIN 8
#define GAPS_INNER_MIN 5

/* 512 bytes. In the open for the test that checks the tree. */
struct gap_node {
	uint32_t level; /* 0: a leaf */
	uint32_t n;     /* entries in use */
	uint64_t unused;
	union {
		struct { /* a leaf */
			uint64_t start[GAPS_LEAF_MAX], end[GAPS_LEAF_MAX];
		};
		struct {
			uint64_t first[GAPS_INNER_MAX];   /* start of the first gap below the child */
			uint64_t longest[GAPS_INNER_MAX]; /* bytes of the longest one */
			struct gap_node *child[GAPS_INNER_MAX];
		};
		struct gap_node *next_spare;
	};
};

struct gaps {
	struct arena *arena;
	struct gap_node *root; /* NULL: no gaps */
	uint64_t count;
	uint64_t nodes;         /* of the tree */
	struct gap_node *spare; /* nodes set aside */
	uint64_t spares;
};

/* Nothing is free. */
void gaps_init(struct gaps *g, struct arena *arena);
/* Gives back all nodes. Nothing is free, as after gaps_init(). */
void gaps_exit(struct gaps *g);
/* [low, high) is free and nothing else. 0, or -ENOMEM and nothing has changed. */
int gaps_reset(struct gaps *g, uint64_t low, uint64_t high);
/* `to` is initialised and empty. 0, or -ENOMEM and `to` is still empty. */
int gaps_copy(struct gaps *to, const struct gaps *from);

/* Sets nodes aside: the next n calls of gaps_take() and gaps_give() have what they need. 0, or -ENOMEM and nothing has changed. */
int gaps_prepare(struct gaps *g, unsigned n);
/* The range is in use (free) from now on, whatever part of it was so before. After gaps_prepare(). */
void gaps_take(struct gaps *g, uint64_t start, uint64_t end);
void gaps_give(struct gaps *g, uint64_t start, uint64_t end);

/* The gap that addr lies in. False when it is in use. */
bool gaps_at(const struct gaps *g, uint64_t addr, uint64_t *start, uint64_t *end);
/* Whether nothing of the range is in use. */
bool gaps_is_free(const struct gaps *g, uint64_t start, uint64_t end);
/*
 * The highest (lowest) multiple of `align`, a power of two, where `len` bytes are free within [low, high). False when
 * there is none, and for no bytes.
 */
bool gaps_find_high(const struct gaps *g, uint64_t len, uint64_t low, uint64_t high, uint64_t align, uint64_t *addr);
bool gaps_find_low(const struct gaps *g, uint64_t len, uint64_t low, uint64_t high, uint64_t align, uint64_t *addr);

#endif
