/* SPDX-License-Identifier: Apache-2.0 */
/* Which pages leave memory when it is short: queues, their hands, and ghosts of pages that left. See policy.c. */
#ifndef FL_CACHE_POLICY_H
#define FL_CACHE_POLICY_H

#include <stdbool.h>
#include <stdint.h>

/*
 * What the policy keeps of a page: 8 bits of its word, which change under the page lock. Those of a page that is new, or
 * that nothing is known of, are 0: on probation, in the generation of that number.
 */
#define POLICY_BITS 0xff00u
#define POLICY_MAIN 0x0100u   /* in the main queue; else on probation */
#define POLICY_PROBED 0x0200u /* a use from here on counts, and is seen if that is possible: unmapped, or accessed bits cleared */
#define POLICY_LEVEL_SHIFT 10 /* main: how hot it has shown itself to be. Probation: whether it was read ahead */
#define POLICY_LEVEL (3u << POLICY_LEVEL_SHIFT)
#define POLICY_AHEAD (1u << POLICY_LEVEL_SHIFT)
#define POLICY_GENERATION_SHIFT 12
#define POLICY_GENERATION (15u << POLICY_GENERATION_SHIFT)

enum policy_queue { POLICY_PROBATION, POLICY_PROTECTED, POLICY_STREAMED, POLICY_QUEUES };

/* How a use of a page that is in memory comes to be known. */
enum policy_sight {
	POLICY_BLIND,      /* not at all, once it is mapped */
	POLICY_SOFT_FAULT, /* when it was taken out of its mappings before, which POLICY_PROBE asks for */
	POLICY_ACCESSED    /* by accessed bits, which who looks clears */
};

enum policy_verdict {
	POLICY_KEEP,  /* it stays, with the new bits */
	POLICY_PROBE, /* the same, and out of its mappings: POLICY_SOFT_FAULT only */
	POLICY_EVICT
};

/* Sizes the ghosts for `pages` pages in memory, 4 bytes each, and reserves them from the budget. 0 or -ENOMEM. */
int policy_init(uint64_t pages);
void policy_exit(void);
uint64_t policy_bytes(void);
/* All pages are as new ones; nothing is counted and nothing remembered. */
void policy_reset(void);

/* The bits of a page that comes into memory, which is counted; `key` tells it from all others. `ahead`: nobody has asked for it yet. */
uint32_t policy_enter(uint64_t key, bool ahead);
/* The same for a huge page, which was read ahead; its word has PG_HUGE, and counts as HUGE_PAGES. */
uint32_t policy_enter_huge(uint64_t key);
/* The page with this word leaves the table; and: is there, and was not counted. */
void policy_leave(uint32_t word);
void policy_join(uint32_t word);
/* Its bits change from those of `from` to those of `to`. */
void policy_move(uint32_t from, uint32_t to);
/* It was taken out of memory to make room: it leaves a ghost. */
void policy_remember(uint64_t key, uint32_t word);

/* The queue that the next page should leave from; `probed`: pages that were, in this search, and could not answer yet. */
enum policy_queue policy_choose(uint32_t probed);
/*
 * Where to look next, `step` entries from there, in a table of which `high` entries are in use. What is not due (policy_is_due()) is
 * stepped over.
 */
uint32_t policy_hand(enum policy_queue queue, uint32_t step, uint32_t high);
/* The last n of these entries were not looked at. */
void policy_hand_back(enum policy_queue queue, uint32_t n);
bool policy_is_due(enum policy_queue queue, uint32_t word);
/*
 * What becomes of a page that is due. `used`: it is known to have been used since reclaim last came by; `can_probe`: whether that can be
 * found out. *to: its new bits, when it stays.
 */
enum policy_verdict policy_judge(uint32_t word, bool used, enum policy_sight sight, uint32_t *to);
/* The bits of a page that was due and is to be so again next. */
uint32_t policy_postponed(uint32_t word);
/* The bits of a page that is not needed soon, see madvise(MADV_COLD). */
uint32_t policy_cold(void);

uint64_t policy_pages(enum policy_queue queue);
/* Pages that came into memory though they had left it lately: with more room they would have been there. Only ever grows. */
uint64_t policy_returned(void);

#endif
