#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# fio's mmap engine in four processes on one file; each checks what it wrote. The file is cut into a hundred zones, of which every
# fourth is one process's, and whose borders are within pages.
. "$(dirname "$0")/common.sh"
need fio
BUDGET=$(sized 128M 16M)
size=$(sized 512 64)
kibibytes=$((size * 1024 + 101))

# The engine takes no heed of offsets, so the zones are said as shares: zones I gives process I (0 to 3) 4 % of its accesses in each of its own.
zones()
{
	list=zoned
	for n in $(seq 0 99); do
		share=0
		[ $((n % 4)) -ne "$1" ] || share=4
		list=$list:$share/1
	done
	echo "$list"
}

# job_file OPTION...: prints one for the four processes.
job_file()
{
	printf '%s\n' '[global]' "size=${kibibytes}k" "io_size=$((size / 4))M" ioengine=mmap rw=randwrite norandommap=1 bs=1k \
		fallocate=none verify_state_save=0 verify_fatal=1 "$@"
	for n in 0 1 2 3; do
		printf '%s\n' "[process$n]" "random_distribution=$(zones $n)" "randseed=$((SEED * 4 + n))" "buffer_pattern=0x$n$n"
	done
}
job_file filename=bytes >bytes.fio
job_file filename=sums verify=crc32c >sums.fio

prepare()
{
	truncate -s "${kibibytes}K" bytes sums
}

work()
{
	for what in bytes sums; do
		run fio --output=/dev/null ../$what.fio
		echo "$what: status $?"
	done
	fio --output=/dev/null --ioengine=psync --verify_only=1 ../sums.fio
	echo "seen by read(2): status $?"
	rm sums
}

prove
grep -v 'status 0$' plain.out && fail "fio fails without Faultline"
served_file '/sums$'
figures "$size"
