/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FL_CLI_EXAMPLE_H
#define FL_CLI_EXAMPLE_H

/*
 * Builds a small process in a soft space, says on standard output what is where, and writes its dump to the descriptors: fds, of
 * which there are n. 0, or the exit status to give after a message.
 */
int example_dump(const int *fds, int n);

#endif
