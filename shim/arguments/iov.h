/* SPDX-License-Identifier: Apache-2.0 */
/* Buffers given as a vector. */
#ifndef FL_SHIM_IOV_H
#define FL_SHIM_IOV_H

#include <stdbool.h>
#include <sys/uio.h>

bool iov_is_ours(const struct iovec *iov, int n);
/* Pins what is ours; 0, or -errno with nothing pinned. `frame`: as of pin(). */
int iov_pin(const struct iovec *iov, int n, bool write, const void *frame);
void iov_unpin(const struct iovec *iov, int n, const void *frame);

/* For __attribute__((cleanup)), as a thread can be cancelled in a call. */
struct iov_pinned {
	const struct iovec *iov;
	int n;
	const void *frame;
};

static inline void iov_end(const struct iov_pinned *p)
{
	iov_unpin(p->iov, p->n, p->frame);
}
/* As file_io_was_cut(), of what comes after n bytes; of all, where n is -EFAULT. */
bool iov_was_cut(const struct iovec *iov, int count, ssize_t n);

#endif
