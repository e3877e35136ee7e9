/* SPDX-License-Identifier: Apache-2.0 */
#include "json.h"

#include <stdlib.h>

#include "text.h"

void json_add_number(struct json_object *to, const char *key, uint64_t n)
{
	json_object_object_add(to, key, json_object_new_uint64(n));
}

struct json_object *json_text(const char *s)
{
	char *clean = text_escape(s, TEXT_JSON);
	struct json_object *j = json_object_new_string(clean);

	free(clean);
	return j;
}
