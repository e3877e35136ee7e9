/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The figures of /proc/PID/smaps. Of our own mappings they come from the page table and the reverse map: a page belongs
 * to every mapping that would show it, whether it has been asked for there or not. Of mappings that are the kernel's own
 * (VM_HANDED) they come from the kernel.
 *
 * Pages are looked at without their locks, as mincore does: each answer is right for a moment.
 */
#include <fcntl.h>
#include <string.h>

#include "arch.h"
#include "cache/hosted.h"
#include "host/wire.h"
#include "util/compiler.h"
#include "util/sys.h"

#define ONE_PAGE (FL_PAGE_SIZE << PSS_SHIFT)

const char *const smaps_names[SMAPS_FIELDS] = {
	[SMAPS_SIZE] = "Size:",
	[SMAPS_KERNEL_PAGE_SIZE] = "KernelPageSize:",
	[SMAPS_MMU_PAGE_SIZE] = "MMUPageSize:",
	[SMAPS_RSS] = "Rss:",
	[SMAPS_PSS] = "Pss:",
	[SMAPS_PSS_DIRTY] = "Pss_Dirty:",
	[SMAPS_SHARED_CLEAN] = "Shared_Clean:",
	[SMAPS_SHARED_DIRTY] = "Shared_Dirty:",
	[SMAPS_PRIVATE_CLEAN] = "Private_Clean:",
	[SMAPS_PRIVATE_DIRTY] = "Private_Dirty:",
	[SMAPS_REFERENCED] = "Referenced:",
	[SMAPS_ANONYMOUS] = "Anonymous:",
	[SMAPS_KSM] = "KSM:",
	[SMAPS_LAZY_FREE] = "LazyFree:",
	[SMAPS_ANON_HUGE_PAGES] = "AnonHugePages:",
	[SMAPS_SHMEM_PMD_MAPPED] = "ShmemPmdMapped:",
	[SMAPS_FILE_PMD_MAPPED] = "FilePmdMapped:",
	[SMAPS_SHARED_HUGETLB] = "Shared_Hugetlb:",
	[SMAPS_PRIVATE_HUGETLB] = "Private_Hugetlb:",
	[SMAPS_SWAP] = "Swap:",
	[SMAPS_SWAP_PSS] = "SwapPss:",
	[SMAPS_LOCKED] = "Locked:",
};

/* ---- Our own mappings ---- */

struct count {
	struct smaps *s;
	const struct vma *v;
	struct address_space *anon; /* its private pages, or NULL */
};

typedef void (*page_fn)(const struct count *c, uint64_t index, uint32_t word);

static bool is_in_memory(uint32_t word)
{
	enum page_state s = page_state_of(word);

	return s == PAGE_CLEAN || s == PAGE_DIRTY || s == PAGE_WRITEBACK || s == PAGE_REDIRTY;
}

static void visit(const struct count *c, pfn_t pfn, uint64_t index, page_fn fn)
{
	uint32_t word = page_word(pfn);

	if (is_in_memory(word))
		fn(c, index, word);
}

/* Calls fn for pages [first, first + n) of the object that are in memory: by index, or through the table if that is less. */
static void for_pages(const struct count *c, struct address_space *as, uint64_t first, uint64_t n, page_fn fn)
{
	pfn_t high = page_table_high(), pfn;

	if (!atomic_load(&as->nr_pages))
		return;
	if (n < high / 4) {
		for (uint64_t i = first; i < first + n; i++) {
			struct page_key key = {.as = as->id, .index = i};

			if ((pfn = page_find_any(key)) != PFN_NONE)
				visit(c, pfn, key.index, fn);
		}
		return;
	}
	for (pfn = 0; pfn < high; pfn++) {
		struct page_key key = page_key(pfn);

		if (key.as != as->id)
			continue;
		for (uint64_t i = max_u64(key.index, first); i < first + n && i < key.index + page_count_of(page_word(pfn)); i++)
			visit(c, pfn, i, fn);
	}
}

