/* SPDX-License-Identifier: Apache-2.0 */
#include "session.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "borrow.h"
#include "cache/budget.h"
#include "cache/reclaim.h"
#include "cache/writeback.h"
#include "flusher.h"
#include "mappings.h"
#include "pins.h"
#include "util/arena.h"
#include "util/compiler.h"
#include "util/log.h"
#include "util/sys.h"

#define SETTLE_MS 10000

static struct rwlock list_lock = RWLOCK_INIT(RANK_SPACES);
static struct session *sessions[SESSIONS_MAX]; /* list_lock; the first `count`, each with a reference */
static _Atomic uint32_t count;                 /* changes under list_lock */
static _Atomic uint32_t unlisted;              /* sessions that have left the list: who walks it may have missed one since */
static _Atomic uint32_t whole;                 /* sessions that have not been taken apart; changes before count, and after it */

/* ---- The list ---- */

struct session *session_create(int sock, pid_t pid)
{
	struct session *s = calloc(1, sizeof *s);
	bool listed = false;

	if (!s)
		return NULL;
	s->sock = sock;
	s->pid = pid;
	atomic_store(&s->refs, 1);
	rwlock_init(&s->lock, RANK_MMAP);
	write_lock(&list_lock);
	if (count < SESSIONS_MAX) {
		atomic_fetch_add(&whole, 1);
		sessions[count++] = s;
		listed = true;
	}
	write_unlock(&list_lock);
	if (listed)
		return s;
	free(s);
	return NULL;
}

void session_unlist(struct session *s)
{
	write_lock(&list_lock);
	for (uint32_t i = 0; i < count; i++)
		if (sessions[i] == s) {
			sessions[i] = sessions[--count];
			atomic_fetch_add(&unlisted, 1);
			break;
		}
	write_unlock(&list_lock);
}

uint32_t session_count(void)
{
	return atomic_load(&count);
}

bool session_any_alive(void)
{
	bool found = false;
	struct session *s;

	for (uint32_t i = 0; !found && (s = session_at(i)); i++) {
		found = !session_has_hung_up(s);
		session_put(s);
	}
	return found;
}

static bool somebody_goes(void)
{
	uint32_t before = atomic_load(&unlisted);
	bool found = atomic_load(&whole) > session_count();
	struct session *s;

	for (uint32_t i = 0; !found && (s = session_at(i)); i++) {
		found = session_has_hung_up(s);
		session_put(s);
	}
	return found || atomic_load(&unlisted) != before;
}

int session_settle(const struct session *asking)
{
	static _Atomic bool busy; /* one worker may wait here: the others are for requests */
	int err = 0;

	if (atomic_exchange(&busy, true))
		return -EBUSY;
	for (int ms = 0; !err && (somebody_goes() || flusher_is_busy()); ms++) {
		if (ms == SETTLE_MS || session_has_hung_up(asking)) /* its own end waits for this */
			err = -ETIMEDOUT;
		sys_nanosleep(1000000);
	}
	atomic_store(&busy, false);
	return err;
}

bool session_has_hung_up(const struct session *s)
{
	struct pollfd p = {.fd = s->sock, .events = POLLRDHUP};

	return atomic_load(&s->ended) ||
	       (sys_call(SYS_poll, (long)&p, 1, 0, 0, 0, 0) == 1 && (p.revents & (POLLRDHUP | POLLHUP | POLLERR)));
}

struct session *session_at(uint32_t i)
{
	struct session *s = NULL;

	read_lock(&list_lock);
	if (i < count)
		s = session_get(sessions[i]);
	read_unlock(&list_lock);
	return s;
}

/* The bit is the claim: whose clearing it was serves the slot. */
static bool take_request(struct session *s, uint32_t *slot)
{
	uint64_t pending;

	if (!atomic_load(&s->greeted) || atomic_load(&s->ended))
		return false;
	while ((pending = atomic_load(&s->area->pending))) {
		uint64_t bit = pending & -pending;

		*slot = (uint32_t)__builtin_ctzll(pending);
		if (atomic_fetch_and(&s->area->pending, ~bit) & bit)
			return true;
	}
	return false;
}

