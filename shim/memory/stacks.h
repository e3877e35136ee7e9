/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FL_SHIM_STACKS_H
#define FL_SHIM_STACKS_H

#include <stddef.h>

/* Memory that is about to be a stack is none of ours afterwards. Cheap while nothing is mapped. errno may change. */
void stack_to_kernel(void *stack, size_t size);
/* The same of one that begins below `top`, of a size that is not known. */
void stack_below_to_kernel(void *top);
/* Private anonymous memory is served. */
void stacks_watch(void);

#endif
