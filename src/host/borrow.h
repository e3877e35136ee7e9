/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory of the budget that clients have for pages of their own: lent, and asked back of those who have more when there is none left. See
 * docs/host.md, Memory.
 */
#ifndef FL_HOST_BORROW_H
#define FL_HOST_BORROW_H

#include "session.h"

/*
 * All or nothing: a client has half of the budget at most, all together three quarters. -EAGAIN: others have been asked to give some back; -ENOMEM: this
 * client has had its share, or nobody has more than he needs. `urgent`: it can take no page of its own out of memory.
 */
int borrow_take(struct session *s, uint64_t pages, bool urgent);
/* So much is given back, and so much that was asked for will not be. -EINVAL: it has not borrowed so many. */
int borrow_return(struct session *s, uint64_t pages, uint64_t refused);
void borrow_return_all(struct session *s);
/* To be called now and then: when pages of files come back that had to leave, clients are asked for memory that they have not worked with lately. */
void borrow_for_files(void);

#endif
