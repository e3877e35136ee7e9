/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FL_SHIM_SIGNALS_H
#define FL_SHIM_SIGNALS_H

#include <stdbool.h>

/* Whether the signal's disposition is the program's view only: SIGBUS and its stand-in, once the engine's handler is in place. */
bool signals_virtual(int sig);
/* Whether the signal's sa_mask has the stand-in as far as the program knows; `change` makes it so or not. Whether it has SIGBUS the kernel knows. */
bool signals_swap_stand_in(int sig, bool set, bool change);

#endif
