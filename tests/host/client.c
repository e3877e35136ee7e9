/* SPDX-License-Identifier: Apache-2.0 */
#include "client.h"

#include <limits.h>
#include <linux/futex.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>
#include <ucontext.h>

#include "host/host.h"
#include "mmu/uffd.h"
#include "mmu/uffd_abi.h"

_Thread_local uint32_t client_slot;

/* ---- The host ---- */

static socklen_t address_of(const struct test_host *h, struct sockaddr_un *a)
{
	memset(a, 0, sizeof *a);
	a->sun_family = AF_UNIX;
	memcpy(a->sun_path + 1, h->name, strlen(h->name));
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(h->name));
}

static int listen_as(const struct test_host *h)
{
	struct sockaddr_un a;
	socklen_t len = address_of(h, &a);
	int sock = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	assert_true(sock >= 0);
	assert_int_equal(bind(sock, (struct sockaddr *)&a, len), 0);
	assert_int_equal(listen(sock, 64), 0);
	return sock;
}

static void run_host(int listen_fd, int hold_fd, uint64_t budget)
{
	struct host_options o = {.listen_fd = listen_fd, .hold_fd = hold_fd};
	const char *what;
	bool served;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (engine_options_from_env(&o.engine, &what))
		_exit(99);
	o.engine.budget = budget;
	_exit(host_run(&o, &served) ? 1 : 0);
}

static void start(struct test_host *h, bool held, uint64_t budget)
{
	static unsigned number;
	int hold[2], sock;

	h->budget = budget;
	snprintf(h->name, sizeof h->name, "faultline-%d-%u", (int)getpid(), number++);
	sock = listen_as(h);
	assert_int_equal(pipe2(hold, O_CLOEXEC), 0);
	h->hold = hold[1];
	h->pid = fork();
	assert_true(h->pid >= 0);
	if (!h->pid) {
		close(hold[1]);
		run_host(sock, held ? hold[0] : -1, budget);
	}
	close(hold[0]);
	close(sock);
}

void host_start(struct test_host *h)
{
	start(h, true, TEST_BUDGET);
}

void host_start_with(struct test_host *h, uint64_t budget)
{
	start(h, true, budget);
}

void host_start_unheld(struct test_host *h)
{
	start(h, false, TEST_BUDGET);
}

bool host_lives(struct test_host *h)
{
	int status;

	return waitpid(h->pid, &status, WNOHANG) == 0;
}

int host_end(struct test_host *h)
{
	int status;

	close(h->hold);
	for (int i = 0; i < 1000; i++) {
		if (waitpid(h->pid, &status, WNOHANG) == h->pid)
			return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
		usleep(10000);
	}
	kill(h->pid, SIGABRT);
	fail_msg("the host does not end");
	return -1;
}

/* ---- The socket ---- */

int client_dial(const struct test_host *h)
{
	struct sockaddr_un a;
	socklen_t len = address_of(h, &a);
	int sock = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	assert_true(sock >= 0);
	assert_int_equal(connect(sock, (struct sockaddr *)&a, len), 0);
	return sock;
}

static int receive(int sock, struct wire_message *m, int got[2])
{
	char control[CMSG_SPACE(2 * sizeof(int))];
	struct iovec iov = {.iov_base = m, .iov_len = sizeof *m};
	struct msghdr h = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
	struct cmsghdr *c;
	int n = 0;

	if (recvmsg(sock, &h, MSG_CMSG_CLOEXEC) != sizeof *m)
		return -1;
	c = CMSG_FIRSTHDR(&h);
	if (c) {
		n = (int)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
		memcpy(got, CMSG_DATA(c), (size_t)n * sizeof(int));
	}
	return n;
}

void client_send(int sock, const void *bytes, size_t len, int fd)
{
	char control[CMSG_SPACE(sizeof(int))] = {0};
	struct iovec iov = {.iov_base = (void *)bytes, .iov_len = len};
	struct msghdr h = {.msg_iov = &iov, .msg_iovlen = 1};

	if (fd >= 0) {
		struct cmsghdr *c = (struct cmsghdr *)control;

		h.msg_control = control;
		h.msg_controllen = sizeof control;
		*c = (struct cmsghdr){.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof(int))};
		memcpy(CMSG_DATA(c), &fd, sizeof fd);
	}
	assert_int_equal(sendmsg(sock, &h, MSG_NOSIGNAL), len);
}

int client_greet(int sock, struct wire_message *m, int fd, int got[2])
{
	client_send(sock, m, sizeof *m, fd);
	return receive(sock, m, got);
}

int client_say(struct client *c, struct wire_message *m, int fd, int got[2])
{
	struct wire_slot look = {.op = WIRE_MESSAGE};

	client_send(c->sock, m, sizeof *m, fd);
	assert_int_equal(client_ask_by(c, WIRE_MESSAGE_SLOT, &look), 0);
	return receive(c->sock, m, got);
}

static void *map_shared(int fd, size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	assert_ptr_not_equal(p, MAP_FAILED);
	close(fd);
	return p;
}

