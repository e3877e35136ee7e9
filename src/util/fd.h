/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Descriptors of the engine's own, kept out of the program's way: at high numbers, close-on-exec, known as ours.
 *
 * POSIX record locks die when a process closes any descriptor of the file (fcntl(2)). So once the program has taken
 * such locks, a descriptor of ours of a file of the program's is not closed but retired: it is used again where one of that file is
 * wanted, and closed when the program closes one of its own, which drops the locks anyway.
 */
#ifndef FL_UTIL_FD_H
#define FL_UTIL_FD_H

#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>

/* A copy of fd at a high number; -errno. */
int fd_dup_high(int fd);
/* Moves a descriptor just opened to a high number, where closing the low one is harmless; else leaves it. */
int fd_move_high(int fd);
/* Closes a descriptor of ours; of a file that the program may have locked. Negative: none. */
void fd_close(int fd);
void fd_close_file(int fd);
/* One of the file behind fd that has been retired, with these flags of F_GETFL (FD_KIND), and is the caller's again; -1: there is none. */
#define FD_KIND (O_ACCMODE | O_APPEND | O_DIRECT)
int fd_take_retired(int fd, int flags);
bool fd_is_ours(int fd);
/* The first of ours from `from` on; INT_MAX when there is none. */
int fd_next_ours(int from);

/* From now on closing a descriptor of a regular file could drop the program's locks. */
void fd_locks_in_use(void);
bool fd_locks_are_in_use(void);
/* A file's, which another program left to this process with its locks, is ours, and retired. */
void fd_take_over(int fd);
/* The program closed a descriptor of this file: retired ones of the same file can go. */
void fd_program_closed(uint64_t dev, uint64_t ino);
bool fd_have_retired(void);

/*
 * Spare descriptors, for fork. It needs some, the child needs others, and the program may have used up all that there are, or have set a limit
 * (RLIMIT_NOFILE) below those that there are since. One thread at a time.
 */
#define FD_SPARES 5 /* as many as fork needs at a time: a channel to the host, and two pipes */

/* Whether there are as many as there should be, from now on. */
bool fd_keep_spares(void);
/* Whether there are so many after fd_make_room(), in a child as well. */
bool fd_can_make_room(void);
/* Gives the spares up; where they are above the limit, that is raised so far. */
void fd_make_room(void);
/* There are spares again, and the limit is as it was. Nothing to do where no room was made. */
void fd_end_room(void);
void fd_drop_spares(void);

/* In a forked child, which has no record locks: what was kept for its parent's is closed. */
void fd_fork_child(void);

#endif
