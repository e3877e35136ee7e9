/* SPDX-License-Identifier: Apache-2.0 */
/* fork(2) and mmap(2): what children and grandchildren share with their parents, and madvise's say in it. */
#include "conformance.h"

#include <spawn.h>

/* In a child nothing can be asserted: the number of the first step that went otherwise is its status. */
#define STEP(n, condition)        \
	do {                      \
		if (!(condition)) \
			return n; \
	} while (0)

static bool pages_hold(const char *map, size_t pages, size_t at, char byte)
{
	for (size_t i = 0; i < pages; i++)
		if (map[i * PAGE + at] != byte)
			return false;
	return true;
}

static void store(char *map, size_t pages, size_t at, char byte)
{
	for (size_t i = 0; i < pages; i++)
		map[i * PAGE + at] = byte;
}

/* ---- Shared mappings ---- */

static int shared_child(struct world *w, char *map)
{
	(void)w;
	STEP(1, pages_hold(map, 4, 0, 'p'));
	store(map, 4, 1, 'c');
	return 0;
}

/* "shared memory remains shared": stores before and after, of both. */
CONFORMS(shared_mappings_stay_shared)
{
	map_layout(w, "ssssssss");
	store(ARENA, 4, 0, 'p');
	assert_true(in_child(shared_child, w, ARENA));
	assert_true(pages_hold(ARENA, 4, 1, 'c'));
	assert_true(pages_hold(ARENA, 4, 0, 'p'));
}

static int wait_for_parent(struct world *w, char *map)
{
	(void)w;
	__atomic_store_n(map, 1, __ATOMIC_SEQ_CST);
	while (__atomic_load_n(map + 1, __ATOMIC_SEQ_CST) != 2)
		usleep(100);
	STEP(1, map[PAGE] == 'p');
	map[2 * PAGE] = 'c';
	return 0;
}

/* While both live. */
CONFORMS(shared_mappings_are_one_at_all_times)
{
	int status;
	pid_t pid;

	map_layout(w, "sss");
	ARENA[0] = ARENA[1] = 0;
	pid = fork();
	if (pid == 0)
		_exit(wait_for_parent(w, ARENA));
	while (__atomic_load_n(ARENA, __ATOMIC_SEQ_CST) != 1)
		usleep(100);
	ARENA[PAGE] = 'p';
	__atomic_store_n(ARENA + 1, 2, __ATOMIC_SEQ_CST);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(ARENA[2 * PAGE], 'c');
}

static int shared_grandchild(struct world *w, char *map)
{
	(void)w;
	STEP(1, pages_hold(map, 4, 0, 'p') && pages_hold(map, 4, 1, 'c'));
	store(map, 4, 2, 'g');
	return 0;
}

static int shared_child_forks(struct world *w, char *map)
{
	store(map, 4, 1, 'c');
	STEP(1, in_child(shared_grandchild, w, map));
	STEP(2, pages_hold(map, 4, 2, 'g'));
	return 0;
}

CONFORMS(shared_with_grandchildren)
{
	map_layout(w, "ssss");
	store(ARENA, 4, 0, 'p');
	assert_true(in_child(shared_child_forks, w, ARENA));
	assert_true(pages_hold(ARENA, 4, 1, 'c'));
	assert_true(pages_hold(ARENA, 4, 2, 'g'));
}

static int reads_only(struct world *w, char *map)
{
	(void)w;
	for (size_t i = 0; i < 8; i++)
		STEP(1, map[i * PAGE + 100] == mark(i));
	STEP(2, !strcmp(access_map(map, 8), "rrrrrrrr"));
	return 0;
}

/* Mappings that are only read, before and after the parent has touched them. */
CONFORMS(mappings_that_are_only_read)
{
	map_layout(w, "rrrrqqqq");
	assert_int_equal(ARENA[100], mark(0));
	assert_true(in_child(reads_only, w, ARENA));
	assert_true(in_child(reads_only, w, ARENA));
	assert_access(ARENA, "rrrrrrrr");
}

/* ---- Private mappings ---- */

