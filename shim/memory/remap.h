/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FL_SHIM_REMAP_H
#define FL_SHIM_REMAP_H

#include <stddef.h>

/*
 * Moves memory of the kernel's to a place where some is ours, which goes. In one step: what another thread maps meanwhile must not get the place. 0 or
 * -errno.
 */
int move_onto_ours(void *from, size_t len, void *to);

#endif
