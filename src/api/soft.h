/* SPDX-License-Identifier: Apache-2.0 */
/* What the public calls on soft spaces share. */
#ifndef FL_API_SOFT_H
#define FL_API_SOFT_H

#include <errno.h>

#include "faultline_soft.h"
#include "mm/soft.h"

/* NULL, and errno EINVAL, when it is not a soft space. */
static inline struct mm *soft_mm(fl_space *space)
{
	struct mm *mm = (struct mm *)space;

	if (mm && mm->soft)
		return mm;
	errno = EINVAL;
	return NULL;
}

#endif
