/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FL_SHIM_SUBMIT_H
#define FL_SHIM_SUBMIT_H

struct iocb;

/* As io_submit(2), but for the error, which is what it returns. */
long submit_requests(unsigned long ctx, long n, struct iocb **list);

#endif
