/* SPDX-License-Identifier: Apache-2.0 */
/* POSIX aio next to a mapped file, and with memory that is one: requests see it, and are seen, and end as requests do. */
#include <aio.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <sys/syscall.h>

#include "check.h"

#define SIZE (2UL << 20)

static ssize_t result_of(struct aiocb *cb)
{
	const struct aiocb *list[] = {cb};

	while (aio_error(cb) == EINPROGRESS)
		CHECK(!aio_suspend(list, 1, NULL) || errno == EINTR);
	return aio_error(cb) ? -1 : aio_return(cb);
}

static struct aiocb request(int fd, void *buf, size_t len, off_t off)
{
	struct aiocb cb = {.aio_fildes = fd, .aio_buf = buf, .aio_nbytes = len, .aio_offset = off};

	cb.aio_sigevent.sigev_notify = SIGEV_NONE;
	return cb;
}

static ssize_t read_by_aio(int fd, void *buf, size_t len, off_t off)
{
	struct aiocb cb = request(fd, buf, len, off);

	CHECK(!aio_read(&cb));
	return result_of(&cb);
}

static ssize_t write_by_aio(int fd, void *buf, size_t len, off_t off)
{
	struct aiocb cb = request(fd, buf, len, off);

	CHECK(!aio_write(&cb));
	return result_of(&cb);
}

static void writes(void)
{
	int fd = pattern_file(SIZE);
	char *p = map_file(fd, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED), got[16];
	struct aiocb64 cb = {.aio_fildes = fd, .aio_buf = "sixty-four", .aio_nbytes = 10, .aio_offset = 9000};
	const struct aiocb64 *list[] = {&cb};

	strcpy(p + 5000, "stored");
	CHECK(write_by_aio(fd, "by aio", 6, 5100) == 6 && !memcmp(p + 5100, "by aio", 6) && !strcmp(p + 5000, "stored"));
	cb.aio_sigevent.sigev_notify = SIGEV_NONE;
	CHECK(!aio_write64(&cb));
	while (aio_error64(&cb) == EINPROGRESS)
		CHECK(!aio_suspend64(list, 1, NULL) || errno == EINTR);
	CHECK(aio_return64(&cb) == 10 && !memcmp(p + 9000, "sixty-four", 10));
	CHECK(!msync(p, SIZE, MS_SYNC) && file_has(fd, got, 6, 5100) == 6 && !memcmp(got, "by aio", 6));
	CHECK(file_has(fd, got, 7, 5000) == 7 && !strcmp(got, "stored"));
	CHECK(!munmap(p, SIZE));
	close(fd);
}

static void reads(void)
{
	int fd = pattern_file(SIZE);
	char *p = map_file(fd, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED), got[16];
	struct aiocb64 cb = {.aio_fildes = fd, .aio_buf = got, .aio_nbytes = 5, .aio_offset = 9000};
	const struct aiocb64 *list[] = {&cb};

	strcpy(p + 5000, "stored");
	CHECK(read_by_aio(fd, got, 7, 5000) == 7 && !strcmp(got, "stored"));
	strcpy(p + 9000, "more");
	cb.aio_sigevent.sigev_notify = SIGEV_NONE;
	CHECK(!aio_read64(&cb));
	while (aio_error64(&cb) == EINPROGRESS)
		CHECK(!aio_suspend64(list, 1, NULL) || errno == EINTR);
	CHECK(aio_return64(&cb) == 5 && !strcmp(got, "more"));
	CHECK(read_by_aio(fd, got, 16, SIZE) == 0);
	CHECK(read_by_aio(fd, got, 16, SIZE - 3) == 3 && (uint8_t)got[2] == pattern(SIZE - 1));
	CHECK(!munmap(p, SIZE));
	close(fd);
}

