/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A program that the shim cannot get into would run on, unbounded, as if nothing had been asked: the loader ignores
 * LD_PRELOAD without a word. So everything that makes it do so is looked for here, before anything starts.
 *
 * This is advice, not security: the file may change between the look and the execve(2).
 */
#include "program.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "elf_file.h"
#include "text.h"

#define SCRIPT_LEVELS 4
#define SCRIPT_LINE 256 /* BINPRM_BUF_SIZE: the kernel reads no more */

/* What was asked for, or what interprets it, which messages name by both. */
struct candidate {
	const char *path, *who;
	const char *asked;
	int level;
};

static int check(const struct candidate *c);

static int executable(const char *path)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return errno;
	if (S_ISDIR(st.st_mode))
		return EISDIR;
	if (!S_ISREG(st.st_mode))
		return ENOEXEC;
	return faccessat(AT_FDCWD, path, X_OK, AT_EACCESS) < 0 ? errno : 0;
}

/* Whether execvp(3) goes on to the next directory of PATH. */
static bool search_goes_on(int error)
{
	return error == ENOENT || error == ENOTDIR || error == EACCES || error == EISDIR || error == ENOEXEC;
}

static char *default_path(void)
{
	size_t len = confstr(_CS_PATH, NULL, 0);
	char *path = memory_grow(NULL, len + 1, 1);

	confstr(_CS_PATH, path, len);
	return path;
}

/* 0, or the errno of the best candidate: one that is there but cannot be executed says more than one that is not. */
static int search(const char *name, char **found)
{
	char *path = getenv("PATH") ? text_copy(getenv("PATH")) : default_path(), *rest = path, *dir;
	int error = ENOENT;

	*found = NULL;
	while (search_goes_on(error) && (dir = strsep(&rest, ":"))) {
		char *file = text_format("%s%s%s", dir, *dir ? "/" : "./", name);
		int e = executable(file);

		if (e == ENOENT || e == ENOTDIR || (*found && search_goes_on(e))) {
			free(file);
			continue;
		}
		free(*found);
		*found = file;
		error = e;
	}
	free(path);
	return error;
}

static int resolve(const char *name, char **found)
{
	*found = NULL;
	if (!*name)
		return ENOENT;
	if (!strchr(name, '/'))
		return search(name, found);
	*found = text_copy(name);
	return executable(name);
}

static int refuse(const char *who, int error)
{
	if (error == EISDIR)
		complain("%s: a directory, not a program", who);
	else if (error == ENOEXEC)
		complain("%s: not a regular file, so not a program", who);
	else if (error == EACCES)
		complain("%s: not executable; chmod +x it (or its file system is mounted noexec, or a folder above it is closed)", who);
	else
		complain("%s: %s", who, strerror(error));
	return error == ENOENT ? EXIT_NOT_FOUND : EXIT_CANNOT_EXEC;
}

/* The kernel ignores the set-user-ID bit and file capabilities there, and the loader then has no cause to be careful. */
static bool privileges_ignored(int fd)
{
	struct statvfs fs;

	return prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1 || (fstatvfs(fd, &fs) == 0 && (fs.f_flag & ST_NOSUID));
}

static bool gains_privileges(int fd)
{
	struct stat st;

	if (fstat(fd, &st) < 0 || privileges_ignored(fd))
		return false;
	if ((st.st_mode & S_ISUID) && st.st_uid != getuid())
		return true;
	/* Without group execution the bit means mandatory locking. */
	if ((st.st_mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP) && st.st_gid != getgid())
		return true;
	return getuid() != 0 && fgetxattr(fd, "security.capability", NULL, 0) > 0;
}

/* Another C library's loader (musl's) would load the shim against a library that it was not made for. */
static bool foreign_loader(const char *loader)
{
	struct elf_info self;

	if (elf_read_path("/proc/self/exe", &self) < 0 || !self.loader[0])
		return false;
	return strcmp(basename(loader), basename(self.loader)) != 0;
}

static int refuse_elf(const char *who, const char *why)
{
	complain("%s: %s", who, why);
	return EXIT_CANNOT_EXEC;
}

static int check_loader(const char *who, const char *loader)
{
	if (!loader[0])
		return refuse_elf(who, "statically linked, so the shim cannot be loaded into it; use a dynamically linked build");
	if (access(loader, X_OK) < 0) {
		complain("%s: its loader %s: %s; install the C library that it was built with", who, loader, strerror(errno));
		return EXIT_CANNOT_EXEC;
	}
	if (foreign_loader(loader)) {
		complain("%s: its loader %s belongs to another C library than the shim's; use a build for this system's", who, loader);
		return EXIT_CANNOT_EXEC;
	}
	return 0;
}

