/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A simulated MMU: struct mmu_ops in software, and with it a small stand-in for the kernel's mm behind the engine's
 * mappings. No userfaultfd, no signals: what faults in a program is a call here, so the whole engine runs under the
 * sanitizers, and tests decide what happens when.
 *
 * How it is put in place: the test is linked with sim_link_args (tests/meson.build), which send uffd_inline_create()
 * and the engine's system calls on mappings and frames (sys_mmap, sys_fallocate, ...) through sim_mmu.c. fl_init() then
 * starts an engine over it, and all public calls work.
 *
 * What it keeps to, because the engine rests on it:
 *   - A hole punched in a memfd takes the page out of every mapping in the same step, private copies excepted; cutting
 *     the memfd takes those too.
 *   - copy() and map() answer -EEXIST where something is mapped; copy() also where the memfd holds the page; map()
 *     answers -EFAULT where it does not.
 *   - A store to a private page that is mapped and not write-protected makes a private copy and asks nobody.
 *   - An access to a mapping that was never attached ends the test: it would have read the memfd's hole.
 *   - Moving a mapping (mremap) loses registration and write protection.
 * It does not do fork, or system calls of the program on mapped memory.
 */
#ifndef FL_TESTS_SIM_MMU_H
#define FL_TESTS_SIM_MMU_H

#include <stdbool.h>
#include <stdint.h>

/* For contexts made from now on: whether map() obeys MMU_WP. True when never called. */
void sim_set_map_can_wp(bool yes);

/*
 * The program's accesses, 8 bytes, aligned. 0; -EFAULT where the program would get SIGSEGV; another -errno, the answer
 * of the fault handler, where it would get SIGBUS; -ELOOP when the fault is served again and again to no effect.
 */
int sim_load64(const volatile uint64_t *addr, uint64_t *value);
int sim_store64(volatile uint64_t *addr, uint64_t value);

/* What is mapped at addr now: 0 for nothing, else SIM_PRESENT and what else holds. */
enum { SIM_PRESENT = 1, SIM_WP = 2, SIM_PRIVATE = 4 };
unsigned sim_pte(const volatile void *addr);
/* Faults taken by sim_load64() and sim_store64() so far. */
uint64_t sim_faults(void);
/* Calls so far that have punched holes in frames. */
uint64_t sim_punches(void);
/*
 * Ends the test when a page of a shared mapping can be written without a fault and is not dirty (invariant 1 of
 * cache/page.c). For moments when nothing runs.
 */
void sim_check_writable_is_dirty(void);

#endif