/* Memory that is not there, of a file that is mapped, for a file that is not; of which a control block may be part. */
static void buffers(void)
{
	int fd = pattern_file(SIZE), other = pattern_file(4 * PAGE);
	char *p = map_file(fd, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED), got[PAGE];
	struct aiocb *cb = (struct aiocb *)(p + 64 * PAGE);

	CHECK(write_by_aio(other, p + 100 * PAGE + 5, 2 * PAGE, 0) == 2 * PAGE);
	CHECK(pread(other, got, PAGE, PAGE) == (ssize_t)PAGE && (uint8_t)got[3] == pattern(101 * PAGE + 8));
	CHECK(read_by_aio(other, p + 200 * PAGE, PAGE, 3 * PAGE) == (ssize_t)PAGE && (uint8_t)p[200 * PAGE + 7] == pattern(3 * PAGE + 7));
	CHECK(read_by_aio(fd, p + 300 * PAGE, PAGE, 0) == (ssize_t)PAGE && (uint8_t)p[300 * PAGE + 9] == pattern(9));
	*cb = request(other, got, PAGE, 3 * PAGE);
	CHECK(!aio_read(cb) && result_of(cb) == (ssize_t)PAGE && (uint8_t)got[8] == pattern(3 * PAGE + 8));
	CHECK(!mprotect(p, PAGE, PROT_READ));
	CHECK(read_by_aio(other, p, PAGE, 0) == -1);
	CHECK(!munmap(p, SIZE));
	close(other);
	close(fd);
}

static void appends(void)
{
	int fd = pattern_file(SIZE);
	char *p = map_file(fd, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED), *q;

	CHECK(!fcntl(fd, F_SETFL, O_APPEND) && !ftruncate(fd, SIZE - PAGE / 2));
	CHECK(p[SIZE - 1] == 0 && write_by_aio(fd, "at the end", 10, 7) == 10);
	CHECK(!memcmp(p + SIZE - PAGE / 2, "at the end", 10) && (uint8_t)p[7] == pattern(7));
	q = map_file(fd, SIZE, PROT_READ, MAP_PRIVATE);
	CHECK(!memcmp(q + SIZE - PAGE / 2, "at the end", 10));
	CHECK(!munmap(p, SIZE) && !munmap(q, SIZE));
	close(fd);
}

/* Errors come by aio_error(), but for what is refused at once. */
static void ends(void)
{
	int fd = pattern_file(SIZE), pipes[2];
	char *p = map_file(fd, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED), got[8];
	struct aiocb cb = request(fd, got, 8, 0);

	CHECK(!aio_read(&cb) && result_of(&cb) == 8 && aio_error(&cb) == 0);
	CHECK(aio_cancel(fd, &cb) == AIO_ALLDONE && aio_cancel(fd, NULL) == AIO_ALLDONE);
	cb = request(fd, p + PAGE, 8, -5);
	CHECK(!aio_write(&cb) && result_of(&cb) == -1 && aio_error(&cb) == EINVAL && aio_return(&cb) == -1);
	cb = request(-1, p, 8, 0);
	CHECK(!aio_read(&cb) && result_of(&cb) == -1 && aio_error(&cb) == EBADF);
	cb = request(fd, got, 8, 0);
	cb.aio_reqprio = -1;
	FAILS(EINVAL, aio_read(&cb));
	cb.aio_reqprio = 21;
	FAILS(EINVAL, aio_write(&cb));
	cb.aio_reqprio = 20;
	CHECK(!aio_read(&cb) && result_of(&cb) == 8);
	FAILS(EINVAL, aio_fsync(O_APPEND, &cb));
	CHECK(!pipe(pipes));
	cb = request(pipes[0], got, 5, 0);
	CHECK(!aio_read(&cb) && write(pipes[1], "later", 5) == 5 && result_of(&cb) == 5 && !memcmp(got, "later", 5));
	close(pipes[0]);
	close(pipes[1]);
	CHECK(!munmap(p, SIZE));
	close(fd);
}

static void no_writing(void)
{
	char name[] = "aio.XXXXXX";
	int fd = mkstemp(name), reader = open(name, O_RDONLY);
	struct aiocb cb = request(reader, "x", 1, 0);
	char *p;

	CHECK(fd >= 0 && reader >= 0 && !unlink(name) && !ftruncate(fd, SIZE));
	p = map_file(fd, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED);
	CHECK(!aio_write(&cb) && result_of(&cb) == -1 && aio_error(&cb) == EBADF);
	cb.aio_fildes = -1;
	FAILS(EBADF, aio_fsync(O_SYNC, &cb));
	CHECK(!munmap(p, SIZE));
	close(reader);
	close(fd);
}

