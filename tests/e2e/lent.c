/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Children, all alive at once, that write to private memory of their own in turn and then sit on it: together far more than the budget lends.
 * Each checks in its turn that its memory holds what it last wrote there.
 *
 *   lent CHILDREN MIB ROUNDS HOW [BUDGET]
 *
 * Each maps its memory in its first turn. HOW they go about it:
 *
 *   in-turn  as said
 *   inherit  the memory is the parent's, who has written to it
 *   kill     some die by SIGKILL in the middle of a turn, and others take their place
 *   stop     one is stopped while the others have their turns
 *   at-once  all have their turns at the same time
 *   forks    the same with memory of the parent's, who meanwhile stores to it and forks others that look at it, again and again
 *
 * With BUDGET, in MiB, what the children have of memory stays below it, seen from outside; an inherited share may be above it for a few seconds.
 */
#include <signal.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "check.h"

#define CHILDREN_MAX 64

struct child {
	pid_t pid;
	int sock;
	size_t before; /* anonymous memory that it had at the start, bytes */
};

static struct child children[CHILDREN_MAX];
static size_t bytes;
static char *inherited; /* NULL: each has memory of its own */
static size_t budget;   /* bytes; 0: not looked at */
static int rounds, count;
static unsigned random_state = 1;

static unsigned next_random(void)
{
	random_state = random_state * 1664525 + 1013904223;
	return random_state >> 8;
}

static uint64_t word_of(size_t page, unsigned turn)
{
	return (uint64_t)getpid() << 40 | (uint64_t)turn << 32 | page;
}

static uint64_t first_word(size_t page)
{
	return inherited ? page + 1 : 0;
}

static uint64_t *place_of(char *p, size_t page)
{
	return (uint64_t *)(p + page * PAGE + page % 500 * 8);
}

static char *map(void)
{
	char *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CHECK(p != MAP_FAILED);
	return p;
}

static void take_turn(char *p, unsigned turn)
{
	for (size_t at = 0; at < bytes; at += PAGE) {
		uint64_t *w = place_of(p, at / PAGE);

		if (*w != (turn ? word_of(at / PAGE, turn - 1) : first_word(at / PAGE))) {
			fprintf(stderr, "turn %u, page %zu: %lx\n", turn, at / PAGE, *w);
			_exit(2);
		}
		*w = word_of(at / PAGE, turn);
	}
}

static _Noreturn void run_child(int sock)
{
	char c, *p = inherited;

	for (unsigned turn = 0; read(sock, &c, 1) == 1; turn++) {
		p = p ? p : map();
		take_turn(p, turn);
		if (write(sock, &c, 1) != 1)
			break;
	}
	_exit(0);
}

/* Shared pages count as the part of them that is this process's. */
static size_t memory_of(pid_t pid)
{
	char path[64], line[256];
	size_t kib = 0;
	FILE *f;

	snprintf(path, sizeof path, "/proc/%d/smaps_rollup", (int)pid);
	f = fopen(path, "r");
	while (f && fgets(line, sizeof line, f))
		if (sscanf(line, "Pss_Anon: %zu kB", &kib) == 1)
			break;
	if (f)
		fclose(f);
	return kib << 10;
}

static size_t memory_of_all(void)
{
	size_t sum = 0, now;

	for (int i = 0; i < count; i++) {
		now = memory_of(children[i].pid);
		sum += now > children[i].before ? now - children[i].before : 0;
	}
	return sum;
}

static void check_memory(int tries)
{
	size_t now = 0;

	for (int i = 0; i < tries && budget; i++) {
		now = memory_of_all();
		if (now <= budget)
			return;
		usleep(100000);
	}
	if (!budget)
		return;
	fprintf(stderr, "the children have %zu KiB of memory\n", now >> 10);
	exit(1);
}

static void start_child(struct child *c)
{
	int sock[2];

	CHECK(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sock));
	c->pid = fork();
	CHECK(c->pid >= 0);
	if (!c->pid) {
		for (int i = 0; i < count; i++)
			if (&children[i] != c && children[i].pid)
				close(children[i].sock);
		close(sock[0]);
		run_child(sock[1]);
	}
	close(sock[1]);
	c->sock = sock[0];
	c->before = memory_of(c->pid);
}

