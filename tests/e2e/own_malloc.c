/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A malloc(3) of the program's own, which maps its memory, gives it back and keeps its lists there, all with its lock held, and over fork(2) too. Nobody
 * else may want that lock meanwhile: neither who maps, nor who serves a fault on what the lists lie in.
 */
#include <locale.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/wait.h>

#include "check.h"

#define CHUNK (4UL << 20)
#define LARGE (1UL << 20)
#define SMALLEST 6 /* blocks are powers of two, from 64 bytes on */
#define SIZES 20

struct block {
	size_t size; /* with this */
	struct block *next;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct block *free_blocks[SIZES]; /* with the lock held, as all that follows */
static char *chunk, *chunk_end;
static bool follows;

static void take(void)
{
	pthread_mutex_lock(&lock);
}

static void give(void)
{
	pthread_mutex_unlock(&lock);
}

static void give_in_child(void)
{
	lock = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
}

static void *map_some(size_t len)
{
	void *p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

static unsigned order_of(size_t len)
{
	unsigned order = 0;

	while ((1UL << (order + SMALLEST)) < len)
		order++;
	return order;
}

static void *cut(size_t len)
{
	char *p;

	if (!chunk || (size_t)(chunk_end - chunk) < len) {
		chunk = map_some(CHUNK);
		chunk_end = chunk ? chunk + CHUNK : NULL;
	}
	p = chunk;
	if (chunk)
		chunk += len;
	return p;
}

static struct block *get_large(size_t len)
{
	struct block *b = map_some(len);

	if (b)
		b->size = len;
	return b;
}

static struct block *get_small(unsigned order)
{
	struct block *b = free_blocks[order];

	if (b) {
		free_blocks[order] = b->next;
		return b;
	}
	b = cut(1UL << (order + SMALLEST));
	if (b)
		b->size = 1UL << (order + SMALLEST);
	return b;
}

static struct block *get(size_t len)
{
	return len >= LARGE ? get_large((len + PAGE - 1) & ~(PAGE - 1)) : get_small(order_of(len));
}

/* Not by the name that the compiler knows: of it and memset() it would make a calloc(). */
static void *allocate(size_t len)
{
	struct block *b;
	bool first;

	take();
	first = !follows;
	follows = true;
	b = len < SIZE_MAX / 2 ? get(len + sizeof *b) : NULL;
	give();
	if (first)
		pthread_atfork(take, give, give_in_child);
	if (!b)
		errno = ENOMEM;
	return b ? b + 1 : NULL;
}

__attribute__((visibility("default"))) void *malloc(size_t len)
{
	return allocate(len);
}

static void put_back(struct block *b)
{
	unsigned order = order_of(b->size);

	b->next = free_blocks[order];
	free_blocks[order] = b;
}

__attribute__((visibility("default"))) void free(void *p)
{
	struct block *b = (struct block *)p - 1;
	int saved = errno;

	if (!p)
		return;
	take();
	if (b->size >= LARGE)
		munmap(b, b->size);
	else
		put_back(b);
	give();
	errno = saved;
}

__attribute__((visibility("default"))) void *calloc(size_t n, size_t len)
{
	size_t all;
	void *p = __builtin_mul_overflow(n, len, &all) ? NULL : allocate(all);

	return p ? memset(p, 0, all) : NULL;
}

__attribute__((visibility("default"))) void *realloc(void *p, size_t len)
{
	size_t had = p ? ((struct block *)p - 1)->size - sizeof(struct block) : 0;
	void *q = allocate(len);

	if (q && p) {
		memcpy(q, p, had < len ? had : len);
		free(p);
	}
	return q;
}

/* ---- What is done with it ---- */

#define KEPT 20 /* MiB */
#define FORKS 6
#define THREADS 3
#define BLOCKS 64
#define STREAMS 20

static unsigned char *kept[KEPT];
static _Atomic bool stop;

static void fill(unsigned char *p, size_t len, unsigned seed)
{
	for (size_t i = 0; i < len; i += 512)
		p[i] = (unsigned char)(seed + i / 512);
}

static void look(const unsigned char *p, size_t len, unsigned seed)
{
	for (size_t i = 0; i < len; i += 512)
		CHECK(p[i] == (unsigned char)(seed + i / 512));
}

static void fill_kept(void)
{
	for (unsigned i = 0; i < KEPT; i++) {
		kept[i] = malloc(i % 2 ? LARGE : LARGE / 2 - 64);
		CHECK(kept[i]);
		fill(kept[i], LARGE / 2 - 64, i);
	}
}

static void look_at_kept(void)
{
	for (unsigned i = 0; i < KEPT; i++)
		look(kept[i], LARGE / 2 - 64, i);
}

/* Blocks of all sizes come and go. */
static void turn_over(unsigned *seed)
{
	unsigned char *p[BLOCKS];
	size_t len[BLOCKS];

	for (unsigned i = 0; i < BLOCKS; i++) {
		len[i] = 1UL << (4 + rand_r(seed) % (i % 16 ? 12 : 17));
		p[i] = malloc(len[i]);
		CHECK(p[i]);
		fill(p[i], len[i], i);
	}
	for (unsigned i = 0; i < BLOCKS; i++) {
		look(p[i], len[i], i);
		free(p[i]);
	}
}

static void *work(void *arg)
{
	unsigned seed = (unsigned)(uintptr_t)arg;

	do
		turn_over(&seed);
	while (!atomic_load(&stop));
	return NULL;
}

/*
 * libc has its tables of characters from malloc(3), and its streams, and looks at them where a fault cannot be served: in a new thread, which begins with all
 * signals blocked, and in a forked child before anybody is told of it.
 */
static void give_libc_some(void)
{
	setlocale(LC_ALL, "C.UTF-8");
	for (int i = 0; i < STREAMS; i++)
		CHECK(malloc(LARGE / 16) && fopen("/dev/null", "w"));
}

static void work_in_child(unsigned i)
{
	pthread_t t[2];

	atomic_store(&stop, true);
	look_at_kept();
	look(kept[i % KEPT], LARGE / 2 - 64, i % KEPT);
	for (uintptr_t n = 0; n < 2; n++)
		CHECK(!pthread_create(&t[n], NULL, work, (void *)(n + i)));
	look_at_kept();
	for (int n = 0; n < 2; n++)
		CHECK(!pthread_join(t[n], NULL));
	if (i % 2)
		_exit(0);
	exit(0);
}

static void fork_one(unsigned i)
{
	pid_t pid = fork();
	int status;

	if (!pid)
		work_in_child(i);
	CHECK(pid > 0 && waitpid(pid, &status, 0) == pid && !status);
}

/* In many threads, some in the middle of it when another forks. */
static void forks(void)
{
	pthread_t t[THREADS];

	give_libc_some();
	fill_kept();
	for (uintptr_t i = 0; i < THREADS; i++)
		CHECK(!pthread_create(&t[i], NULL, work, (void *)(i + 1)));
	for (unsigned i = 0; i < FORKS; i++)
		fork_one(i);
	atomic_store(&stop, true);
	for (int i = 0; i < THREADS; i++)
		CHECK(!pthread_join(t[i], NULL));
	look_at_kept();
}

int main(void)
{
	forks();
	return 0;
}
