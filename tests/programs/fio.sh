#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# fio's mmap engine in one process: writes in order, at random and mixed with reads, each block checked by its checksum afterwards.
. "$(dirname "$0")/common.sh"
need fio
BUDGET=$(sized 128M 16M)
size=$(sized 512 48)

prepare()
{
	:
}

# job FILE OPTION...: fio's times are left out; what counts is whether it found every block as it was written.
job()
{
	file=$1
	shift
	run fio --name=job --filename="$file" --size="${size}M" --ioengine=mmap --randseed="$SEED" --output-format=terse --output=/dev/null \
		--bs=4k --fallocate=none --verify_state_save=0 --verify_fatal=1 "$@"
	echo "$file $*: status $?"
}

work()
{
	# Bytes that follow from the seed alone: the files are compared.
	job bytes --rw=randwrite --refill_buffers=1 --bsrange=512-64k --blockalign=512
	job bytes --rw=randrw --rwmixread=40 --refill_buffers=1 --io_size="$((size / 2))M"
	# Blocks with checksums, which also hold the time: fio compares.
	job sums --rw=write --bs=64k --verify=crc32c
	job sums --rw=randrw --verify=crc32c --bs=8k --verify_backlog=512 --io_size="$((size / 2))M"
	job sums --rw=randwrite --verify=crc32c --fsync=4000
	# What was left in the file, seen by read(2).
	fio --name=job --filename=sums --size="${size}M" --rw=randread --verify=crc32c --verify_only=1 --bs=4k --ioengine=psync \
		--verify_state_save=0 --randseed="$SEED" --output=/dev/null
	echo "afterwards: status $?"
	rm sums
}

prove
grep -v 'status 0$' plain.out | grep -v '^exit status 0' && fail "fio fails without Faultline"
served_file '/bytes$'
served_file '/sums$'
figures "$size"
