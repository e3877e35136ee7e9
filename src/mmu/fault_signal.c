/* SPDX-License-Identifier: Apache-2.0 */
#include "fault_signal.h"

#include <errno.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>
#include <sys/syscall.h>
#include <ucontext.h>

#include "sigsegv.h"
#include "uffd.h"
#include "util/compiler.h"
#include "util/lock.h"
#include "util/sys.h"

#define SI_FAILED_ACCESS (-7717) /* our own si_code, see fault_signal_raise_in() */
#define ERR_PRESENT 1            /* bits of the x86 page fault error code */
#define ERR_WRITE 2
#define ERR_EXEC 16

static int signo = SIGBUS; /* constant once it is installed */
static _Atomic bool installed;
static _Atomic bool poison_expected;
static bool uses_stand_in;
/* The program's dispositions: written under action_lock, read by the handler through the sequence count. */
static struct mutex action_lock = MUTEX_INIT(RANK_LEAF);
static _Atomic uint32_t action_seq;
static struct sigaction of_fault_signal, of_stand_in;

static struct sigaction *action_of(int sig)
{
	return sig == FAULT_STAND_IN ? &of_stand_in : &of_fault_signal;
}

static struct sigaction load_action(int sig)
{
	struct sigaction a;
	uint32_t seq;

	do {
		seq = atomic_load(&action_seq);
		a = *action_of(sig);
		atomic_thread_fence(memory_order_acquire);
	} while ((seq & 1) || seq != atomic_load(&action_seq));
	return a;
}

/* Caller has signals blocked. */
static void store_action(int sig, const struct sigaction *act)
{
	mutex_lock(&action_lock);
	atomic_fetch_add(&action_seq, 1);
	*action_of(sig) = *act;
	atomic_fetch_add(&action_seq, 1);
	mutex_unlock(&action_lock);
}

void fault_signal_set_action(int sig, const struct sigaction *act, struct sigaction *old)
{
	struct sigguard g = sigguard_enter();

	if (old)
		*old = load_action(sig);
	if (act)
		store_action(sig, act);
	sigguard_leave(g);
}

void fault_signal_fork_child(void)
{
	mutex_init(&action_lock, RANK_LEAF);
	if (atomic_load(&action_seq) & 1)
		atomic_fetch_add(&action_seq, 1);
}

void fault_signal_use_stand_in(void)
{
	uses_stand_in = true;
}

int fault_signal(void)
{
	return signo;
}

void fault_signal_choose(int sig)
{
	signo = sig;
}

/* ---- Masks ---- */

#define STAND_IN_BIT SYS_SIGBIT(FAULT_STAND_IN)

uint64_t fault_signal_mask_to_kernel(uint64_t mask)
{
	uint64_t fault = SYS_SIGBIT(signo);

	if (!uses_stand_in)
		return mask & ~fault;
	return (mask & ~(fault | STAND_IN_BIT)) | (mask & fault ? STAND_IN_BIT : 0);
}

uint64_t fault_signal_mask_to_program(uint64_t mask)
{
	return mask & STAND_IN_BIT && uses_stand_in ? (mask & ~STAND_IN_BIT) | SYS_SIGBIT(signo) : mask;
}

/* In si_errno, which is 0 in all that is sent otherwise. */
#define HELD 0x464c5300
#define HELD_OF_KILL (HELD | 1) /* SI_USER, which only a process's first thread may queue */

/* It comes again, as the stand-in, when the thread unblocks that; or, when it was sent to the process, to a thread that has it unblocked. */
static void hold(const siginfo_t *info)
{
	long pid = sys_call(SYS_getpid, 0, 0, 0, 0, 0, 0);
	siginfo_t held = *info;

	held.si_errno = HELD;
	if (info->si_code == SI_USER) {
		held.si_errno = HELD_OF_KILL;
		held.si_code = SI_QUEUE;
	}
	if (info->si_code == SI_TKILL)
		sys_call(SYS_rt_tgsigqueueinfo, pid, sys_gettid(), FAULT_STAND_IN, (long)&held, 0, 0);
	else
		sys_call(SYS_rt_sigqueueinfo, pid, FAULT_STAND_IN, (long)&held, 0, 0, 0);
}

/* Where the kernel had no room for what it was told, it says that nobody has sent it. */
bool fault_signal_was_held(siginfo_t *info)
{
	if (info->si_errno != HELD && info->si_errno != HELD_OF_KILL && (info->si_code != SI_USER || info->si_pid))
		return false;
	if (info->si_errno == HELD_OF_KILL)
		info->si_code = SI_USER;
	info->si_errno = 0;
	info->si_signo = signo;
	return true;
}

