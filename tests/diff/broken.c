/* SPDX-License-Identifier: Apache-2.0 */
/* Implementations with a known defect: the kernel's calls with one thing wrong. A tester that passes them is broken. */
#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "backend.h"

/* One store in 64 words of a page does not arrive; the access itself is made. */
static void losing_store(volatile uint64_t *p, uint64_t value)
{
	*p = (uintptr_t)p / 8 % 64 == 17 ? *p : value;
}

static int wrong_mprotect(void *addr, size_t len, int prot)
{
	int n = mprotect(addr, len, prot);

	if (n && errno == ENOMEM)
		errno = EINVAL;
	return n;
}

const struct backend lost_store_backend = {.name = "lost-store", KERNEL_CALLS, .mprotect = mprotect, .store = losing_store};
const struct backend wrong_errno_backend = {.name = "wrong-errno", KERNEL_CALLS, .mprotect = wrong_mprotect, .store = plain_store};
