/* SPDX-License-Identifier: Apache-2.0 */
/* The shared mappings of a client: what the reverse maps of its files know of them. By mmu and address; no two overlap. */
#ifndef FL_HOST_MAPPINGS_H
#define FL_HOST_MAPPINGS_H

#include "session.h"

/* Pages [addr, addr + pages) of the client, by the mmu of that number. */
struct client_range {
	uint32_t mmu;
	uint64_t addr, pages;
};

struct mapping {
	struct rmap rmap; /* its addresses change under session.lock and rmap_lock, both for writing */
	struct handle *file;
	uint32_t mmu;
	struct mapping *next_gone;
};

/*
 * All: -EINVAL when there is no such mmu, -ENOMEM (also when more would be locked than may be), with nothing changed. What was there before is
 * replaced by mappings_add().
 */
int mappings_add(struct session *s, struct handle *file, const struct client_range *r, uint64_t pgoff, bool locked);
int mappings_remove(struct session *s, const struct client_range *r);
int mappings_lock(struct session *s, const struct client_range *r, bool locked);
/*
 * Whether page `index` of the file is mapped at that address, and how many pages of the mapping lie from there on, and before; the mmu, with
 * a reference.
 */
bool mappings_find(struct session *s, const struct handle *file, uint32_t mmu, uint64_t addr, uint64_t index, uint64_t *room,
		   uint64_t *before);
/* All of them, or those of one mmu. */
void mappings_remove_all(struct session *s);
void mappings_remove_mmu(struct session *s, uint32_t mmu);

#endif
