/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Soft spaces as objects: how one is made and ended, and the list of them all, for which there is one lock, a leaf. What lies under all of them
 * comes with the first: memory for frames (ram.c), page tables. In a child of fork(2) there are none.
 */
#include "soft.h"

#include <errno.h>

#include "arch.h"
#include "cache/budget.h"
#include "cache/ram.h"
#include "cache/reclaim.h"
#include "util/arena.h"
#include "util/compiler.h"

#define SPACES 1024
#define STACK_LIMIT (8UL << 20)
#define STACK_GUARD_PAGES 256

static struct mutex soft_lock = MUTEX_INIT(RANK_LEAF);
static struct soft_space *spaces; /* soft_lock */
static uint32_t nspaces;          /* soft_lock */

static int zap(struct mmu *m, uint64_t addr, uint64_t len)
{
	ram_zap(soft_of(m), addr, addr + len);
	return 0;
}

static const struct mmu_ops soft_ops = {
	.name = "soft",
	.zap = zap,
};

static int complete(struct soft_config *c)
{
	if (!c->page_size)
		c->page_size = FL_PAGE_SIZE;
	if (!c->address_bits)
		c->address_bits = 48;
	if (!c->stack_limit)
		c->stack_limit = STACK_LIMIT;
	if (!c->stack_guard_gap)
		c->stack_guard_gap = STACK_GUARD_PAGES * c->page_size;
	if (c->page_size != 4096 && c->page_size != 16384 && c->page_size != 65536)
		return -EINVAL;
	if (c->address_bits < 32 || (c->address_bits > 48 && c->address_bits != 57))
		return -EINVAL;
	return c->brk & (c->page_size - 1) || c->brk >> c->address_bits ? -EINVAL : 0;
}

static bool link_space(struct soft_space *s)
{
	bool room;

	mutex_lock(&soft_lock);
	room = nspaces < SPACES;
	if (room) {
		s->next = spaces;
		s->link = &spaces;
		if (s->next)
			s->next->link = &s->next;
		spaces = s;
		nspaces++;
	}
	mutex_unlock(&soft_lock);
	return room;
}

/* A place for the fields first: all of them can be given back by soft_create(). */
static int init(struct soft_space *s)
{
	uint64_t top = (1ULL << s->config.address_bits) - s->config.page_size;
	int err;

	s->mm = (struct mm){.mmap_lock = MUTEX_INIT(RANK_MMAP),
			    .foreign_lock = RWLOCK_INIT(RANK_FOREIGN),
			    .mmu = &s->mmu.mmu,
			    .arch = &soft_arch,
			    .soft = s,
			    .limits = s->config.limits,
			    .task_size = top,
			    .page_mask = s->config.page_size - 1,
			    .low = UINT64_MAX};
	s->mmu.mmu = (struct mmu){.ops = &soft_ops, .map_can_wp = true};
	gaps_init(&s->gaps, address_space_arena());
	soft_set_layout(s);
	err = vma_index_init(&s->mm.index);
	if (err)
		return err;
	err = gaps_reset(&s->gaps, 0, top);
	if (!err)
		err = soft_mmu_init(&s->mmu, s->config.address_bits);
	if (!err && link_space(s))
		return 0;
	if (!err)
		soft_mmu_exit(&s->mmu);
	gaps_exit(&s->gaps);
	vma_index_exit(&s->mm.index);
	return err ? err : -ENOMEM;
}

static void unlink_space(struct soft_space *s)
{
	mutex_lock(&soft_lock);
	*s->link = s->next;
	if (s->next)
		s->next->link = s->link;
	nspaces--;
	mutex_unlock(&soft_lock);
}

void soft_destroy(struct mm *mm)
{
	struct soft_space *s = mm->soft;

	unlink_space(s);
	budget_release_metadata(soft_leave_cpus(&s->mmu) * SOFT_CPU_PAGES); /* whoever has them still gives their memory back */
	gaps_exit(&s->gaps);
	soft_mmu_exit(&s->mmu);
	arena_free(address_space_arena(), s, sizeof *s);
}

static int start(void)
{
	int err = ram_init();

	if (!err && !pt_ready())
		err = pt_init(budget_limit(), budget_charge_metadata, budget_release_metadata);
	return err;
}

int soft_create(const struct soft_config *config, struct mm **out)
{
	struct soft_space *s;
	int err = start();

	if (err)
		return err;
	metadata_refill();
	s = arena_alloc(address_space_arena(), sizeof *s);
	if (!s)
		return -ENOMEM;
	s->config = *config;
	err = complete(&s->config);
	if (!err)
		err = init(s);
	if (err)
		arena_free(address_space_arena(), s, sizeof *s);
	else
		*out = &s->mm;
	return err;
}

struct mm *soft_any(void)
{
	return spaces ? &spaces->mm : NULL;
}

void soft_add_up(struct soft_sums *sums)
{
	*sums = (struct soft_sums){0};
	mutex_lock(&soft_lock);
	for (struct soft_space *s = spaces; s; s = s->next) {
		sums->spaces++;
		sums->mapped += atomic_load(&s->mm.mapped);
		sums->mappings += atomic_load(&s->mm.index.count);
	}
	mutex_unlock(&soft_lock);
}

void soft_exit(void)
{
	fl_assert(!spaces);
	pt_exit();
	ram_exit();
}

void soft_fork_child(void)
{
	mutex_init(&soft_lock, RANK_LEAF);
	spaces = NULL;
	nspaces = 0;
	atomic_store(&sigguard_without, 0); /* of threads that did not come along */
	pt_fork_child();
	ram_fork_child();
}
