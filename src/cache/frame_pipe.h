/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pages that come into a memfd which other processes have mapped, where whoever finds a page there may map it at once (hosted.c). pwrite(2) is
 * not for that: where it cannot read its source, as a page of it is just being moved to other memory (compaction), it leaves a page of
 * zeros for a moment before it tries again. A page that comes out of a pipe has been found by the kernel before, so that a page of the memfd is locked
 * from when it is there to when it holds the bytes; UFFDIO_CONTINUE waits for that lock.
 */
#ifndef FL_CACHE_FRAME_PIPE_H
#define FL_CACHE_FRAME_PIPE_H

#include <stdint.h>

/* Before the first page. 0 or -errno. */
int frame_pipe_init(void);
void frame_pipe_exit(void);
/* `off`, `buf` and `len` are multiples of FL_PAGE_SIZE. 0 or -errno, with some of it written perhaps. Any thread, any lock held. */
int frame_pipe_write(int memfd, uint64_t off, const void *buf, uint64_t len);

#endif
