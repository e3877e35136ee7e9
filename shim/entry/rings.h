/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FL_SHIM_RINGS_H
#define FL_SHIM_RINGS_H

#include <stdbool.h>

/* Whether the program is to have no ring of io_uring; told in the report each time. Keeps errno. */
bool rings_refused(void);

#endif
