/* SPDX-License-Identifier: Apache-2.0 */
/* Memory that clients see too. Its length cannot change, so that none of them can make an access of the host's fail. */
#ifndef FL_HOST_SHARED_H
#define FL_HOST_SHARED_H

#include <stdint.h>

/* A descriptor to pass on, and where it is mapped here; -errno. */
int shared_create(const char *name, uint64_t bytes, void **memory);

#endif
