/* SPDX-License-Identifier: Apache-2.0 */
/* util/size.c: sizes as people write and read them. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "util/compiler.h"
#include "util/size.h"

static void sizes_are_understood(void **state)
{
	static const struct {
		const char *text;
		uint64_t bytes;
	} good[] = {
		{"0", 0},
		{"4096", 4096},
		{"4096B", 4096},
		{"1K", 1024},
		{"1k", 1024},
		{"64M", 64ULL << 20},
		{"64MB", 64ULL << 20},
		{"64mib", 64ULL << 20},
		{"1.5G", 3ULL << 29},
		{"1.5GiB", 3ULL << 29},
		{"0.5K", 512},
		{"1.0000000009K", 1024},
		{"2T", 2ULL << 40},
		{"1P", 1ULL << 50},
		{"8191P", 8191ULL << 50},
		{"9223372036854775807", INT64_MAX},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		uint64_t bytes = 1;

		assert_int_equal(size_parse(good[i].text, &bytes), 0);
		assert_int_equal(bytes, good[i].bytes);
	}
}

static void nonsense_is_refused(void **state)
{
	static const char *const bad[] = {"",    " ",   "M",   "-1",   "+1",    "1 M", "1MM",  "1Mi", "1X",
					  "1.5", "1.M", ".5M", "1,5M", "0x100", "1M1", "1.5B", "1e6", "1 "};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		uint64_t bytes = 77;

		assert_int_equal(size_parse(bad[i], &bytes), -EINVAL);
		assert_int_equal(bytes, 77);
	}
}

static void sizes_of_2_to_the_63_and_more_are_refused(void **state)
{
	static const char *const big[] = {"9223372036854775808", "8192P", "99999999999999999999999999999999999999999999",
					  "18446744073709551616K", "8191.9999999999P9"};
	uint64_t bytes;

	(void)state;
	for (size_t i = 0; i + 1 < ARRAY_SIZE(big); i++)
		assert_int_equal(size_parse(big[i], &bytes), -ERANGE);
	assert_int_equal(size_parse(big[4], &bytes), -EINVAL);
}

static void sizes_are_written_for_people(void **state)
{
	char buf[32];

	(void)state;
	assert_string_equal(size_format(0, buf, sizeof buf), "0 B");
	assert_string_equal(size_format(1023, buf, sizeof buf), "1023 B");
	assert_string_equal(size_format(1024, buf, sizeof buf), "1.0 KiB");
	assert_string_equal(size_format(64ULL << 20, buf, sizeof buf), "64.0 MiB");
	assert_string_equal(size_format(3ULL << 29, buf, sizeof buf), "1.5 GiB");
	assert_string_equal(size_format(1ULL << 60, buf, sizeof buf), "1024.0 PiB");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sizes_are_understood),
		cmocka_unit_test(nonsense_is_refused),
		cmocka_unit_test(sizes_of_2_to_the_63_and_more_are_refused),
		cmocka_unit_test(sizes_are_written_for_people),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
