/* SPDX-License-Identifier: Apache-2.0 */
/* A program leaves a hole in its address space and comes back to it with MAP_FIXED: what others have put there in between is gone. */
#include "check.h"

#define SIZE (64UL << 20)
#define PART (1UL << 20)

int main(void)
{
	int fd = pattern_file(SIZE);
	char *p = mmap(NULL, SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CHECK(p != MAP_FAILED);
	CHECK(!munmap(p, SIZE));
	for (size_t at = 0; at < SIZE; at += PART) {
		CHECK(mmap(p + at, PART, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, (off_t)at) == p + at);
		CHECK((uint8_t)p[at + 5] == pattern(at + 5));
		p[at] = 1;
	}
	for (size_t at = 0; at < SIZE; at += PART)
		CHECK(p[at] == 1 && (uint8_t)p[at + PAGE] == pattern(at + PAGE));
	CHECK(!munmap(p, SIZE));
	return 0;
}
