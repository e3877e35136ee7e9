/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Libraries that are loaded with RTLD_DEEPBIND look for names in what they were linked with, libc among it, before they look here: their calls would go past
 * the wrappers. So after such a dlopen(3) the places where what is loaded keeps the addresses of libc's functions get those of their wrappers. All
 * other names stay bound as the program has asked.
 *
 * dlopen(3) looks at who calls it: for its namespace and, when the name is to be searched for, for its DT_RUNPATH. So our dlopen() jumps to libc's, which sees the caller,
 * unless there is work to do afterwards and the caller does not matter. Constructors of what is loaded run before that work.
 */
#include <errno.h>
#include <link.h>
#include <string.h>
#include <sys/auxv.h>

#include "base/real.h"
#include "util/compiler.h"
#include "util/sys.h"

typedef void *dlopen_fn(const char *name, int flags);

struct range {
	uintptr_t start, end;
};

/* A loaded object. Tables of dynamic sections are where ld.so has put them, or still relative to the object. */
struct object {
	struct range all, relro;
	uintptr_t base;
	const Elf64_Sym *symbols;
	const char *names;
	const uint32_t *hash;
	const Elf64_Rela *relocs[2]; /* calls, and all others */
	size_t relocs_size[2];
};

/* Of all objects. */
struct bindings {
	struct object program;
	struct object wrappers; /* this library */
	uintptr_t in_libc;
	struct range libc, vdso;
};

static bool within(const struct range *r, uintptr_t addr)
{
	return addr >= r->start && addr < r->end;
}

/* ---- Objects ---- */

static const void *table_at(const struct object *o, Elf64_Addr addr)
{
	return (const void *)(addr < o->base ? o->base + addr : addr); // NOLINT(performance-no-int-to-ptr)
}

static void read_dynamic(struct object *o, const Elf64_Dyn *d)
{
	for (; d->d_tag != DT_NULL; d++) {
		switch (d->d_tag) {
		case DT_SYMTAB:
			o->symbols = table_at(o, d->d_un.d_ptr);
			break;
		case DT_STRTAB:
			o->names = table_at(o, d->d_un.d_ptr);
			break;
		case DT_GNU_HASH:
			o->hash = table_at(o, d->d_un.d_ptr);
			break;
		case DT_JMPREL:
			o->relocs[0] = table_at(o, d->d_un.d_ptr);
			break;
		case DT_PLTRELSZ:
			o->relocs_size[0] = d->d_un.d_val;
			break;
		case DT_RELA:
			o->relocs[1] = table_at(o, d->d_un.d_ptr);
			break;
		case DT_RELASZ:
			o->relocs_size[1] = d->d_un.d_val;
			break;
		default:
			break;
		}
	}
}

static void read_object(struct object *o, const struct dl_phdr_info *info)
{
	const Elf64_Dyn *dynamic = NULL;

	*o = (struct object){.base = info->dlpi_addr, .all = {UINTPTR_MAX, 0}};
	for (int i = 0; i < info->dlpi_phnum; i++) {
		const Elf64_Phdr *p = &info->dlpi_phdr[i];
		uintptr_t start = o->base + p->p_vaddr, end = start + p->p_memsz;

		if (p->p_type == PT_LOAD)
			o->all = (struct range){start < o->all.start ? start : o->all.start, end > o->all.end ? end : o->all.end};
		else if (p->p_type == PT_GNU_RELRO) /* what ld.so has protected: whole pages */
			o->relro = (struct range){page_align_down(start), page_align_down(end)};
		else if (p->p_type == PT_DYNAMIC)
			dynamic = (const Elf64_Dyn *)start; // NOLINT(performance-no-int-to-ptr)
	}
	if (dynamic)
		read_dynamic(o, dynamic);
}

/* ---- Wrappers by name ---- */

static uint32_t hash_of(const char *name)
{
	uint32_t h = 5381;

	while (*name)
		h = h * 33 + (unsigned char)*name++;
	return h;
}

/* A function that an object exports, by the buckets and chains of DT_GNU_HASH. */
static uintptr_t exported(const struct object *o, const char *name)
{
	uint32_t h = hash_of(name), buckets = o->hash ? o->hash[0] : 0, first, i;
	const uint32_t *bucket, *chain;

	if (!buckets)
		return 0;
	first = o->hash[1];
	bucket = o->hash + 4 + 2 * (size_t)o->hash[2]; /* behind the Bloom filter */
	chain = bucket + buckets;
	i = bucket[h % buckets];
	if (i < first)
		return 0;
	for (;; i++) {
		const Elf64_Sym *s = &o->symbols[i];

		if ((chain[i - first] | 1) == (h | 1) && !strcmp(o->names + s->st_name, name))
			return ELF64_ST_TYPE(s->st_info) == STT_FUNC && s->st_shndx != SHN_UNDEF ? o->base + s->st_value : 0;
		if (chain[i - first] & 1)
			return 0;
	}
}

/* ---- Binding ---- */

/* liburing's functions: past the wrappers when they are liburing's own (rings.c). */
static bool makes_ring(const char *name)
{
	return !strncmp(name, "io_uring_queue_init", strlen("io_uring_queue_init"));
}

