/* SPDX-License-Identifier: Apache-2.0 */
#include "limits.h"

#include <errno.h>
#include <linux/capability.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "mm.h"
#include "util/compiler.h"
#include "util/sys.h"

void mm_limits_default(struct mm_limits *l)
{
	*l = (struct mm_limits){
		.map_count = MAP_COUNT_DEFAULT,
		.address_space = UINT64_MAX,
		.data = UINT64_MAX,
		.memlock = UINT64_MAX,
		.overcommit = OVERCOMMIT_ALWAYS, /* the kernel's own policy stands behind a native space */
	};
}

int map_count_ok(struct mm *mm)
{
	return mm->index.count > mm->limits.map_count ? -ENOMEM : 0;
}

int may_expand_vm(struct mm *mm, uint64_t len, uint64_t freed)
{
	uint64_t after = atomic_load(&mm->mapped) - freed + len;

	return after > mm->limits.address_space ? -ENOMEM : 0;
}

static bool is_data(int prot, unsigned flags)
{
	return (prot & PROT_WRITE) && !(flags & (VM_SHARED | VM_GROWSDOWN));
}

/* The process's own where the kernel does not see that a mapping may be written: beside what is the program's otherwise, of which we know nothing. */
static uint64_t data_limit(struct mm *mm)
{
	struct rlimit rl;

	if (mm->limits.data != UINT64_MAX || !mm->mmu->hides)
		return mm->limits.data;
	return sys_call(SYS_prlimit64, 0, RLIMIT_DATA, 0, (long)&rl, 0, 0) ? UINT64_MAX : rl.rlim_cur;
}

int may_have_data(struct mm *mm, int prot, unsigned flags, uint64_t len)
{
	uint64_t limit;

	if (!is_data(prot, flags))
		return 0;
	limit = data_limit(mm);
	return limit != UINT64_MAX && atomic_load(&mm->data) + len > limit ? -ENOMEM : 0;
}

/* As accountable_mapping() of Linux; a private mapping is counted from when it may first be written. */
bool is_accountable(struct mm *mm, int prot, unsigned flags)
{
	if (flags & VM_HUGETLB) /* they come from a pool of their own */
		return false;
	if ((flags & VM_NORESERVE) && mm->limits.overcommit != OVERCOMMIT_NEVER)
		return false;
	return (prot & PROT_WRITE) && !(flags & VM_SHARED);
}

int may_commit(struct mm *mm, uint64_t len)
{
	const struct mm_limits *l = &mm->limits;

	if (l->overcommit == OVERCOMMIT_ALWAYS || !l->commit)
		return 0;
	if (l->overcommit == OVERCOMMIT_HEURISTIC)
		return len > l->commit ? -ENOMEM : 0;
	return atomic_load(&mm->committed) + len > l->commit ? -ENOMEM : 0;
}

/* ---- Locked memory ---- */

static bool has_ipc_lock(void)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {0};

	if (sys_call(SYS_capget, (long)&head, (long)data, 0, 0, 0, 0))
		return false;
	return data[CAP_IPC_LOCK / 32].effective >> CAP_IPC_LOCK % 32 & 1;
}

static uint64_t memlock_limit(struct mm *mm)
{
	struct rlimit rl;

	if (mm->limits.memlock != UINT64_MAX)
		return mm->limits.memlock;
	if (sys_call(SYS_prlimit64, 0, RLIMIT_MEMLOCK, 0, (long)&rl, 0, 0) || rl.rlim_cur == RLIM_INFINITY)
		return UINT64_MAX;
	return rl.rlim_cur;
}

/* A limit that the space was given stands whatever the process may do. */
static bool is_privileged(struct mm *mm)
{
	return mm->limits.memlock == UINT64_MAX && has_ipc_lock();
}

bool can_do_mlock(struct mm *mm)
{
	return memlock_limit(mm) != 0 || is_privileged(mm);
}

bool mlock_limit_ok(struct mm *mm, uint64_t len)
{
	uint64_t limit = page_align_down(memlock_limit(mm));

	return atomic_load(&mm->locked) + len <= limit || is_privileged(mm);
}

/* ---- The sums ---- */

static void add(_Atomic uint64_t *sum, bool yes, uint64_t bytes)
{
	if (yes)
		atomic_fetch_add_explicit(sum, bytes, memory_order_relaxed);
}

void mm_count(struct mm *mm, const struct vma *v, int sign)
{
	uint64_t bytes = (v->end - v->start) * (uint64_t)(int64_t)sign;

	add(&mm->mapped, true, bytes);
	add(&mm->data, is_data(v->prot, v->flags), bytes);
	add(&mm->committed, v->flags & VM_ACCOUNT, bytes);
	add(&mm->locked, v->flags & VM_LOCKED, bytes);
}
