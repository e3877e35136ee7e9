/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Access to soft spaces. While a cpu is in an access, nothing is touched but the guest's memory and the stack: the program's buffer
 * may be memory of ours, whose fault has reclaim take pages away. So data passes through a buffer on the stack.
 */
#include <signal.h>
#include <string.h>
#include <sys/mman.h>

#include "cache/budget.h"
#include "cache/ram.h"
#include "cache/reclaim.h"
#include "soft.h"
#include "util/compiler.h"
#include "util/own.h"

#define CHUNK 1024

static struct soft_cpu *to_cpu(fl_cpu *cpu)
{
	return container_of(cpu, struct soft_cpu, cpu);
}

/* ---- Cpus ---- */

static struct soft_cpu *new_cpu(struct mm *mm)
{
	struct soft_cpu *c;
	bool charged;

	metadata_refill_to(SOFT_CPU_PAGES + METADATA_SPARE);
	charged = budget_charge_metadata(SOFT_CPU_PAGES);
	budget_drop_spare();
	if (!charged)
		return NULL;
	c = own_map(SOFT_CPU_PAGES << FL_PAGE_SHIFT, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	if (sys_is_err(c)) {
		budget_release_metadata(SOFT_CPU_PAGES);
		return NULL;
	}
	c->space = mm;
	soft_cpu_add(&mm->soft->mmu, c);
	return c;
}

FL_EXPORT fl_cpu *fl_cpu_create(fl_space *space)
{
	struct mm *mm = soft_mm(space);
	struct soft_cpu *c;
	struct sigguard g;

	if (!mm)
		return NULL;
	g = sigguard_enter_soft();
	c = new_cpu(mm);
	sigguard_leave(g);
	if (!c)
		errno = ENOMEM;
	return c ? &c->cpu : NULL;
}

FL_EXPORT void fl_cpu_destroy(fl_cpu *cpu)
{
	struct soft_cpu *c = to_cpu(cpu);
	struct sigguard g;
	bool counted;

	if (!cpu)
		return;
	g = sigguard_enter_soft();
	counted = c->mmu; /* else its space has gone, and given that back */
	soft_cpu_del(c);
	if (counted)
		budget_release_metadata(SOFT_CPU_PAGES);
	sys_munmap(c, SOFT_CPU_PAGES << FL_PAGE_SHIFT);
	sigguard_leave(g);
}

FL_EXPORT void fl_cpu_on_fault(fl_cpu *cpu, int (*fn)(fl_cpu *cpu, const struct fl_fault *fault, void *arg), void *arg)
{
	to_cpu(cpu)->on_fault = fn;
	to_cpu(cpu)->arg = arg;
}

/* ---- Faults ---- */

static int serve(struct mm *mm, uint64_t addr, enum fl_access access, struct fl_fault *fault)
{
	struct sigguard g = sigguard_enter_soft();
	int err = soft_fault(mm, addr, access, fault);

	sigguard_leave(g);
	return err;
}

/* 0 when the access may be made again. */
static int cpu_fault(struct soft_cpu *c, uint64_t addr, enum fl_access access)
{
	struct fl_fault f = {.address = addr, .signal = SIGSEGV, .code = SEGV_MAPERR, .access = access};

	if (c->space && !serve(c->space, addr, access, &f))
		return 0;
	if (c->space && c->on_fault && !c->on_fault(&c->cpu, &f, c->arg))
		return 0;
	c->cpu.fault = f;
	errno = EFAULT;
	return -1;
}

/* ---- By cpu ---- */

/* What of an access lies in the page at addr. */
static size_t part(uint64_t addr, size_t size)
{
	size_t in_page = FL_PAGE_SIZE - (addr & FL_PAGE_MASK), n = size < CHUNK ? size : CHUNK;

	return n < in_page ? n : in_page;
}

static inline void *enter(struct soft_cpu *c, uint64_t addr, enum fl_access access)
{
	void *host;

	while (!(host = soft_cpu_enter(c, addr, access)))
		if (cpu_fault(c, addr, access))
			return NULL;
	return host;
}

/* What the inline functions ask for: a copy of fixed size, within a page. */
static inline void copy_word(void *to, const void *from, size_t size)
{
	switch (size) {
	case 1:
		memcpy(to, from, 1);
		break;
	case 2:
		memcpy(to, from, 2);
		break;
	case 4:
		memcpy(to, from, 4);
		break;
	default:
		memcpy(to, from, 8);
	}
}

static inline bool is_word(uint64_t addr, size_t size)
{
	return size <= 8 && !(size & (size - 1)) && size && (addr & FL_PAGE_MASK) <= FL_PAGE_SIZE - size;
}

static int read_word(struct soft_cpu *c, uint64_t addr, void *buf, size_t size, enum fl_access access)
{
	const void *host = enter(c, addr, access);
	uint64_t data;

	if (unlikely(!host))
		return -1;
	copy_word(&data, host, size);
	soft_cpu_leave(c);
	copy_word(buf, &data, size);
	return 0;
}

static int write_word(struct soft_cpu *c, uint64_t addr, const void *buf, size_t size)
{
	uint64_t data;
	void *host;

	copy_word(&data, buf, size);
	host = enter(c, addr, FL_ACCESS_WRITE);
	if (unlikely(!host))
		return -1;
	copy_word(host, &data, size);
	soft_cpu_leave(c);
	return 0;
}

static int read_bytes(struct soft_cpu *c, uint64_t addr, void *buf, size_t size, enum fl_access access)
{
	char data[CHUNK];

	for (size_t done = 0, n; done < size; done += n) {
		const void *host = enter(c, addr + done, access);

		if (!host)
			return -1;
		n = part(addr + done, size - done);
		memcpy(data, host, n);
		soft_cpu_leave(c);
		memcpy((char *)buf + done, data, n);
	}
	return 0;
}

static int cpu_read(fl_cpu *cpu, uint64_t addr, void *buf, size_t size, enum fl_access access)
{
	struct soft_cpu *c = to_cpu(cpu);

	return likely(is_word(addr, size)) ? read_word(c, addr, buf, size, access) : read_bytes(c, addr, buf, size, access);
}

FL_EXPORT int fl_cpu_read(fl_cpu *cpu, uint64_t addr, void *buf, size_t size)
{
	return cpu_read(cpu, addr, buf, size, FL_ACCESS_READ);
}

FL_EXPORT int fl_cpu_fetch(fl_cpu *cpu, uint64_t addr, void *buf, size_t size)
{
	return cpu_read(cpu, addr, buf, size, FL_ACCESS_EXEC);
}

static int write_bytes(struct soft_cpu *c, uint64_t addr, const void *buf, size_t size)
{
	char data[CHUNK];

	for (size_t done = 0, n; done < size; done += n) {
		void *host;

		n = part(addr + done, size - done);
		memcpy(data, (const char *)buf + done, n);
		host = enter(c, addr + done, FL_ACCESS_WRITE);
		if (!host)
			return -1;
		memcpy(host, data, n);
		soft_cpu_leave(c);
	}
	return 0;
}

/* A word that crosses pages: all of it or nothing, as hardware has it. */
static int write_across(struct soft_cpu *c, uint64_t addr, const void *buf, size_t size)
{
	if (!enter(c, addr, FL_ACCESS_WRITE))
		return -1;
	soft_cpu_leave(c);
	if (!enter(c, (addr | FL_PAGE_MASK) + 1, FL_ACCESS_WRITE))
		return -1;
	soft_cpu_leave(c);
	return write_bytes(c, addr, buf, size);
}

FL_EXPORT int fl_cpu_write(fl_cpu *cpu, uint64_t addr, const void *buf, size_t size)
{
	struct soft_cpu *c = to_cpu(cpu);

	if (likely(is_word(addr, size)))
		return write_word(c, addr, buf, size);
	return size <= 8 && (addr & FL_PAGE_MASK) > FL_PAGE_SIZE - size ? write_across(c, addr, buf, size)
									: write_bytes(c, addr, buf, size);
}

FL_EXPORT int fl_cpu_cas(fl_cpu *cpu, uint64_t addr, void *expected, const void *desired, size_t size)
{
	struct soft_cpu *c = to_cpu(cpu);
	uint64_t was = 0, want = 0;
	void *host;
	int done;

	if ((size != 4 && size != 8) || addr % size) {
		errno = EINVAL;
		return -1;
	}
	memcpy(&was, expected, size);
	memcpy(&want, desired, size);
	host = enter(c, addr, FL_ACCESS_WRITE);
	if (!host)
		return -1;
	if (size == 8)
		done = __atomic_compare_exchange_n((uint64_t *)host, &was, want, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
	else
		done = __atomic_compare_exchange_n((uint32_t *)host, (uint32_t *)&was, (uint32_t)want, 0, __ATOMIC_SEQ_CST,
						   __ATOMIC_SEQ_CST);
	soft_cpu_leave(c);
	memcpy(expected, &was, size);
	return done;
}

/* Piece by piece, so that no page behind the end of the string is touched. */
FL_EXPORT ssize_t fl_cpu_read_string(fl_cpu *cpu, uint64_t addr, char *buf, size_t size)
{
	struct soft_cpu *c = to_cpu(cpu);
	char data[CHUNK];

	for (size_t done = 0, n; done < size; done += n) {
		const char *host = enter(c, addr + done, FL_ACCESS_READ), *end;

		if (!host)
			return -1;
		n = part(addr + done, size - done);
		memcpy(data, host, n);
		soft_cpu_leave(c);
		end = memchr(data, 0, n);
		memcpy(buf + done, data, end ? (size_t)(end - data) + 1 : n);
		if (end)
			return (ssize_t)(done + (size_t)(end - data));
	}
	return (ssize_t)size;
}

/* ---- Without ---- */

/* By way of the stack: the program's buffer may be memory of ours, and a lock is held during the copy. */
static int copy_part(struct mm *mm, uint64_t addr, char *buf, size_t n, enum fl_access access, struct fl_fault *fault)
{
	struct sigguard g;
	char data[CHUNK];
	int err;

	if (access == FL_ACCESS_WRITE)
		memcpy(data, buf, n);
	g = sigguard_enter_soft();
	err = soft_copy(mm, addr, access, data, n, fault);
	sigguard_leave(g);
	if (!err && access != FL_ACCESS_WRITE)
		memcpy(buf, data, n);
	return err;
}

static ssize_t copy(fl_space *space, uint64_t addr, char *buf, size_t size, enum fl_access access, struct fl_fault *out)
{
	struct mm *mm = soft_mm(space);
	struct fl_fault fault = {0};
	size_t done = 0;
	int err = 0;

	if (!mm)
		return -1;
	for (size_t n; done < size; done += n) {
		n = part(addr + done, size - done);
		err = copy_part(mm, addr + done, buf + done, n, access, &fault);
		if (err)
			break;
	}
	if (err == -ENOMEM)
		fault = (struct fl_fault){.address = addr + done, .code = err, .access = access};
	if (err && out)
		*out = fault;
	if (err && !done) {
		errno = EFAULT;
		return -1;
	}
	return (ssize_t)done;
}

FL_EXPORT ssize_t fl_space_read(fl_space *space, uint64_t addr, void *buf, size_t size, struct fl_fault *fault)
{
	return copy(space, addr, buf, size, FL_ACCESS_READ, fault);
}

FL_EXPORT ssize_t fl_space_write(fl_space *space, uint64_t addr, const void *buf, size_t size, struct fl_fault *fault)
{
	return copy(space, addr, (char *)buf, size, FL_ACCESS_WRITE, fault);
}

FL_EXPORT void *fl_space_translate(fl_space *space, uint64_t addr, enum fl_access access, size_t *length, struct fl_fault *fault)
{
	struct mm *mm = soft_mm(space);
	struct fl_fault f = {0};
	struct sigguard g;
	void *host = NULL;
	int err;

	if (!mm)
		return NULL;
	g = sigguard_enter_soft();
	err = soft_translate(mm, addr, access, &host, &f);
	sigguard_leave(g);
	if (err && fault)
		*fault = f;
	if (err)
		errno = -err;
	else if (length)
		*length = FL_PAGE_SIZE - (addr & FL_PAGE_MASK);
	return err ? NULL : host;
}

FL_EXPORT int fl_space_release(fl_space *space, void *host)
{
	struct sigguard g;

	if (!soft_mm(space))
		return -1;
	g = sigguard_enter_soft();
	ram_unpin(host);
	sigguard_leave(g);
	return 0;
}