/* A place that has an address of libc's, or of what has ld.so look the name up at the first call; what the program has of that name comes before ours. */
static bool goes_past(const struct bindings *b, const struct object *o, unsigned long type, uintptr_t value, const char *name)
{
	if (makes_ring(name) || (type == R_X86_64_JUMP_SLOT && within(&o->all, value)))
		return !exported(&b->program, name);
	return within(&b->libc, value) || within(&b->vdso, value);
}

static void bind_place(const struct bindings *b, const struct object *o, const Elf64_Rela *r, bool *opened)
{
	unsigned long type = ELF64_R_TYPE(r->r_info);
	const Elf64_Sym *s = &o->symbols[ELF64_R_SYM(r->r_info)];
	uintptr_t *place = (uintptr_t *)(o->base + r->r_offset), wrapper; // NOLINT(performance-no-int-to-ptr)
	const char *name = o->names + s->st_name;

	if ((type != R_X86_64_JUMP_SLOT && type != R_X86_64_GLOB_DAT && type != R_X86_64_64) ||
	    (s->st_shndx != SHN_UNDEF && !makes_ring(name)) || r->r_addend)
		return;
	if (!goes_past(b, o, type, *place, name) || !(wrapper = exported(&b->wrappers, name)))
		return;
	if (!*opened && within(&o->relro, (uintptr_t)place)) {
		if (sys_mprotect((void *)o->relro.start, o->relro.end - o->relro.start,
				 PROT_READ | PROT_WRITE)) // NOLINT(performance-no-int-to-ptr)
			return;
		*opened = true;
	}
	__atomic_store_n(place, wrapper, __ATOMIC_RELEASE); /* other threads may be calling by it */
}

static int bind_object(struct dl_phdr_info *info, size_t size, void *arg)
{
	const struct bindings *b = arg;
	bool opened = false;
	struct object o;

	(void)size;
	read_object(&o, info);
	if (!o.symbols || !o.names || within(&o.all, b->in_libc) || o.base == b->wrappers.base || o.base == getauxval(AT_BASE) ||
	    within(&o.all, b->vdso.start))
		return 0;
	for (int k = 0; k < 2; k++)
		for (size_t i = 0; o.relocs[k] && i < o.relocs_size[k] / sizeof *o.relocs[k]; i++)
			bind_place(b, &o, &o.relocs[k][i], &opened);
	if (opened)
		sys_mprotect((void *)o.relro.start, o.relro.end - o.relro.start, PROT_READ); // NOLINT(performance-no-int-to-ptr)
	return 0;
}

static int find_objects(struct dl_phdr_info *info, size_t size, void *arg)
{
	struct bindings *b = arg;
	struct object o;

	(void)size;
	read_object(&o, info);
	if (!b->program.symbols)
		b->program = o;
	if (within(&o.all, (uintptr_t)find_objects))
		b->wrappers = o;
	else if (within(&o.all, b->in_libc))
		b->libc = o.all;
	else if (within(&o.all, getauxval(AT_SYSINFO_EHDR)))
		b->vdso = o.all;
	return 0;
}

/*
 * All objects are looked at, since those that the new one needs are new as well, and no list says which. In those that were not loaded so, what is undefined is bound to us
 * already, or would be at the first call.
 */
static void bind_all(void)
{
	struct bindings b = {.in_libc = (uintptr_t)REAL(read)};

	dl_iterate_phdr(find_objects, &b);
	if (b.wrappers.hash && b.libc.end)
		dl_iterate_phdr(bind_object, &b);
}

/* ---- dlopen ---- */

static bool has_runpath(const void *code)
{
	struct link_map *map;
	Dl_info info;

	if (!dladdr1(code, &info, (void **)&map, RTLD_DL_LINKMAP) || !map || !map->l_ld)
		return true;
	for (const Elf64_Dyn *d = map->l_ld; d->d_tag != DT_NULL; d++)
		if (d->d_tag == DT_RUNPATH || d->d_tag == DT_RPATH)
			return true;
	return false;
}

static bool caller_matters(const char *name, const void *caller)
{
	return strchr(name, '$') || (!strchr(name, '/') && has_runpath(caller));
}

static void *open_and_bind(const char *name, int flags)
{
	void *handle = REAL(dlopen)(name, flags);
	int saved = errno;

	if (handle)
		bind_all();
	errno = saved;
	return handle;
}

/* Which function does it. */
__attribute__((used)) static dlopen_fn *dlopen_by(const char *name, int flags, const void *caller)
{
	int saved = errno;
	dlopen_fn *f = (flags & RTLD_DEEPBIND) && name && !caller_matters(name, caller) ? open_and_bind : REAL(dlopen);

	errno = saved;
	return f;
}

/* The return address stays the caller's. */
WRAPPER __attribute__((naked)) void *dlopen(__attribute__((unused)) const char *name, __attribute__((unused)) int flags)
{
	__asm__("push %rdi\n\t"
		"push %rsi\n\t"
		"mov 16(%rsp), %rdx\n\t"
		"sub $8, %rsp\n\t"
		"call dlopen_by\n\t"
		"add $8, %rsp\n\t"
		"pop %rsi\n\t"
		"pop %rdi\n\t"
		"jmp *%rax");
}
