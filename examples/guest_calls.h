/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GUEST_CALLS_H
#define GUEST_CALLS_H

#include "guest.h"

/* Has the guest's system calls answered. 0 or -errno. */
int calls_start(struct guest *g);

#endif
