/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FL_CLI_RUN_H
#define FL_CLI_RUN_H

/* `faultline run`: argv[0] is how to name the command in messages. The exit status to give. */
int run_main(int argc, char **argv);

#endif
