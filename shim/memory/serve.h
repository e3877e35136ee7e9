/* SPDX-License-Identifier: Apache-2.0 */
/* Which mmap() calls Faultline serves, and the call itself. */
#ifndef FL_SHIM_SERVE_H
#define FL_SHIM_SERVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct map_call {
	void *addr;
	size_t len;
	int prot, flags, fd;
	off_t off;
};

/* True when it was served: *out is the mapping. False: the kernel has to do it, and gives the error when there is one. */
bool serve_mmap(const struct map_call *c, void **out);
/* Whether memory without a file is served; see FAULTLINE_ANON. */
bool serve_anonymous(void);
/* Starts the engine before there is a mapping. False when mappings are left to the kernel. */
bool serve_start(void);

#endif