static void begin_turn(const struct child *c)
{
	CHECK(write(c->sock, "t", 1) == 1);
}

static void end_turn(const struct child *c)
{
	char reply;
	int status;

	if (read(c->sock, &reply, 1) == 1)
		return;
	CHECK(waitpid(c->pid, &status, 0) == c->pid);
	fprintf(stderr, "a child ended in its turn: %s %d\n", WIFSIGNALED(status) ? "signal" : "exit",
		WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
	exit(1);
}

static void end_child(struct child *c, int expected)
{
	int status;

	close(c->sock);
	CHECK(waitpid(c->pid, &status, 0) == c->pid);
	CHECK(WIFSIGNALED(status) ? WTERMSIG(status) == expected : status == 0);
}

static void replace(struct child *c)
{
	begin_turn(c);
	usleep(next_random() % 4000);
	kill(c->pid, SIGKILL);
	end_child(c, SIGKILL);
	start_child(c);
}

static void play(bool kills, const struct child *stopped)
{
	for (int i = 0; i < count; i++) {
		if (&children[i] == stopped)
			continue;
		if (kills && next_random() % 3 == 0)
			replace(&children[i]);
		begin_turn(&children[i]);
		end_turn(&children[i]);
		check_memory(inherited ? 50 : 1);
	}
}

static void play_with_one_stopped(const struct child *c)
{
	kill(c->pid, SIGSTOP);
	play(false, c);
	kill(c->pid, SIGCONT);
	begin_turn(c);
	end_turn(c);
}

static void play_at_once(void)
{
	for (int i = 0; i < count; i++)
		begin_turn(&children[i]);
	for (int i = 0; i < count; i++)
		end_turn(&children[i]);
	check_memory(1);
}

static void write_inherited(uint64_t add)
{
	for (size_t page = 0; page < bytes / PAGE; page++)
		*place_of(inherited, page) = first_word(page) + add;
}

static void check_inherited(uint64_t add)
{
	for (size_t page = 0; page < bytes / PAGE; page++)
		if (*place_of(inherited, page) != first_word(page) + add) {
			fprintf(stderr, "process %d, page %zu: %lx\n", (int)getpid(), page, *place_of(inherited, page));
			_exit(3);
		}
}

static void fork_one_that_looks(uint64_t turn)
{
	int status;
	pid_t pid;

	write_inherited(turn);
	pid = fork();
	CHECK(pid >= 0);
	if (!pid) {
		check_inherited(turn);
		write_inherited(turn + 1000);
		check_inherited(turn + 1000);
		_exit(0);
	}
	check_inherited(turn);
	CHECK(waitpid(pid, &status, 0) == pid && status == 0);
	check_inherited(turn);
}

static void play_with_forks(void)
{
	static uint64_t turn;

	for (int i = 0; i < count; i++)
		begin_turn(&children[i]);
	for (int i = 0; i < count; i++)
		fork_one_that_looks(++turn);
	for (int i = 0; i < count; i++)
		end_turn(&children[i]);
}

int main(int argc, char **argv)
{
	const char *how = argc > 4 ? argv[4] : "";

	CHECK(argc > 3);
	count = atoi(argv[1]);
	bytes = (size_t)atoi(argv[2]) << 20;
	rounds = atoi(argv[3]);
	budget = argc > 5 ? (size_t)atoi(argv[5]) << 20 : 0;
	CHECK(count > 0 && count <= CHILDREN_MAX);
	if (!strcmp(how, "inherit") || !strcmp(how, "forks")) {
		inherited = map();
		write_inherited(0);
	}
	for (int i = 0; i < count; i++)
		start_child(&children[i]);
	for (int r = 0; r < rounds; r++)
		if (!strcmp(how, "stop") && r)
			play_with_one_stopped(&children[next_random() % (unsigned)count]);
		else if (!strcmp(how, "at-once"))
			play_at_once();
		else if (!strcmp(how, "forks"))
			play_with_forks();
		else
			play(!strcmp(how, "kill"), NULL);
	for (int i = 0; i < count; i++)
		end_child(&children[i], 0);
	return 0;
}