/* Each look begins with another client, so that none has to wait for one that asks all the time. */
struct session *session_find_request(uint32_t *slot)
{
	static _Atomic uint32_t turn;
	uint32_t first = atomic_fetch_add_explicit(&turn, 1, memory_order_relaxed);
	struct session *found = NULL;

	read_lock(&list_lock);
	for (uint32_t i = 0, n = count; i < n && !found; i++) {
		struct session *s = sessions[(first + i) % n];

		if (take_request(s, slot))
			found = session_get(s);
	}
	read_unlock(&list_lock);
	return found;
}

static void each_handle_of(struct session *s, void (*fn)(struct handle *h, void *arg), void *arg)
{
	read_lock(&s->lock);
	for (uint32_t i = 0; i < s->files.n; i++)
		if (s->files.at[i])
			fn(s->files.at[i], arg);
	read_unlock(&s->lock);
}

void session_each_handle(void (*fn)(struct handle *h, void *arg), void *arg)
{
	read_lock(&list_lock);
	for (uint32_t i = 0; i < count; i++)
		each_handle_of(sessions[i], fn, arg);
	read_unlock(&list_lock);
}

/* ---- Files ---- */

struct handle *handle_get(struct handle *h)
{
	atomic_fetch_add(&h->refs, 1);
	return h;
}

void handle_put(struct handle *h)
{
	char path[256];
	int err;

	if (atomic_fetch_sub(&h->refs, 1) > 1)
		return;
	address_space_path(h->as, path, sizeof path);
	err = address_space_put(h->as);
	if (err)
		fl_log(LOG_ERROR, "%s: what was stored to it cannot be written back (error %d); it is kept", path, -err);
	arena_free(address_space_arena(), h, sizeof *h);
}

/* Caller holds session.lock for writing. A place in the table, new or one that was closed. */
static int place_for(struct session *s, uint32_t *i)
{
	for (*i = 0; *i < s->files.n; ++*i)
		if (!s->files.at[*i])
			return 0;
	if (s->files.n == SESSION_FILES_MAX)
		return -EMFILE;
	if (table_reserve(&s->files, 1))
		return -ENOMEM;
	table_insert(&s->files, *i, NULL);
	return 0;
}

int session_add_file(struct session *s, struct address_space *as, bool writable, uint32_t *number)
{
	struct handle *h;
	uint32_t i;
	int err;

	metadata_refill();
	h = arena_alloc(address_space_arena(), sizeof *h);
	if (!h)
		return -ENOMEM;
	h->as = as;
	h->writable = writable;
	atomic_store(&h->refs, 1);
	atomic_store(&h->lowest, UINT64_MAX);
	write_lock(&s->lock);
	err = place_for(s, &i);
	if (!err)
		s->files.at[i] = h;
	write_unlock(&s->lock);
	*number = i + 1;
	if (err)
		arena_free(address_space_arena(), h, sizeof *h);
	return err;
}

struct handle *session_file(struct session *s, uint32_t number)
{
	struct handle *h = NULL;

	read_lock(&s->lock);
	if (number && number <= s->files.n && s->files.at[number - 1])
		h = handle_get(s->files.at[number - 1]);
	read_unlock(&s->lock);
	return h;
}

int session_close_file(struct session *s, uint32_t number)
{
	struct handle *h = NULL;

	write_lock(&s->lock);
	if (number && number <= s->files.n) {
		h = s->files.at[number - 1];
		s->files.at[number - 1] = NULL;
	}
	write_unlock(&s->lock);
	if (!h)
		return -EINVAL;
	pins_drop_all(s, h);
	handle_put(h);
	return 0;
}

/* ---- MMUs ---- */

bool session_has_mmu(const struct session *s, uint64_t number)
{
	return number < SESSION_MMUS && s->mmu[number] && !s->mmu[number]->dropped;
}

/* Caller holds session.lock for writing. */
static int install_mmu(struct session *s, struct client_mmu *m, uint32_t *number)
{
	for (*number = 0; *number < SESSION_MMUS; ++*number)
		if (!s->mmu[*number]) {
			s->mmu[*number] = m;
			return 0;
		}
	return -ENOMEM;
}