/* ---- What is the program's ---- */

/* The access is made again without us, and kills as it would have. */
static void die_by_default(int sig)
{
	struct sigaction dfl = {.sa_handler = SIG_DFL};

	sys_sigaction(sig, &dfl, NULL);
}

/* Another process's kill(): pending until our handler returns, and then deadly. */
static void send_to_self(int sig)
{
	sys_call(SYS_tgkill, sys_call(SYS_getpid, 0, 0, 0, 0, 0, 0), sys_gettid(), sig, 0, 0, 0);
}

/*
 * What the kernel does to deliver the signal to a handler, from ours. Our caller's mask, as the program's handler leaves it in its context, comes back
 * when our handler returns.
 */
static void call_program(int sig, const struct sigaction *a, siginfo_t *info, ucontext_t *uc)
{
	uint64_t mask = sys_sigword(&uc->uc_sigmask) | fault_signal_mask_to_kernel(sys_sigword(&a->sa_mask));

	if (uses_stand_in && sig == signo && !(a->sa_flags & SA_NODEFER))
		mask |= STAND_IN_BIT;
	if (a->sa_flags & SA_RESETHAND) {
		struct sigaction dfl = {.sa_handler = SIG_DFL};

		store_action(sig, &dfl);
	}
	if (uses_stand_in)
		sys_set_sigword(&uc->uc_sigmask, fault_signal_mask_to_program(sys_sigword(&uc->uc_sigmask)));
	sys_sigmask(SIG_SETMASK, mask & ~SYS_SIGBIT(signo));
	if (a->sa_flags & SA_SIGINFO)
		a->sa_sigaction(sig, info, uc);
	else
		a->sa_handler(sig);
	sys_sigmask(SIG_SETMASK, ~0ULL);
	if (uses_stand_in)
		sys_set_sigword(&uc->uc_sigmask, fault_signal_mask_to_kernel(sys_sigword(&uc->uc_sigmask)));
}

static bool sent_by_kernel(const siginfo_t *info)
{
	return info->si_code > 0;
}

/* One that is not blocked. */
static void deliver(int sig, siginfo_t *info, ucontext_t *uc)
{
	struct sigaction a = load_action(sig);

	if (a.sa_handler == SIG_IGN)
		return;
	if (a.sa_handler == SIG_DFL) {
		die_by_default(sig);
		send_to_self(sig);
		return;
	}
	call_program(sig, &a, info, uc);
}

/* In a call that has a mask for its time (ppoll(2), sigsuspend(2)) the context has that of after the call: what is held then, the call itself lets come. */
static void pass_on(siginfo_t *info, ucontext_t *uc)
{
	struct sigaction a = load_action(signo);
	bool forced = sent_by_kernel(info), blocked = uses_stand_in && sys_sigword(&uc->uc_sigmask) & STAND_IN_BIT;

	if (forced && (blocked || a.sa_handler == SIG_IGN || a.sa_handler == SIG_DFL))
		die_by_default(signo); /* a fault cannot be ignored or blocked */
	else if (blocked)
		hold(info);
	else
		deliver(signo, info, uc);
}

static unsigned fault_flags(const ucontext_t *uc)
{
	greg_t err = uc->uc_mcontext.gregs[REG_ERR];

	return (err & ERR_WRITE ? FAULT_WRITE : 0) | (err & ERR_PRESENT ? FAULT_PRESENT : 0) | (err & ERR_EXEC ? FAULT_EXEC : 0);
}

void fault_signal_raise_in(int tid, uint64_t addr)
{
	siginfo_t info;

	memset(&info, 0, sizeof info);
	info.si_signo = SIGBUS;
	info.si_code = SI_FAILED_ACCESS;
	info.si_value.sival_ptr = (void *)(uintptr_t)addr;
	sys_call(SYS_rt_tgsigqueueinfo, sys_call(SYS_getpid, 0, 0, 0, 0, 0, 0), tid, SIGBUS, (long)&info, 0, 0);
}

static void make_address_error(siginfo_t *info, void *addr)
{
	memset(info, 0, sizeof *info);
	info->si_signo = SIGBUS;
	info->si_code = BUS_ADRERR;
	info->si_addr = addr;
}

