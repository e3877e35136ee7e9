/* SPDX-License-Identifier: Apache-2.0 */
#include "engine.h"
#include "engine_lock.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#include "cache/budget.h"
#include "cache/buffer.h"
#include "cache/filemap.h"
#include "cache/frames.h"
#include "cache/hosted.h"
#include "cache/huge.h"
#include "cache/io.h"
#include "cache/policy.h"
#include "cache/ram.h"
#include "cache/readahead.h"
#include "cache/repay.h"
#include "cache/writeback.h"
#include "holds.h"
#include "host/channel.h"
#include "mm/soft.h"
#include "mmu/fault_signal.h"
#include "mmu/sigsegv.h"
#include "mmu/uffd.h"
#include "store/store.h"
#include "util/compiler.h"
#include "util/fd.h"
#include "util/log.h"

struct mutex engine_lock = MUTEX_INIT(RANK_SPACES);
static _Atomic bool started;
static bool given_up; /* for good: engine_give_up() */
static struct engine_options options;
static struct mm *default_space; /* constant while started */
static int native_error;         /* constant while started: why there is none */

bool engine_started(void)
{
	return atomic_load_explicit(&started, memory_order_acquire);
}

const struct engine_options *engine_options(void)
{
	return &options;
}

struct mm *engine_space(void)
{
	return engine_started() ? default_space : NULL;
}

/* What is left of the budget after buffers; a frame also costs its entry in the table, and a ghost. */
static int init_frames(bool huge)
{
	uint64_t left = budget_limit() - budget_used();
	uint64_t frames = left * FL_PAGE_SIZE / (FL_PAGE_SIZE + 16 + 4);
	int err;

	readahead_init((uint32_t)min_u64(buffer_large_pages(), frames / 16), frames / 64);
	huge_init(huge ? frames : 0);
	err = policy_init(frames);
	return err ? err : page_table_init(frames);
}

#define SHOWN_PER_FRAME 2 /* pages that can be accessed at a time, where that is kept book of: a page can be in several mappings */

static void *shown; /* of sigsegv.c */
static uint64_t shown_bytes;

static int init_shown(void)
{
	shown_bytes = FL_PAGE_SIZE;
	while (shown_bytes * 2 <= budget_limit() * SHOWN_PER_FRAME * sizeof(uint64_t))
		shown_bytes *= 2;
	shown = budget_map(shown_bytes + FL_PAGE_SIZE);
	sigsegv_init(shown, shown ? shown_bytes : 0);
	return shown ? 0 : -ENOMEM;
}

uint64_t engine_shown_pages(void)
{
	return shown ? (shown_bytes >> FL_PAGE_SHIFT) + 1 : 0;
}

#define CLIENT_BUFFERS (1UL << 20) /* a client's budget counts for no more where buffers are made: its files are read by the host */

/* The budget is the host's: what of it is used here is borrowed page by page, up to half. */
static uint64_t budget_of_client(void)
{
	budget_set_lender(&hosted_lender);
	return max_u64(channel_budget() / 2, BUDGET_MIN);
}

static int init_cache(const struct engine_options *o)
{
	bool client = channel_joined();
	int err = budget_init(client ? budget_of_client() : o->budget);

	if (!err)
		err = buffer_init(client ? min_u64(budget_limit(), CLIENT_BUFFERS >> FL_PAGE_SHIFT) : budget_limit());
	if (!err && o->faults == FAULTS_SIGSEGV)
		err = init_shown();
	if (!err)
		err = init_frames(o->huge && o->pool && o->direct && !client);
	if (!err)
		err = address_space_init(o->direct);
	if (!err && !repay_has_room())
		err = -ENOMEM;
	address_space_use_pool(o->pool);
	frames_hide_first(o->faults == FAULTS_SIGSEGV);
	filemap_init();
	holds_init();
	io_init(o->io == IO_AIO && !o->direct ? IO_STORE : (enum io_mode)o->io); /* what it costs at the end is for who uses it */
	return err;
}

static void exit_cache(void)
{
	io_exit();
	huge_exit();
	address_space_exit();
	page_table_exit();
	policy_exit();
	buffer_exit();
	sigsegv_init(NULL, 0);
	budget_unmap(shown, shown_bytes + FL_PAGE_SIZE);
	shown = NULL;
	swap_exit();
	report_exit();
	budget_exit();
}

static int create_mmu(enum engine_faults faults, struct mmu **out)
{
	switch (faults) {
	case FAULTS_THREAD:
		return uffd_thread_create(out);
	case FAULTS_SIGSEGV:
		return sigsegv_create(out);
	default:
		return uffd_inline_create(out);
	}
}

int engine_fault_threads(void)
{
	struct mm *mm;
	int n = 0;

	for (int i = 0; (mm = mm_space(i)); i++)
		n += mm->inline_faults || !mm->mmu ? 0 : mm->mmu->threads;
	return n;
}

/* There is one fault signal. */
static bool goes_with(enum engine_faults faults)
{
	return (faults == FAULTS_SIGSEGV) == (options.faults == FAULTS_SIGSEGV);
}

