/* SPDX-License-Identifier: Apache-2.0 */
/* Memory that clients see too. Its length cannot change, so that none of them can make an access of the host's fail. */
#ifndef FL_HOST_SHARED_H
#define FL_HOST_SHARED_H

#include <stdint.h>

/* Words that others may write to at any time, also who should not. */
#define shared_load(word) __atomic_load_n(word, __ATOMIC_RELAXED)
#define shared_store(word, value) __atomic_store_n(word, value, __ATOMIC_RELAXED)

/* A descriptor to pass on, and where it is mapped here; -errno. */
int shared_create(const char *name, uint64_t bytes, void **memory);

#endif
