/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FL_CLI_WALK_H
#define FL_CLI_WALK_H

/* `faultline walk`: argv[0] is how to name the command in messages. The exit status to give. */
int walk_main(int argc, char **argv);

#endif
