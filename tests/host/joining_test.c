/* SPDX-License-Identifier: Apache-2.0 */
/* Joining a host by fl_init(), being at it, and leaving it by fl_exit(): what faultline.h says of each. */
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "api/engine.h"
#include "cache/filemap.h"
#include "client.h"
#include "faultline.h"
#include "mm/mm.h"

#define PAGES 64
#define LEN (PAGES * FL_PAGE_SIZE)

struct fixture {
	struct test_host host;
	char name[40];
	struct file file;
};

static int setup(void **state)
{
	struct fixture *x = calloc(1, sizeof *x);

	file_create(&x->file, PAGES);
	host_start(&x->host);
	snprintf(x->name, sizeof x->name, "@%s", x->host.name);
	*state = x;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *x = *state;

	fl_exit();
	assert_int_equal(host_end(&x->host), 0);
	file_remove(&x->file);
	free(x);
	return 0;
}

static int start(const char *host)
{
	struct fl_options o = {.size = sizeof o, .budget = 8 << 20, .host = host};

	return fl_init(&o) ? errno : 0;
}

static uint64_t budget(void)
{
	struct fl_stats s = {.size = sizeof s};

	assert_int_equal(fl_stats(&s), 0);
	return s.budget_bytes;
}

static void join(const struct fixture *x)
{
	assert_int_equal(start(x->name), 0);
}

static volatile uint64_t *map_it(int fd, int prot)
{
	void *p = fl_mmap(NULL, LEN, prot, MAP_SHARED, fd, 0);

	assert_ptr_not_equal(p, MAP_FAILED);
	return p;
}

#define WORDS (FL_PAGE_SIZE / sizeof(uint64_t)) /* in a page */

/* Runs in another process; the parent has joined no host yet. */
struct other {
	pid_t pid;
	int sock;
};

static void other_start(struct other *o, struct fixture *x, void (*fn)(struct fixture *x, int sock))
{
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	o->pid = fork();
	assert_true(o->pid >= 0);
	if (!o->pid) {
		close(pair[0]);
		close(x->host.hold);
		fn(x, pair[1]);
		_exit(0);
	}
	close(pair[1]);
	o->sock = pair[0];
}

static void say(int sock, char c)
{
	assert_int_equal(write(sock, &c, 1), 1);
}

/* What the other side says; 0 when it has ended. */
static char hear(int sock)
{
	char c;

	return read(sock, &c, 1) == 1 ? c : 0;
}

static void other_end(struct other *o)
{
	int status;

	close(o->sock);
	assert_int_equal(waitpid(o->pid, &status, 0), o->pid);
	assert_int_equal(status, 0);
}

#define EXPECT(condition)          \
	do {                       \
		if (!(condition))  \
			_exit(99); \
	} while (0)

/* Another process's own: it joins, and maps the file that it opens. */
static volatile uint64_t *join_and_map(const struct fixture *x)
{
	int fd = open(x->file.path, O_RDWR | O_CLOEXEC);
	volatile uint64_t *m;

	EXPECT(fd >= 0 && start(x->name) == 0);
	m = fl_mmap(NULL, LEN, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	EXPECT(m != MAP_FAILED);
	return m;
}

/* ---- Joining ---- */

static void the_budget_is_half_of_the_hosts(void **state)
{
	join(*state);
	assert_int_equal(budget(), TEST_BUDGET / 2);
}

static void one_that_is_left_can_be_joined_again(void **state)
{
	struct fixture *x = *state;

	for (uint64_t i = 1; i <= 3; i++) {
		volatile uint64_t *m;

		join(x);
		m = map_it(x->file.fd, PROT_READ | PROT_WRITE);
		m[0] = i;
		assert_int_equal(fl_exit(), 0);
		assert_int_equal(file_word(&x->file, 0), i);
		assert_int_equal(start(""), 0);
		assert_int_equal(budget(), 8 << 20);
		assert_int_equal(fl_exit(), 0);
	}
}

static void the_environment_names_one_and_options_refuse_it(void **state)
{
	struct fixture *x = *state;

	setenv("FAULTLINE_HOST", x->name, 1);
	assert_int_equal(start(NULL), 0);
	assert_int_equal(budget(), TEST_BUDGET / 2);
	assert_int_equal(fl_exit(), 0);
	assert_int_equal(start(""), 0);
	assert_int_equal(budget(), 8 << 20);
	unsetenv("FAULTLINE_HOST");
}

static void nobody_there_is_no_error(void **state)
{
	(void)state;
	assert_int_equal(start("@faultline-nobody"), 0);
	assert_int_equal(budget(), 8 << 20);
	assert_int_equal(fl_exit(), 0);
	assert_int_equal(start("/nowhere/faultline-nobody"), 0);
	assert_int_equal(budget(), 8 << 20);
}

static void a_name_can_be_too_long(void **state)
{
	char name[200];

	(void)state;
	memset(name, 'x', sizeof name - 1);
	name[0] = '@';
	name[sizeof name - 1] = 0;
	assert_int_equal(start(name), EINVAL);
	assert_int_equal(start(""), 0);
}

static void is_refused(struct fixture *x, int sock)
{
	(void)sock;
	EXPECT(!setgid(65534) && !setuid(65534));
	EXPECT(start(x->name) == EPERM);
	EXPECT(start("") == 0 && budget() == 8 << 20);
	fl_exit();
}

static void another_users_is_not_joined(void **state)
{
	struct other o;

	if (geteuid() != 0)
		skip(); /* needs root, to become another user */
	other_start(&o, *state, is_refused);
	assert_int_equal(hear(o.sock), 0);
	other_end(&o);
}

/* Answers the greeting as a host of another version does. */
static void answer_as_another_version(struct fixture *x, int sock)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int listening = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0), client;
	struct wire_message m;
	int n = snprintf(a.sun_path + 1, sizeof a.sun_path - 1, "%s-other", x->host.name);

	EXPECT(!bind(listening, (struct sockaddr *)&a, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)n)));
	EXPECT(!listen(listening, 1));
	say(sock, 'l');
	client = accept(listening, NULL, NULL);
	EXPECT(client >= 0 && read(client, &m, sizeof m) == sizeof m && m.kind == WIRE_HELLO && m.value == WIRE_VERSION);
	m = (struct wire_message){.result = -EPROTONOSUPPORT};
	EXPECT(write(client, &m, sizeof m) == sizeof m);
	EXPECT(read(client, &m, sizeof m) == 0);
}