static void syncs(void)
{
	int fd = pattern_file(SIZE);
	char *p = map_file(fd, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED), got[8];
	struct aiocb cb = request(fd, NULL, 0, 0);

	strcpy(p + 5 * PAGE, "synced");
	CHECK(!aio_fsync(O_SYNC, &cb) && result_of(&cb) == 0);
	CHECK(file_has(fd, got, 7, 5 * PAGE) == 7 && !strcmp(got, "synced"));
	strcpy(p + 9 * PAGE, "again");
	CHECK(!aio_fsync64(O_DSYNC, (struct aiocb64 *)&cb) && result_of(&cb) == 0);
	CHECK(file_has(fd, got, 6, 9 * PAGE) == 6 && !strcmp(got, "again"));
	CHECK(!munmap(p, SIZE));
	close(fd);
}

/* ---- Notices ---- */

static volatile sig_atomic_t signals, code, value;

static void on_signal(int sig, siginfo_t *info, void *context)
{
	(void)sig;
	(void)context;
	code = info->si_code;
	value = info->si_value.sival_int;
	signals++;
}

static sem_t told;
static int told_value;

static void on_thread(union sigval v)
{
	sigset_t set;

	told_value = v.sival_int;
	if (pthread_sigmask(SIG_SETMASK, NULL, &set) || sigismember(&set, SIGUSR1))
		told_value = -1;
	sem_post(&told);
}

static void wait_for_signals(int n)
{
	for (int i = 0; i < 5000 && signals < n; i++)
		usleep(1000);
	CHECK(signals == n);
}

static struct sigevent by_signal(int v)
{
	return (struct sigevent){.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1, .sigev_value.sival_int = v};
}

static struct sigevent by_thread(int v)
{
	return (struct sigevent){.sigev_notify = SIGEV_THREAD, .sigev_notify_function = on_thread, .sigev_value.sival_int = v};
}

static void notices(void)
{
	int fd = pattern_file(SIZE);
	char *p = map_file(fd, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED);
	struct aiocb cb = request(fd, "x", 1, 3 * PAGE);
	pthread_attr_t attr;
	sigset_t set;

	CHECK(p[3 * PAGE] && !sem_init(&told, 0, 0));
	CHECK(!sigaction(SIGUSR1, &(struct sigaction){.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_RESTART}, NULL));
	cb.aio_sigevent = by_signal(41);
	signals = 0;
	CHECK(!aio_write(&cb));
	wait_for_signals(1);
	CHECK(code == SI_ASYNCIO && value == 41 && result_of(&cb) == 1 && p[3 * PAGE] == 'x');
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	CHECK(!pthread_sigmask(SIG_BLOCK, &set, NULL));
	cb.aio_sigevent = by_thread(42);
	CHECK(!aio_write(&cb) && !sem_wait(&told) && told_value == 42 && result_of(&cb) == 1);
	CHECK(!pthread_attr_init(&attr) && !pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED));
	cb.aio_sigevent = by_thread(43);
	cb.aio_sigevent.sigev_notify_attributes = &attr;
	CHECK(!aio_read(&(struct aiocb){.aio_fildes = fd, .aio_buf = p, .aio_nbytes = 1, .aio_sigevent = cb.aio_sigevent}));
	CHECK(!sem_wait(&told) && told_value == 43);
	CHECK(!pthread_sigmask(SIG_UNBLOCK, &set, NULL) && !munmap(p, SIZE));
	close(fd);
}

/* ---- Lists: of a mapped file and of one that is not ---- */

static struct aiocb part(int op, int fd, void *buf, size_t len, off_t off)
{
	struct aiocb cb = request(fd, buf, len, off);

	cb.aio_lio_opcode = op;
	return cb;
}