static int private_child(struct world *w, char *map)
{
	(void)w;
	STEP(1, pages_hold(map, 4, 0, 'p'));
	STEP(2, map[5 * PAGE] == mark(5));
	store(map, 8, 0, 'c');
	STEP(3, pages_hold(map, 8, 0, 'c'));
	return 0;
}

/* Private pages are copied: neither sees what the other stores afterwards. */
CONFORMS(private_pages_are_copied)
{
	map_layout(w, "pppppppp");
	store(ARENA, 4, 0, 'p');
	assert_true(in_child(private_child, w, ARENA));
	assert_true(pages_hold(ARENA, 4, 0, 'p'));
	for (size_t i = 4; i < 8; i++)
		assert_int_equal(ARENA[i * PAGE], mark(i));
	store(ARENA, 8, 0, 'q');
	assert_true(pages_hold(ARENA, 8, 0, 'q'));
}

static int private_grandchild(struct world *w, char *map)
{
	(void)w;
	STEP(1, pages_hold(map, 2, 0, 'p') && pages_hold(map + 2 * PAGE, 2, 0, 'c'));
	store(map, 8, 0, 'g');
	return 0;
}

static int private_child_forks(struct world *w, char *map)
{
	store(map + 2 * PAGE, 2, 0, 'c');
	STEP(1, in_child(private_grandchild, w, map));
	STEP(2, pages_hold(map, 2, 0, 'p') && pages_hold(map + 2 * PAGE, 2, 0, 'c'));
	STEP(3, map[6 * PAGE] == mark(6));
	return 0;
}

CONFORMS(private_pages_of_grandchildren)
{
	map_layout(w, "pppppppp");
	store(ARENA, 4, 0, 'p');
	assert_true(in_child(private_child_forks, w, ARENA));
	assert_true(pages_hold(ARENA, 4, 0, 'p'));
	assert_int_equal(ARENA[6 * PAGE], mark(6));
}

/* ---- Calls in the child ---- */

static int child_changes_its_mappings(struct world *w, char *map)
{
	const struct calls *c = w->c;
	char *p;

	STEP(1, ERROR_OF(c->munmap(map, PAGE)) == 0);
	STEP(2, ERROR_OF(c->mprotect(map + PAGE, PAGE, PROT_READ)) == 0);
	STEP(3, ERROR_OF(c->mprotect(map + 2 * PAGE, PAGE, PROT_NONE)) == 0);
	STEP(4, !strcmp(access_map(map, 8), "-r0wwwww"));
	p = c->mmap(map, PAGE, RW, MAP_SHARED | MAP_FIXED_NOREPLACE, w->fd, 9 * PAGE);
	STEP(5, p == map && *p == mark(9));
	STEP(6, ERROR_OF(c->msync(map + 3 * PAGE, 5 * PAGE, MS_SYNC)) == 0);
	STEP(7, ERROR_OF(c->munmap(map, 8 * PAGE)) == 0);
	STEP(8, !strcmp(access_map(map, 8), "--------"));
	return 0;
}

/* "mmap[s] and munmap[s] performed by one of the processes do not affect the other". */
CONFORMS(the_child_changes_its_own_mappings)
{
	map_layout(w, "sssspppp");
	store(ARENA, 8, 0, 'p');
	assert_true(in_child(child_changes_its_mappings, w, ARENA));
	assert_access(ARENA, "wwwwwwww");
	assert_true(pages_hold(ARENA, 8, 0, 'p'));
}

static int child_moves(struct world *w, char *map)
{
	char *p = w->c->mremap(map, 4 * PAGE, 8 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, map + 16 * PAGE);

	STEP(1, p == map + 16 * PAGE);
	STEP(2, pages_hold(p, 4, 0, 'p'));
	STEP(3, p[7 * PAGE] == mark(7));
	STEP(4, try_read(map).code == SEGV_MAPERR);
	return 0;
}

CONFORMS(the_child_moves_a_private_mapping)
{
	map_layout(w, "pppp");
	store(ARENA, 4, 0, 'p');
	assert_true(in_child(child_moves, w, ARENA));
	assert_true(pages_hold(ARENA, 4, 0, 'p'));
}

