/* SPDX-License-Identifier: Apache-2.0 */
/* Calls that open a file in other ways than by a path alone, which may truncate it as open(2) does. As libc's functions: errno. */
#ifndef FL_SHIM_OPEN_H
#define FL_SHIM_OPEN_H

#include <stddef.h>

#include "coherent.h"

#define NR_OPENAT2 437

/* openat2(2), of which libc and its headers may know nothing: `how` is the kernel's struct open_how, of so many bytes. */
long raw_openat2(int dir, const char *path, const void *how, size_t size);

/* `call`, which truncates the file that it opens. `look` opens the same one, and with O_PATH: that finds out whether it is mapped. */
long open_truncating(const struct raw_call *look, const struct raw_call *call);

#endif
