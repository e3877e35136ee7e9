/* SPDX-License-Identifier: Apache-2.0 */
/* Files that the kernel maps, in every process: one of them has mapped it so before the host had it. For good. */
#ifndef FL_HOST_LEAVE_H
#define FL_HOST_LEAVE_H

#include <stdbool.h>

#include "cache/address_space.h"

/* -EBUSY: the host has it. -ENOMEM: there is no room to remember it. */
int leave_to_kernel(struct file_id file);
/* Whether it was left; while the caller is between begin and end, none is. */
void leave_begin(void);
bool leave_has(struct file_id file);
void leave_end(void);

#endif
