/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel keeps: what is no regular file or lies in memory anyway, code, stacks and otherwise special mappings, small
 * files, anonymous memory unless FAULTLINE_ANON says otherwise, and shared writable mappings below 1 MiB. The last are mostly how processes
 * talk to each other (locks, indexes of logs), which needs the one cache that all processes see, and pages that do not leave memory.
 *
 * With a host all processes of the run agree on who maps a file shared: the host, once one of them has mapped it by the host; the kernel for
 * good, once one has left it (hosted_leave).
 *
 * A call that must fail is not looked into: the kernel makes the error.
 */
#include "serve.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>

#include "api/engine.h"
#include "api/file_io.h"
#include "cache/hosted.h"
#include "files/revalidate.h"
#include "left.h"
#include "mmu/mmu.h"
#include "util/compiler.h"
#include "util/log.h"
#include "util/own.h"
#include "util/sys.h"

#define SHARED_WRITABLE_MIN (1 << 20)
#define KERNEL_FLAGS (MAP_GROWSDOWN | MAP_HUGETLB)

enum state { UNKNOWN, READY, OFF };

static _Atomic int state;
static uint64_t min_map, anon_min;

/* The options are read once, and said to be wrong once. */
static int look_at_options(void)
{
	struct engine_options o;
	const char *what;
	int now = READY;

	if (engine_options_from_env(&o, &what)) {
		fl_log(LOG_ERROR, "%s makes no sense; mappings are left to the kernel", what);
		now = OFF;
	}
	min_map = o.min_map;
	anon_min = o.anon_min;
	atomic_store(&state, now);
	return now;
}

static bool ready(void)
{
	int now = atomic_load_explicit(&state, memory_order_acquire);

	return (now == UNKNOWN ? look_at_options() : now) == READY;
}

static void say_no_room(void)
{
	static _Atomic bool said;

	if (!atomic_exchange(&said, true))
		fl_say("no room in the host's budget for one more process: as long as there is none, what it maps is not in the budget");
}

#define ENGINE_RESERVES (2UL << 30) /* what it reserves, and some more */

/* Whether the process could not have the address space that the engine needs. */
static bool is_limited(void)
{
	void *p = own_reserve(ENGINE_RESERVES);

	if (!sys_is_err(p))
		sys_munmap(p, ENGINE_RESERVES);
	return sys_is_err(p);
}

static void say_limited(void)
{
	static _Atomic bool said;

	if (!atomic_exchange(&said, true))
		fl_say("the limit of this process's address space (ulimit -v, or -d) is too low for Faultline: what it maps is not in the "
		       "budget; 2 GiB more are enough");
}

static bool start_engine(void)
{
	int err = engine_start_default();

	if (!err) {
		left_report_early();
		return true;
	}
	if (err == -ENOMEM && is_limited()) {
		if (!channel_joined())
			atomic_store(&state, OFF);
		say_limited();
		return false;
	}
	if (err == -ENOMEM && channel_joined()) { /* the host has lent all that it can: some of it may come back */
		say_no_room();
		return false;
	}
	if (atomic_exchange(&state, OFF) != OFF)
		fl_log(LOG_ERROR, "cannot start (error %d); mappings are left to the kernel", -err);
	return false;
}

bool serve_start(void)
{
	return ready() && start_engine();
}

bool serve_anonymous(void)
{
	return ready() && anon_min;
}

/* ---- The call ---- */

static bool is_shared(const struct map_call *c)
{
	return (c->flags & MAP_TYPE) != MAP_PRIVATE;
}

/* Where nothing is served. Address 0 is one with MAP_FIXED, and no hint without. */
static bool is_low(const struct map_call *c)
{
	return (uintptr_t)c->addr < MMU_ADDRESS_MIN && (c->addr || (c->flags & MAP_FIXED));
}

static bool is_candidate(const struct map_call *c)
{
	int type = c->flags & MAP_TYPE;

	if (!c->len || (c->flags & KERNEL_FLAGS))
		return false;
	if (is_low(c))
		return false;
	if ((c->flags & MAP_STACK) && ((c->flags & MAP_ANONYMOUS) || type == MAP_PRIVATE)) /* signal frames go there */
		return false;
	if (c->flags & MAP_ANONYMOUS)
		return serve_anonymous() && c->len >= anon_min && !(c->prot & PROT_EXEC) && (type == MAP_SHARED || type == MAP_PRIVATE);
	if (c->fd < 0)
		return false;
	if (type == MAP_SHARED_VALIDATE && (c->flags & MAP_SYNC))
		return false;
	return (type == MAP_SHARED || type == MAP_PRIVATE || type == MAP_SHARED_VALIDATE) && !(c->off & (off_t)FL_PAGE_MASK);
}

