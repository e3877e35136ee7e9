#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Processes that share the pages of one file, each with bytes of its own: nobody finds anything there but what it has left. Then the end of a file
# that lies within a page, on a file system that reads many pages at once into the kernel's page cache.
. "$(dirname "$0")/common.sh"

"$BUILD/tests/zones" plain 2 1 300 1 4 || fail "zones on the kernel itself"
for how in "" --direct; do
	for workers in "3 1" "2 3"; do
		# shellcheck disable=SC2086
		"$FAULTLINE" run --budget 16M $how -- "$BUILD/tests/zones" file $workers 1200 2 20 || fail "zones, $workers, $how"
	done
done

[ "$(id -u)" = 0 ] || exit 0
truncate -s 400M disk
mkdir mnt
mkfs.xfs -q disk 2>err || exit 0
mount -o loop disk mnt || exit 0
trap 'cd /; umount -l "$WORK/mnt"; rm -rf "$WORK"' EXIT
"$BUILD/tests/folios" mnt/plain 1 || fail "folios on the kernel itself"
"$FAULTLINE" run --budget 16M --direct -- "$BUILD/tests/folios" mnt/file 8 || fail "folios"