static int create_space(enum engine_faults faults, const struct mm_limits *limits, struct mm **out)
{
	struct mmu *mmu;
	int err = goes_with(faults) ? create_mmu(faults, &mmu) : -EINVAL;

	if (err)
		return err;
	err = mm_create(mmu, limits, out);
	if (err) {
		mmu->ops->destroy(mmu);
		return err;
	}
	(*out)->inline_faults = !mmu->by_threads;
	err = channel_joined() ? mm_join_host(*out) : 0;
	if (err)
		mm_destroy(*out);
	return err;
}

static int create_default_space(enum engine_faults faults)
{
	struct mm_limits limits;

	mm_limits_default(&limits);
	return create_space(faults, &limits, &default_space);
}

void engine_follow_forks(void)
{
	static _Atomic bool once;

	if (!atomic_exchange(&once, true))
		pthread_atfork(engine_fork_prepare, engine_fork_parent, engine_fork_child);
}

static bool is_refused(int err)
{
	return err == -ENOSYS || err == -EPERM || err == -EACCES;
}

static enum engine_faults choose_faults(void)
{
	bool user_mode_only;
	int fd = uffd_open(false, true, &user_mode_only);

	if (fd >= 0)
		fd_close(fd);
	return is_refused(fd) ? FAULTS_SIGSEGV : FAULTS_INLINE;
}

/* A host maps pages write-protected, which UFFDIO_CONTINUE can since Linux 6.4. */
static bool can_be_client(void)
{
	struct utsname u;
	int major = 0, minor = 0;

	return !uname(&u) && sscanf(u.release, "%d.%d", &major, &minor) == 2 && (major > 6 || (major == 6 && minor >= 4));
}

static void say_alone(const char *why, const char *name)
{
	static _Atomic bool said;

	if (!atomic_exchange(&said, true))
		fl_log(LOG_WARN, "%s %s: mappings are not shared with other processes", why, name);
}

/* A host that has gone is no reason not to go on alone. */
static int join(const char *name, enum engine_faults faults)
{
	int err = 0;

	if (!name[0] || channel_joined())
		return 0;
	if (faults == FAULTS_SIGSEGV)
		say_alone("without userfaultfd there can be no host; not joined:", name);
	else if (!can_be_client())
		say_alone("before Linux 6.4 there can be no host; not joined:", name);
	else
		err = channel_join(name);
	if (err != -ECONNREFUSED && err != -ENOENT)
		return err;
	say_alone("no host at", name);
	return 0;
}

static bool joined_for_good; /* not by the start of the engine: its end does not leave the host */

int engine_join_host(void)
{
	struct engine_options o;
	const char *what;
	int err;

	if (!getenv("FAULTLINE_HOST")) /* most programs: they map nothing, and need not read the rest */
		return 0;
	err = engine_options_from_env(&o, &what);
	if (err || !o.host[0])
		return err;
	engine_follow_forks();
	joined_for_good = true;
	return join(o.host, o.faults ? o.faults : choose_faults());
}

void engine_keep_host(void)
{
	struct sigguard g = sigguard_enter();

	channel_keep();
	sigguard_leave(g);
}

static void leave_host(void)
{
	if (!joined_for_good)
		channel_leave();
}

/* Frames that live where they are mapped are written to and moved with userfaultfd. */
static void settle_options(const struct engine_options *o)
{
	options = *o;
	if (o->faults == FAULTS_AUTO && !o->no_native)
		options.faults = choose_faults();
	if (options.faults == FAULTS_SIGSEGV)
		options.pool = options.huge = false;
}

static int start_locked(const struct engine_options *wanted)
{
	const struct engine_options *o = &options;
	int err;

	if (engine_started())
		return -EBUSY;
	if (given_up)
		return -ENOMEM;
	settle_options(wanted);
	log_set_level((enum log_level)o->log_level);
	err = join(o->host, o->faults);
	if (err)
		return err;
	mmu_set_fault_handler(mm_handle_fault);
	sigsegv_set_protection(mm_protection_at);
	err = swap_set_directory(o->swap_directory[0] ? o->swap_directory : NULL);
	if (!err)
		err = fault_store_set_rules(o->inject);
	if (!err)
		err = report_init(o->report_directory[0] ? o->report_directory : NULL, o->budget);
	if (!err)
		err = init_cache(o);
	native_error = err ? 0 : o->no_native ? -ENOSYS : create_default_space(o->faults);
	if (native_error && !o->soft)
		err = native_error;
	if (err) {
		exit_cache();
		leave_host();
		return err;
	}
	sigguard_off = o->quiet_handlers;
	if (!native_error)
		fd_keep_spares(); /* which a fork can make up for */
	repay_begin();
	atomic_store_explicit(&started, true, memory_order_release);
	return 0;
}

int engine_start(const struct engine_options *o)
{
	struct sigguard g;
	int err;

	engine_follow_forks();
	g = sigguard_enter();
	mutex_lock(&engine_lock);
	err = start_locked(o);
	mutex_unlock(&engine_lock);
	sigguard_leave(g);
	return err;
}