static void add_one(struct smaps *s, bool dirty, uint32_t mappings)
{
	s->sum[SMAPS_RSS] += ONE_PAGE;
	s->sum[SMAPS_PSS] += ONE_PAGE / mappings;
	s->sum[SMAPS_PSS_DIRTY] += dirty ? ONE_PAGE / mappings : 0;
	s->sum[(mappings > 1 ? SMAPS_SHARED_CLEAN : SMAPS_PRIVATE_CLEAN) + dirty] += ONE_PAGE;
}

static void add_page(struct smaps *s, uint32_t word, uint32_t mappings)
{
	add_one(s, page_state_of(word) != PAGE_CLEAN, mappings);
	s->sum[SMAPS_REFERENCED] += word & PG_REFERENCED ? ONE_PAGE : 0;
}

static bool covers(const struct rmap *r, uint64_t index)
{
	return index >= r->pgoff && index - r->pgoff < r->pages;
}

/* Whether the mapping shows a private copy, in memory or in swap, in the place of the file's page. rmap_lock held. */
static bool has_private(const struct rmap *r, uint64_t index)
{
	struct page_key key = {.index = r->anon_pgoff + (index - r->pgoff)};

	if (!r->anon)
		return false;
	key.as = r->anon->id;
	return page_find(key) != PFN_NONE || anon_is_swapped(r->anon, key.index);
}

/* How many mappings show the file's page; 0 when v itself does not. */
static uint32_t mappings_of(const struct vma *v, uint64_t index)
{
	uint32_t n = 0;

	read_lock(&rmap_lock);
	if (!has_private(&v->rmap, index))
		for (struct rmap *r = v->as->rmaps; r; r = r->next)
			n += covers(r, index) && !has_private(r, index);
	read_unlock(&rmap_lock);
	return n;
}

/* What the host says of the page: WIRE_IN_MEMORY, WIRE_DIRTY or 0. */
static unsigned char hosted_state(struct smaps_window *w, struct address_space *as, uint64_t index)
{
	if (w->as != as || index < w->index || index - w->index >= w->pages) {
		*w = (struct smaps_window){.as = as, .index = index, .pages = min_u64(SMAPS_WINDOW, PAGE_INDEX_MAX + 1 - index)};
		hosted_resident(as, index, w->pages, w->state);
	}
	return w->state[index - w->index];
}

/* What a host has in memory; of mappings in other processes nothing is known here. */
static void count_hosted(const struct count *c)
{
	const struct vma *v = c->v;

	for (uint64_t index = v->pgoff; index < v->pgoff + vma_pages(v); index++) {
		unsigned char state = hosted_state(c->s->hosted, v->as, index);
		uint32_t mappings = state ? mappings_of(v, index) : 0;

		if (mappings)
			add_one(c->s, state == WIRE_DIRTY, mappings);
	}
}

static void count_file_page(const struct count *c, uint64_t index, uint32_t word)
{
	uint32_t n = mappings_of(c->v, index);

	if (n)
		add_page(c->s, word, n);
}

/* A page that came back from swap and was not written to since has its copy there still: it is not counted twice. */
static void count_private_page(const struct count *c, uint64_t index, uint32_t word)
{
	uint64_t *sum = c->s->sum;

	add_page(c->s, word, 1);
	sum[SMAPS_ANONYMOUS] += ONE_PAGE;
	sum[SMAPS_LAZY_FREE] += word & PG_LAZYFREE ? ONE_PAGE : 0;
	if (anon_is_swapped(c->anon, index) && sum[SMAPS_SWAP])
		sum[SMAPS_SWAP] -= ONE_PAGE;
}

static void count_private(const struct count *c)
{
	struct smaps *s = c->s;
	uint64_t before = s->sum[SMAPS_SWAP];

	s->sum[SMAPS_SWAP] = anon_count_swapped(c->anon, c->v->anon_pgoff, vma_pages(c->v)) * ONE_PAGE;
	for_pages(c, c->anon, c->v->anon_pgoff, vma_pages(c->v), count_private_page);
	s->sum[SMAPS_SWAP] += before;
}

void smaps_count(struct smaps *s, const struct vma *v)
{
	s->sum[SMAPS_KERNEL_PAGE_SIZE] = s->sum[SMAPS_MMU_PAGE_SIZE] = (v->mm->page_mask + 1) << PSS_SHIFT;
	if (!(v->flags & (VM_HANDED | VM_GUARD)))
		v->mm->arch->count(s, v);
}

