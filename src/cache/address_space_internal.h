/* SPDX-License-Identifier: Apache-2.0 */
/* Objects as such, between address_space.c and anon_object.c: their memory, and their numbers. */
#ifndef FL_CACHE_ADDRESS_SPACE_INTERNAL_H
#define FL_CACHE_ADDRESS_SPACE_INTERNAL_H

#include "address_space.h"

/* With one reference, and frames of this kind; not found by anybody yet. NULL: no memory. Takes files_lock. */
struct address_space *address_space_alloc(const struct frame_ops *frames);
/* Nobody can find it any more. Takes files_lock. */
void address_space_free(struct address_space *as);
/* From here on address_space_of() finds it by its number. -ENOMEM: all are in use. Takes files_lock. */
int address_space_number(struct address_space *as);
/* If it has one. Takes files_lock. */
void address_space_unnumber(struct address_space *as);

#endif
