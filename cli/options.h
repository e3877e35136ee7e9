/* SPDX-License-Identifier: Apache-2.0 */
/* What `faultline run` was asked for: its options, and the FAULTLINE_* variables that stand in for those not given. */
#ifndef FL_CLI_OPTIONS_H
#define FL_CLI_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "api/engine.h"

enum report_format { REPORT_NONE, REPORT_TEXT, REPORT_JSON };

struct run_options {
	uint64_t budget; /* bytes; what holds, also when nothing was said */
	enum engine_faults faults;
	enum report_format format;
	const char *report_file; /* NULL: standard error */
	const char *host;        /* "auto", "none", or the socket of one to join */
	char **program;          /* name and arguments, NULL-terminated */
};

/*
 * 0, with all values checked and put into the environment for the library to find; or, after a message, the exit
 * status to give. Does not return for --help.
 */
int options_parse(int argc, char **argv, struct run_options *o);

/* The same with the variables alone, and nothing exported: what a run without options would go by. */
int options_from_environment(struct run_options *o);

#endif
