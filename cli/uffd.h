/* SPDX-License-Identifier: Apache-2.0 */
/* What userfaultfd(2) offers to this process, and what to do where it is refused. */
#ifndef FL_CLI_UFFD_H
#define FL_CLI_UFFD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum uffd_kind {
	UFFD_USER_FAULTS, /* loads and stores of the program: what inline faults need */
	UFFD_ALL_FAULTS,  /* those of system calls too: what --faults=thread needs */
};

struct uffd_probe {
	enum uffd_kind kind;
	int error;         /* errno of the refusal; 0 when there is a descriptor to be had */
	bool device;       /* by /dev/userfaultfd, the system call being refused */
	uint64_t features; /* UFFD_FEATURE_*, as the kernel answers UFFDIO_API */
};

struct uffd_feature {
	uint64_t bit;
	const char *name;
	const char *gives;
	bool needed;
};

/* Ends with a NULL name. */
extern const struct uffd_feature uffd_features[];

struct uffd_probe uffd_probe(enum uffd_kind kind);
bool uffd_usable(const struct uffd_probe *p);

/* For one that is not usable: why, and what the user can do. Static text, without a full stop. */
const char *uffd_cause(const struct uffd_probe *p);
const char *uffd_cure(const struct uffd_probe *p);

#endif
