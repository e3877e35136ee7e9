/* SPDX-License-Identifier: Apache-2.0 */
#include "proc_stat.h"

#include <fcntl.h>
#include <string.h>

#include "sys.h"

#define FIELD_NAME 2

static int open_stat(uint32_t tid)
{
	char path[32] = "/proc/", digits[12], *end = path + strlen(path);
	int n = 0;

	for (; tid; tid /= 10)
		digits[n++] = (char)('0' + tid % 10);
	while (n)
		*end++ = digits[--n];
	memcpy(end, "/stat", sizeof "/stat");
	return sys_openat(AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
}

const char *proc_stat_field(uint32_t tid, int field, char text[PROC_STAT_ROOM])
{
	int fd = open_stat(tid);
	const char *at;
	ssize_t len;

	if (fd < 0)
		return NULL;
	len = sys_read(fd, text, PROC_STAT_ROOM - 1);
	sys_close(fd);
	text[len > 0 ? len : 0] = 0;
	at = strrchr(text, ')'); /* the name, in parentheses, may have any bytes */
	for (int before = FIELD_NAME; at && before < field; before++)
		at = strchr(at + 1, ' ');
	return at ? at + 1 : NULL;
}
