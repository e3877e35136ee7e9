/* SPDX-License-Identifier: Apache-2.0 */
/* The public calls on soft spaces: making them, and looking at them. See faultline_soft.h. */
#include "soft.h"

#include <string.h>
#include <sys/mman.h>

#include "engine.h"
#include "engine_lock.h"
#include "limits_of.h"
#include "mm/maps.h"
#include "util/compiler.h"

static int result(int err)
{
	if (!err)
		return 0;
	errno = -err;
	return -1;
}

/* ---- Spaces ---- */

/* The limits of the process are not the guest's. */
static int guest_limits(const struct fl_soft_options *o, struct mm_limits *l)
{
	static const struct fl_space_options none = {.size = sizeof none};
	struct fl_space_options s = {0};
	const struct fl_space_options *asked = o->limits ? o->limits : &none;
	int err;

	memcpy(&s, asked, asked->size < sizeof s ? asked->size : sizeof s);
	err = limits_of(&s, l);
	if (l->memlock == UINT64_MAX)
		l->memlock = UINT64_MAX - 1;
	return err;
}

static int config_of(const struct fl_soft_options *options, struct soft_config *c)
{
	struct fl_soft_options o = {0};

	if (options)
		memcpy(&o, options, options->size < sizeof o ? options->size : sizeof o);
	if ((unsigned)o.layout > FL_LAYOUT_BOTTOM_UP)
		return -EINVAL;
	*c = (struct soft_config){
		.address_bits = o.address_bits,
		.page_size = o.page_size,
		.seed = o.seed,
		.stack_limit = o.stack_limit,
		.stack_guard_gap = o.stack_guard_gap,
		.brk = o.brk,
		.bottom_up = o.layout == FL_LAYOUT_BOTTOM_UP,
	};
	return guest_limits(&o, &c->limits);
}

FL_EXPORT fl_space *fl_space_create_soft(const struct fl_soft_options *options)
{
	struct soft_config c;
	struct mm *mm = NULL;
	int err = config_of(options, &c);

	if (!err)
		err = engine_start_soft();
	if (!err)
		err = engine_soft_create(&c, &mm);
	if (err)
		errno = -err;
	return (fl_space *)mm;
}

FL_EXPORT fl_space *fl_space_fork(fl_space *space)
{
	struct mm *mm = soft_mm(space), *child = NULL;

	if (mm)
		result(engine_soft_fork(mm, &child));
	return (fl_space *)child;
}

FL_EXPORT void *fl_space_mmap2(fl_space *space, void *addr, size_t length, int prot, int flags, int fd, unsigned long pgoffset)
{
	if (pgoffset > (unsigned long)INT64_MAX >> 12) {
		errno = EOVERFLOW;
		return MAP_FAILED;
	}
	return fl_space_mmap(space, addr, length, prot, flags, fd, (off_t)(pgoffset << 12));
}

FL_EXPORT void *fl_space_brk(fl_space *space, void *end)
{
	struct mm *mm = soft_mm(space);
	struct sigguard g;
	uint64_t now;

	if (!mm)
		return NULL;
	g = sigguard_enter_soft();
	mutex_lock(&engine_lock);
	now = soft_brk(mm, (uintptr_t)end);
	mutex_unlock(&engine_lock);
	sigguard_leave(g);
	return (void *)(uintptr_t)now;
}

/* ---- Sight ---- */

FL_EXPORT int fl_space_walk(fl_space *space, uint64_t addr, struct fl_walk *out)
{
	struct mm *mm = soft_mm(space);
	struct fl_walk w = {0};
	struct sigguard g;

	if (!mm)
		return -1;
	if (!out || addr > mm->task_size + mm->page_mask)
		return result(-EINVAL);
	w.size = out->size < sizeof w ? out->size : sizeof w;
	g = sigguard_enter_soft();
	soft_walk(mm, addr, &w);
	sigguard_leave(g);
	memcpy(out, &w, w.size);
	return 0;
}

FL_EXPORT int fl_space_dump(fl_space *space, int fd, enum fl_dump what)
{
	struct mm *mm = soft_mm(space);

	if (!mm)
		return -1;
	if ((unsigned)what > FL_DUMP_PAGES)
		return result(-EINVAL);
	return result(what == FL_DUMP_MAPS ? mm_maps(mm, fd) : mm_dump(mm, fd));
}
