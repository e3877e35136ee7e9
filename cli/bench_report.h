/* SPDX-License-Identifier: Apache-2.0 */
/* What `faultline bench` prints. */
#ifndef FL_CLI_BENCH_REPORT_H
#define FL_CLI_BENCH_REPORT_H

#include "bench_run.h"

void bench_report_text(const struct bench_request *rq, const struct bench_result *result);
void bench_report_json(const struct bench_request *rq, const struct bench_result *result);

#endif