static void lists(void)
{
	int fd = pattern_file(SIZE), other = pattern_file(4 * PAGE);
	char *p = map_file(fd, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED), got[3][8] = {{0}};
	struct aiocb a = part(LIO_WRITE, fd, "listed", 6, 5000), b = part(LIO_READ, fd, got[0], 7, 9000);
	struct aiocb c = part(LIO_READ, other, got[1], 8, 100), d = part(LIO_WRITE, other, p + 50 * PAGE, PAGE, PAGE);
	struct aiocb none = part(LIO_NOP, fd, NULL, 0, 0), *list[] = {&a, NULL, &b, &c, &none, &d};

	strcpy(p + 9000, "stored");
	CHECK(p[5000] && !lio_listio(LIO_WAIT, list, 6, NULL));
	CHECK(!memcmp(p + 5000, "listed", 6) && !strcmp(got[0], "stored") && (uint8_t)got[1][7] == pattern(107));
	CHECK(aio_return(&a) == 6 && aio_return(&b) == 7 && aio_return(&c) == 8 && aio_return(&d) == (ssize_t)PAGE);
	CHECK(a.aio_lio_opcode % 128 == LIO_WRITE && none.aio_lio_opcode == LIO_NOP);
	CHECK(pread(other, got[2], 8, PAGE + 8) == 8 && (uint8_t)got[2][0] == pattern(50 * PAGE + 8));
	a = part(LIO_WRITE, fd, "sixty", 5, 6000);
	CHECK(!lio_listio64(LIO_WAIT, (struct aiocb64 *const *)list, 1, NULL) && !memcmp(p + 6000, "sixty", 5));

	b = part(LIO_READ, fd, got[0], 7, -1);
	c = part(LIO_READ, other, got[1], 8, 200);
	list[3] = &c;
	list[5] = NULL;
	FAILS(EIO, lio_listio(LIO_WAIT, list, 6, NULL));
	CHECK(aio_error(&b) == EINVAL && !aio_error(&c) && (uint8_t)got[1][7] == pattern(207));
	FAILS(EINVAL, lio_listio(7, list, 6, NULL));
	c.aio_reqprio = 50;
	FAILS(EIO, lio_listio(LIO_WAIT, list, 4, NULL));
	CHECK(!lio_listio(LIO_WAIT, list, 0, NULL));
	CHECK(!munmap(p, SIZE));
	close(other);
	close(fd);
}

static void lists_noticed(void)
{
	int fd = pattern_file(SIZE), other = pattern_file(4 * PAGE);
	char *p = map_file(fd, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED), got[8];
	struct aiocb a = part(LIO_WRITE, fd, "listed", 6, 5000), c = part(LIO_READ, other, got, 8, 100), *list[] = {&a, &c};
	struct sigevent ev = by_signal(50);

	CHECK(!sem_init(&told, 0, 0));
	CHECK(!sigaction(SIGUSR1, &(struct sigaction){.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_RESTART}, NULL));
	signals = 0;
	a.aio_sigevent = by_thread(51);
	CHECK(p[5000] && !lio_listio(LIO_NOWAIT, list, 2, &ev));
	wait_for_signals(1);
	CHECK(value == 50 && code == SI_ASYNCIO && !aio_error(&a) && !aio_error(&c) && !memcmp(p + 5000, "listed", 6));
	CHECK(!sem_wait(&told) && told_value == 51);
	a = part(LIO_WRITE, fd, "alone", 5, -1); /* fails, which a list that does not wait tells by aio_error() */
	ev.sigev_value.sival_int = 52;
	CHECK(!lio_listio(LIO_NOWAIT, list, 1, &ev));
	wait_for_signals(2);
	CHECK(value == 52 && aio_error(&a) == EINVAL);
	CHECK(!munmap(p, SIZE));
	close(other);
	close(fd);
}

int main(int argc, char **argv)
{
	static const struct test_case cases[] = {
		{"writes", writes},         {"reads", reads}, {"buffers", buffers}, {"appends", appends}, {"ends", ends},
		{"no_writing", no_writing}, {"syncs", syncs}, {"notices", notices}, {"lists", lists},     {"lists_noticed", lists_noticed},
	};

	(void)argc;
	return run_cases(cases, ARRAY_SIZE(cases), argv + 1);
}
