/* SPDX-License-Identifier: Apache-2.0 */
/* The limits that options of a space ask for. */
#ifndef FL_API_LIMITS_OF_H
#define FL_API_LIMITS_OF_H

#include "faultline.h"
#include "mm/limits.h"

/* -EINVAL for options that make no sense. */
int limits_of(const struct fl_space_options *o, struct mm_limits *l);

#endif
