/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FL_SHIM_MEMORY_H
#define FL_SHIM_MEMORY_H

#include <stdbool.h>
#include <stddef.h>

/* Whether the calls on mappings concern us: part of the range is in the default space. Cheap while nothing is mapped. */
bool is_mapped_by_us(const void *addr, size_t len);

#endif
