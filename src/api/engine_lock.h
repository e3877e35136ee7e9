/* SPDX-License-Identifier: Apache-2.0 */
/* The lock over start, stop, the set of spaces, and fork. For src/api only. */
#ifndef FL_API_ENGINE_LOCK_H
#define FL_API_ENGINE_LOCK_H

#include "util/lock.h"

extern struct mutex engine_lock;

#endif
