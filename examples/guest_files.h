/* SPDX-License-Identifier: Apache-2.0 */
/* System calls on files. Arguments as the guest has them in its registers; the result, or -errno. */
#ifndef GUEST_FILES_H
#define GUEST_FILES_H

#include "guest.h"

void files_start(struct guest *g);
/* The host's descriptor, or -1. */
int files_host(const struct guest *g, uint64_t fd);

long file_read(struct guest *g, const uint64_t *arg);
long file_write(struct guest *g, const uint64_t *arg);
long file_pread(struct guest *g, const uint64_t *arg);
long file_pwrite(struct guest *g, const uint64_t *arg);
long file_readv(struct guest *g, const uint64_t *arg);
long file_writev(struct guest *g, const uint64_t *arg);
long file_open(struct guest *g, const uint64_t *arg);
long file_openat(struct guest *g, const uint64_t *arg);
long file_close(struct guest *g, const uint64_t *arg);
long file_dup(struct guest *g, const uint64_t *arg);
long file_dup2(struct guest *g, const uint64_t *arg);
long file_fcntl(struct guest *g, const uint64_t *arg);
long file_lseek(struct guest *g, const uint64_t *arg);
long file_ioctl(struct guest *g, const uint64_t *arg);
long file_stat(struct guest *g, const uint64_t *arg);
long file_lstat(struct guest *g, const uint64_t *arg);
long file_fstat(struct guest *g, const uint64_t *arg);
long file_newfstatat(struct guest *g, const uint64_t *arg);
long file_access(struct guest *g, const uint64_t *arg);
long file_faccessat(struct guest *g, const uint64_t *arg);
long file_readlink(struct guest *g, const uint64_t *arg);
long file_readlinkat(struct guest *g, const uint64_t *arg);
long file_getcwd(struct guest *g, const uint64_t *arg);
long file_unlink(struct guest *g, const uint64_t *arg);
long file_unlinkat(struct guest *g, const uint64_t *arg);
long file_ftruncate(struct guest *g, const uint64_t *arg);
long file_getdents64(struct guest *g, const uint64_t *arg);
long file_fsync(struct guest *g, const uint64_t *arg);

#endif
