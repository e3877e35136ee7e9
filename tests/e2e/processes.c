/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One file, mapped and changed by several processes at once, word by word against a model that they share: stores, write(2), windows that
 * come and go, msync, forks; and processes that are killed in the middle, whose stores must be there all the same.
 *
 *   processes FILE PROCESSES SECONDS SEED [kill]
 *
 * Each word of the file has one owner, who alone changes it. The model, in memory that the processes share, says of each word what it holds
 * (`is`) and, while it is being changed, what it is about to (`next`): who reads another's word may see either, or what came after.
 */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>

#include "check.h"

#define FILE_SIZE (32UL << 20)
#define STRIDE 256 /* bytes from word to word */
#define WORDS (FILE_SIZE / STRIDE)
#define WINDOW (2UL << 20)
#define PROCESSES_MAX 16

struct word {
	_Atomic uint64_t is, next;
};

struct shared {
	struct word word[WORDS];
	_Atomic uint64_t operations;
};

static struct shared *model;
static const char *path;
static int fd;
static int self, processes;
static uint64_t state;

static uint64_t next_random(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state;
}

/* The word's number is in its value, so that one that comes from elsewhere is seen. */
static uint64_t value_of(uint64_t word, uint64_t turn)
{
	return word << 40 | (turn & 0xffffffffff);
}

static _Noreturn void wrong(const char *how, uint64_t word, uint64_t got)
{
	fprintf(stderr, "process %d: word %lu (page %lu) by %s: %lx, is %lx, next %lx\n", self, word, word * STRIDE / PAGE, how, got,
		atomic_load(&model->word[word].is), atomic_load(&model->word[word].next));
	kill(0, SIGTERM);
	exit(1);
}

/* What was read between two looks at the model. */
static void check_word(const char *how, uint64_t word, uint64_t before, uint64_t got)
{
	uint64_t after = atomic_load(&model->word[word].next);

	if (got < before || got > after)
		wrong(how, word, got);
}

static uint64_t own_word(void)
{
	return next_random() % (WORDS / (uint64_t)processes) * (uint64_t)processes + (uint64_t)self;
}

static uint64_t announce(uint64_t word)
{
	uint64_t value = value_of(word, (atomic_load(&model->word[word].next) & 0xffffffffff) + 1);

	atomic_store(&model->word[word].next, value);
	return value;
}

static void settle(uint64_t word, uint64_t value)
{
	atomic_store(&model->word[word].is, value);
}

/* ---- Operations ---- */

static void load(char *map)
{
	uint64_t word = next_random() % WORDS, before = atomic_load(&model->word[word].is);
	uint64_t got = atomic_load((_Atomic uint64_t *)(map + word * STRIDE));

	check_word("a load", word, before, got);
}

static void store(char *map)
{
	uint64_t word = own_word(), value = announce(word);

	atomic_store((_Atomic uint64_t *)(map + word * STRIDE), value);
	settle(word, value);
}

static void read_call(void)
{
	uint64_t word = next_random() % WORDS, before = atomic_load(&model->word[word].is), got;

	CHECK(pread(fd, &got, sizeof got, (off_t)(word * STRIDE)) == sizeof got);
	check_word("pread", word, before, got);
}

static void write_call(void)
{
	uint64_t word = own_word(), value = announce(word);

	CHECK(pwrite(fd, &value, sizeof value, (off_t)(word * STRIDE)) == sizeof value);
	settle(word, value);
}

/* Another mapping of a part, perhaps through another descriptor, perhaps a private one, which need not follow. */
static void window(void)
{
	uint64_t off = next_random() % (FILE_SIZE / WINDOW) * WINDOW, word = off / STRIDE + next_random() % (WINDOW / STRIDE);
	int flags = next_random() % 4 ? MAP_SHARED : MAP_PRIVATE, other = next_random() % 2 ? open(path, O_RDWR) : dup(fd);
	uint64_t before = atomic_load(&model->word[word].is);
	char *p = mmap(NULL, WINDOW, PROT_READ | PROT_WRITE, flags, other, (off_t)off);

	CHECK(p != MAP_FAILED);
	close(other);
	check_word("a window", word, before, atomic_load((_Atomic uint64_t *)(p + word * STRIDE - off)));
	if (flags == MAP_PRIVATE)
		memset(p + next_random() % (WINDOW - 64), 0xee, 64);
	else if (next_random() % 8 == 0)
		CHECK(!msync(p, WINDOW, next_random() % 2 ? MS_SYNC : MS_ASYNC));
	CHECK(!munmap(p, WINDOW));
}

static void look(char *map, int times)
{
	for (int i = 0; i < times; i++)
		load(map);
}