/* Whether the access may be made again. A page that we have poisoned is asked for once more: it may be there by now. */
static bool serve(siginfo_t *info, const ucontext_t *uc)
{
	bool poisoned = info->si_code == BUS_MCEERR_AR && atomic_load(&poison_expected);
	int err;

	if (info->si_code != BUS_ADRERR && !poisoned)
		return false;
	err = mmu_fault_handler()((uint64_t)(uintptr_t)info->si_addr, fault_flags(uc));
	if (err && err != -EFAULT && poisoned)
		make_address_error(info, info->si_addr);
	return !err;
}

static void on_sigbus(siginfo_t *info, ucontext_t *uc)
{
	if (info->si_code == SI_FAILED_ACCESS) {
		make_address_error(info, info->si_value.sival_ptr);
		pass_on(info, uc);
	} else if (!serve(info, uc)) {
		pass_on(info, uc);
	}
}

/* ---- The same by SIGSEGV, where SIGBUS is the program's and the kernel's ---- */

/* What force_sig_fault() of the kernel does: SIGBUS cannot be blocked or ignored then. It comes when our handler returns, before the access. */
static void raise_sigbus(void *addr, ucontext_t *uc)
{
	struct sigaction act;
	uint64_t mask = sys_sigword(&uc->uc_sigmask);
	siginfo_t info;

	make_address_error(&info, addr);
	if (sys_sigaction(SIGBUS, NULL, &act))
		return;
	if (act.sa_handler == SIG_IGN || (mask & SYS_SIGBIT(SIGBUS))) {
		act = (struct sigaction){.sa_handler = SIG_DFL};
		sys_sigaction(SIGBUS, &act, NULL);
		mask &= ~SYS_SIGBIT(SIGBUS);
		memcpy(&uc->uc_sigmask, &mask, sizeof mask);
	}
	sys_call(SYS_rt_tgsigqueueinfo, sys_call(SYS_getpid, 0, 0, 0, 0, 0, 0), sys_gettid(), SIGBUS, (long)&info, 0, 0);
}

/* Whether the page is there the processor does not know: what is hidden is not, to it. */
static void on_sigsegv(siginfo_t *info, ucontext_t *uc)
{
	uint64_t addr = (uint64_t)(uintptr_t)info->si_addr;
	unsigned flags = fault_flags(uc) & ~(unsigned)FAULT_PRESENT;
	int err = -EFAULT;

	if ((info->si_code == SEGV_ACCERR || info->si_code == SEGV_MAPERR) && sigsegv_is_whole())
		err = mmu_fault_handler()(addr, flags | (sigsegv_is_present(addr) ? FAULT_PRESENT : 0));
	if (err == -EACCES)
		info->si_code = SEGV_ACCERR; /* it may have grown to there only now */
	if (err == -EFAULT || err == -EACCES)
		pass_on(info, uc);
	else if (err)
		raise_sigbus(info->si_addr, uc);
}

static void on_fault(int sig, siginfo_t *info, void *context)
{
	int saved = errno;

	if (sig == SIGBUS)
		on_sigbus(info, context);
	else if (sig == SIGSEGV)
		on_sigsegv(info, context);
	else
		deliver(fault_signal_was_held(info) ? signo : sig, info, context);
	errno = saved;
}

void fault_signal_expect_poison(bool yes)
{
	if (yes)
		atomic_store(&poison_expected, true);
}

bool fault_signal_installed(void)
{
	return atomic_load(&installed);
}

static int install(int sig)
{
	struct sigaction ours = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART}, was;
	int err;

	memset(&ours.sa_mask, 0xff, sizeof ours.sa_mask); /* sigfillset() leaves out the one that cancels threads */
	err = sys_sigaction(sig, &ours, &was);
	if (!err && was.sa_sigaction != on_fault)
		fault_signal_set_action(sig, &was, NULL);
	return err;
}

int fault_signal_install(int sig)
{
	int err;

	fault_signal_choose(sig);
	err = uses_stand_in ? install(FAULT_STAND_IN) : 0;
	if (!err)
		err = install(sig);
	if (!err)
		atomic_store(&installed, true);
	return err;
}

void fault_signal_restore(void)
{
	struct sigaction program, now;

	if (!atomic_exchange(&installed, false))
		return;
	fault_signal_set_action(signo, NULL, &program);
	if (sys_sigaction(signo, NULL, &now) == 0 && now.sa_sigaction == on_fault)
		sys_sigaction(signo, &program, NULL);
}
