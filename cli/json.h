/* SPDX-License-Identifier: Apache-2.0 */
/* What all our JSON has in common. */
#ifndef FL_CLI_JSON_H
#define FL_CLI_JSON_H

#include <json-c/json.h>
#include <stdint.h>

void json_add_number(struct json_object *to, const char *key, uint64_t n);
/* Valid UTF-8, whatever is in `s`. */
struct json_object *json_text(const char *s);

#endif