/* The parent moves a shared mapping that its child has shared. */
CONFORMS(the_parent_moves_a_shared_mapping)
{
	const int flags = MREMAP_MAYMOVE | MREMAP_FIXED;

	map_layout(w, "ssss");
	store(ARENA, 4, 0, 'p');
	assert_true(in_child(shared_child, w, ARENA));
	assert_ptr_equal(w->c->mremap(ARENA, 4 * PAGE, 8 * PAGE, flags, ARENA + 8 * PAGE), ARENA + 8 * PAGE);
	assert_true(pages_hold(ARENA + 8 * PAGE, 4, 1, 'c'));
	assert_int_equal(ARENA[15 * PAGE], mark(7));
}

static int child_maps(struct world *w, char *map)
{
	(void)map;
	map_layout(w, "sspp");
	STEP(1, ARENA[PAGE + 5] == mark(1));
	STEP(2, ARENA[3 * PAGE + 5] == mark(3));
	store(ARENA, 4, 5, 'c');
	STEP(3, ERROR_OF(w->c->msync(ARENA, 4 * PAGE, MS_SYNC)) == 0);
	STEP(4, ERROR_OF(w->c->munmap(ARENA, 4 * PAGE)) == 0);
	return 0;
}

/* A child maps for itself; what it has stored is in the file then. */
CONFORMS(the_child_maps)
{
	char byte;

	assert_true(in_child(child_maps, w, ARENA));
	assert_int_equal(pread(w->fd, &byte, 1, PAGE + 5), 1);
	assert_int_equal(byte, 'c');
	assert_int_equal(pread(w->fd, &byte, 1, 3 * PAGE + 5), 1);
	assert_int_equal(byte, mark(3));
}

static int child_resizes(struct world *w, char *map)
{
	STEP(1, ERROR_OF(w->c->ftruncate(w->fd, PAGE)) == 0);
	STEP(2, !strcmp(access_map(map, 4), "wbbb"));
	STEP(3, ERROR_OF(w->c->ftruncate(w->fd, 4 * PAGE)) == 0);
	STEP(4, !strcmp(access_map(map, 4), "wwww"));
	return 0;
}

/* The child cuts the file: the parent's shared mapping shows it. */
CONFORMS(the_child_resizes_the_file)
{
	map_layout(w, "ssss");
	store(ARENA, 4, 0, 'p');
	assert_true(in_child(child_resizes, w, ARENA));
	assert_int_equal(ARENA[0], 'p');
	assert_int_equal(ARENA[3 * PAGE], 0);
}

static int exits_normally(struct world *w, char *map)
{
	(void)w;
	store(map, 4, 3, 'c');
	return 0;
}

/* The end of a process unmaps; stores of the child are there for the parent and in the file. */
CONFORMS(the_child_ends)
{
	char byte;

	map_layout(w, "ssss");
	for (int i = 0; i < 5; i++)
		assert_true(in_child(exits_normally, w, ARENA));
	assert_true(pages_hold(ARENA, 4, 3, 'c'));
	assert_ok(w->c->munmap(ARENA, 4 * PAGE));
	assert_int_equal(pread(w->fd, &byte, 1, 3 * PAGE + 3), 1);
	assert_int_equal(byte, 'c');
}

static int sleeps(struct world *w, char *map)
{
	(void)w;
	store(map, 4, 0, 'c');
	pause();
	return 0;
}

/* A child that is killed takes nothing with it. */
CONFORMS(the_child_is_killed)
{
	pid_t pid;

	map_layout(w, "ssss");
	store(ARENA, 4, 0, 'p');
	pid = fork();
	if (pid == 0)
		_exit(sleeps(w, ARENA));
	while (ARENA[3 * PAGE] != 'c')
		usleep(1000);
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_true(pages_hold(ARENA, 4, 0, 'c'));
	store(ARENA, 4, 0, 'p');
	assert_true(pages_hold(ARENA, 4, 0, 'p'));
}

