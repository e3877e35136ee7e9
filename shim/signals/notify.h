/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FL_SHIM_NOTIFY_H
#define FL_SHIM_NOTIFY_H

#include <signal.h>

/* In its place for libc: where a thread is told, its faults can be served. `copy` is for the time of the call. */
const struct sigevent *notify_event(const struct sigevent *event, struct sigevent *copy);

#endif
