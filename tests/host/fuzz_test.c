/* SPDX-License-Identifier: Apache-2.0 */
/* Clients that do not keep to the protocol: the host refuses, and lives. */
#include "client.h"

#include <sys/socket.h>

#define PAGES 64
#define ROUNDS 4000

struct fixture {
	struct test_host host;
	struct file file;
};

static int setup(void **state)
{
	struct fixture *x = calloc(1, sizeof *x);

	host_start(&x->host);
	file_create(&x->file, PAGES);
	*state = x;
	return 0;
}

/* It serves as ever after all that was said to it. */
static int teardown(void **state)
{
	struct fixture *x = *state;
	struct client c;
	struct map m;

	assert_true(host_lives(&x->host));
	client_attach(&c, &x->host);
	assert_int_equal(client_open(&c, &x->file, 0, true), 0);
	client_map(&c, &x->file, 0, PAGES, false, &m);
	assert_int_equal(map_fault(&m, 9, 0), 0);
	client_detach(&c);
	assert_int_equal(host_end(&x->host), 0);
	munmap(m.addr, PAGES * FL_PAGE_SIZE);
	file_remove(&x->file);
	free(x);
	return 0;
}

static uint64_t next(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed;
}

/* ---- The socket ---- */

static void another_version_is_refused(void **state)
{
	struct fixture *x = *state;
	struct wire_message m = {.kind = WIRE_HELLO, .value = WIRE_VERSION + 1};
	int sock = client_dial(&x->host), got[2];

	assert_int_equal(client_greet(sock, &m, -1, got), 0);
	assert_int_equal(m.result, -EPROTONOSUPPORT);
	assert_int_equal(recv(sock, &m, sizeof m, 0), 0);
	close(sock);
}

static void nothing_is_served_before_the_greeting(void **state)
{
	struct fixture *x = *state;
	struct wire_message m = {.kind = WIRE_OPEN};
	int sock = client_dial(&x->host), got[2];

	assert_int_equal(client_greet(sock, &m, x->file.fd, got), 0);
	assert_int_equal(m.result, -EINVAL);
	close(sock);
}

static void what_is_no_message_ends_the_client(void **state)
{
	struct fixture *x = *state;
	int sock = client_dial(&x->host);
	char byte;

	assert_int_equal(send(sock, "x", 1, 0), 1);
	assert_int_equal(recv(sock, &byte, 1, 0), 0);
	close(sock);
}

static void what_is_no_message_ends_who_has_greeted(void **state)
{
	struct fixture *x = *state;
	struct wire_slot look = {.op = WIRE_MESSAGE};
	struct client c;
	char byte;

	client_attach(&c, &x->host);
	assert_int_equal(client_ask_by(&c, WIRE_MESSAGE_SLOT, &look), -EAGAIN);
	assert_int_equal(send(c.sock, "x", 1, 0), 1);
	assert_int_equal(client_ask_by(&c, WIRE_MESSAGE_SLOT, &look), -EPROTO);
	assert_int_equal(recv(c.sock, &byte, 1, 0), 0);
	client_detach(&c);
}

/* A message without bytes looks like the end of the socket. */
static void descriptors_without_a_message_are_closed(void **state)
{
	struct fixture *x = *state;
	int sock = client_dial(&x->host), ends[2];
	char byte;

	assert_int_equal(pipe(ends), 0);
	client_send(sock, NULL, 0, ends[1]);
	close(ends[1]);
	assert_int_equal(recv(sock, &byte, 1, 0), 0);
	alarm(30);
	assert_int_equal(read(ends[0], &byte, 1), 0); /* nobody has the other end */
	alarm(0);
	close(ends[0]);
	close(sock);
}

static void descriptors_that_do_not_fit_are_refused(void **state)
{
	struct fixture *x = *state;
	struct wire_message m = {.kind = WIRE_ADD_MMU};
	int got[2], ends[2], path, memory;
	struct client c;

	client_attach(&c, &x->host);
	assert_int_equal(pipe(ends), 0);
	path = open(x->file.path, O_PATH);
	memory = memfd_create("memory", 0);
	assert_int_equal(client_say(&c, &m, ends[0], got), 0);
	assert_int_equal(m.result, -EINVAL);
	m = (struct wire_message){.kind = WIRE_OPEN};
	assert_int_equal(client_say(&c, &m, -1, got), 0);
	assert_int_equal(m.result, -EINVAL);
	assert_int_equal(client_say(&c, &m, ends[0], got), 0);
	assert_int_equal(m.result, -EOPNOTSUPP);
	assert_int_equal(client_say(&c, &m, path, got), 0);
	assert_int_equal(m.result, -EBADF);
	assert_int_equal(client_say(&c, &m, memory, got), 0);
	assert_int_equal(m.result, -EOPNOTSUPP);
	m = (struct wire_message){.kind = WIRE_DROP_MMU, .value = 1000};
	assert_int_equal(client_say(&c, &m, -1, got), 0);
	assert_int_equal(m.result, -EINVAL);
	close(ends[0]);
	close(ends[1]);
	close(path);
	close(memory);
	client_detach(&c);
}

/* ---- Slots ---- */

static uint64_t some_number(uint64_t *seed, const struct map *m)
{
	switch (next(seed) % 8) {
	case 0:
		return next(seed);
	case 1:
		return next(seed) % PAGES;
	case 2:
		return UINT64_MAX - next(seed) % 3;
	case 3:
		return (1ULL << 40) - next(seed) % 3;
	case 4:
		return (uintptr_t)m->addr + next(seed) % (PAGES + 8) * FL_PAGE_SIZE;
	case 5:
		return 1ULL << next(seed) % 64;
	default:
		return next(seed) % 4;
	}
}

