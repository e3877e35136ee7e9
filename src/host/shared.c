/* SPDX-License-Identifier: Apache-2.0 */
#include "shared.h"

#include <fcntl.h>
#include <sys/mman.h>

#include "util/compiler.h"
#include "util/sys.h"

int shared_create(const char *name, uint64_t bytes, void **memory)
{
	int fd = sys_memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING), err;
	void *p;

	if (fd < 0)
		return fd;
	err = sys_ftruncate(fd, (off_t)page_align_up(bytes));
	if (!err)
		err = sys_fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
	p = err ? NULL : sys_mmap(NULL, page_align_up(bytes), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (!err && sys_is_err(p))
		err = sys_err(p);
	if (err) {
		sys_close(fd);
		return err;
	}
	*memory = p;
	return fd;
}
