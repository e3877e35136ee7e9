/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Arguments that the shim reads itself, before the kernel does: where reading them would raise a signal, the call is left to
 * the kernel, which says EFAULT. Keeps errno.
 */
#ifndef FL_SHIM_PEEK_H
#define FL_SHIM_PEEK_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

/* On the caller's stack, and not ours: it can be read, and nothing need be held. Cheap. */
bool is_on_stack(const void *at, size_t len);
/* Whether all of it can be read. Memory of ours is to be pinned before, or may seem not to be there. */
bool can_read(const void *at, size_t len);
/*
 * Of a buffer that is to be filled: up to the first page that is nobody's memory. What comes after must not be pinned for it, which makes
 * private copies.
 */
size_t memory_at(const void *at, size_t len);
/* As can_read(), with memory of ours pinned for the time of the look. */
bool can_peek(const void *at, size_t len);
bool peek(void *to, const void *from, size_t len);

/* The room that the program says there is; 0 when it does not. */
size_t peek_room(const socklen_t *len);

/* Whether messages, and the lists of their buffers, can be read. */
bool can_peek_message(const struct msghdr *m);
bool can_peek_messages(const struct mmsghdr *v, unsigned n);

#endif