static void one_of_another_version_is_not_joined(void **state)
{
	struct fixture *x = *state;
	char name[48];
	struct other o;

	other_start(&o, x, answer_as_another_version);
	assert_int_equal(hear(o.sock), 'l');
	snprintf(name, sizeof name, "%s-other", x->name);
	assert_int_equal(start(name), EPROTONOSUPPORT);
	assert_int_equal(hear(o.sock), 0);
	other_end(&o);
	assert_int_equal(start(""), 0);
}

/* ---- Being there ---- */

/* Stores 1 when it is told to, and says so; stays until it is told to go. */
static void store_when_told(struct fixture *x, int sock)
{
	volatile uint64_t *m = join_and_map(x);

	while (hear(sock) == 's') {
		m[WORDS]++;
		say(sock, 'd');
	}
	fl_exit();
}

static void stores_of_others_are_seen_at_once(void **state)
{
	struct fixture *x = *state;
	volatile uint64_t *m;
	struct other o;

	other_start(&o, x, store_when_told);
	join(x);
	m = map_it(x->file.fd, PROT_READ);
	for (uint64_t i = 0; i < 100; i++) {
		assert_int_equal(m[WORDS], 2 + i);
		say(o.sock, 's');
		assert_int_equal(hear(o.sock), 'd');
	}
	other_end(&o);
	assert_int_equal(m[WORDS], 102);
	assert_int_equal(fl_exit(), 0);
	assert_int_equal(file_word(&x->file, 1), 102);
}

