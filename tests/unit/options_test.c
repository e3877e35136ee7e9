/* SPDX-License-Identifier: Apache-2.0 */
/* api/options.c: what the FAULTLINE_* variables mean, and which one is named when it means nothing. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "api/engine.h"
#include "cache/budget.h"
#include "util/compiler.h"
#include "util/log.h"

static const char *const names[] = {"FAULTLINE_BUDGET", "FAULTLINE_MIN_MAP", "FAULTLINE_ANON", "FAULTLINE_FAULTS", "FAULTLINE_DIRECT",
				    "FAULTLINE_IO",     "FAULTLINE_LOG",     "FAULTLINE_SWAP", "FAULTLINE_REPORT", "FAULTLINE_INJECT"};

static int start(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		unsetenv(names[i]);
	return 0;
}

static void defaults(void **state)
{
	struct engine_options o;
	const char *what;

	(void)state;
	assert_int_equal(engine_options_from_env(&o, &what), 0);
	assert_in_range(o.budget, BUDGET_MIN, BUDGET_DEFAULT);
	assert_int_equal(o.faults, FAULTS_AUTO);
	assert_false(o.direct);
	assert_int_equal(o.log_level, LOG_WARN);
	assert_string_equal(o.swap_directory, "");
	assert_string_equal(o.report_directory, "");
	assert_string_equal(o.inject, "");
}

static void every_variable_is_read(void **state)
{
	struct engine_options o;
	const char *what;

	(void)state;
	setenv("FAULTLINE_BUDGET", "1.5M", 1);
	setenv("FAULTLINE_MIN_MAP", "0", 1);
	setenv("FAULTLINE_ANON", "2M", 1);
	setenv("FAULTLINE_FAULTS", "thread", 1);
	setenv("FAULTLINE_DIRECT", "1", 1);
	setenv("FAULTLINE_LOG", "quiet", 1);
	setenv("FAULTLINE_SWAP", "/swap", 1);
	setenv("FAULTLINE_REPORT", "/report", 1);
	setenv("FAULTLINE_INJECT", "read:eio:1", 1);
	assert_int_equal(engine_options_from_env(&o, &what), 0);
	assert_int_equal(o.budget, 3 << 19);
	assert_int_equal(o.min_map, 0);
	assert_int_equal(o.anon_min, 2 << 20);
	assert_int_equal(o.faults, FAULTS_THREAD);
	assert_true(o.direct);
	assert_int_equal(o.log_level, LOG_QUIET);
	assert_string_equal(o.swap_directory, "/swap");
	assert_string_equal(o.report_directory, "/report");
	assert_string_equal(o.inject, "read:eio:1");
}

static void an_empty_variable_is_not_set(void **state)
{
	struct engine_options o;
	const char *what;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		setenv(names[i], "", 1);
	assert_int_equal(engine_options_from_env(&o, &what), 0);
	assert_in_range(o.budget, BUDGET_MIN, BUDGET_DEFAULT);
}

static void a_bad_value_is_refused_and_named(void **state)
{
	static const struct {
		const char *name, *value;
	} bad[] = {
		{"FAULTLINE_BUDGET", "lots"},    {"FAULTLINE_BUDGET", "1023K"},  {"FAULTLINE_BUDGET", "8000P"},
		{"FAULTLINE_BUDGET", "-64M"},    {"FAULTLINE_BUDGET", "0"},      {"FAULTLINE_MIN_MAP", "64 K"},
		{"FAULTLINE_FAULTS", "threads"}, {"FAULTLINE_FAULTS", "Inline"}, {"FAULTLINE_DIRECT", "yes"},
		{"FAULTLINE_IO", "uring"},       {"FAULTLINE_DIRECT", "2"},      {"FAULTLINE_LOG", "loud"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct engine_options o;
		const char *what = NULL;

		setenv(bad[i].name, bad[i].value, 1);
		assert_int_equal(engine_options_from_env(&o, &what), -EINVAL);
		assert_string_equal(what, bad[i].name);
		unsetenv(bad[i].name);
	}
}

static void text_that_is_too_long_is_refused(void **state)
{
	static const char *const texts[] = {"FAULTLINE_SWAP", "FAULTLINE_REPORT", "FAULTLINE_INJECT"};
	struct engine_options o;
	const char *what;
	char text[257];

	(void)state;
	memset(text, 'x', 256);
	text[256] = 0;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		setenv(texts[i], text, 1);
		assert_int_equal(engine_options_from_env(&o, &what), -EINVAL);
		assert_string_equal(what, texts[i]);
		setenv(texts[i], text + 1, 1);
		assert_int_equal(engine_options_from_env(&o, &what), 0);
		unsetenv(texts[i]);
	}
	assert_int_equal(strlen(text + 1), sizeof o.inject - 1);
}

#define T(name) cmocka_unit_test_setup_teardown(name, start, start)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(defaults),
		T(every_variable_is_read),
		T(an_empty_variable_is_not_set),
		T(a_bad_value_is_refused_and_named),
		T(text_that_is_too_long_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
