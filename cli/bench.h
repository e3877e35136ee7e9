/* SPDX-License-Identifier: Apache-2.0 */
/* `faultline bench`: what Faultline would gain or cost on a file of the user's. */
#ifndef FL_CLI_BENCH_H
#define FL_CLI_BENCH_H

int bench_main(int argc, char **argv);

#endif