/* ---- The file ---- */

/* Why files there are the kernel's; NULL when they are not. */
static const char *file_system_reason(int fd)
{
	struct statfs fs;

	if (sys_call(SYS_fstatfs, fd, (long)&fs, 0, 0, 0, 0))
		return "no file system";
	switch ((unsigned long)fs.f_type) {
	case TMPFS_MAGIC:
	case RAMFS_MAGIC:
		return "a file in memory (tmpfs)";
	case HUGETLBFS_MAGIC:
		return "huge pages";
	case PROC_SUPER_MAGIC:
	case SYSFS_MAGIC:
	case CGROUP_SUPER_MAGIC:
	case CGROUP2_SUPER_MAGIC:
	case DEBUGFS_MAGIC:
	case TRACEFS_MAGIC:
	case BPF_FS_MAGIC:
	case SECURITYFS_MAGIC:
	case PSTOREFS_MAGIC:
	case EFIVARFS_MAGIC:
	case SELINUX_MAGIC:
	case BINFMTFS_MAGIC:
	case SOCKFS_MAGIC:
	case ANON_INODE_FS_MAGIC:
	case 0x62656570: /* configfs */
		return "a special file system";
	default:
		return NULL;
	}
}

static struct address_space *find_mapped(const struct stat *st)
{
	struct sigguard g;
	struct address_space *as;

	if (!address_space_any())
		return NULL;
	g = sigguard_enter();
	as = address_space_find((struct file_id){.dev = st->st_dev, .ino = st->st_ino});
	sigguard_leave(g);
	return as;
}

static bool is_small(const struct map_call *c, const struct stat *st)
{
	uint64_t size = max_u64((uint64_t)st->st_size, c->len); /* it may be mapped to grow */
	bool writes = is_shared(c) && (sys_fcntl(c->fd, F_GETFL, 0) & O_ACCMODE) == O_RDWR;

	return size < min_map || (writes && size < SHARED_WRITABLE_MIN);
}

/*
 * The kernel maps a file that has mappings of ours: they follow it, so that all show the same bytes. Called before the
 * kernel's mmap.
 */
static void follow(const struct stat *st, const char *why)
{
	struct address_space *as = find_mapped(st);
	struct sigguard g;

	if (!as)
		return;
	g = sigguard_enter();
	mm_hand_over(as, why, false);
	sigguard_leave(g);
	file_io_put(as);
}

static struct file_id id_of(const struct stat *st)
{
	return (struct file_id){.dev = st->st_dev, .ino = st->st_ino};
}

/* What others of the run have stored until now is in the file. */
static void sync_others(const struct stat *st)
{
	struct sigguard g;

	if (!channel_has(st->st_dev, st->st_ino))
		return;
	g = sigguard_enter();
	hosted_sync_id(id_of(st), 0, PAGE_INDEX_MAX);
	sigguard_leave(g);
}

/* Leaves it for all processes of the run; false when one of them has it by the host. */
static bool leave_for_all(const struct stat *st)
{
	struct sigguard g;
	int err;

	if (!channel_joined())
		return true;
	g = sigguard_enter();
	err = hosted_leave(id_of(st));
	sigguard_leave(g);
	return err != -EBUSY;
}

static bool leave(const struct map_call *c, const struct stat *st, const char *why)
{
	if (why)
		left_note(c->fd, why);
	sync_others(st);
	if (is_shared(c) || (c->prot & PROT_EXEC)) { /* code may be written through another mapping */
		follow(st, why ? why : "also mapped in a way that only the kernel can");
		left_add(st, c->prot & PROT_WRITE);
	}
	return false;
}

/* Code goes with the data of its file, when that is mapped: by this process or, where both are shared, by another of the run. */
static bool wanted(const struct map_call *c, const struct stat *st)
{
	struct address_space *as;
	const char *why;

	if (left_has(st))
		return false;
	as = find_mapped(st);
	if (as) {
		bool handed = revalidate_handed(as);

		if (!handed)
			revalidate(as);
		file_io_put(as);
		return handed ? leave(c, st, NULL) : true;
	}
	if ((c->prot & PROT_EXEC) && !is_shared(c))
		return leave(c, st, NULL);
	why = file_system_reason(c->fd);
	if (why)
		return leave(c, st, why);
	if (((c->prot & PROT_EXEC) || is_small(c, st)) && (!is_shared(c) || leave_for_all(st)))
		return leave(c, st, NULL);
	return true;
}

