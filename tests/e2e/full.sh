#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A full disk: the program gets SIGBUS when memory is full of what cannot be written, ENOSPC from msync when it is not; and all of it ends soon.
. "$(dirname "$0")/common.sh"

[ "$(id -u)" = 0 ] || { echo "needs root, to mount a small disk"; exit 77; }
truncate -s 24M disk
mkfs.ext4 -q -F disk && mkdir mnt && mount -o loop disk mnt || { echo "needs mkfs.ext4 and loop devices"; exit 77; }
trap 'umount -l "$WORK/mnt"; rm -rf "$WORK"' EXIT

# ends STATUS OPTION...: within seconds, of which the file system takes the most; a busy machine has longer.
ends()
{
	status=$1
	shift
	rm -f mnt/file
	code=0
	timeout -s KILL 300 "$FAULTLINE" run "$@" -- "$BUILD/tests/full" mnt/file 2>err || code=$?
	[ $code = "$status" ] || { cat err; fail "$*: exit status $code instead of $status"; }
}

for host in none auto; do
	ends 3 --budget 16M --host=$host
	ends 3 --budget 16M --host=$host --direct
done
ends 4 --budget 128M --host=none
ends 4 --budget 128M
grep -q "No space left on device" err || fail "the host does not say what is lost: $(cat err)"
