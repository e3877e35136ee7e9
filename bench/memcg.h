/* SPDX-License-Identifier: Apache-2.0 */
/* A memory cgroup (version 1 or 2) for the kernel's side, which then has as much memory for the file as Faultline's budget. */
#ifndef BENCH_MEMCG_H
#define BENCH_MEMCG_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* What a cgroup counts and a budget does not: the process's own memory and stacks, and 8 bytes of page table for each page mapped. */
#define MEMCG_OWN (1UL << 20)
#define MEMCG_TABLES(mapped) ((mapped) / 512)

struct memcg {
	char path[PATH_MAX]; /* "": there is none */
};

/* 0 with a cgroup that has room for so many bytes of a file, of which `mapped` bytes will be mapped; or -errno: -EACCES and the like without the privilege, -ENOENT without the controller. */
int memcg_make(struct memcg *m, uint64_t bytes, uint64_t mapped);
/* Memory that the process takes from now on counts. 0 or -errno. */
int memcg_enter(const struct memcg *m, pid_t pid);
/* All that were in it have ended. */
void memcg_remove(struct memcg *m);

#endif
