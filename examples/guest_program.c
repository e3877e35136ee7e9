/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What guest.c runs: a static program that uses memory in every way that it can, and prints the same each time, natively too.
 *
 *     guest_program FILE [quick | fault | bus | abort]
 *
 * FILE, of a page at least, is mapped, changed and made longer. Quick is without the sort, which takes more memory than the budget.
 * The other words have it end by that signal.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define PAGE 4096ul
#define BLOCKS 1000
#define RECORDS 786432 /* 24 MiB, and as much again to sort them */
#define BUCKETS 64

static uint64_t state = 88172645463325252ull;

static uint64_t next_random(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state;
}

static uint64_t sum_of(const void *bytes, size_t size)
{
	const unsigned char *p = bytes;
	uint64_t sum = 14695981039346656037ull;

	for (size_t i = 0; i < size; i++)
		sum = (sum ^ p[i]) * 1099511628211ull;
	return sum;
}

static void say(const char *what, uint64_t value)
{
	printf("%-24s %016llx\n", what, (unsigned long long)value);
}

static void *must(void *p, const char *what)
{
	if (p != MAP_FAILED && p)
		return p;
	perror(what);
	exit(1);
}

static void must_not_fail(int result, const char *what)
{
	if (!result)
		return;
	perror(what);
	exit(1);
}

static char *anonymous(size_t size)
{
	return must(mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), "mmap");
}

/* ---- The C library's memory ---- */

static void fill(unsigned char *p, size_t size, unsigned seed)
{
	for (size_t i = 0; i < size; i += 61)
		p[i] = (unsigned char)(seed + i);
	p[size - 1] = (unsigned char)seed;
}

static void blocks(void)
{
	static unsigned char *block[BLOCKS];
	static size_t size[BLOCKS];
	uint64_t sum = 0;

	for (unsigned i = 0; i < 4 * BLOCKS; i++) {
		unsigned at = next_random() % BLOCKS;
		size_t new_size = 1 + next_random() % (i % 50 ? 3000 : 300000);

		if (block[at])
			sum = sum * 31 + block[at][size[at] - 1];
		block[at] = must(realloc(block[at], new_size), "realloc");
		size[at] = new_size;
		fill(block[at], new_size, i);
	}
	for (unsigned i = 0; i < BLOCKS; i++) {
		sum = sum * 31 + (block[i] ? block[i][0] : 0u);
		free(block[i]);
	}
	say("malloc", sum);
}

static void heap(void)
{
	char *start = sbrk(0), *grown = sbrk(1 << 20);

	say("brk grows where it ends", grown == start);
	memset(grown, 7, 1 << 20);
	say("heap", sum_of(grown, 1 << 20));
	sbrk(-(1 << 20));
	sbrk(1 << 20);
	say("heap, given back", sum_of(grown, 1 << 20));
	sbrk(-(1 << 20));
}

static uint64_t deep(unsigned depth)
{
	volatile char frame[1000];

	memset((char *)frame, (int)depth, sizeof frame);
	return depth ? deep(depth - 1) + (uint64_t)frame[depth % sizeof frame] : 0;
}

/* ---- Mappings ---- */

