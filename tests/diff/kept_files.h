/* SPDX-License-Identifier: Apache-2.0 */
/* The files of a side that is kept: made once, and made good after each list. */
#ifndef DIFF_KEPT_FILES_H
#define DIFF_KEPT_FILES_H

#include "run.h"

void kept_files_make(struct context *c);
/* As files_open(); or, when each file is opened once, another descriptor of the same open file. */
int kept_files_open(const struct context *c, int which);
/* Opens all of them anew when that has changed. */
void kept_files_set_one_open(struct context *c, bool one_open);
/* Tells how each file differs from what it was, and has it so again. Nothing may be mapped. */
void kept_files_check(struct context *c);

#endif
