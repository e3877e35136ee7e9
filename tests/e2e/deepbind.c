/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A library that is loaded with RTLD_DEEPBIND, as many programs load their modules, finds libc's calls before those of the preload library. What it reads, writes and maps
 * agrees with the program's mappings all the same; and a name of its own that the program has as well stays its own.
 */
#include <dlfcn.h>
#include <libgen.h>
#include <limits.h>

#include "check.h"

#define SIZE (4UL << 20)

__attribute__((visibility("default"))) const char *deep_name(void);

/* The module has one of the same name. */
__attribute__((noinline)) const char *deep_name(void)
{
	return "the program's";
}

struct calls {
	void *(*map)(int fd, size_t len);
	ssize_t (*read)(int fd, void *buf, size_t len, off_t at);
	ssize_t (*write)(int fd, const void *buf, size_t len, off_t at);
	const char *(*name)(void);
};

static void *load(const char *file, int flags)
{
	char path[PATH_MAX] = "", module[PATH_MAX + 32];
	void *handle;

	CHECK(readlink("/proc/self/exe", path, sizeof path - 1) > 0);
	snprintf(module, sizeof module, "%s/%s", dirname(path), file);
	handle = dlopen(module, flags);
	if (!handle)
		fprintf(stderr, "%s\n", dlerror());
	CHECK(handle);
	return handle;
}

static struct calls calls_of(void *handle)
{
	struct calls c = {0};

	*(void **)&c.map = dlsym(handle, "deep_map");
	*(void **)&c.read = dlsym(handle, "deep_read");
	*(void **)&c.write = dlsym(handle, "deep_write");
	*(void **)&c.name = dlsym(handle, "deep_call_name");
	CHECK(c.map && c.read && c.write && c.name);
	return c;
}

static void agree(const struct calls *c)
{
	int fd = pattern_file(SIZE), other = pattern_file(SIZE);
	uint8_t *p = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), *q, byte = 0;

	CHECK(p != MAP_FAILED && p[5 * PAGE] == pattern(5 * PAGE));
	CHECK(c->write(fd, "written", 7, 5 * PAGE) == 7);
	CHECK(!memcmp(p + 5 * PAGE, "written", 7));
	p[9 * PAGE] = 77;
	CHECK(c->read(fd, &byte, 1, 9 * PAGE) == 1 && byte == 77);
	CHECK(c->read(other, p + SIZE / 2, 3 * PAGE, 7 * PAGE) == (ssize_t)(3 * PAGE)); /* to pages that are not in memory */
	for (size_t i = 0; i < 3 * PAGE; i++)
		CHECK(p[SIZE / 2 + i] == pattern(7 * PAGE + i));
	q = c->map(fd, SIZE);
	CHECK(q != MAP_FAILED && q[9 * PAGE] == 77);
	q[11 * PAGE] = 78;
	CHECK(p[11 * PAGE] == 78);
	p[12 * PAGE] = 79;
	CHECK(q[12 * PAGE] == 79);
	CHECK(!munmap(q, SIZE) && !munmap(p, SIZE) && !close(fd) && !close(other));
}

static void deep(int flags)
{
	void *handle = load("deepbind_module.so", flags | RTLD_DEEPBIND);
	struct calls c = calls_of(handle);

	agree(&c);
	CHECK(!strcmp(c.name(), "the module's"));
	CHECK(!dlclose(handle));
}

static void now(void)
{
	deep(RTLD_NOW);
}

static void lazy(void)
{
	deep(RTLD_LAZY | RTLD_GLOBAL);
}

/* Without the flag, nothing is different. */
static void plain(void)
{
	void *handle = load("deepbind_module.so", RTLD_NOW);
	struct calls c = calls_of(handle);

	agree(&c);
	CHECK(!strcmp(c.name(), "the program's"));
	CHECK(!dlclose(handle));
}

/* What another library needs is loaded with it, and is bound in the same way. */
static void needed(void)
{
	void *handle = load("deepbind_user.so", RTLD_LAZY | RTLD_DEEPBIND);
	struct calls c = calls_of(handle);

	agree(&c);
	CHECK(!dlclose(handle));
}

static void refused(void)
{
	const char *error;

	CHECK(!dlopen("/nonesuch/nonesuch.so", RTLD_NOW | RTLD_DEEPBIND));
	error = dlerror();
	CHECK(error && strstr(error, "nonesuch.so"));
	CHECK(!dlopen("nonesuch.so", RTLD_NOW | RTLD_DEEPBIND) && dlerror());
	CHECK(dlopen(NULL, RTLD_NOW | RTLD_DEEPBIND));
}

static const struct test_case cases[] = {{"now", now}, {"lazy", lazy}, {"plain", plain}, {"needed", needed}, {"refused", refused}};

int main(int argc, char **argv)
{
	(void)argc;
	return run_cases(cases, ARRAY_SIZE(cases), argv + 1);
}