static void pieces(void)
{
	char *p = anonymous(64 * PAGE);

	for (size_t i = 0; i < 64; i++)
		p[i * PAGE] = (char)i;
	must_not_fail(munmap(p + 16 * PAGE, 16 * PAGE), "munmap");
	must_not_fail(mprotect(p, 8 * PAGE, PROT_READ), "mprotect");
	must_not_fail(madvise(p + 8 * PAGE, 4 * PAGE, MADV_DONTNEED), "madvise");
	say("before the hole", sum_of(p, 16 * PAGE));
	say("after it", sum_of(p + 32 * PAGE, 32 * PAGE));
	say("mapped again there", mmap(p + 16 * PAGE, 16 * PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == p + 16 * PAGE);
	must_not_fail(mprotect(p, 8 * PAGE, PROT_READ | PROT_WRITE), "mprotect");
	p[5] = 99;
	say("all of it", sum_of(p, 64 * PAGE));
	must_not_fail(munmap(p, 64 * PAGE), "munmap");
}

static void moves(void)
{
	char *wall = anonymous(256 * PAGE), *p = wall, *q;

	must_not_fail(munmap(wall + 16 * PAGE, 16 * PAGE), "munmap");
	for (size_t i = 0; i < 16 * PAGE; i += 8)
		memcpy(p + i, &(uint64_t){next_random()}, 8);
	say("here", sum_of(p, 16 * PAGE));
	q = must(mremap(p, 16 * PAGE, 64 * PAGE, MREMAP_MAYMOVE), "mremap");
	say("has moved", q != p);
	say("and grown", sum_of(q, 64 * PAGE));
	say("fixed", mremap(q, 64 * PAGE, 8 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, wall + 16 * PAGE) == wall + 16 * PAGE);
	say("there", sum_of(wall + 16 * PAGE, 8 * PAGE));
	must_not_fail(munmap(wall, 256 * PAGE), "munmap");
}

/* Unaligned loads and stores over the ends of pages. */
static void crossings(void)
{
	char *p = anonymous(512 * PAGE);
	uint64_t sum = 0, v;

	for (size_t page = 1; page < 512; page++)
		memcpy(p + page * PAGE - page % 7 - 1, &(uint64_t){next_random()}, 8);
	for (size_t page = 1; page < 512; page++) {
		memcpy(&v, p + page * PAGE - page % 7 - 1, 8);
		sum = sum * 31 + v;
	}
	say("crossings", sum);
	must_not_fail(munmap(p, 512 * PAGE), "munmap");
}

/* mov eax, value; ret */
static void put_code(char *at, uint32_t value)
{
	const unsigned char code[] = {0xb8, (unsigned char)value, (unsigned char)(value >> 8), 0, 0, 0xc3};

	memcpy(at, code, sizeof code);
}

static uint32_t call(char *code)
{
	return ((uint32_t(*)(void))(uintptr_t)code)();
}

/* Code that is written, made executable and written again; and in memory that may be both. */
static void code(void)
{
	char *p = anonymous(PAGE), *q;
	uint64_t sum = 0;

	for (uint32_t i = 1; i < 20; i++) {
		must_not_fail(mprotect(p, PAGE, PROT_READ | PROT_WRITE), "mprotect");
		put_code(p, i * 1001);
		must_not_fail(mprotect(p, PAGE, PROT_READ | PROT_EXEC), "mprotect");
		sum = sum * 31 + call(p);
	}
	q = must(mmap(NULL, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), "mmap");
	for (uint32_t i = 1; i < 20; i++) {
		put_code(q, i * 1003);
		sum = sum * 31 + call(q);
	}
	say("code", sum);
	must_not_fail(munmap(p, PAGE) | munmap(q, PAGE), "munmap");
}

/* The line of /proc/self/maps that has the address. */
static void line_of(const void *addr)
{
	FILE *maps = must(fopen("/proc/self/maps", "r"), "/proc/self/maps");
	unsigned long start, end;
	char line[8192], prot[8];

	while (fgets(line, sizeof line, maps))
		if (sscanf(line, "%lx-%lx %7s", &start, &end, prot) == 3 && (uintptr_t)addr >= start && (uintptr_t)addr < end)
			printf("%-24s %s, %lu bytes\n", "in the maps", prot, end - start);
	fclose(maps);
}

/* ---- Files ---- */

static void private_file(int fd, size_t size)
{
	char *p = must(mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0), "mmap");

	say("file", sum_of(p, size));
	for (size_t at = 0; at < size; at += 3 * PAGE)
		p[at]++;
	say("own copy", sum_of(p, size));
	must_not_fail(munmap(p, size), "munmap");
}

/* Through one mapping and read by another, by read(2), and before and after msync(2). */
static void shared_file(int fd, size_t size)
{
	char *p = must(mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), "mmap");
	char *q = must(mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0), "mmap");
	char word[8];

	line_of(p);
	for (size_t at = 0; at + 8 <= size; at += 5 * PAGE)
		memcpy(p + at, &(uint64_t){next_random()}, 8);
	say("seen by the other", sum_of(q, size));
	say("msync", (uint64_t)msync(p, size, MS_SYNC));
	memcpy(p + 100, "after", 5);
	say("pread", pread(fd, word, sizeof word, 98) == sizeof word ? sum_of(word, sizeof word) : 0);
	say("pwrite", pwrite(fd, "by pwrite", 9, 200) == 9 ? sum_of(q, 4096) : 0);
	must_not_fail(munmap(p, size) | munmap(q, size), "munmap");
}