void native_count(struct smaps *s, const struct vma *v)
{
	struct count c = {.s = s, .v = v, .anon = atomic_load(&v->anon)};

	if (as_is_hosted(v->as))
		count_hosted(&c);
	else if (!vma_is_anonymous(v))
		for_pages(&c, v->as, v->pgoff, vma_pages(v), count_file_page);
	if (c.anon)
		count_private(&c);
	s->sum[SMAPS_SWAP_PSS] = s->sum[SMAPS_SWAP];
	s->sum[SMAPS_LOCKED] = v->flags & VM_LOCKED ? s->sum[SMAPS_PSS] : 0;
}

/* ---- The kernel's ---- */

static bool fill(struct kernel_smaps *k)
{
	ssize_t n = sys_read(k->fd, k->buf, sizeof k->buf);

	k->at = 0;
	k->len = n > 0 ? (uint32_t)n : 0;
	return n > 0;
}

/* The next line, cut to what is needed of it. False at the end. */
static bool next_line(struct kernel_smaps *k)
{
	size_t n = 0;
	char c;

	do {
		if (k->at == k->len && !fill(k))
			return false;
		c = k->buf[k->at++];
		if (c != '\n' && n < sizeof k->line - 1)
			k->line[n++] = c;
	} while (c != '\n');
	k->line[n] = 0;
	return true;
}

/* A number in lower-case hexadecimal; *s goes behind it. */
static uint64_t read_hex(const char **s)
{
	uint64_t n = 0;

	for (;; (*s)++) {
		if (**s >= '0' && **s <= '9')
			n = n << 4 | (uint64_t)(**s - '0');
		else if (**s >= 'a' && **s <= 'f')
			n = n << 4 | (uint64_t)(**s - 'a' + 10);
		else
			return n;
	}
}

static uint64_t read_decimal(const char *s)
{
	uint64_t n = 0;

	while (*s == ' ')
		s++;
	for (; *s >= '0' && *s <= '9'; s++)
		n = n * 10 + (uint64_t)(*s - '0');
	return n;
}

/* "START-END ...": no field begins with a digit or a small letter. */
static bool read_header(struct kernel_smaps *k)
{
	const char *s = k->line;

	if (!((*s >= '0' && *s <= '9') || (*s >= 'a' && *s <= 'f')))
		return false;
	k->start = read_hex(&s);
	s++;
	k->end = read_hex(&s);
	return true;
}

static bool starts_with(const char *s, const char *prefix)
{
	return memcmp(s, prefix, strlen(prefix)) == 0;
}

/* The size of a page is no sum, and what is mapped is ours to say. */
static void add_line(struct smaps *s, const char *line)
{
	if (starts_with(line, "VmFlags:"))
		memcpy(s->vm_flags, line + strlen("VmFlags:"), sizeof s->vm_flags - 1);
	if (starts_with(line, "THPeligible:"))
		s->thp_eligible |= read_decimal(line + strlen("THPeligible:"));
	for (int i = SMAPS_KERNEL_PAGE_SIZE; i < SMAPS_FIELDS; i++) {
		uint64_t bytes;

		if (!starts_with(line, smaps_names[i]))
			continue;
		bytes = read_decimal(line + strlen(smaps_names[i])) << 10 << PSS_SHIFT;
		s->sum[i] = i <= SMAPS_MMU_PAGE_SIZE ? bytes : s->sum[i] + bytes;
	}
}

void kernel_smaps_add(struct kernel_smaps *k, uint64_t start, uint64_t end, struct smaps *s)
{
	bool more = true;

	if (k->fd < 0)
		k->fd = sys_openat(AT_FDCWD, "/proc/thread-self/smaps", O_RDONLY | O_CLOEXEC, 0);
	if (k->fd < 0)
		return;
	while (k->start < end && more) {
		bool inside = k->end > start;

		while ((more = next_line(k)) && !read_header(k))
			if (inside)
				add_line(s, k->line);
	}
	if (!more)
		k->start = UINT64_MAX;
}

void kernel_smaps_close(struct kernel_smaps *k)
{
	if (k->fd >= 0)
		sys_close(k->fd);
}
