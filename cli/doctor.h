/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FL_CLI_DOCTOR_H
#define FL_CLI_DOCTOR_H

/* `faultline doctor`: argv[0] is how to name the command in messages. The exit status to give: 1 when run cannot work. */
int doctor_main(int argc, char **argv);

#endif
