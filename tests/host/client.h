/* SPDX-License-Identifier: Apache-2.0 */
/* A host in a process of its own, and clients that say what they are told to say. */
#ifndef FL_TESTS_HOST_CLIENT_H
#define FL_TESTS_HOST_CLIENT_H

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "host/wire.h"

#define TEST_BUDGET (2UL << 20)

struct test_host {
	pid_t pid;
	int hold; /* the host lives until it is closed */
	char name[32];
	uint64_t budget;
};

void host_start(struct test_host *h); /* with TEST_BUDGET */
void host_start_with(struct test_host *h, uint64_t budget);
void host_start_unheld(struct test_host *h);
/* Closes the hold, waits for its end, and answers its exit status; fails when it does not end. */
int host_end(struct test_host *h);
bool host_lives(struct test_host *h);

struct client {
	int sock;
	struct wire_area *area;
	struct wire_board *board;
	int uffd;
	uint32_t mmu;
};

/* The socket alone. */
int client_dial(const struct test_host *h);
/* Bytes, and a descriptor or none (-1). */
void client_send(int sock, const void *bytes, size_t len, int fd);
/* A message and its answer; fd: one to pass, or -1; got: descriptors that came, which the caller closes. The number of them, or -1. */
int client_greet(int sock, struct wire_message *m, int fd, int got[2]);
/* The same after the greeting, with the slot that is kept for it. */
int client_say(struct client *c, struct wire_message *m, int fd, int got[2]);
/* With a userfaultfd of this process. */
void client_attach(struct client *c, const struct test_host *h);
void client_detach(struct client *c);

struct file {
	char path[64];
	int fd;          /* O_RDWR */
	uint32_t number; /* with the client that opened it last */
	int memfd;
	uint64_t size;
};

/* A temporary file where page n begins with the words n + 1, and is zero else. */
void file_create(struct file *f, uint64_t pages);
void file_remove(struct file *f);
uint64_t file_word(const struct file *f, uint64_t page);
/* A request to begin a change of it; see client_resume(). */
struct wire_slot file_change(const struct file *f);
/* What the host answers. */
int client_open(struct client *c, struct file *f, uint32_t flags, bool writable);

/* A request by slot 0, or by another. */
int client_ask(struct client *c, struct wire_slot *r);
int client_ask_by(struct client *c, uint32_t slot, struct wire_slot *r);
/* Posts it, without waiting for the answer. */
void client_post(struct client *c, uint32_t slot, const struct wire_slot *r);
void client_ring(struct client *c);
int client_wait(struct client *c, uint32_t slot, struct wire_slot *r);
void client_resume(struct client *c, uint32_t slot, uint64_t off, uint64_t len);

struct map {
	struct client *client;
	struct file *file;
	char *addr;
	uint64_t pgoff, pages;
	bool private;
};

/* Maps it, for faults that are served by whoever asks; a shared mapping is told to the host. */
void client_map(struct client *c, struct file *f, uint64_t pgoff, uint64_t pages, bool private, struct map *m);
void client_unmap(struct map *m);
/* flags of WIRE_FAULT. */
int map_fault(struct map *m, uint64_t page, uint32_t flags);
int map_fault_by(struct map *m, uint32_t slot, uint64_t page, uint32_t flags);
uint64_t *map_word(struct map *m, uint64_t page);
/* Faults in this mapping are served by a SIGBUS handler from now on, by the slot that the thread says. */
void map_serve(struct map *m);
extern _Thread_local uint32_t client_slot;

#define TWO_CLIENTS_PAGES 64

/* A host, a file that nobody has opened yet, and two clients. Of cmocka's: *state is it. */
struct two_clients {
	struct test_host host;
	struct file file;
	struct client a, b;
};

int two_clients_setup(void **state);
int two_clients_teardown(void **state);
/* A client in a process of its own, with the file open, which is killed when `act` has returned. */
void in_a_client_that_is_killed(struct two_clients *x, void (*act)(struct two_clients *x, struct client *c, struct file *f));

#endif