void client_attach(struct client *c, const struct test_host *h)
{
	struct wire_message m = {.kind = WIRE_HELLO, .value = WIRE_VERSION};
	bool user_mode_only;
	int got[2];

	c->sock = client_dial(h);
	assert_int_equal(client_greet(c->sock, &m, -1, got), 2);
	assert_int_equal(m.result, 0);
	assert_int_equal(m.value, h->budget);
	c->area = map_shared(got[0], sizeof *c->area);
	c->board = map_shared(got[1], sizeof *c->board);
	c->uffd = uffd_open(false, true, &user_mode_only);
	assert_true(c->uffd >= 0);
	m = (struct wire_message){.kind = WIRE_ADD_MMU};
	assert_int_equal(client_say(c, &m, c->uffd, got), 0);
	assert_int_equal(m.result, 0);
	c->mmu = (uint32_t)m.value;
}

void client_detach(struct client *c)
{
	close(c->uffd);
	munmap(c->area, sizeof *c->area);
	munmap(c->board, sizeof *c->board);
	close(c->sock);
}

/* ---- Slots ---- */

static void futex(_Atomic uint32_t *word, int op, uint32_t value)
{
	struct timespec t = {.tv_sec = 1};

	syscall(SYS_futex, word, op, value, &t, NULL, 0);
}

void client_ring(struct client *c)
{
	atomic_fetch_add(&c->board->bell, 1);
	if (!atomic_load(&c->board->looking) && atomic_load(&c->board->sleepers))
		futex(&c->board->bell, FUTEX_WAKE, 1);
}

void client_post(struct client *c, uint32_t slot, const struct wire_slot *r)
{
	struct wire_slot *s = &c->area->slot[slot];

	s->op = r->op;
	s->flags = r->flags;
	s->file = r->file;
	memcpy(s->arg, r->arg, sizeof s->arg);
	atomic_store(&s->state, WIRE_POSTED);
	atomic_fetch_or(&c->area->pending, 1ULL << slot);
	client_ring(c);
}

int client_wait(struct client *c, uint32_t slot, struct wire_slot *r)
{
	struct wire_slot *s = &c->area->slot[slot];
	uint32_t state;

	while ((state = atomic_load(&s->state)) != WIRE_DONE)
		futex(&s->state, FUTEX_WAIT, state);
	memcpy(r->out, s->out, sizeof r->out);
	r->result = s->result;
	return r->result;
}

int client_ask_by(struct client *c, uint32_t slot, struct wire_slot *r)
{
	client_post(c, slot, r);
	client_wait(c, slot, r);
	atomic_store(&c->area->slot[slot].state, WIRE_FREE);
	return r->result;
}

int client_ask(struct client *c, struct wire_slot *r)
{
	return client_ask_by(c, 0, r);
}

void client_resume(struct client *c, uint32_t slot, uint64_t off, uint64_t len)
{
	struct wire_slot *s = &c->area->slot[slot];

	s->arg[0] = off;
	s->arg[1] = len;
	atomic_store(&s->state, WIRE_RESUME);
	futex(&s->state, FUTEX_WAKE, INT_MAX);
}

/* ---- Files ---- */

void file_create(struct file *f, uint64_t pages)
{
	const char *dir = getenv("TMPDIR");

	snprintf(f->path, sizeof f->path, "%s/faultline-host-XXXXXX", dir ? dir : "/var/tmp");
	f->fd = mkostemp(f->path, O_CLOEXEC);
	assert_true(f->fd >= 0);
	assert_int_equal(ftruncate(f->fd, (off_t)(pages * FL_PAGE_SIZE)), 0);
	for (uint64_t i = 0; i < pages; i++) {
		uint64_t word = i + 1;

		assert_int_equal(pwrite(f->fd, &word, sizeof word, (off_t)(i * FL_PAGE_SIZE)), sizeof word);
	}
	f->size = pages * FL_PAGE_SIZE;
	f->memfd = -1;
}

void file_remove(struct file *f)
{
	unlink(f->path);
	close(f->fd);
	if (f->memfd >= 0)
		close(f->memfd);
}

uint64_t file_word(const struct file *f, uint64_t page)
{
	uint64_t word = UINT64_MAX;

	assert_true(pread(f->fd, &word, sizeof word, (off_t)(page * FL_PAGE_SIZE)) >= 0);
	return word;
}

struct wire_slot file_change(const struct file *f)
{
	struct stat st;

	assert_int_equal(fstat(f->fd, &st), 0);
	return (struct wire_slot){.op = WIRE_CHANGE, .arg = {st.st_dev, st.st_ino}};
}

int client_open(struct client *c, struct file *f, uint32_t flags, bool writable)
{
	struct wire_message m = {.kind = WIRE_OPEN, .flags = flags};
	int fd = writable ? dup(f->fd) : open(f->path, O_RDONLY), got[2], n;

	n = client_say(c, &m, fd, got);
	close(fd);
	assert_int_equal(n, m.result ? 0 : 1);
	if (m.result)
		return m.result;
	if (f->memfd >= 0)
		close(f->memfd);
	f->memfd = got[0];
	f->number = m.file;
	f->size = m.value;
	return 0;
}

