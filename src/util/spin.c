/* SPDX-License-Identifier: Apache-2.0 */
#include "spin.h"

#include <sys/syscall.h>

#include "clock.h"
#include "compiler.h"
#include "sys.h"

#define LOOK_NS 25000 /* about what a sleep and its end take */
#define LUCK_MAX 4
#define REST 16 /* sleeps after looks in vain */
#define PAUSES 30

static bool one_processor(void)
{
	static _Atomic int processors; /* 0: not looked at yet */
	uint64_t mask[16] = {0};
	int n = atomic_load_explicit(&processors, memory_order_relaxed);

	if (likely(n))
		return n == 1;
	if (sys_call(SYS_sched_getaffinity, 0, sizeof mask, (long)mask, 0, 0, 0) < 0)
		n = 1;
	for (int i = 0; i < 16; i++)
		n += __builtin_popcountll(mask[i]);
	atomic_store(&processors, n);
	return n == 1;
}

static bool look(const _Atomic uint32_t *word, uint32_t old, uint64_t ns)
{
	uint64_t end = now_ns() + ns;

	do {
		for (int i = 0; i < PAUSES; i++) {
			if (atomic_load_explicit(word, memory_order_acquire) != old)
				return true;
			__builtin_ia32_pause();
		}
		sys_yield(); /* who is to make the change may be waiting for this processor */
	} while (now_ns() < end);
	return false;
}

bool spin_while(const _Atomic uint32_t *word, uint32_t old, struct spin *s)
{
	int luck = atomic_load_explicit(&s->luck, memory_order_relaxed);
	bool came;

	if (one_processor())
		return false;
	if (luck < 0) {
		atomic_store_explicit(&s->luck, luck + 1, memory_order_relaxed);
		return false;
	}
	came = look(word, old, LOOK_NS);
	if (came)
		luck = luck < LUCK_MAX ? luck + 1 : luck;
	else
		luck = luck ? luck - 1 : -REST;
	atomic_store_explicit(&s->luck, luck, memory_order_relaxed);
	return came;
}

bool spin_for(const _Atomic uint32_t *word, uint32_t old, unsigned us)
{
	return !one_processor() && look(word, old, us * 1000ull);
}
