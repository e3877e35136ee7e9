/* SPDX-License-Identifier: Apache-2.0 */
/* An array of pointers that grows, in memory that the budget pays for: what a client has open and mapped. The caller guards it. */
#ifndef FL_HOST_TABLE_H
#define FL_HOST_TABLE_H

#include <stdint.h>

struct table {
	void **at;
	uint32_t n, room;
};

/* Makes room for `more` entries; pages leave memory for it if need be. The caller holds no lock of the cache. 0 or -ENOMEM. */
int table_reserve(struct table *t, uint32_t more);
/* There is room for it. */
void table_insert(struct table *t, uint32_t i, void *p);
/* Takes entries [i, i + n) out. */
void table_remove(struct table *t, uint32_t i, uint32_t n);
void table_free(struct table *t);

#endif