static int stores_and(struct world *w, void (*end)(void))
{
	pid_t pid = fork();
	char byte;

	if (pid == 0) {
		map_layout(w, "s");
		ARENA[77] = 'k';
		end();
	}
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_int_equal(w->c->pread(w->fd, &byte, 1, 77), 1);
	return byte;
}

static void be_killed(void)
{
	raise(SIGKILL);
}

static void end_at_once(void)
{
	_exit(0);
}

/*
 * What a process has stored is the file's, however it ends. Faultline's cache ends with its process: what was not written
 * back when it was killed is lost, and the library does not hear of _exit(2). A host's does not.
 */
CONFORMS(stores_of_a_process_that_ends)
{
	bool lost = w->c->faultline && !at_host(w->c);

	assert_int_equal(stores_and(w, be_killed), lost ? mark(0) : 'k');
	assert_int_equal(stores_and(w, end_at_once), lost ? mark(0) : 'k');
}

/* posix_spawn(3), vfork(2): the program started has no mappings of ours, and the parent keeps its own. */
CONFORMS(other_programs_are_started)
{
	char *argv[] = {"true", NULL};
	int status;
	pid_t pid;

	map_layout(w, "sspp");
	store(ARENA, 4, 0, 'p');
	assert_int_equal(posix_spawnp(&pid, "true", NULL, NULL, argv, environ), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	store(ARENA, 4, 1, 'q');
	assert_true(pages_hold(ARENA, 4, 0, 'p'));
}

static int many_mappings_child(struct world *w, char *map)
{
	(void)w;
	for (size_t i = 0; i < 64; i++)
		STEP(1, map[i * PAGE + 9] == (char)(i % 2 ? 'x' : mark(i)));
	return 0;
}

CONFORMS(many_mappings)
{
	for (size_t i = 0; i < 64; i++)
		map_ok(w, ARENA + i * PAGE, PAGE, RW, (i % 3 ? MAP_PRIVATE : MAP_SHARED) | MAP_FIXED, w->fd, (off_t)(i * PAGE));
	for (size_t i = 1; i < 64; i += 2)
		ARENA[i * PAGE + 9] = 'x';
	for (int k = 0; k < 3; k++)
		assert_true(in_child(many_mappings_child, w, ARENA));
	assert_int_equal(many_mappings_child(w, ARENA), 0);
}

/* ---- Advice ---- */

static int not_there(struct world *w, char *map)
{
	(void)w;
	STEP(1, !strcmp(access_map(map, 8), "w--ww--w"));
	STEP(2, map[0] == 'p' && map[7 * PAGE] == 'p');
	return 0;
}

/* MADV_DONTFORK: "Do not make the pages in this range available to the child". */
CONFORMS(dontfork)
{
	map_layout(w, "sssspppp");
	store(ARENA, 8, 0, 'p');
	assert_ok(w->c->madvise(ARENA + PAGE, 2 * PAGE, MADV_DONTFORK));
	assert_ok(w->c->madvise(ARENA + 5 * PAGE, 2 * PAGE, MADV_DONTFORK));
	assert_true(in_child(not_there, w, ARENA));
	assert_access(ARENA, "wwwwwwww");
	assert_true(pages_hold(ARENA, 8, 0, 'p'));
}

static int all_there(struct world *w, char *map)
{
	(void)w;
	STEP(1, !strcmp(access_map(map, 8), "wwwwwwww"));
	STEP(2, pages_hold(map, 8, 0, 'p'));
	return 0;
}

/* MADV_DOFORK: "Undo the effect of MADV_DONTFORK". */
CONFORMS(dofork)
{
	map_layout(w, "sssspppp");
	store(ARENA, 8, 0, 'p');
	assert_ok(w->c->madvise(ARENA, 8 * PAGE, MADV_DONTFORK));
	assert_ok(w->c->madvise(ARENA, 8 * PAGE, MADV_DOFORK));
	assert_true(in_child(all_there, w, ARENA));
}

static int wiped_again(struct world *w, char *map)
{
	(void)w;
	STEP(1, pages_hold(map + PAGE, 2, 0, 0));
	return 0;
}

static int wiped(struct world *w, char *map)
{
	STEP(1, map[0] == 'p' && map[3 * PAGE] == 'p');
	STEP(2, pages_hold(map + PAGE, 2, 0, 0));
	store(map, 4, 0, 'c');
	STEP(3, in_child(wiped_again, w, map));
	STEP(4, pages_hold(map, 4, 0, 'c'));
	return 0;
}

/* MADV_WIPEONFORK: "Present the child process with zero-filled memory", and grandchildren. */
CONFORMS(wipeonfork)
{
	map_layout(w, "aaaa");
	store(ARENA, 4, 0, 'p');
	assert_ok(w->c->madvise(ARENA + PAGE, 2 * PAGE, MADV_WIPEONFORK));
	assert_true(in_child(wiped, w, ARENA));
	assert_true(pages_hold(ARENA, 4, 0, 'p'));
}

static int kept(struct world *w, char *map)
{
	(void)w;
	return !pages_hold(map, 4, 0, 'p');
}

CONFORMS(keeponfork)
{
	map_layout(w, "aaaa");
	store(ARENA, 4, 0, 'p');
	assert_ok(w->c->madvise(ARENA, 4 * PAGE, MADV_WIPEONFORK));
	assert_ok(w->c->madvise(ARENA, 4 * PAGE, MADV_KEEPONFORK));
	assert_true(in_child(kept, w, ARENA));
}

/* ---- Anonymous memory ---- */

static int anonymous_child(struct world *w, char *map)
{
	(void)w;
	STEP(1, pages_hold(map, 4, 0, 'p'));
	store(map, 4, 1, 'c');
	return 0;
}

/* MAP_SHARED | MAP_ANONYMOUS is shared with children, and only with them. */
CONFORMS(anonymous_memory)
{
	map_layout(w, "aazz");
	store(ARENA, 4, 0, 'p');
	assert_true(in_child(anonymous_child, w, ARENA));
	assert_true(pages_hold(ARENA, 2, 1, 0));
	assert_true(pages_hold(ARENA + 2 * PAGE, 2, 1, 'c'));
}

static int guarded(struct world *w, char *map)
{
	(void)w;
	return strcmp(access_map(map, 4), "w--w");
}

/* Guards are inherited. */
CONFORMS(guards)
{
	map_layout(w, "pppp");
	store(ARENA, 4, 0, 'p');
	assert_ok(w->c->madvise(ARENA + PAGE, 2 * PAGE, MADV_GUARD_INSTALL));
	assert_true(in_child(guarded, w, ARENA));
}

/* What the parent unmaps as soon as it can, the child still has. */
CONFORMS(shared_memory_outlives_the_parents_mapping)
{
	for (char i = 1; i <= 20; i++) {
		int status = -1;
		pid_t pid;

		map_layout(w, "zz");
		ARENA[PAGE] = i;
		pid = fork();
		if (pid == 0)
			_exit(ARENA[PAGE] != i || ARENA[0] != 0);
		assert_ok(w->c->munmap(ARENA, 2 * PAGE));
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_int_equal(status, 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RUN(shared_mappings_stay_shared),
		RUN(shared_mappings_are_one_at_all_times),
		RUN(shared_with_grandchildren),
		RUN(mappings_that_are_only_read),
		RUN(private_pages_are_copied),
		RUN(private_pages_of_grandchildren),
		RUN(the_child_changes_its_own_mappings),
		RUN(the_child_moves_a_private_mapping),
		RUN(the_parent_moves_a_shared_mapping),
		RUN(the_child_maps),
		RUN(the_child_resizes_the_file),
		RUN(the_child_ends),
		RUN(the_child_is_killed),
		RUN_NEEDING(LIBRARY, stores_of_a_process_that_ends),
		RUN(other_programs_are_started),
		RUN(many_mappings),
		RUN(dontfork),
		RUN(dofork),
		RUN(wipeonfork),
		RUN(keeponfork),
		RUN(anonymous_memory),
		RUN_NEEDING(GUARDS, guards),
		RUN(shared_memory_outlives_the_parents_mapping),
	};

	return run_conformance_tests(tests);
}
