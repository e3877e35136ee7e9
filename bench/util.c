/* SPDX-License-Identifier: Apache-2.0 */
#include "util.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void die(const char *what)
{
	fprintf(stderr, "%s: %s: %s\n", program_invocation_short_name, what, strerror(errno));
	exit(1);
}

void expect(bool right, const char *what)
{
	if (right)
		return;
	fprintf(stderr, "%s: wrong: %s\n", program_invocation_short_name, what);
	exit(1);
}
