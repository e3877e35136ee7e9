/* SPDX-License-Identifier: Apache-2.0 */
/*
 * io_uring is refused. What is asked for by a ring is in memory that the kernel looks at by itself, past the wrappers: on a mapped file it would read old bytes
 * and have its own written over, and find nothing in memory of ours. A ring may be older than any mapping, so none is made.
 *
 * The error is ENOSYS, as of a kernel that has no io_uring. That is what programs have known longest as a reason to do without; EPERM, which a kernel says where the
 * administrator has forbidden it, some have taken for a failure.
 *
 * Rings are made by number (syscall.c) and by liburing, which makes its system calls by instructions. It calls its own functions by their names, so what it makes for
 * itself comes here as well. The names have no version, but for one: a liburing that a program brings with it may have none.
 * Nothing in Faultline makes a ring. Not seen is one that is made by an instruction of the program's own, as by a liburing that is linked into it, or that comes
 * from another process.
 */
#include "rings.h"

#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <stdlib.h>
#include <string.h>

#include "base/real.h"
#include "memory/left.h"
#include "memory/serve.h"

#define VARIABLE "FAULTLINE_IO_URING"

static bool are_allowed(void)
{
	const char *value = getenv(VARIABLE);

	return value && !strcmp(value, "allow");
}

bool rings_refused(void)
{
	int saved = errno;

	if (are_allowed())
		return false;
	serve_start(); /* or a program that maps nothing would have no report */
	left_note_refused("io_uring", "requests by it go past Faultline; --io-uring=allow lets the program have it");
	errno = saved;
	return true;
}

/* ---- By liburing ---- */

typedef int init_fn(unsigned entries, void *ring, unsigned flags);
typedef int init_params_fn(unsigned entries, void *ring, void *params);
typedef int init_mem_fn(unsigned entries, void *ring, void *params, void *buf, size_t size);
typedef int setup_fn(unsigned entries, void *params);
typedef void *probe_fn(void);

/* The object of the caller, which may have been loaded where a search from here does not come to it; NULL: the program, from which one does. */
static void *caller_handle(const void *caller)
{
	struct link_map *map;
	Dl_info info;

	if (!dladdr1(caller, &info, (void **)&map, RTLD_DL_LINKMAP) || !map || !map->l_name[0])
		return NULL;
	return REAL(dlopen)(map->l_name, RTLD_LAZY | RTLD_NOLOAD);
}

/* The function that a caller would have had without us; NULL: none. It stays loaded, as the caller does. */
static void *theirs(const char *name, const void *caller)
{
	void *handle = caller_handle(caller), *found = handle ? dlsym(handle, name) : NULL;

	if (handle)
		dlclose(handle);
	return found ? found : dlsym(RTLD_NEXT, name);
}

#define RING_CALL(type, name, ...)                                                                          \
	do {                                                                                                \
		type *theirs_ = rings_refused() ? NULL : (type *)theirs(name, __builtin_return_address(0)); \
                                                                                                            \
		return theirs_ ? theirs_(__VA_ARGS__) : -ENOSYS;                                            \
	} while (0)

WRAPPER int io_uring_queue_init(unsigned entries, void *ring, unsigned flags)
{
	RING_CALL(init_fn, "io_uring_queue_init", entries, ring, flags);
}

WRAPPER int io_uring_queue_init_params(unsigned entries, void *ring, void *params)
{
	RING_CALL(init_params_fn, "io_uring_queue_init_params", entries, ring, params);
}

WRAPPER int io_uring_queue_init_mem(unsigned entries, void *ring, void *params, void *buf, size_t size)
{
	RING_CALL(init_mem_fn, "io_uring_queue_init_mem", entries, ring, params, buf, size);
}

/* A name that others may have given to something else: this is only liburing's version of it. */
WRAPPER int setup_by_liburing(unsigned entries, void *params);
__asm__(".symver setup_by_liburing, io_uring_setup@LIBURING_2.3, remove");

WRAPPER int setup_by_liburing(unsigned entries, void *params)
{
	RING_CALL(setup_fn, "io_uring_setup", entries, params);
}

/* Has a ring of its own for a moment: who has no ring must not be told what one could do. */
WRAPPER void *io_uring_get_probe(void)
{
	probe_fn *probe = rings_refused() ? NULL : (probe_fn *)theirs("io_uring_get_probe", __builtin_return_address(0));

	return probe ? probe() : NULL;
}
