/* SPDX-License-Identifier: Apache-2.0 */
/* What deepbind.c loads for what it needs. */
const char *deep_call_name(void);
__attribute__((visibility("default"))) const char *deep_user(void);

const char *deep_user(void)
{
	return deep_call_name();
}
