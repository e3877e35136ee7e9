/* SPDX-License-Identifier: Apache-2.0 */
/* Pages that a client has pinned, and how often: so many pins are taken away when it ends. */
#ifndef FL_HOST_PINS_H
#define FL_HOST_PINS_H

#include <stdatomic.h>

#include "cache/filemap.h"
#include "session.h"

/* Where filemap_pins_are_many() is shown from now on. */
void pins_show_at(_Atomic uint32_t *many);
/* filemap_pin(), remembered. */
int pins_add(struct session *s, struct handle *h, struct fault *f);
/* Takes one away: -EINVAL when there is none. */
int pins_drop(struct session *s, struct handle *h, uint64_t index);
/* All; with h only those of that handle. */
void pins_drop_all(struct session *s, const struct handle *h);

#endif
