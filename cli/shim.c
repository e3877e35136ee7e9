/* SPDX-License-Identifier: Apache-2.0 */
#include "shim.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "elf_file.h"
#include "text.h"

#define SHIM_NAME "libfaultline_shim.so"

/* The build passes where it installs the shim. */
#ifndef FL_SHIM_PATH
#define FL_SHIM_PATH "/usr/local/lib/faultline/" SHIM_NAME
#endif

/* From the folder of the command: a build tree, then a prefix, wherever it was moved to. */
static const char *const beside[] = {
	"../shim/" SHIM_NAME,
	"../lib/x86_64-linux-gnu/faultline/" SHIM_NAME,
	"../lib64/faultline/" SHIM_NAME,
	"../lib/faultline/" SHIM_NAME,
};

/* The folder of this command, into buf of PATH_MAX; false without /proc. */
static bool own_folder(char *buf)
{
	ssize_t n = readlink("/proc/self/exe", buf, PATH_MAX - 1);
	char *slash;

	if (n <= 0)
		return false;
	buf[n] = 0;
	slash = strrchr(buf, '/');
	if (!slash)
		return false;
	*slash = 0;
	return true;
}

static char *search(void)
{
	char folder[PATH_MAX];
	char *found = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(beside) && !found && own_folder(folder); i++) {
		char *path = text_format("%s/%s", folder, beside[i]);

		found = realpath(path, NULL);
		free(path);
	}
	return found ? found : realpath(FL_SHIM_PATH, NULL);
}

/* What keeps the loader from taking it, which it would only mutter about; NULL when nothing does. */
static const char *defect(const char *path)
{
	struct elf_info info;
	int error = elf_read_path(path, &info);

	if (error)
		return error == -ENOEXEC ? "not an ELF shared object" : strerror(-error);
	if (!info.native || !info.library)
		return "not a shared object for x86-64";
	if (strpbrk(path, " :"))
		return "LD_PRELOAD cannot hold a path with a blank or a colon";
	return NULL;
}

char *shim_find(char *why, size_t len)
{
	const char *given = getenv("FAULTLINE_SHIM"), *bad;
	char *path = given && *given ? realpath(given, NULL) : search();

	if (!path && given && *given)
		snprintf(why, len, "FAULTLINE_SHIM=%s: %s; name the file, or unset it", given, strerror(errno));
	else if (!path)
		snprintf(why, len, SHIM_NAME " is not installed at " FL_SHIM_PATH "; install it, or name it in FAULTLINE_SHIM");
	if (!path)
		return NULL;
	bad = defect(path);
	if (!bad)
		return path;
	snprintf(why, len, "%s: %s; name another file in FAULTLINE_SHIM", path, bad);
	free(path);
	return NULL;
}