/* ---- The end ---- */

/* What the engine could not do and the kernel perhaps can; NULL when it is the program's mistake. */
static const char *error_reason(int err)
{
	switch (err) {
	case -EMFILE:
	case -ENFILE:
		return "no descriptor left";
	case -ENOMEM:
		return "no room for it in the budget or the address space";
	case -EAGAIN:
		return "locked, and half of the budget is";
	case -EFBIG:
		return "RLIMIT_FSIZE is set";
	case -ENOSYS:
		return "not permitted here";
	case -EOPNOTSUPP:
		return "the file cannot be opened a second time";
	default: /* also EOVERFLOW: so far out no file of ours has a page */
		return NULL;
	}
}

static int engine_mmap(const struct map_call *c, void **out)
{
	struct mmap_request rq = {.addr = (uintptr_t)c->addr, .len = c->len, .offset = (uint64_t)c->off};
	struct sigguard g = sigguard_enter();
	uint64_t addr;
	int err;

	rq.prot = c->prot;
	rq.flags = c->flags;
	rq.fd = c->fd;
	err = mm_mmap(engine_space(), &rq, &addr);
	sigguard_leave(g);
	if (!err)
		*out = (void *)(uintptr_t)addr;
	return err;
}

/* Whether the kernel has anything against the mapping but its address: then nobody needs to follow it. */
static bool kernel_would(const struct map_call *c)
{
	int flags = c->flags & ~(MAP_FIXED | MAP_FIXED_NOREPLACE | MAP_POPULATE | MAP_LOCKED);
	void *p;

	if ((c->flags & MAP_TYPE) == MAP_SHARED_VALIDATE && (c->flags & MAP_FIXED_NOREPLACE)) /* a flag that this does not know */
		return false;
	p = sys_mmap(own_place(c->len), c->len, c->prot, flags, c->fd, c->off);

	if (sys_is_err(p))
		return false;
	sys_munmap(p, c->len);
	return true;
}

/* A mapping that is not for us shows a file's bytes as they are now, and if shared those of later. */
static void kernel_maps_too(const struct map_call *c)
{
	struct address_space *as;
	struct stat st;

	if (c->fd < 0 || (c->flags & MAP_ANONYMOUS) || !(as = file_io_lookup(c->fd)))
		return;
	if (!is_shared(c))
		file_io_sync(as, 0, UINT64_MAX);
	else if (kernel_would(c) && !sys_fstat(c->fd, &st))
		leave(c, &st, NULL);
	file_io_put(as);
}

/* Nobody serves it, and the kernel must not map it beside processes of the run that have it by the host: the call fails. */
static bool refuse_beside_host(const struct map_call *c, const struct stat *st, int err, void **out)
{
	if (!is_shared(c) || leave_for_all(st))
		return false;
	errno = err == -EAGAIN || err == -EPERM || err == -EOVERFLOW ? -err : ENOMEM;
	*out = MAP_FAILED;
	return true;
}

/* As where there is no privilege for it. */
static bool refuse_low(const struct map_call *c, void **out)
{
	struct stat st;

	if (!is_low(c) || c->fd < 0 || (c->flags & MAP_ANONYMOUS) || !kernel_would(c))
		return false;
	return !sys_fstat(c->fd, &st) && S_ISREG(st.st_mode) && refuse_beside_host(c, &st, -EPERM, out);
}

static bool serve_memory(const struct map_call *c, void **out)
{
	const char *why;
	int err;

	if (!start_engine())
		return false;
	err = engine_mmap(c, out);
	why = error_reason(err);
	if (why)
		left_note_memory(why);
	return !err;
}

static bool serve_file(const struct map_call *c, void **out)
{
	const char *why;
	struct stat st;
	int err;

	if (!ready() || sys_fstat(c->fd, &st) || !S_ISREG(st.st_mode) || !wanted(c, &st))
		return false;
	if (!start_engine())
		return refuse_beside_host(c, &st, -ENOMEM, out);
	err = engine_mmap(c, out);
	if (!err) {
		revalidate_remember(c->fd);
		return true;
	}
	why = error_reason(err);
	if (!why || !kernel_would(c))
		return false;
	if (refuse_beside_host(c, &st, err, out))
		return true;
	leave(c, &st, why);
	return false;
}

bool serve_mmap(const struct map_call *c, void **out)
{
	if (is_candidate(c))
		return c->flags & MAP_ANONYMOUS ? serve_memory(c, out) : serve_file(c, out);
	if (refuse_low(c, out))
		return true;
	kernel_maps_too(c);
	return false;
}
