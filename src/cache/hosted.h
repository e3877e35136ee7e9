/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Objects whose pages are with a host (docs/host.md): another process has their frames, states, read-ahead, reclaim and write-back, and maps
 * pages into the mappings of this one. Here is what the cache of a client does instead. Private copies stay with the client.
 *
 * All are calls to the host, made with any lock held; 0 or -errno, -EHOSTDOWN when the host has gone.
 */
#ifndef FL_CACHE_HOSTED_H
#define FL_CACHE_HOSTED_H

#include "address_space.h"
#include "filemap.h"

/* Whether files are with a host from now on. */
bool hosted_wanted(void);
/* A file is about to be opened: the host wakes meanwhile. */
void hosted_is_coming(void);
/* A new object gets its file there, by fd, and its memfd. -EOPNOTSUPP: the kernel maps it. */
int hosted_open(struct address_space *as, int fd);
/* The same for one that is inherited over a fork: of a host that has gone there are the frames still, which nobody maps pages of. */
int hosted_open_again(struct address_space *as, int fd);
/* It may be written from now on: fd is open for that. Calls under way use the handle that they have. */
int hosted_widen(struct address_space *as, int fd);
void hosted_close(struct address_space *as);

/* A mapping of `pages` pages from pgoff on is at addr, with nothing in it yet; or none is any more. */
int hosted_map(struct address_space *as, const struct mmu *mmu, uint64_t addr, uint64_t pgoff, uint64_t pages, bool locked);
void hosted_unmap(const struct mmu *mmu, uint64_t addr, uint64_t pages);
/* -ENOMEM: the host cannot lock as much. */
int hosted_lock(const struct mmu *mmu, uint64_t addr, uint64_t pages, bool locked);
/* The host is to map pages by this userfaultfd. */
int hosted_add_mmu(struct mmu *mmu, int fd);
void hosted_drop_mmu(struct mmu *mmu);

/* As filemap_fault(), for the file's page; `pin`: as filemap_pin(). */
int hosted_fault(struct fault *f, bool pin);
/* The same for so many pages, WIRE_POPULATE_MAX at most, from the fault's on; *done: so many are mapped, which is fewer where one cannot be. An error is the first one's. */
int hosted_populate(struct fault *f, uint64_t pages, uint64_t *done);
/* Pins so many pages, WIRE_PIN_MAX at most, from the fault's on; *pinned: so many were, which is fewer where one cannot be. An error is the first one's. */
int hosted_pin(struct fault *f, uint64_t pages, uint64_t *pinned);
/* Takes a pin of ours away from so many pages: how many had one, up to the first that has none. May stop short of that. */
uint64_t hosted_unpin(struct address_space *as, uint64_t index, uint64_t pages);
/* The page's bytes as they are now. -ENXIO beyond the end of the file. */
int hosted_read(struct address_space *as, uint64_t index, void *page);
int hosted_prefetch(struct address_space *as, uint64_t index, uint64_t pages);
/* A byte for each of so many pages. */
void hosted_resident(struct address_space *as, uint64_t index, uint64_t pages, unsigned char *vec);
/* flags: WIRE_WAIT, WIRE_DURABLE. */
int hosted_sync(struct address_space *as, uint64_t first, uint64_t last, uint32_t flags);
void hosted_cool(struct address_space *as, uint64_t first, uint64_t last, bool out);
int hosted_remove(struct address_space *as, uint64_t first, uint64_t last);

/*
 * A change of the file by other means than its mappings: from begin to end the host neither fills nor writes back. By the file's id, so also
 * for who has not mapped it. *held: whether there is anything to end.
 */
struct channel_pair;
int hosted_change_begin(struct channel_pair *p, struct file_id file, uint64_t *size, bool *held);
int hosted_change_end(struct channel_pair *p, uint64_t off, uint64_t len, bool replaces);
int hosted_sync_id(struct file_id file, uint64_t first, uint64_t last);
/* Of all files that the host has. */
int hosted_sync_all(void);
/* The kernel maps the file for good. -EBUSY: the host has it. */
int hosted_leave(struct file_id file);
/* Until the host has given up what clients had that have ended. */
int hosted_settle(void);
/* Before private copies are looked at: whether the file has become shorter since, and if so where it ended. */
bool hosted_shrunk(struct address_space *as, uint64_t *size);

/* Memory for what the process keeps itself, of the host's budget. */
extern const struct budget_lender hosted_lender;

#endif
