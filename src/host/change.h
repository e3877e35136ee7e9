/* SPDX-License-Identifier: Apache-2.0 */
/* A client changes a file by other means than its mappings: write(2), ftruncate(2). */
#ifndef FL_HOST_CHANGE_H
#define FL_HOST_CHANGE_H

#include "serve.h"

/* Both steps of WIRE_CHANGE. */
int change_file(struct request *r);
/* Where the file ended at its shortest since the last question. */
uint64_t change_lowest(struct handle *h);
/* Where clients are told that some file has become shorter: board.shrunk. */
void change_set_counter(_Atomic uint32_t *shrunk);

#endif
