/* SPDX-License-Identifier: Apache-2.0 */
#include "real.h"

#include <dlfcn.h>
#include <errno.h>

struct real_functions real_functions;
_Atomic bool real_ready;

static _Thread_local bool resolving __attribute__((tls_model("initial-exec")));

/*
 * Two threads may both do it: they store the same values. dlsym() allocates only for a symbol that is not there, and the
 * functions that an allocator needs come first, so that it finds them when it calls us from in here.
 */
void real_resolve(void)
{
	int saved = errno;

	if (resolving)
		return;
	resolving = true;
#define X(name) real_functions.name = (__typeof__(&name))dlsym(RTLD_NEXT, #name);
	REAL_ALL(X)
#undef X
	__atomic_store_n((bool *)&real_ready, true, __ATOMIC_RELEASE);
	resolving = false;
	errno = saved;
}

__attribute__((constructor)) static void at_start(void)
{
	real_table();
}

long shim_error(long r)
{
	if (r < -4095)
		return r;
	errno = (int)-r;
	return -1;
}
