/* SPDX-License-Identifier: Apache-2.0 */
/* A thread that has dirty pages written every few seconds, so that a power failure loses little. As the kernel's. */
#ifndef FL_HOST_FLUSHER_H
#define FL_HOST_FLUSHER_H

#include <stdbool.h>
#include <stdint.h>

int flusher_start(void);
/* Now, and all of them: has that been done which was asked for by the first? */
uint32_t flusher_flush(void);
bool flusher_has_flushed(uint32_t flush);
/* Whether it may have a file open that is nobody's any more. */
bool flusher_is_busy(void);
void flusher_stop(void);

#endif
