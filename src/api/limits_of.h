/* SPDX-License-Identifier: Apache-2.0 */
/* What options of a space ask for. */
#ifndef FL_API_LIMITS_OF_H
#define FL_API_LIMITS_OF_H

#include "engine.h"
#include "faultline.h"
#include "mm/limits.h"

/* -EINVAL for options that make no sense. */
int limits_of(const struct fl_space_options *o, struct mm_limits *l);
/* FL_FAULTS_NONE is none of them. */
enum engine_faults engine_faults_of(enum fl_faults faults);

#endif
