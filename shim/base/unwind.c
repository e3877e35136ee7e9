/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A thread that is cancelled, or calls pthread_exit(3) in a signal handler, leaves our wrappers in the middle of libc's call. What is pinned for that is then given
 * up by `__attribute__((cleanup))`, for which we are compiled with -fexceptions. The two functions that such code needs are libgcc's: they are looked up
 * when somebody unwinds, as libc does, so that no program has libgcc loaded for us.
 */
#include <dlfcn.h>
#include <stdint.h>
#include <stdlib.h>

static void *libgcc(const char *name)
{
	void *library = dlopen("libgcc_s.so.1", RTLD_NOW | RTLD_LOCAL);

	return library ? dlsym(library, name) : NULL;
}

/* As in <unwind.h>, which would have them exported, for all of the process. */
#define CONTINUE_UNWIND 8

typedef int (*personality_fn)(int version, int actions, uint64_t class, void *exception, void *context);

int __gcc_personality_v0(int version, int actions, uint64_t class, void *exception, void *context);
_Noreturn void _Unwind_Resume(void *exception);

/* Without libgcc nothing is given up. */
int __gcc_personality_v0(int version, int actions, uint64_t class, void *exception, void *context)
{
	personality_fn real = (personality_fn)(uintptr_t)libgcc("__gcc_personality_v0");

	return real ? real(version, actions, class, exception, context) : CONTINUE_UNWIND;
}

/* Where the function above has found it, it is there. */
void _Unwind_Resume(void *exception)
{
	void (*real)(void *) = (void (*)(void *))(uintptr_t)libgcc("_Unwind_Resume");

	if (real)
		real(exception);
	abort();
}