int session_add_mmu(struct session *s, int fd, uint32_t *number)
{
	struct client_mmu *m = calloc(1, sizeof *m);
	int err;

	if (m)
		atomic_store(&m->refs, 1);
	err = m ? remote_mmu_open(&m->uffd, fd) : -ENOMEM;
	if (err) {
		sys_close(fd);
		free(m);
		return err;
	}
	write_lock(&s->lock);
	err = install_mmu(s, m, number);
	write_unlock(&s->lock);
	if (err)
		mmu_put(m);
	return err;
}

struct client_mmu *session_mmu(struct session *s, uint64_t number)
{
	struct client_mmu *m = NULL;

	read_lock(&s->lock);
	if (session_has_mmu(s, number)) {
		m = s->mmu[number];
		atomic_fetch_add(&m->refs, 1);
	}
	read_unlock(&s->lock);
	return m;
}

void mmu_put(struct client_mmu *m)
{
	if (atomic_fetch_sub(&m->refs, 1) > 1)
		return;
	remote_mmu_close(&m->uffd);
	free(m);
}

/* Its number stays taken until nothing is mapped by it. */
int session_drop_mmu(struct session *s, uint64_t number)
{
	struct client_mmu *m = NULL;

	write_lock(&s->lock);
	if (session_has_mmu(s, number)) {
		m = s->mmu[number];
		m->dropped = true;
	}
	write_unlock(&s->lock);
	if (!m)
		return -EINVAL;
	mappings_remove_mmu(s, (uint32_t)number);
	write_lock(&s->lock);
	s->mmu[number] = NULL;
	write_unlock(&s->lock);
	mmu_put(m);
	return 0;
}

int session_pay_page(struct session *s, uint32_t slot)
{
	uint64_t bit = 1ULL << slot;
	uint32_t got;
	int err;

	if (atomic_load(&s->pages_paid) & bit)
		return 0;
	err = reserve_frames(1, &got);
	if (!err && (atomic_fetch_or(&s->pages_paid, bit) & bit))
		budget_release(1); /* the client has posted the slot twice */
	return err;
}

/* ---- The end ---- */

struct session *session_get(struct session *s)
{
	atomic_fetch_add(&s->refs, 1);
	return s;
}

void session_end(struct session *s)
{
	atomic_store(&s->ended, true);
	if (!atomic_load(&s->greeted))
		return;
	for (uint32_t i = 0; i < WIRE_SLOTS; i++) /* who waits for the client to go on */
		if (atomic_load(&s->area->slot[i].state) != WIRE_FREE)
			sys_futex_wake_shared(&s->area->slot[i].state, INT_MAX);
}

static bool has_living_mmu(const struct session *s)
{
	for (uint32_t i = 0; i < SESSION_MMUS; i++)
		if (s->mmu[i] && remote_mmu_lives(&s->mmu[i]->uffd))
			return true;
	return false;
}

static int write_back_of(struct session *s)
{
	int err = 0;

	for (uint32_t i = 0; i < s->files.n; i++) {
		struct handle *h = s->files.at[i];

		if (h && h->writable && !h->as->scratch)
			err |= writeback_all(h->as);
	}
	return err;
}

static void close_files(struct session *s)
{
	for (uint32_t i = 0; i < s->files.n; i++)
		if (s->files.at[i])
			handle_put(s->files.at[i]);
	table_free(&s->files);
}

static void free_area(struct session *s)
{
	if (!s->area)
		return;
	sys_munmap(s->area, page_align_up(sizeof *s->area));
	budget_release((uint64_t)__builtin_popcountll(atomic_load(&s->pages_paid)));
	budget_release_metadata(AREA_PAGES);
}

/*
 * A process that has only closed its socket goes on storing to pages that are DIRTY. They are written back while its mappings are
 * known, which protects them: so no store goes where nobody sees it.
 */
static void take_apart(struct session *s)
{
	if (has_living_mmu(s))
		write_back_of(s);
	pins_drop_all(s, NULL);
	mappings_remove_all(s);
	table_free(&s->maps);
	borrow_return_all(s);
	close_files(s);
	for (uint32_t i = 0; i < SESSION_MMUS; i++)
		if (s->mmu[i])
			mmu_put(s->mmu[i]);
	free_area(s);
	sys_close(s->sock);
	free(s);
	atomic_fetch_sub(&whole, 1);
}

void session_put(struct session *s)
{
	if (atomic_fetch_sub(&s->refs, 1) == 1)
		take_apart(s);
}