static int start_from_env(bool soft)
{
	struct engine_options o;
	const char *what;
	int err;

	if (engine_started())
		return 0;
	err = engine_options_from_env(&o, &what);
	if (err) {
		fl_log(LOG_ERROR, "%s makes no sense", what);
		return err;
	}
	o.soft = soft;
	err = engine_start(&o);
	return err == -EBUSY ? 0 : err;
}

int engine_start_default(void)
{
	int err = start_from_env(false);

	return err ? err : native_error;
}

int engine_start_soft(void)
{
	return start_from_env(true);
}

int engine_soft_create(const struct soft_config *config, struct mm **out)
{
	struct sigguard g = sigguard_enter();
	int err;

	mutex_lock(&engine_lock);
	err = soft_create(config, out);
	mutex_unlock(&engine_lock);
	sigguard_leave(g);
	return err;
}

int engine_soft_fork(struct mm *parent, struct mm **out)
{
	struct sigguard g = sigguard_enter();
	int err;

	mutex_lock(&engine_lock);
	err = soft_fork(parent, out);
	mutex_unlock(&engine_lock);
	sigguard_leave(g);
	return err;
}

int engine_space_create(enum engine_faults faults, const struct mm_limits *limits, struct mm **out)
{
	struct sigguard g = sigguard_enter();
	int err;

	mutex_lock(&engine_lock);
	err = create_space(faults ? faults : options.faults, limits, out);
	mutex_unlock(&engine_lock);
	sigguard_leave(g);
	return err;
}

void engine_space_destroy(struct mm *mm)
{
	struct sigguard g = sigguard_enter();

	mutex_lock(&engine_lock);
	mm_destroy(mm);
	mutex_unlock(&engine_lock);
	sigguard_leave(g);
}

/* ---- Threads ---- */

/* Those that serve faults. */
static void change_servers(void (*change)(void))
{
	struct sigguard g;

	if (options.faults != FAULTS_THREAD)
		return;
	g = sigguard_enter();
	mutex_lock(&engine_lock);
	change();
	mutex_unlock(&engine_lock);
	sigguard_leave(g);
}

void engine_threads_pause(bool all)
{
	repay_pause();
	if (all)
		change_servers(uffd_threads_pause);
}

void engine_threads_go_on(void)
{
	change_servers(uffd_threads_renew);
	repay_go_on();
}

/* ---- The end ---- */

static int write_back_one(struct address_space *as, void *arg)
{
	int *first = arg, err = as->scratch ? 0 : writeback_all(as);

	if (err && !*first)
		*first = err;
	return 0;
}

static bool can_hand_over(const struct address_space *as)
{
	return as->store->writable && !as->kernels && !as->scratch && !as_is_ram(as) && !as_is_hosted(as);
}

static int hand_over_one(struct address_space *as, void *arg)
{
	(void)arg;
	if (can_hand_over(as))
		mm_hand_over(as, NULL, true);
	return 0;
}

static _Atomic bool handed_to_exec;

static int hand_over_to_exec(struct address_space *as, void *arg)
{
	(void)arg;
	if (can_hand_over(as) && mm_has_writable(as, 0) && !mm_hand_over(as, NULL, false))
		atomic_store(&handed_to_exec, true);
	return 0;
}

void engine_exec_failed(void)
{
	if (atomic_exchange(&handed_to_exec, false))
		report_note("shared writable mappings: left to the kernel: execve(2) that failed");
}

static void note_end(void)
{
	struct report *r = report_get();

	atomic_store(&r->used_bytes, budget_used() << FL_PAGE_SHIFT);
	atomic_store(&r->peak_bytes, budget_peak() << FL_PAGE_SHIFT);
	atomic_store(&r->state, REPORT_ENDED);
}

int engine_flush(enum flush how)
{
	struct sigguard g;
	int err = 0;

	if (!engine_started())
		return 0;
	g = sigguard_enter();
	address_space_for_each(write_back_one, &err);
	if (how == FLUSH_TO_EXEC)
		address_space_for_each(hand_over_to_exec, NULL);
	if (how == FLUSH_TO_END) {
		address_space_for_each(hand_over_one, NULL);
		note_end();
	}
	sigguard_leave(g);
	return err;
}

static void end_here(void)
{
	given_up = true;
	atomic_store(&started, false);
}

void engine_give_up(void)
{
	end_here();
	mm_fork_give_up();
}

void engine_forsake(void)
{
	end_here();
	mm_clone_child();
}

int engine_stop(void)
{
	struct sigguard g;
	struct mm *mm;
	int err = 0;

	if (!engine_started())
		return -EINVAL;
	g = sigguard_enter();
	repay_end();
	mutex_lock(&engine_lock);
	address_space_for_each(write_back_one, &err);
	atomic_store(&started, false);
	while ((mm = mm_space(0)))
		mm_destroy(mm);
	while ((mm = soft_any()))
		mm_destroy(mm);
	soft_exit();
	default_space = NULL;
	fault_signal_restore();
	vma_index_pool_exit();
	vma_pool_exit();
	note_end();
	exit_cache();
	fd_drop_spares();
	sigguard_off = false;
	leave_host();
	mutex_unlock(&engine_lock);
	sigguard_leave(g);
	return err;
}
