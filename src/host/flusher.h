/* SPDX-License-Identifier: Apache-2.0 */
/* A thread that has dirty pages written every few seconds, so that a power failure loses little. As the kernel's. */
#ifndef FL_HOST_FLUSHER_H
#define FL_HOST_FLUSHER_H

int flusher_start(void);
/* Now, and all of them. */
void flusher_flush(void);
void flusher_stop(void);

#endif