static int check_elf(const struct candidate *c, int fd)
{
	struct elf_info info;

	if (elf_read(fd, &info) < 0)
		return refuse_elf(c->who, "a damaged ELF file");
	if (!info.native)
		return refuse_elf(c->who, "not a 64-bit x86 program, so the shim cannot be loaded into it; use an x86-64 build");
	if (gains_privileges(fd))
		return refuse_elf(c->who, "set-user-ID, set-group-ID or with file capabilities, so the loader ignores the shim; "
					  "run it as the user it becomes, or use a copy without them");
	return check_loader(c->who, info.loader);
}

/* Cuts the next word off *rest; NULL at the end. */
static char *next_word(char **rest)
{
	char *word = *rest + strspn(*rest, " \t");

	*rest = word + strcspn(word, " \t");
	if (**rest)
		*(*rest)++ = 0;
	return *word ? word : NULL;
}

/* What env(1) as the interpreter will look for: its first argument that is neither option nor assignment. */
static char *env_target(char *rest)
{
	char *word;

	while ((word = next_word(&rest)))
		if (*word != '-' && !strchr(word, '='))
			return word;
	return NULL;
}

/* Takes over `path`, where `name` was found; `error` says how that went. */
static int check_interpreter(const struct candidate *script, const char *name, char *path, int error)
{
	char *who = text_format("%s: its interpreter %s", script->asked, path ? path : name);
	struct candidate c = {.path = path, .who = who, .asked = script->asked, .level = script->level + 1};
	/* Whatever became of the interpreter, the program that was asked for is there: never EXIT_NOT_FOUND. */
	int status = EXIT_CANNOT_EXEC;

	if (error || !path)
		refuse(who, error);
	else if (!check(&c))
		status = 0;
	free(path);
	free(who);
	return status;
}

/* The kernel takes the name in the first line as it stands; env(1) searches PATH for its own. */
static int check_interpreters(const struct candidate *script, const char *name, char *arguments)
{
	const char *target = strcmp(basename(name), "env") ? NULL : env_target(arguments);
	int status = check_interpreter(script, name, text_copy(name), executable(name));
	char *path;
	int error;

	if (status || !target)
		return status;
	error = resolve(target, &path);
	return check_interpreter(script, target, path, error);
}

/* `line` is what follows the "#!". */
static int check_script(const struct candidate *c, char *line)
{
	char *rest = line, *name;

	line[strcspn(line, "\n")] = 0;
	name = next_word(&rest);
	if (!name) {
		complain("%s: its first line names no interpreter after #!", c->who);
		return EXIT_CANNOT_EXEC;
	}
	if (c->level >= SCRIPT_LEVELS) {
		complain("%s: scripts that interpret scripts, more than %d deep", c->who, SCRIPT_LEVELS);
		return EXIT_CANNOT_EXEC;
	}
	return check_interpreters(c, name, rest);
}

static int check_contents(const struct candidate *c, int fd)
{
	char head[SCRIPT_LINE + 1] = {0};

	if (pread(fd, head, SCRIPT_LINE, 0) < 0) {
		complain("%s: %s", c->who, strerror(errno));
		return EXIT_CANNOT_EXEC;
	}
	if (!strncmp(head, "#!", 2))
		return check_script(c, head + 2);
	if (!strncmp(head, "\177ELF", 4))
		return check_elf(c, fd);
	complain("%s: neither an ELF program nor a script with #! in its first line; if it is a shell script, run sh %s", c->who, c->path);
	return EXIT_CANNOT_EXEC;
}

static int check(const struct candidate *c)
{
	int fd = open(c->path, O_RDONLY | O_CLOEXEC), status;

	if (fd < 0) {
		complain("%s: cannot be read, to see whether the shim can be loaded into it: %s", c->who, strerror(errno));
		return EXIT_CANNOT_EXEC;
	}
	status = check_contents(c, fd);
	close(fd);
	return status;
}

int program_find(const char *name, char **path)
{
	int error = resolve(name, path), status;
	struct candidate c = {.path = *path, .who = *path, .asked = *path};

	if (!error)
		status = check(&c);
	else if (*path)
		status = refuse(*path, error);
	else {
		complain("%s: no such program in PATH; if it is elsewhere, give its path", *name ? name : "(empty name)");
		status = EXIT_NOT_FOUND;
	}
	if (status) {
		free(*path);
		*path = NULL;
	}
	return status;
}
