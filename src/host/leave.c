/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A set that only grows: whether the kernel's mapping still exists is not followed. A file that is gone and whose inode another one got is left to
 * the kernel for no reason, which costs memory but no bytes.
 */
#include "leave.h"

#include <errno.h>
#include <pthread.h>
#include <search.h>
#include <stdlib.h>

#define LEFT_MAX 65536

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static void *left; /* lock */
static uint32_t count;

static int compare(const void *a, const void *b)
{
	const struct file_id *x = a, *y = b;

	if (x->ino != y->ino)
		return x->ino < y->ino ? -1 : 1;
	return x->dev < y->dev ? -1 : x->dev > y->dev;
}

void leave_begin(void)
{
	pthread_mutex_lock(&lock);
}

void leave_end(void)
{
	pthread_mutex_unlock(&lock);
}

bool leave_has(struct file_id file)
{
	return tfind(&file, &left, compare);
}

static int add(struct file_id file)
{
	struct file_id *f = count < LEFT_MAX ? malloc(sizeof *f) : NULL;

	if (!f)
		return -ENOMEM;
	*f = file;
	if (!tsearch(f, &left, compare)) {
		free(f);
		return -ENOMEM;
	}
	count++;
	return 0;
}

int leave_to_kernel(struct file_id file)
{
	struct address_space *as;
	int err = 0;

	leave_begin();
	as = address_space_find(file);
	if (as && !as->kernels)
		err = -EBUSY;
	else if (!leave_has(file))
		err = add(file);
	leave_end();
	if (as)
		address_space_put(as);
	return err;
}
