/* SPDX-License-Identifier: Apache-2.0 */
/* Finding the program to run, and whether the shim can be loaded into it. */
#ifndef FL_CLI_PROGRAM_H
#define FL_CLI_PROGRAM_H

/*
 * Finds `name` as execvp(3) does and checks it and, for a script, what interprets it. 0 and the path, which the caller
 * frees; or, after one line on standard error, the exit status to give.
 */
int program_find(const char *name, char **path);

#endif
