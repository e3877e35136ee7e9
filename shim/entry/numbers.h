/* SPDX-License-Identifier: Apache-2.0 */
/* System calls by number that only give the kernel arguments in memory which may be ours. */
#ifndef FL_SHIM_NUMBERS_H
#define FL_SHIM_NUMBERS_H

#include "arguments/held.h"

#define NUMBERS_HELD 4

/* What of a call's six arguments is to be held: how many of h are set. 0: none, or the call is not known. */
size_t numbers_held(long nr, const long *args, struct held *h);

#endif
