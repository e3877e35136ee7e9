/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FL_HOST_RELATIVES_H
#define FL_HOST_RELATIVES_H

#include <stdbool.h>

/* Of the host, whose relatives are younger. */
void relatives_begin(void);
/* Whether there is a process that was told to join the host that listens there, by its environment, and may be no client yet. */
bool relatives_any(int listen_fd);

#endif
