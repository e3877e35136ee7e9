/* SPDX-License-Identifier: Apache-2.0 */
#include "size.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static const char units[] = "KMGTP";

/* The shift of the unit at `s` and where it ends; -1 when it is not a unit. */
static int parse_unit(const char *s, const char **end)
{
	const char *u;

	*end = s;
	if (*s == 'B' || *s == 'b') {
		*end = s + 1;
		return 0;
	}
	if (!*s)
		return 0;
	u = strchr(units, toupper((unsigned char)*s));
	if (!u)
		return -1;
	s++;
	if (*s == 'i' && (s[1] == 'B' || s[1] == 'b'))
		s += 2;
	else if (*s == 'B' || *s == 'b')
		s++;
	*end = s;
	return 10 * (int)(u - units + 1);
}

static const char *parse_whole(const char *s, unsigned __int128 *value)
{
	for (*value = 0; isdigit((unsigned char)*s); s++)
		if (*value <= INT64_MAX)
			*value = *value * 10 + (unsigned)(*s - '0');
	return s;
}

/* Digits after the point as value / scale; more than nine say nothing at these sizes. */
static const char *parse_fraction(const char *s, uint64_t *value, uint64_t *scale)
{
	*value = 0;
	for (*scale = 1; isdigit((unsigned char)*s); s++)
		if (*scale < 1000000000u) {
			*value = *value * 10 + (uint64_t)(*s - '0');
			*scale *= 10;
		}
	return s;
}

int size_parse(const char *text, uint64_t *bytes)
{
	unsigned __int128 value;
	uint64_t frac = 0, scale = 1;
	const char *s = text, *end;
	bool has_fraction;
	int shift;

	if (!isdigit((unsigned char)*s))
		return -EINVAL;
	s = parse_whole(s, &value);
	has_fraction = *s == '.' && isdigit((unsigned char)s[1]);
	if (has_fraction)
		s = parse_fraction(s + 1, &frac, &scale);
	shift = parse_unit(s, &end);
	if (shift < 0 || *end || (has_fraction && shift == 0))
		return -EINVAL;
	value = (value << shift) + (((unsigned __int128)frac << shift) / scale);
	if (value > INT64_MAX)
		return -ERANGE;
	*bytes = (uint64_t)value;
	return 0;
}

const char *size_format(uint64_t bytes, char *buf, size_t len)
{
	int u = -1;
	double v = (double)bytes;

	while (v >= 1024 && u + 1 < (int)sizeof units - 1) {
		v /= 1024;
		u++;
	}
	if (u < 0)
		snprintf(buf, len, "%llu B", (unsigned long long)bytes);
	else
		snprintf(buf, len, "%.1f %ciB", v, units[u]);
	return buf;
}
