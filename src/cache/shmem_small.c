/* SPDX-License-Identifier: Apache-2.0 */
#include "shmem_small.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "util/own.h"
#include "util/sys.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

#define LOOK_BYTES (1ull << 30) /* no page is larger */

_Atomic bool shmem_is_huge;

void shmem_small_look(int memfd)
{
	static _Atomic bool known;
	struct stat st = {0};
	char byte = 0;

	if (atomic_exchange(&known, true))
		return;
	if (sys_pwrite(memfd, &byte, 1, 0) == 1 && !sys_fstat(memfd, &st))
		atomic_store(&shmem_is_huge, (uint64_t)st.st_blocks * 512 > FL_PAGE_SIZE);
	sys_fallocate(memfd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, LOOK_BYTES);
}

void shmem_small_bring(int memfd, uint64_t off, uint64_t len)
{
	uint64_t start = page_align_down(off), bytes = page_align_up(off + len) - start;
	void *p = sys_mmap(own_place(bytes), bytes, PROT_READ | PROT_WRITE, MAP_SHARED, memfd, (off_t)start);

	if (sys_is_err(p))
		return;
	sys_madvise(p, bytes, MADV_NOHUGEPAGE);
	sys_madvise(p, bytes, MADV_POPULATE_WRITE);
	sys_munmap(p, bytes);
}