static void longer_file(int fd, size_t size)
{
	char *p;

	must_not_fail(ftruncate(fd, (off_t)(size + 10 * PAGE)), "ftruncate");
	p = must(mmap(NULL, size + 10 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), "mmap");
	memset(p + size + 5, 'x', 5 * PAGE);
	say("longer", sum_of(p, size + 10 * PAGE));
	must_not_fail(ftruncate(fd, (off_t)(size + 4 * PAGE)), "ftruncate");
	must_not_fail(ftruncate(fd, (off_t)(size + 7 * PAGE)), "ftruncate");
	say("cut and longer again", sum_of(p, size + 7 * PAGE));
	must_not_fail(munmap(p, size + 10 * PAGE), "munmap");
}

/* By the C library's streams. */
static void stream(const char *path)
{
	FILE *f = must(fopen(path, "a+"), path);
	char line[100];
	unsigned lines = 0;

	for (unsigned i = 0; i < 1000; i++)
		fprintf(f, "line %u of %s\n", i, "the end");
	rewind(f);
	while (fgets(line, sizeof line, f))
		lines++;
	say("lines", lines);
	fclose(f);
}

/* ---- More than the budget ---- */

struct record {
	uint64_t key, payload[3];
};

static int by_key(const void *a, const void *b)
{
	uint64_t x = ((const struct record *)a)->key, y = ((const struct record *)b)->key;

	return x < y ? -1 : x > y;
}

static unsigned bucket_of(const struct record *r)
{
	return (unsigned)(r->key >> 58);
}

/* By their first bits, then each bucket by itself: a merge sort of all would go through all memory for each bit. */
static void sort_into(struct record *to, const struct record *from)
{
	size_t end[BUCKETS + 1] = {0};

	for (size_t i = 0; i < RECORDS; i++)
		end[bucket_of(&from[i]) + 1]++;
	for (unsigned b = 0; b < BUCKETS; b++)
		end[b + 1] += end[b];
	for (size_t i = 0; i < RECORDS; i++)
		to[end[bucket_of(&from[i])]++] = from[i];
	for (size_t b = 0, start = 0; b < BUCKETS; start = end[b++])
		qsort(to + start, end[b] - start, sizeof *to, by_key);
}

static void sort(void)
{
	struct record *from = must(malloc(RECORDS * sizeof *from), "malloc"), *to = must(malloc(RECORDS * sizeof *to), "malloc");
	uint64_t sum = 0, wrong = 0;

	for (size_t i = 0; i < RECORDS; i++) {
		uint64_t key = next_random();

		from[i] = (struct record){.key = key, .payload = {~key, i, key * 3}};
	}
	sort_into(to, from);
	for (size_t i = 0; i < RECORDS; i++) {
		wrong += (i && to[i - 1].key > to[i].key) || to[i].payload[0] != ~to[i].key || to[i].payload[2] != to[i].key * 3;
		sum = sum * 31 + (to[i].key ^ to[i].payload[1]);
	}
	say("sorted", sum);
	say("wrong", wrong);
	free(from);
	free(to);
}

/* ---- Ends ---- */

static void end_by(const char *how, int fd)
{
	char *p = must(mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0), "mmap");

	fflush(stdout);
	if (!strcmp(how, "fault"))
		*(volatile char *)p = 1;
	if (!strcmp(how, "bus")) {
		must_not_fail(ftruncate(fd, 0), "ftruncate");
		printf("%d\n", *(volatile char *)p);
	}
	abort();
}

int main(int argc, char **argv)
{
	int fd = argc > 1 ? open(argv[1], O_RDWR) : -1;
	int is_quick = argc > 2 && !strcmp(argv[2], "quick");
	struct stat st;

	if (fd < 0 || fstat(fd, &st) || (size_t)st.st_size < PAGE)
		return fprintf(stderr, "guest_program: needs a file of a page\n"), 2;
	if (argc > 2 && !is_quick)
		end_by(argv[2], fd);
	blocks();
	heap();
	say("stack", deep(3000));
	pieces();
	moves();
	crossings();
	code();
	private_file(fd, (size_t)st.st_size);
	shared_file(fd, (size_t)st.st_size);
	longer_file(fd, (size_t)st.st_size);
	stream(argv[1]);
	if (!is_quick)
		sort();
	return 42;
}