static char *map_much(void)
{
	return fl_mmap(NULL, TEST_BUDGET, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
}

/* Too much is locked, or what is to be locked finds no room. */
static bool is_full(int error)
{
	return error == ENOMEM || error == EAGAIN;
}

/* Locks as many pages as it can, one at a time. */
static uint16_t lock_all(char *p)
{
	uint16_t n = 0;

	while (n < TEST_BUDGET / FL_PAGE_SIZE && !fl_mlock(p + n * FL_PAGE_SIZE, FL_PAGE_SIZE))
		n++;
	return n;
}

static void lock_as_another(struct fixture *x, int sock)
{
	uint16_t n;
	char *p;

	EXPECT(start(x->name) == 0);
	p = map_much();
	EXPECT(p != MAP_FAILED);
	say(sock, 'r');
	hear(sock);
	n = lock_all(p);
	EXPECT(n > 0 && n < TEST_BUDGET / FL_PAGE_SIZE && is_full(errno));
	EXPECT(write(sock, &n, sizeof n) == sizeof n);
	hear(sock);
	fl_exit();
}

static void what_is_locked_counts_for_all(void **state)
{
	struct fixture *x = *state;
	uint16_t ours, theirs;
	struct other o;
	char *p;

	other_start(&o, x, lock_as_another);
	assert_int_equal(hear(o.sock), 'r');
	join(x);
	p = map_much();
	assert_ptr_not_equal(p, MAP_FAILED);
	say(o.sock, 'l');
	assert_int_equal(read(o.sock, &theirs, sizeof theirs), sizeof theirs);
	ours = lock_all(p);
	assert_true(is_full(errno));
	assert_true(ours + theirs <= TEST_BUDGET / 2 / FL_PAGE_SIZE);
	other_end(&o);
	assert_true(lock_all(p) > ours); /* what the other had is there for us, once it has gone */
}

/* A pin of before the file was mapped for writing is let go of: or the pins that a client can have would run out. */
static void pins_outlive_that_a_file_is_opened_for_writing(void **state)
{
	struct fixture *x = *state;
	int reader = open(x->file.path, O_RDONLY | O_CLOEXEC);
	volatile uint64_t *r, *w;

	assert_true(reader >= 0);
	join(x);
	r = map_it(reader, PROT_READ);
	for (int i = 0; i < 3; i++) /* a client can pin 128 pages of 512 */
		assert_int_equal(fl_pin((const void *)r, LEN / 2, FL_PIN_READ), 0);
	w = map_it(x->file.fd, PROT_READ | PROT_WRITE);
	for (int i = 0; i < 3; i++)
		assert_int_equal(fl_unpin((const void *)r, LEN / 2), 0);
	for (int i = 0; i < 3; i++)
		assert_int_equal(fl_pin((const void *)w, LEN / 2, FL_PIN_WRITE), 0);
	for (int i = 0; i < 3; i++)
		assert_int_equal(fl_unpin((const void *)w, LEN / 2), 0);
	close(reader);
}

/* A fault as it is when it has looked at its mapping, and no further. */
static void look_at_mapping(volatile uint64_t *at, struct fault *f)
{
	struct vma *v = mm_lock_vma(engine_space(), (uintptr_t)at);

	assert_non_null(v);
	assert_int_equal(vma_fault(v, (uintptr_t)at, false, false, f), 0);
	vma_unlock_read(v);
}

#define NEXT (5 * WORDS)

/* The first copy of the mapping's own is made, and goes to swap, while another thread is about to map the page beside it. */
static void a_copy_in_swap_is_not_hidden_by_the_files_page(void **state)
{
	struct fixture *x = *state;
	volatile uint64_t *shared, *m;
	unsigned char there = 1;
	struct fault f;

	join(x);
	shared = map_it(x->file.fd, PROT_READ);
	m = fl_mmap(NULL, LEN, PROT_READ | PROT_WRITE, MAP_PRIVATE, x->file.fd, 0);
	assert_ptr_not_equal(m, MAP_FAILED);
	for (uint64_t i = 0; i < PAGES; i++) /* the host has them all */
		assert_int_equal(shared[i * WORDS], i + 1);
	look_at_mapping(m + NEXT - WORDS, &f);
	m[NEXT] = 200;
	assert_int_equal(fl_madvise((void *)(m + NEXT), FL_PAGE_SIZE, MADV_PAGEOUT), 0);
	assert_int_equal(fl_mincore((void *)(m + NEXT), FL_PAGE_SIZE, &there), 0);
	assert_int_equal(there & 1, 0);
	assert_int_equal(shared[NEXT], 6); /* the file's went with it, and is back */
	assert_int_equal(filemap_fault(&f), 0);
	assert_int_equal(m[NEXT - WORDS], 5);
	assert_int_equal(m[NEXT], 200);
}

/* ---- Errors, of a host that cannot sync ---- */

static int setup_failing(void **state)
{
	setenv("FAULTLINE_INJECT", "sync:eio:1", 1);
	setup(state);
	unsetenv("FAULTLINE_INJECT");
	return 0;
}

/* Says what its syncs answer. */
static void sync_when_told(struct fixture *x, int sock)
{
	volatile uint64_t *m = join_and_map(x);

	m[2 * WORDS] = 7;
	say(sock, 'r');
	while (hear(sock) == 's')
		say(sock, !fl_msync((void *)m, LEN, MS_SYNC) ? 'g' : errno == EIO ? 'e' : '?');
	fl_exit();
}

static void a_sync_that_fails_is_told_to_each_once(void **state)
{
	struct fixture *x = *state;
	volatile uint64_t *m;
	struct other o;

	other_start(&o, x, sync_when_told);
	assert_int_equal(hear(o.sock), 'r');
	join(x);
	m = map_it(x->file.fd, PROT_READ | PROT_WRITE);
	m[0] = 5;
	assert_int_equal(fl_msync((void *)m, LEN, MS_SYNC), -1);
	assert_int_equal(errno, EIO);
	assert_int_equal(fl_msync((void *)m, LEN, MS_SYNC), 0);
	say(o.sock, 's');
	assert_int_equal(hear(o.sock), 'e');
	say(o.sock, 's');
	assert_int_equal(hear(o.sock), 'g');
	other_end(&o);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(the_budget_is_half_of_the_hosts),
		TEST(one_that_is_left_can_be_joined_again),
		TEST(the_environment_names_one_and_options_refuse_it),
		TEST(nobody_there_is_no_error),
		TEST(a_name_can_be_too_long),
		TEST(another_users_is_not_joined),
		TEST(one_of_another_version_is_not_joined),
		TEST(stores_of_others_are_seen_at_once),
		TEST(what_is_locked_counts_for_all),
		TEST(pins_outlive_that_a_file_is_opened_for_writing),
		TEST(a_copy_in_swap_is_not_hidden_by_the_files_page),
		cmocka_unit_test_setup_teardown(a_sync_that_fails_is_told_to_each_once, setup_failing, teardown),
	};

	unsetenv("FAULTLINE_HOST");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