static void make_up(struct wire_slot *r, uint64_t *seed, const struct map *m)
{
	*r = (struct wire_slot){.op = (uint32_t)(next(seed) % (WIRE_OPS + 1))};
	r->flags = (uint32_t)(next(seed) % 4 ? next(seed) % 128 : next(seed));
	r->file = (uint32_t)(next(seed) % 8 ? m->file->number : next(seed) % 4 ? next(seed) % 4 : next(seed));
	for (int i = 0; i < 6; i++)
		r->arg[i] = some_number(seed, m);
	if (r->op == WIRE_CHANGE || (r->op == WIRE_CLOSE && next(seed) % 16)) /* one waits for us, the other would soon have nothing left */
		r->op = WIRE_FAULT;
}

static void requests_that_make_no_sense_are_refused(void **state)
{
	struct fixture *x = *state;
	uint64_t seed = 88172645463325252ull;
	struct wire_slot r;
	struct client c;
	struct map m;

	client_attach(&c, &x->host);
	assert_int_equal(client_open(&c, &x->file, 0, true), 0);
	client_map(&c, &x->file, 0, PAGES, false, &m);
	for (int i = 0; i < ROUNDS; i++) {
		make_up(&r, &seed, &m);
		client_ask_by(&c, (uint32_t)(next(&seed) % WIRE_SLOTS), &r);
		if (i % 64 == 0)
			assert_int_equal(client_open(&c, &x->file, 0, next(&seed) % 2), 0);
	}
	client_detach(&c);
	munmap(m.addr, PAGES * FL_PAGE_SIZE);
}

/* The whole area is written over, again and again, while the host looks at it; changes are begun, and resumed by accident if at all. */
static void an_area_may_hold_anything(void **state)
{
	struct fixture *x = *state;
	uint64_t seed = 362436069362436069ull;
	struct client c;
	struct map m;
	struct stat st;

	client_attach(&c, &x->host);
	assert_int_equal(client_open(&c, &x->file, 0, true), 0);
	assert_int_equal(fstat(x->file.fd, &st), 0);
	client_map(&c, &x->file, 0, PAGES, false, &m);
	for (int i = 0; i < ROUNDS; i++) {
		struct wire_slot *s = &c.area->slot[next(&seed) % WIRE_SLOTS], r;

		make_up(&r, &seed, &m);
		memcpy((char *)s + offsetof(struct wire_slot, op), (char *)&r + offsetof(struct wire_slot, op),
		       sizeof r - offsetof(struct wire_slot, op));
		if (next(&seed) % 64 == 0) {
			s->op = WIRE_CHANGE;
			s->arg[0] = st.st_dev;
			s->arg[1] = st.st_ino;
		}
		atomic_store(&s->state, next(&seed) % 4 ? WIRE_POSTED : next(&seed) % 8);
		atomic_store(&c.area->pending, next(&seed));
		client_ring(&c);
	}
	client_detach(&c);
	munmap(m.addr, PAGES * FL_PAGE_SIZE);
}

/* A client that stops in a change holds that file, and nothing that others need. */
static void a_client_that_stops_in_a_change_holds_its_file_only(void **state)
{
	struct fixture *x = *state;
	struct wire_slot r = {.op = WIRE_CHANGE}, fault;
	struct client c, d;
	struct file other;
	struct map m, o;
	struct stat st;

	file_create(&other, 2 * TEST_BUDGET / FL_PAGE_SIZE);
	client_attach(&c, &x->host);
	client_attach(&d, &x->host);
	assert_int_equal(client_open(&c, &x->file, 0, true), 0);
	client_map(&c, &x->file, 0, PAGES, false, &m);
	assert_int_equal(fstat(x->file.fd, &st), 0);
	r.arg[0] = st.st_dev;
	r.arg[1] = st.st_ino;
	client_post(&d, 0, &r);
	assert_int_equal(client_wait(&d, 0, &r), 0);
	for (uint32_t i = 1; i < WIRE_MESSAGE_SLOT; i++) { /* they all wait */
		fault = (struct wire_slot){.op = i % 8 ? WIRE_FAULT : WIRE_SYNC, .file = x->file.number};
		fault.arg[0] = i;
		fault.arg[1] = (uintptr_t)map_word(&m, i);
		fault.arg[2] = 1;
		fault.arg[3] = 0;
		fault.arg[5] = c.mmu;
		client_post(&c, i, &fault);
	}
	assert_int_equal(client_open(&c, &other, 0, true), 0);
	client_map(&c, &other, 0, 2 * TEST_BUDGET / FL_PAGE_SIZE, false, &o);
	for (uint64_t i = 0; i < o.pages; i++)
		assert_int_equal(map_fault(&o, i, WIRE_WRITE), 0);
	client_resume(&d, 0, 0, 0);
	assert_int_equal(client_wait(&d, 0, &r), 0);
	for (uint32_t i = 1; i < WIRE_MESSAGE_SLOT; i++)
		assert_int_equal(client_wait(&c, i, &fault), 0);
	client_detach(&c);
	client_detach(&d);
	munmap(o.addr, o.pages * FL_PAGE_SIZE);
	munmap(m.addr, m.pages * FL_PAGE_SIZE);
	file_remove(&other);
}

#define with(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		with(another_version_is_refused),
		with(nothing_is_served_before_the_greeting),
		with(what_is_no_message_ends_the_client),
		with(what_is_no_message_ends_who_has_greeted),
		with(descriptors_without_a_message_are_closed),
		with(descriptors_that_do_not_fit_are_refused),
		with(requests_that_make_no_sense_are_refused),
		with(an_area_may_hold_anything),
		with(a_client_that_stops_in_a_change_holds_its_file_only),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
