/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory that the engine keeps for itself, away from where the kernel puts a program's mappings. A program may unmap a range of its own and come
 * back to it with MAP_FIXED; what the kernel had put there for us in between would be gone, without anybody being told.
 */
#ifndef FL_UTIL_OWN_H
#define FL_UTIL_OWN_H

#include <stddef.h>

/* Where to ask the kernel for so much: a hint, which it follows unless something is there. */
void *own_place(size_t len);
/*
 * sys_mmap() for reading and writing at a place of our choosing; where that is taken, at one of the kernel's. Files are left out of core dumps. Check
 * with sys_is_err().
 */
void *own_map(size_t len, int flags, int fd);
/* Private anonymous memory that takes what is touched of it. */
void *own_reserve(size_t len);

#endif
