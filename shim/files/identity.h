/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is known of the program's descriptors, so that calls that pass bytes, to a socket or to a file that nobody has mapped, need not ask the
 * kernel which file that is. See identity.c for what may be remembered.
 */
#ifndef FL_SHIM_IDENTITY_H
#define FL_SHIM_IDENTITY_H

#include "api/file_io.h"

/* As file_io_lookup(). errno stays as it is. */
struct address_space *identity_file(int fd);
/* As file_io_start(). */
struct address_space *identity_start(int fd, struct inflight *f);
/* Whether there is one. */
bool identity_is_mapped(int fd);

/* A call of the program's has made it (-1: has failed), and nothing but calls that the shim sees will close it. Returns fd. */
int identity_opened(int fd);
/* It is about to be closed, or to belong to libc, which closes by itself. */
void identity_gone(int fd);
void identity_gone_range(unsigned first, unsigned last);
/* Another process has the same descriptors from now on: nothing is remembered any more. */
void identity_shared(void);

#endif
