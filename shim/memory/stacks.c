/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stacks in anonymous memory of ours: the kernel puts signal frames there, also that of a fault, and cannot bring a page in.
 * Memory that is told to be a stack becomes plain memory of the kernel's, with what it holds.
 */
#include <errno.h>
#include <string.h>
#include <sys/syscall.h>

#include "api/engine.h"
#include "base/mapped.h"
#include "base/real.h"
#include "memory.h"
#include "stacks.h"
#include "util/own.h"
#include "util/sys.h"

/* Shared memory, and a file's, must stay what it is. */
static bool is_private(uint64_t start, uint64_t end)
{
	struct mm *mm = engine_space();
	struct sigguard g = sigguard_enter();
	bool yes = true;

	mutex_lock(&mm->mmap_lock);
	for (struct vma *v = vma_find(&mm->index, start); v && v->start < end && yes; v = vma_find(&mm->index, v->end))
		yes = vma_is_anonymous(v) && !(v->flags & VM_SHARED) && v->prot == (PROT_READ | PROT_WRITE);
	mutex_unlock(&mm->mmap_lock);
	sigguard_leave(g);
	return yes;
}

/* In whole pages; what shares a page with the stack goes along. It is nobody's stack yet, so nobody stores there meanwhile. */
void stack_to_kernel(void *stack, size_t size)
{
	uint64_t start = page_align_down((uintptr_t)stack), end = page_align_up((uintptr_t)stack + size);
	void *copy;

	if (NOTHING_MAPPED || !stack || !is_mapped_by_us((void *)start, end - start) || !is_private(start, end))
		return;
	copy = own_map(end - start, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1);
	if (sys_is_err(copy))
		return;
	memcpy(copy, (void *)start, end - start);
	if (mremap(copy, end - start, end - start, MREMAP_MAYMOVE | MREMAP_FIXED, (void *)start) == MAP_FAILED)
		sys_munmap(copy, end - start);
}

/* Stacks of threads, which need no alternate one then. */
WRAPPER int pthread_attr_setstack(pthread_attr_t *attr, void *stack, size_t size)
{
	int saved = errno;

	stack_to_kernel(stack, size);
	errno = saved;
	return REAL(pthread_attr_setstack)(attr, stack, size);
}
