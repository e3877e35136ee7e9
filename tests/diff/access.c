/* SPDX-License-Identifier: Apache-2.0 */
/* Loads and stores that may raise SIGSEGV or SIGBUS. A signal anywhere else ends the run, and says so in the trace. */
#include "run.h"

#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static _Thread_local sigjmp_buf failed;
static _Thread_local volatile sig_atomic_t expected;
static _Thread_local siginfo_t info_caught;
static struct trace *all_traces;
static int trace_count;
static bool keeps_mask = true;

static void on_signal(int sig, siginfo_t *info, void *context)
{
	(void)context;
	if (expected && sig != SIGABRT) {
		info_caught = *info;
		siglongjmp(failed, 1);
	}
	for (int i = 0; i < trace_count; i++)
		atomic_store(&all_traces[i].broken, (uint32_t)sig);
	_exit(99);
}

void access_install_handlers(struct trace *traces, int n, bool plain)
{
	struct sigaction a = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | (plain ? SA_NODEFER : 0)};

	all_traces = traces;
	trace_count = n;
	keeps_mask = !plain;
	sigaction(SIGSEGV, &a, NULL);
	sigaction(SIGBUS, &a, NULL);
	sigaction(SIGABRT, &a, NULL);
}

/* Runs the statement; a signal leaves it, and is told in *a. */
#define GUARDED(a, statement)                             \
	do {                                              \
		if (sigsetjmp(failed, keeps_mask) == 0) { \
			expected = 1;                     \
			statement;                        \
			expected = 0;                     \
		} else {                                  \
			expected = 0;                     \
			(a)->sig = info_caught.si_signo;  \
			(a)->code = info_caught.si_code;  \
			(a)->addr = info_caught.si_addr;  \
		}                                         \
	} while (0)

static uint64_t load(const char *p, int size)
{
	switch (size) {
	case 1:
		return *(const volatile uint8_t *)p;
	case 2:
		return *(const volatile uint16_t *)p;
	case 4:
		return *(const volatile uint32_t *)p;
	default:
		return *(const volatile uint64_t *)p;
	}
}

static void store(const struct backend *b, char *p, int size, uint64_t value)
{
	switch (size) {
	case 1:
		*(volatile uint8_t *)p = (uint8_t)value;
		break;
	case 2:
		*(volatile uint16_t *)p = (uint16_t)value;
		break;
	case 4:
		*(volatile uint32_t *)p = (uint32_t)value;
		break;
	default:
		b->store((volatile uint64_t *)p, value);
	}
}

void access_load(const struct backend *b, const char *p, int size, struct access *a)
{
	if (b->access)
		return b->access->load(p, size, a);
	GUARDED(a, a->hash = load(p, size));
}

void access_store(const struct backend *b, char *p, int size, uint64_t value, struct access *a)
{
	if (b->access)
		return b->access->store(p, size, value, a);
	GUARDED(a, store(b, p, size, value));
}

void access_add(const struct backend *b, char *p, uint64_t value, struct access *a)
{
	if (b->access)
		return b->access->add(p, value, a);
	GUARDED(a, a->hash = atomic_fetch_add((_Atomic uint64_t *)p, value));
}

static uint64_t exchange(char *p, int size, uint64_t value)
{
	return size == 4 ? atomic_exchange((_Atomic uint32_t *)p, (uint32_t)value) : atomic_exchange((_Atomic uint64_t *)p, value);
}

void access_exchange(const struct backend *b, char *p, int size, uint64_t value, struct access *a)
{
	if (b->access)
		return b->access->exchange(p, size, value, a);
	GUARDED(a, a->hash = exchange(p, size, value));
}

static void call(char *p)
{
	((void (*)(void))p)();
}

/* What is no `ret` is not executed. */
static void fetch(char *p, struct access *a)
{
	struct access first = {0};

	GUARDED(&first, *(volatile uint8_t *)p = RET);
	GUARDED(a, a->hash = *(volatile uint8_t *)p);
	if (!a->sig && a->hash == RET) {
		a->done = 1;
		GUARDED(a, call(p));
	}
	a->hash |= (uint64_t)first.sig << 8;
}

void access_fetch(const struct backend *b, char *p, struct access *a)
{
	if (b->access)
		b->access->fetch(p, a);
	else
		fetch(p, a);
}

uint64_t hash_bytes(uint64_t h, const void *p, size_t len)
{
	const char *from = p;
	uint64_t word;

	for (; len >= 8; from += 8, len -= 8) {
		memcpy(&word, from, 8);
		h = hash_word(h, word);
	}
	word = 0;
	memcpy(&word, from, len);
	return len ? hash_word(h, word) : h;
}

static void hash_words(const char *p, size_t len, struct access *a)
{
	for (a->done = 0; a->done + 8 <= len; a->done += 8)
		a->hash = hash_word(a->hash, *(const volatile uint64_t *)(p + a->done));
}

void access_hash(const struct backend *b, const char *p, size_t len, struct access *a)
{
	if (b->access)
		return b->access->hash(p, len, a);
	GUARDED(a, hash_words(p, len, a));
}

static void fill_words(const struct backend *b, char *p, size_t len, uint64_t value, struct access *a)
{
	for (a->done = 0; a->done + 8 <= len; a->done += 8)
		b->store((volatile uint64_t *)(p + a->done), value + a->done);
}

void access_fill(const struct backend *b, char *p, size_t len, uint64_t value, struct access *a)
{
	if (b->access)
		return b->access->fill(p, len, value, a);
	GUARDED(a, fill_words(b, p, len, value, a));
}
