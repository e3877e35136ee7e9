/* SPDX-License-Identifier: Apache-2.0 */
/* Threads that are cancelled in calls on streams: they are where libc's write(2) and read(2) are, and leave the stream unlocked. */
#include <pthread.h>
#include <signal.h>
#include <wchar.h>

#include "both.h"

static FILE *stream;
static char *map;

static void *in_thread(void *run)
{
	((void (*)(void))run)();
	return NULL;
}

static void is_cancelled(void (*run)(void))
{
	pthread_t thread;
	void *result;

	CHECK(!pthread_create(&thread, NULL, in_thread, (void *)run));
	usleep(50000);
	CHECK(!pthread_cancel(thread) && !pthread_join(thread, &result) && result == PTHREAD_CANCELED);
	CHECK(!ftrylockfile(stream));
	funlockfile(stream);
}

static void print_text(void)
{
	pthread_cancel(pthread_self());
	fprintf(stream, "%s", "text");
}

static void print_long_text(void)
{
	pthread_cancel(pthread_self());
	fprintf(stream, "%10000s", "text");
}

static void put_text(void)
{
	pthread_cancel(pthread_self());
	fputs("text", stream);
}

static void write_mapped(void)
{
	pthread_cancel(pthread_self());
	fwrite(map + PAGE, 1, PAGE, stream);
}

static void put_wide(void)
{
	pthread_cancel(pthread_self());
	fputws(L"text", stream);
}

static void flush_text(void)
{
	CHECK(fputs("text", stream) >= 0);
	pthread_cancel(pthread_self());
	fflush(stream);
}

static void put_to_stdout(void)
{
	stdout = stream;
	pthread_cancel(pthread_self());
	puts("text");
}

/* To a file that is mapped. */
static void writes(void)
{
	static void (*const runs[])(void) = {print_text, print_long_text, put_text, write_mapped, put_to_stdout, put_wide};
	FILE *out = stdout;
	struct both b;

	for (size_t i = 0; i < ARRAY_SIZE(runs); i++) {
		open_both(&b, "r+");
		stream = b.f;
		map = b.map;
		CHECK(!setvbuf(stream, NULL, _IONBF, 0));
		is_cancelled(runs[i]);
		stdout = out;
		CHECK((uint8_t)map[0] == pattern(0)); /* before it wrote */
		close_both(&b);
	}
}

static void flushes(void)
{
	struct both b;

	open_both(&b, "r+");
	stream = b.f;
	is_cancelled(flush_text);
	close_both(&b);
}

static void read_into_map(void)
{
	fread(map, 1, PAGE, stream);
}

static void write_from_map(void)
{
	for (;;)
		fwrite(map, 1, 16 * PAGE, stream);
}

static void put_from_map(void)
{
	for (;;)
		fputs(map, stream);
}

/* Of a pipe, where they wait. */
static void waits(void)
{
	static void (*const writers[])(void) = {write_from_map, put_from_map};
	struct both b;
	int pipe_of[2];

	open_both(&b, "r+");
	map = b.map;
	CHECK(!pipe(pipe_of) && (stream = fdopen(pipe_of[0], "r")));
	is_cancelled(read_into_map);
	CHECK(write(pipe_of[1], "x", 1) == 1 && fgetc(stream) == 'x' && !fclose(stream) && !close(pipe_of[1]));
	memset(map, 'x', 100000);
	for (size_t i = 0; i < ARRAY_SIZE(writers); i++) {
		CHECK(!pipe(pipe_of) && (stream = fdopen(pipe_of[1], "w")));
		is_cancelled(writers[i]);
		CHECK(!close(pipe_of[0])); /* what is in the buffer is not written */
	}
	close_both(&b);
}

int main(int argc, char **argv)
{
	static const struct test_case cases[] = {{"writes", writes}, {"flushes", flushes}, {"waits", waits}};

	(void)argc;
	alarm(120);
	signal(SIGPIPE, SIG_IGN);
	return run_cases(cases, ARRAY_SIZE(cases), argv + 1);
}
