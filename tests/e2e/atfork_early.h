/* SPDX-License-Identifier: Apache-2.0 */
#ifndef ATFORK_EARLY_H
#define ATFORK_EARLY_H

#define EARLY_EXPORT __attribute__((visibility("default")))

/* What its handlers do while they have the lock. */
EARLY_EXPORT void early_look(void (*fn)(void));
/* With the lock. */
EARLY_EXPORT void early_call(void (*fn)(void));

#endif
