/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>

#include "cache/budget.h"
#include "cache/buffer.h"
#include "cache/policy.h"
#include "cache/ram.h"
#include "engine.h"
#include "faultline.h"
#include "mm/soft.h"
#include "store/store.h"
#include "util/compiler.h"

static void add_file(const struct report_file *f, struct fl_stats *s)
{
	s->faults += atomic_load(&f->faults);
	s->faults_hit += atomic_load(&f->faults_hit);
	s->faults_write += atomic_load(&f->faults_write);
	s->reads += atomic_load(&f->reads);
	s->read_bytes += atomic_load(&f->read_bytes);
	s->writes += atomic_load(&f->writes);
	s->written_bytes += atomic_load(&f->written_bytes);
	s->pages_read_ahead += atomic_load(&f->read_ahead);
	s->evictions += atomic_load(&f->evictions);
	s->writebacks += atomic_load(&f->writebacks);
	s->read_errors += atomic_load(&f->read_errors);
	s->write_errors += atomic_load(&f->write_errors);
	s->fault_ns += atomic_load(&f->fault_ns);
}

static void add_spaces(struct fl_stats *s)
{
	struct mm *mm;

	for (int i = 0; (mm = mm_space(i)); i++) {
		s->mapped_bytes += atomic_load(&mm->mapped);
		s->mappings += mm->index.count;
	}
}

static void add_soft(struct fl_stats *s)
{
	struct soft_sums sums;

	soft_add_up(&sums);
	s->mapped_bytes += sums.mapped;
	s->mappings += sums.mappings;
	s->soft_spaces = sums.spaces;
	s->table_bytes = pt_count() << FL_PAGE_SHIFT;
	s->private_pages = slots_in_use();
}

static void collect(struct fl_stats *s)
{
	const struct report *r = report_get();

	s->budget_bytes = budget_limit() << FL_PAGE_SHIFT;
	s->used_bytes = budget_used() << FL_PAGE_SHIFT;
	s->peak_bytes = budget_peak() << FL_PAGE_SHIFT;
	s->buffer_bytes = buffer_bytes();
	s->metadata_bytes = page_table_bytes() + policy_bytes() + ((budget_metadata() + budget_spare()) << FL_PAGE_SHIFT);
	s->allowance_bytes = budget_fixed_pages() << FL_PAGE_SHIFT;
	s->files = address_space_count();
	s->swapped_bytes = swap_written();
	add_spaces(s);
	add_soft(s);
	for (int i = 0; i < REPORT_FILES_MAX && atomic_load(&r->files[i].used); i++)
		add_file(&r->files[i], s);
}

FL_EXPORT int fl_stats(struct fl_stats *stats)
{
	struct fl_stats s = {0};
	size_t size = stats->size;

	if (!engine_started() || size < sizeof stats->size) {
		errno = EINVAL;
		return -1;
	}
	collect(&s);
	s.size = size;
	memcpy(stats, &s, min_u64(size, sizeof s));
	return 0;
}
