/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The memory of a soft space, for who is outside of it: one page at a time is faulted in, and pinned, by its address. As gup.c and
 * access_process_vm() of Linux.
 *
 * The pin is charged first (filemap_charge_locked). What an entry shows is looked at again with the page's lock, which keeps it there until it is
 * pinned. The VMA is locked for reading meanwhile, and for soft_copy() to its end.
 */
#include <errno.h>
#include <string.h>

#include "cache/filemap.h"
#include "cache/ram.h"
#include "soft.h"
#include "util/compiler.h"

/* Pins what the entry shows, if it allows the access. The zero page and devices stay by themselves. */
static int pin_shown(struct mm *mm, uint64_t addr, enum fl_access access, void **host)
{
	pte_slot *p = pt_find(&mm->soft->mmu, addr);
	pte_t e = p ? atomic_load(p) : 0;
	pfn_t pfn;
	int err = 0;

	if (!pte_allows(e, access))
		return -EAGAIN;
	*host = (char *)pte_page(e) + (addr & FL_PAGE_MASK);
	pfn = ram_page(pte_page(e));
	if (pfn == PFN_NONE)
		return 0;
	page_lock(pfn);
	e = atomic_load(p);
	if (!pte_allows(e, access) || ram_page(pte_page(e)) != pfn || page_state_of(page_word(pfn)) == PAGE_ABSENT)
		err = -EAGAIN;
	else if (!page_pin(pfn))
		err = -ENOMEM;
	page_unlock(pfn);
	return err;
}

/* Pins the page, and leaves the VMA locked for reading: *out. */
static int pin_locked(struct mm *mm, uint64_t addr, enum fl_access access, void **host, struct vma **out, struct fl_fault *fault)
{
	int err;

	if (!filemap_charge_locked(1))
		return -ENOMEM;
	do {
		err = soft_look_up(mm, addr, access, out, fault);
		if (err)
			break;
		err = pin_shown(mm, addr, access, host);
		if (err == -EAGAIN) {
			err = soft_populate(*out, addr, access == FL_ACCESS_WRITE);
			err = err ? soft_fail_with(fault, err) : -EAGAIN;
		}
		if (err)
			vma_unlock_read(*out);
	} while (err == -EAGAIN);
	if (err || ram_page(*host) == PFN_NONE)
		filemap_uncharge_locked(1);
	return err;
}

int soft_translate(struct mm *mm, uint64_t addr, enum fl_access access, void **host, struct fl_fault *fault)
{
	struct vma *v;
	int err = pin_locked(mm, addr, access, host, &v, fault);

	if (!err)
		vma_unlock_read(v);
	return err;
}

int soft_copy(struct mm *mm, uint64_t addr, enum fl_access access, char *buf, size_t n, struct fl_fault *fault)
{
	struct vma *v;
	void *host;
	int err = pin_locked(mm, addr, access, &host, &v, fault);

	if (err)
		return err;
	if (access == FL_ACCESS_WRITE)
		memcpy(host, buf, n);
	else
		memcpy(buf, host, n);
	ram_unpin(host);
	vma_unlock_read(v);
	return 0;
}
