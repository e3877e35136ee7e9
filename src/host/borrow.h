/* SPDX-License-Identifier: Apache-2.0 */
/* Memory of the budget that clients have for pages of their own. */
#ifndef FL_HOST_BORROW_H
#define FL_HOST_BORROW_H

#include "session.h"

/* All or -ENOMEM: a client has half of the budget at most, all together three quarters. */
int borrow_take(struct session *s, uint64_t pages);
/* -EINVAL: it has not borrowed so many. */
int borrow_return(struct session *s, uint64_t pages);
void borrow_return_all(struct session *s);

#endif