/* ---- Mappings ---- */

void client_map(struct client *c, struct file *f, uint64_t pgoff, uint64_t pages, bool private, struct map *m)
{
	uint64_t bytes = pages * FL_PAGE_SIZE;
	struct uffdio_register r = {.mode = UFFDIO_REGISTER_MODE_MISSING | UFFDIO_REGISTER_MODE_WP | UFFDIO_REGISTER_MODE_MINOR};
	struct wire_slot map = {.op = WIRE_MAP, .file = f->number, .arg = {0, pgoff, pages, c->mmu}};

	*m = (struct map){.client = c, .file = f, .pgoff = pgoff, .pages = pages, .private = private};
	m->addr = mmap(NULL, bytes, PROT_READ | PROT_WRITE, private ? MAP_PRIVATE : MAP_SHARED, f->memfd, (off_t)(pgoff * FL_PAGE_SIZE));
	assert_ptr_not_equal(m->addr, MAP_FAILED);
	r.range.start = map.arg[0] = (uintptr_t)m->addr;
	r.range.len = bytes;
	assert_int_equal(ioctl(c->uffd, UFFDIO_REGISTER, &r), 0);
	if (!private)
		assert_int_equal(client_ask(c, &map), 0);
}

void client_unmap(struct map *m)
{
	struct wire_slot unmap = {.op = WIRE_UNMAP, .arg = {(uintptr_t)m->addr, m->pages, m->client->mmu}};

	munmap(m->addr, m->pages * FL_PAGE_SIZE);
	assert_int_equal(client_ask(m->client, &unmap), 0);
}

int map_fault_by(struct map *m, uint32_t slot, uint64_t page, uint32_t flags)
{
	struct wire_slot r = {.op = WIRE_FAULT, .file = m->file->number, .flags = flags | (m->private ? WIRE_PRIVATE | WIRE_ALONE : 0)};

	r.arg[0] = m->pgoff + page;
	r.arg[1] = (uintptr_t)m->addr + page * FL_PAGE_SIZE;
	r.arg[2] = m->pages - page;
	r.arg[3] = page;
	r.arg[5] = m->client->mmu;
	return client_ask_by(m->client, slot, &r);
}

int map_fault(struct map *m, uint64_t page, uint32_t flags)
{
	return map_fault_by(m, 0, page, flags);
}

uint64_t *map_word(struct map *m, uint64_t page)
{
	return (uint64_t *)(m->addr + page * FL_PAGE_SIZE);
}

static struct map *served;

static void on_bus(int sig, siginfo_t *info, void *context)
{
	unsigned long code = (unsigned long)((ucontext_t *)context)->uc_mcontext.gregs[REG_ERR];
	uint64_t page = ((uintptr_t)info->si_addr - (uintptr_t)served->addr) / FL_PAGE_SIZE;
	int saved = errno;

	if (!served || page >= served->pages ||
	    map_fault_by(served, client_slot, page, (code & 2 ? WIRE_WRITE : 0) | (code & 1 ? WIRE_PRESENT : 0)))
		signal(sig, SIG_DFL);
	errno = saved;
}

void map_serve(struct map *m)
{
	struct sigaction a = {.sa_sigaction = on_bus, .sa_flags = SA_SIGINFO};

	served = m;
	assert_int_equal(sigaction(SIGBUS, &a, NULL), 0);
}

/* ---- Two clients ---- */

int two_clients_setup(void **state)
{
	struct two_clients *x = calloc(1, sizeof *x);

	host_start(&x->host);
	file_create(&x->file, TWO_CLIENTS_PAGES);
	client_attach(&x->a, &x->host);
	client_attach(&x->b, &x->host);
	*state = x;
	return 0;
}

int two_clients_teardown(void **state)
{
	struct two_clients *x = *state;

	client_detach(&x->a);
	client_detach(&x->b);
	assert_int_equal(host_end(&x->host), 0);
	file_remove(&x->file);
	free(x);
	return 0;
}

void in_a_client_that_is_killed(struct two_clients *x, void (*act)(struct two_clients *x, struct client *c, struct file *f))
{
	int done[2];
	char byte;
	pid_t pid;

	assert_int_equal(pipe(done), 0);
	pid = fork();
	if (!pid) {
		struct file f = x->file;
		struct client c;

		close(x->a.sock); /* they end when the test ends them */
		close(x->b.sock);
		f.memfd = -1;
		client_attach(&c, &x->host);
		if (client_open(&c, &f, 0, true))
			_exit(1);
		act(x, &c, &f);
		if (write(done[1], "x", 1) == 1)
			pause();
		_exit(1);
	}
	close(done[1]);
	assert_int_equal(read(done[0], &byte, 1), 1);
	close(done[0]);
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}
