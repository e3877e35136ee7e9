/* SPDX-License-Identifier: Apache-2.0 */
/* Text for people: messages, allocation that cannot fail, numbers and names made safe to print. */
#ifndef FL_CLI_TEXT_H
#define FL_CLI_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/compiler.h"

/* As env(1) and timeout(1): a caller can tell our failures from the program's. */
enum {
	EXIT_FAULTLINE = 125,
	EXIT_CANNOT_EXEC = 126,
	EXIT_NOT_FOUND = 127,
	EXIT_SIGNALLED = 128, /* plus the signal's number */
};

/* Room for any number that the functions below write. */
#define NUMBER_MAX 32

/* One line on standard error, "faultline: " in front; names in it cannot break the line or drive the terminal. */
void complain(const char *fmt, ...) FL_PRINTF(1, 2);

struct argp;
struct argp_state;
/*
 * argp_parse() whose mistakes are one line, by complain(), and whose --help is the option 'h' of the table: 0 when all is
 * well, else EXIT_FAULTLINE. `command` is what comes before the options.
 */
int parse_command_line(const struct argp *argp, const char *command, int argc, char **argv, unsigned flags, void *input);
/* What --help gives, to standard output; ends with 0. */
_Noreturn void give_help(const struct argp_state *state);

/* These end the command with EXIT_FAULTLINE when there is no memory. */
char *text_format(const char *fmt, ...) FL_PRINTF(1, 2);
char *text_copy(const char *s);
void *memory_grow(void *p, size_t count, size_t size);

enum text_for {
	TEXT_TERMINAL, /* control characters become \xNN too */
	TEXT_JSON,     /* the writer of JSON takes care of those */
};

/* A copy of `text` that is valid UTF-8: other bytes become \xNN. The caller frees it. */
char *text_escape(const char *text, enum text_for use);

/* "1,234,567" and "12.3 us", into buf of NUMBER_MAX bytes; they return buf. */
const char *count_format(uint64_t n, char *buf);
const char *time_format(uint64_t ns, char *buf);

#endif
