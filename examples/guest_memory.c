/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Page faults. Unicorn is shown the guest's memory through a window of single pages: an access outside of it calls on_fault(),
 * which has the space translate the page, and maps it for Unicorn at the host's address.
 *
 * Invariants:
 *   - a page in the window is pinned in the space; the window takes at most a quarter of the budget (pins may take half)
 *   - what is in the window is what the space would translate now: whatever changes mappings drops the range first
 *   - a page is mapped with all rights that the space gives, so that a read of what may be written copies a private page, and makes a
 *     shared one dirty. Unicorn 2.0 cannot be given another page, or more rights, when it writes where it may only read: it goes on with
 *     the entry of its TLB from before the hook, and stores anywhere
 *   - code that Unicorn has translated goes with its page: other code may stand there when the page comes back
 *
 * The window gives its oldest page away when it is full. Unicorn takes longer to map a page the more it has mapped (60
 * microseconds with 128 pages, 200 with 256), hence GUEST_WINDOW.
 */
#include "guest_memory.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#define WINDOW_MIN 16 /* more than one instruction touches */

/* ---- The window ---- */

static void release(struct guest *g, struct guest_page *p)
{
	if (!p->host)
		return;
	if (p->perms & UC_PROT_EXEC)
		uc_ctl_remove_cache(g->uc, p->addr, p->addr + GUEST_PAGE);
	uc_mem_unmap(g->uc, p->addr, GUEST_PAGE);
	fl_space_release(g->space, p->host);
	p->host = NULL;
}

static struct guest_page *oldest(struct guest *g)
{
	struct guest_page *p = &g->window[g->window_next];

	g->window_next = (g->window_next + 1) % g->window_size;
	return p;
}

/* Pins compete with other pages for the budget: where they cannot be had, older ones give way. */
static void *translate(struct guest *g, uint64_t addr, enum fl_access access, struct fl_fault *fault)
{
	void *host = fl_space_translate(g->space, addr, access, NULL, fault);

	for (unsigned i = 0; !host && errno == ENOMEM && i < g->window_size; i++) {
		release(g, oldest(g));
		host = fl_space_translate(g->space, addr, access, NULL, fault);
	}
	return host;
}

static bool may(struct guest *g, uint64_t addr, enum fl_access access, struct fl_fault *fault)
{
	void *host = translate(g, addr, access, fault);

	if (host)
		fl_space_release(g->space, host);
	return host;
}

/* The page, and all that may be done with it. NULL and *fault: it may not be accessed as asked for. */
static void *translate_best(struct guest *g, uint64_t addr, enum fl_access access, uint32_t *perms, struct fl_fault *fault)
{
	void *host = translate(g, addr, FL_ACCESS_WRITE, fault);

	*perms = UC_PROT_READ | (host ? UC_PROT_WRITE : 0);
	if (!host && access != FL_ACCESS_WRITE)
		host = translate(g, addr, access, fault);
	if (!host)
		return NULL;
	if (may(g, addr, FL_ACCESS_EXEC, fault))
		*perms |= UC_PROT_EXEC;
	if (access != FL_ACCESS_EXEC || *perms & UC_PROT_EXEC)
		return host;
	fl_space_release(g->space, host);
	return NULL;
}

static bool bring_in(struct guest *g, uint64_t addr, enum fl_access access, struct fl_fault *fault)
{
	struct guest_page *p = oldest(g);
	uint32_t perms;
	void *host;

	release(g, p);
	host = translate_best(g, addr, access, &perms, fault);
	if (!host)
		return false;
	if (uc_mem_map_ptr(g->uc, addr, GUEST_PAGE, perms, host) != UC_ERR_OK) {
		fl_space_release(g->space, host);
		*fault = (struct fl_fault){.address = addr, .code = -ENOMEM};
		return false;
	}
	*p = (struct guest_page){.addr = addr, .host = host, .perms = perms};
	return true;
}

/* ---- Faults ---- */

