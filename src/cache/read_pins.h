/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pins of a file's pages where private mappings show them. When the program stores to such a page it gets a copy of its own, and the copy comes to the
 * place for which the page was pinned: it takes over the pins, or it could leave memory while the kernel still reads there.
 */
#ifndef FL_CACHE_READ_PINS_H
#define FL_CACHE_READ_PINS_H

#include "filemap.h"

struct read_pin;

/* Before the first file. */
void read_pins_init(void);
/* For f->read_pin, before a page is locked; NULL when there is no memory. What was not added is freed by who made it. */
struct read_pin *read_pin_new(void);
void read_pin_free(struct read_pin *p);

/*
 * f->read_pin is noted: the page of the file has been pinned for f. Its lock is held, or else a copy cannot be made yet for another reason; so who makes one
 * finds the note.
 */
void read_pins_add(struct fault *f);
/* A copy takes them over: how many there were. Its lock is held. */
uint32_t read_pins_take(const struct fault *f);
/* One of them ends. Which page it lies on; NONE: there is no note, so on the copy that was there before. */
enum read_pin_place { READ_PIN_NONE, READ_PIN_ON_FILE, READ_PIN_ON_COPY };
enum read_pin_place read_pins_remove(const struct fault *f);

/* Whether there is one, taken over or not. */
bool read_pins_any(const struct fault *f);

/* Those of the parent's threads. Before there is another thread. */
void read_pins_fork_child(void);

#endif
