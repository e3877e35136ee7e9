/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages to standard error: one line, "faultline: " in front. Formatting uses vsnprintf(), so nothing that runs in
 * the SIGBUS handler may log; such code counts, and the caller outside reports.
 */
#ifndef FL_UTIL_LOG_H
#define FL_UTIL_LOG_H

#include "compiler.h"

enum log_level { LOG_QUIET, LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

void log_set_level(enum log_level level);
/* Sends the lines to a descriptor of the caller's instead of standard error. */
void log_set_fd(int fd);
/* A line at level LOG_ERROR as it stands: may be called anywhere. */
void fl_say(const char *text);
void fl_log(enum log_level level, const char *fmt, ...) FL_PRINTF(2, 3);

#endif
