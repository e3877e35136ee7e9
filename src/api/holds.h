/* SPDX-License-Identifier: Apache-2.0 */
/* What calls of the program's have pinned, by thread. The rest is in file_io.h. */
#ifndef FL_API_HOLDS_H
#define FL_API_HOLDS_H

void holds_init(void);
/* Pins are not inherited. */
void holds_fork_child(void);

#endif
