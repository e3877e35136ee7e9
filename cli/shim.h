/* SPDX-License-Identifier: Apache-2.0 */
/* Finding the preload library. */
#ifndef FL_CLI_SHIM_H
#define FL_CLI_SHIM_H

#include <stddef.h>

/*
 * The absolute path of the shim, which the caller frees: FAULTLINE_SHIM, else beside this command (build tree or
 * prefix), else where it was installed. NULL when there is none, with the reason and the cure in `why`.
 */
char *shim_find(char *why, size_t len);

#endif
