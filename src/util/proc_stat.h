/* SPDX-License-Identifier: Apache-2.0 */
/* What the kernel says of a thread of any process: proc_pid_stat(5). */
#ifndef FL_UTIL_PROC_STAT_H
#define FL_UTIL_PROC_STAT_H

#include <stddef.h>
#include <stdint.h>

#define PROC_STAT_STATE 3
#define PROC_STAT_FLAGS 9
#define PROC_STAT_ROOM 512 /* for what comes before the last of these, and more */

/* Where the field begins, 3 or later, in `text`, which is filled; NULL: it has gone, or cannot be looked at. Not for a fault. */
const char *proc_stat_field(uint32_t tid, int field, char text[PROC_STAT_ROOM]);

#endif
