#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The main job as an ordinary user. Needs root, to become one; run as an ordinary user, all the other tests are this one.
. "$(dirname "$0")/common.sh"
need setpriv sqlite3
[ "$(id -u)" -eq 0 ] || { echo "not root"; exit 77; }

mkdir bin
cp "$FAULTLINE" "$BUILD/shim/libfaultline_shim.so" "$BUILD/tests/exerciser" "$BUILD/tests/lib-mapping" bin/
chmod -R a+rX .
chmod a+rwx .
export FAULTLINE_SHIM="$WORK/bin/libfaultline_shim.so"
nobody="setpriv --reuid 65534 --regid 65534 --clear-groups --inh-caps=-all"
# shellcheck disable=SC2086
{
	$nobody bin/faultline doctor . >doctor || { cat doctor; fail "doctor"; }
	$nobody bin/faultline run --budget 1M -- bin/exerciser file 7 1500 || fail "the exerciser"
	$nobody env TMPDIR="$WORK" bin/lib-mapping >mapping 2>&1 || { cat mapping; fail "the library"; }
	$nobody sqlite3 db "CREATE TABLE t(a, b); WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < 80000)
		INSERT INTO t SELECT i, hex(zeroblob(60)) FROM n;"
	$nobody bin/faultline run --budget 2M -- sqlite3 db "PRAGMA mmap_size=1000000000; SELECT count(*), sum(length(b)) FROM t;" >out || fail sqlite3
	[ "$(tail -1 out)" = "80000|9600000" ] || fail "sqlite3 says $(cat out)"
}
