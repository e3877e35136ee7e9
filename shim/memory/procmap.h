/* SPDX-License-Identifier: Apache-2.0 */
/* A question to /proc/PID/maps by ioctl(2). */
#ifndef FL_SHIM_PROCMAP_H
#define FL_SHIM_PROCMAP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/ioctl.h>

/* As in <linux/fs.h> of Linux 6.11. */
struct procmap_query {
	uint64_t size, query_flags, query_addr;
	uint64_t vma_start, vma_end, vma_flags, vma_page_size, vma_offset, inode;
	uint32_t dev_major, dev_minor, vma_name_size, build_id_size;
	uint64_t vma_name_addr, build_id_addr;
};

#ifndef PROCMAP_QUERY
#define PROCMAP_QUERY _IOWR('f', 17, struct procmap_query)
#endif

/* Whether fd is the file of this process's own maps, and the question was answered here. */
bool procmap_query(int fd, void *arg, int *result);

#endif
