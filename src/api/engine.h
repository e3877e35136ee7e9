/* SPDX-License-Identifier: Apache-2.0 */
/* The engine of a process: its start, its end, and what a fork makes of it. Used by the public calls and by the shim. */
#ifndef FL_API_ENGINE_H
#define FL_API_ENGINE_H

#include <stdbool.h>
#include <stdint.h>

#include "mm/mm.h"

/* What serves the faults of native spaces. AUTO: inline, and where userfaultfd is refused, SIGSEGV. */
enum engine_faults {
	FAULTS_AUTO,
	FAULTS_INLINE,
	FAULTS_THREAD,
	FAULTS_SIGSEGV,
};

/* As FAULTLINE_FAULTS and --faults have them; "" for AUTO, NULL at the end. */
extern const char *const engine_fault_words[];

struct engine_options {
	uint64_t budget;            /* bytes */
	enum engine_faults faults;  /* AUTO until the start */
	bool direct;                /* O_DIRECT */
	char swap_directory[256];   /* "" for the default places */
	char report_directory[256]; /* "" for none */
	char inject[256];           /* rules of the fault store */
	uint64_t min_map;           /* the shim leaves smaller files to the kernel */
	uint64_t anon_min;          /* the shim serves anonymous memory from this size on; 0: none */
	int log_level;
	char host[108];      /* the name of the host to join (channel_join); "" for none */
	bool pool;           /* files start on pool frames */
	bool huge;           /* which may be huge pages */
	int io;              /* enum io_mode */
	bool no_native;      /* only soft spaces */
	bool soft;           /* it is no failure when native spaces do not work */
	bool quiet_handlers; /* no signal handler of the program touches mapped memory */
};

/* From the FAULTLINE_* variables and defaults. -EINVAL; *what then names the variable. */
int engine_options_from_env(struct engine_options *o, const char **what);
/* 0; -EBUSY when started; else what went wrong, nothing started. */
int engine_start(const struct engine_options *o);
/* Starts with the environment's options unless started already. */
int engine_start_default(void);
/* The same for soft spaces: native ones need not work here. */
int engine_start_soft(void);
bool engine_started(void);
/*
 * The process's forks are followed from now on. Handlers of pthread_atfork(3) that were made known before must not touch what is mapped, nor wait for who maps
 * something: between ours nothing is served.
 */
void engine_follow_forks(void);
/* Joins the host that the environment names, if it names one, so that files that others have mapped are known. -errno. */
int engine_join_host(void);
/* A child of fork(2) that has put off connecting to its host does so now, while it can: see channel_keep(). */
void engine_keep_host(void);
/*
 * Threads of ours, which act as what the process was when they were made: for a change of user or group there are others after it, by the caller's
 * new rights. Around what is refused to a process with more than one thread there are none; who touches what is mapped waits meanwhile. That is not for a
 * change of user, for which the C library waits for each thread of the program. Each pause has its end. They hold no lock.
 */
void engine_threads_pause(bool all);
void engine_threads_go_on(void);
const struct engine_options *engine_options(void);
/* The default space; NULL before the start, and where native spaces do not work. */
struct mm *engine_space(void);
/* What is written back, and what is given to the kernel so that later stores, by other threads or handlers, are not lost. */
enum flush {
	FLUSH_ALL, /* all that is dirty */
	FLUSH_TO_EXEC, /* and shared writable mappings are the kernel's; all can be used on, as it must be when the call fails: engine_exec_failed() */
	FLUSH_TO_END, /* the same, for good */
};
/* First error. */
int engine_flush(enum flush how);
/* The report is told what FLUSH_TO_EXEC has done. */
void engine_exec_failed(void);
int engine_stop(void);
/* In a forked child that cannot have what is mapped: from now on nothing of it can be accessed, and there is no engine. */
void engine_give_up(void);
/* The same in one that has its parent's descriptors. */
void engine_forsake(void);
/* What is kept of pages that can be accessed, where that is kept book of: pages of the budget. */
uint64_t engine_shown_pages(void);
/* A space more, with its own way of serving faults (AUTO: that of the default space); and its end. */
int engine_space_create(enum engine_faults faults, const struct mm_limits *limits, struct mm **out);
struct soft_config;
int engine_soft_create(const struct soft_config *config, struct mm **out);
int engine_soft_fork(struct mm *parent, struct mm **out);
void engine_space_destroy(struct mm *mm);

/* How many threads of ours serve faults. */
int engine_fault_threads(void);

/* Whether a child that is made now has what it needs: descriptors. */
bool engine_can_fork(void);
/* fork: called in the parent before and after, and in the child before the program's code runs there. */
void engine_fork_prepare(void);
void engine_fork_parent(void);
void engine_fork_child(void);
/*
 * The same for a child with memory of its own and the descriptors of its parent. It can have none for itself, and so nothing of what is mapped: accesses there
 * are SIGSEGV, and to the rest of the program there is no engine.
 */
void engine_clone_prepare(void);
void engine_clone_parent(void);
void engine_clone_child(void);

#endif
