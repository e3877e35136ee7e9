/* SPDX-License-Identifier: Apache-2.0 */
/* Calls that empty a stream's buffer: fflush(3), fclose(3), setvbuf(3), fseek(3) and their kin. */
#include <errno.h>
#include <stdio_ext.h>

#include "base/mapped.h"
#include "base/real.h"
#include "files/identity.h"
#include "memory/maps_file.h"
#include "stream.h"

/* In _flags: glibc's ABI. */
#define NO_READS 0x4

/* libc drops what it could not write, so its own call has no error to find: what a flush of ours has met is the answer, with its errno. */
struct flushed {
	int result, error;
};

static struct flushed flush(FILE *f)
{
	int result = stream_flush(f);

	return (struct flushed){.result = result, .error = errno};
}

static int answer(const struct flushed *before, int result)
{
	if (!before->result || result)
		return result;
	errno = before->error;
	return before->result;
}

static _Thread_local struct flushed all __attribute__((tls_model("initial-exec")));

static void flush_one_of_all(FILE *f)
{
	struct flushed one = flush(f);

	if (one.result)
		all = one;
}

static struct flushed flush_one_or_all(FILE *f)
{
	all = (struct flushed){.result = 0};
	if (f)
		return flush(f);
	if (!NOTHING_TO_TELL)
		stream_for_each(flush_one_of_all);
	return all;
}

static void testcancel(FILE *f)
{
	if (!NOTHING_TO_TELL && f && stream_is_pending(f))
		pthread_testcancel();
}

WRAPPER int fflush(FILE *f)
{
	struct flushed before;

	testcancel(f);
	before = flush_one_or_all(f);
	return answer(&before, REAL(fflush)(f));
}

WRAPPER int fflush_unlocked(FILE *f)
{
	struct flushed before;

	testcancel(f);
	before = flush_one_or_all(f);
	return answer(&before, REAL(fflush_unlocked)(f));
}

WRAPPER int fclose(FILE *f)
{
	struct flushed before = flush(f);

	identity_gone(fileno_unlocked(f)); /* the program may have put it there by dup2(2) */
	return answer(&before, REAL(fclose)(f));
}

WRAPPER int pclose(FILE *f)
{
	struct flushed before = flush(f);

	identity_gone(fileno_unlocked(f));
	return answer(&before, REAL(pclose)(f));
}

/* The stream has another buffer from here on, unless what is in the old one cannot be written. */
WRAPPER int setvbuf(FILE *f, char *buf, int mode, size_t len)
{
	bool keeps = !buf && mode != _IONBF;

	return !keeps && stream_flush(f) ? EOF : REAL(setvbuf)(f, buf, mode, len);
}

WRAPPER void setbuf(FILE *f, char *buf)
{
	if (!stream_flush(f))
		REAL(setbuf)(f, buf);
}

WRAPPER void setbuffer(FILE *f, char *buf, size_t len)
{
	if (!stream_flush(f))
		REAL(setbuffer)(f, buf, len);
}

static void flush_unlocked(FILE *f)
{
	if (ftrylockfile(f))
		return;
	stream_flush(f);
	funlockfile(f);
}

/*
 * exit(3): libc writes what is pending when our code is no longer met, and other clients of a host would not see it. What another thread has
 * locked is left to libc, which does not ask for the lock either.
 */
__attribute__((destructor)) static void at_exit(void)
{
	if (!NOTHING_TO_TELL)
		stream_for_each(flush_unlocked);
}

/* To glibc that is to write all, and to buffer no more: no descriptor is closed. */
WRAPPER int fcloseall(void)
{
	struct flushed before = flush_one_or_all(NULL);

	return answer(&before, REAL(fcloseall)());
}

/* ---- Calls that read what is around the place that they go to ---- */

/* What was read of the process's own maps was the text of an earlier time. */
static int before_seek(FILE *f, off64_t off, int whence)
{
	if (stream_flush(f))
		return EOF;
	if (!NOTHING_MAPPED && !(f->_flags & NO_READS))
		stream_write_stores(f);
	if (!off && whence == SEEK_SET && maps_file_rewound(fileno_unlocked(f)))
		__fpurge(f);
	return 0;
}

#define RETURN_SEEKING(f, off, whence, call)           \
	do {                                           \
		int result_;                           \
                                                       \
		if (before_seek((f), (off), (whence))) \
			return EOF;                    \
		if (NOTHING_MAPPED)                    \
			return call;                   \
		STREAM_HOLDING((f), result_ = call);   \
		return result_;                        \
	} while (0)

WRAPPER int fseek(FILE *f, long off, int whence)
{
	RETURN_SEEKING(f, off, whence, REAL(fseek)(f, off, whence));
}

WRAPPER int fseeko(FILE *f, off_t off, int whence)
{
	RETURN_SEEKING(f, off, whence, REAL(fseeko)(f, off, whence));
}

WRAPPER int fseeko64(FILE *f, off64_t off, int whence)
{
	RETURN_SEEKING(f, off, whence, REAL(fseeko64)(f, off, whence));
}

WRAPPER int fsetpos(FILE *f, const fpos_t *pos)
{
	RETURN_SEEKING(f, pos->__pos, SEEK_SET, REAL(fsetpos)(f, pos));
}

WRAPPER int fsetpos64(FILE *f, const fpos64_t *pos)
{
	RETURN_SEEKING(f, pos->__pos, SEEK_SET, REAL(fsetpos64)(f, pos));
}

WRAPPER void rewind(FILE *f)
{
	before_seek(f, 0, SEEK_SET);
	STREAM_HOLDING(f, REAL(rewind)(f));
}