static enum fl_access access_of(uc_mem_type type)
{
	switch (type) {
	case UC_MEM_WRITE_UNMAPPED:
	case UC_MEM_WRITE_PROT:
		return FL_ACCESS_WRITE;
	case UC_MEM_FETCH_UNMAPPED:
	case UC_MEM_FETCH_PROT:
		return FL_ACCESS_EXEC;
	default:
		return FL_ACCESS_READ;
	}
}

static void refuse(struct guest *g, uint64_t addr, enum fl_access access, const struct fl_fault *fault)
{
	static const char *const names[] = {"read", "write", "fetch"};

	if (g->verbose)
		fprintf(stderr, "guest: cannot %s at %#llx: signal %d, code %d\n", names[access], (unsigned long long)addr, fault->signal,
			fault->code);
	if (fault->signal)
		guest_signal(g, fault->signal);
	else
		guest_abandon(g, strerror(-fault->code));
}

static bool is_unmapped(uc_mem_type type)
{
	return type == UC_MEM_READ_UNMAPPED || type == UC_MEM_WRITE_UNMAPPED || type == UC_MEM_FETCH_UNMAPPED;
}

/* True: the access is made again. What crosses pages comes once for each of them. A page in the window has all its rights already. */
static bool on_fault(uc_engine *uc, uc_mem_type type, uint64_t addr, int size, int64_t value, void *user)
{
	enum fl_access access = access_of(type);
	struct fl_fault fault = {0};
	struct guest *g = user;

	(void)uc, (void)size, (void)value;
	g->faults++;
	if (is_unmapped(type) && bring_in(g, guest_page_of(addr), access, &fault))
		return true;
	if (!is_unmapped(type) && may(g, addr, access, &fault))
		fault.code = -EAGAIN;
	refuse(g, addr, access, &fault);
	return false;
}

int memory_start(struct guest *g)
{
	struct fl_stats stats = {.size = sizeof stats};
	uint64_t share;
	uc_hook hook;

	if (fl_stats(&stats))
		return -errno;
	share = stats.budget_bytes / 4 / GUEST_PAGE;
	g->window_size = share < WINDOW_MIN ? WINDOW_MIN : share > GUEST_WINDOW ? GUEST_WINDOW : (unsigned)share;
	return uc_hook_add(g->uc, &hook, UC_HOOK_MEM_INVALID, (void *)on_fault, g, 1, 0) == UC_ERR_OK ? 0 : -ENOMEM;
}

/* ---- For system calls ---- */

void memory_drop(struct guest *g, uint64_t addr, uint64_t length)
{
	uint64_t first = guest_page_of(addr);

	for (unsigned i = 0; i < g->window_size; i++)
		if (g->window[i].addr >= first && g->window[i].addr - first < length + (addr - first))
			release(g, &g->window[i]);
}

void memory_drop_all(struct guest *g)
{
	memory_drop(g, 0, UINT64_MAX);
}

bool memory_read(struct guest *g, uint64_t addr, void *buf, size_t size)
{
	return !size || fl_space_read(g->space, addr, buf, size, NULL) == (ssize_t)size;
}

/* Pages that may be written are those that Unicorn has, if it has them; but it may have translated code there. */
bool memory_write(struct guest *g, uint64_t addr, const void *buf, size_t size)
{
	uint64_t first = guest_page_of(addr);

	for (unsigned i = 0; i < g->window_size; i++)
		if (g->window[i].addr >= first && g->window[i].addr < addr + size && g->window[i].perms & UC_PROT_EXEC)
			release(g, &g->window[i]);
	return !size || fl_space_write(g->space, addr, buf, size, NULL) == (ssize_t)size;
}

long memory_string(struct guest *g, uint64_t addr, char *buf, size_t size)
{
	ssize_t n = fl_cpu_read_string(g->cpu, addr, buf, size);

	if (n < 0)
		return -EFAULT;
	return n < (ssize_t)size ? n : -ENAMETOOLONG;
}
