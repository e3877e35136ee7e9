/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FL_SHIM_SIGMASK_H
#define FL_SHIM_SIGMASK_H

#include <stdbool.h>

/* Whether the calling thread has SIGBUS blocked, as far as the program knows. */
bool sigmask_has_sigbus(void);

#endif