static void fork_and_look(char *map)
{
	pid_t pid = fork();
	int status;

	CHECK(pid >= 0);
	if (!pid) {
		look(map, 20);
		store(map);
		_exit(0);
	}
	CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void step(char *map)
{
	uint64_t r = next_random() % 1000;

	if (r < 500)
		load(map);
	else if (r < 850)
		store(map);
	else if (r < 920)
		read_call();
	else if (r < 980)
		write_call();
	else if (r < 997)
		window();
	else
		fork_and_look(map);
	atomic_fetch_add(&model->operations, 1);
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static _Noreturn void work(double end, uint64_t seed)
{
	char *map;

	state = seed * 0x9e3779b97f4a7c15 + (uint64_t)self * 77 + 1;
	fd = open(path, O_RDWR);
	CHECK(fd >= 0);
	map = map_file(fd, FILE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED);
	do /* also where it took that long to come here */
		for (int i = 0; i < 50; i++)
			step(map);
	while (now() < end);
	_exit(0);
}

static pid_t start(int number, double end, uint64_t seed)
{
	pid_t pid = fork();

	CHECK(pid >= 0);
	if (pid)
		return pid;
	self = number;
	work(end, seed);
}

static void make_file(void)
{
	static char part[1 << 16];
	int out = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);

	CHECK(out >= 0);
	for (uint64_t at = 0; at < FILE_SIZE; at += sizeof part) {
		for (uint64_t i = 0; i < sizeof part; i += STRIDE) {
			uint64_t word = (at + i) / STRIDE, value = value_of(word, 0);

			memcpy(part + i, &value, sizeof value);
			atomic_store(&model->word[word].is, value);
			atomic_store(&model->word[word].next, value);
		}
		CHECK(write(out, part, sizeof part) == sizeof part);
	}
	close(out);
}

/* Of a word that a killed process was changing, either value will do, and is what it holds from now on. */
static void check_all(const char *how, char *map)
{
	for (uint64_t word = 0; word < WORDS; word++) {
		struct word *w = &model->word[word];
		uint64_t got;

		if (map)
			got = *(uint64_t *)(map + word * STRIDE);
		else
			CHECK(pread(fd, &got, sizeof got, (off_t)(word * STRIDE)) == sizeof got);
		if (got != atomic_load(&w->is) && got != atomic_load(&w->next))
			wrong(how, word, got);
	}
}

static int wait_for(pid_t pid)
{
	int status;

	CHECK(waitpid(pid, &status, 0) == pid);
	if (WIFSIGNALED(status))
		return WTERMSIG(status);
	CHECK(WEXITSTATUS(status) == 0);
	return 0;
}

static void run_without_kills(double seconds, uint64_t seed)
{
	double end = now() + seconds;
	pid_t pid[PROCESSES_MAX];

	for (int i = 0; i < processes; i++)
		pid[i] = start(i, end, seed);
	for (int i = 0; i < processes; i++)
		CHECK(wait_for(pid[i]) == 0);
}

/* One after the other is killed, and another takes its words over. */
static void run_with_kills(double seconds, uint64_t seed)
{
	double end = now() + seconds;
	pid_t pid[PROCESSES_MAX];
	uint64_t kills = 0;

	for (int i = 0; i < processes; i++)
		pid[i] = start(i, end + 60, seed);
	while (now() < end) {
		int i = (int)(next_random() % (uint64_t)processes);

		usleep(20000 + next_random() % 100000);
		CHECK(!kill(pid[i], SIGKILL) && wait_for(pid[i]) == SIGKILL);
		pid[i] = start(i, end + 60, seed + ++kills * 31);
	}
	for (int i = 0; i < processes; i++) {
		CHECK(!kill(pid[i], SIGKILL));
		wait_for(pid[i]);
	}
	printf("%lu kills\n", kills + (uint64_t)processes);
}

int main(int argc, char **argv)
{
	char *map;

	CHECK(argc >= 5);
	path = argv[1];
	processes = atoi(argv[2]);
	CHECK(processes > 0 && processes <= PROCESSES_MAX);
	state = strtoull(argv[4], NULL, 0) * 2 + 1;
	model = mmap(NULL, sizeof *model, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(model != MAP_FAILED);
	make_file();
	if (argc > 5)
		run_with_kills(atof(argv[3]), state);
	else
		run_without_kills(atof(argv[3]), state);
	fd = open(path, O_RDWR);
	CHECK(fd >= 0);
	check_all("pread at the end", NULL);
	map = map_file(fd, FILE_SIZE, PROT_READ, MAP_SHARED);
	check_all("a mapping at the end", map);
	printf("%lu operations\n", atomic_load(&model->operations));
	return 0;
}
