#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Programs of small cases, on the kernel and under Faultline alike: ranges that are ours in part, arguments in
# mapped memory, system calls by number, streams, what is in proc(5), descriptors that come to mean another file,
# programs that are started, and children of who has no descriptors left; threads that want the same places.
. "$(dirname "$0")/common.sh"

for program in aio atfork buffers clone descriptors faults held maps messages mixed pending raw spawn streams timestamps; do
	"$BUILD/tests/$program" || fail "$program fails on the kernel itself"
	"$FAULTLINE" run --budget 32M -- "$BUILD/tests/$program" || fail "$program"
	"$FAULTLINE" run --budget 32M --host=none -- "$BUILD/tests/$program" || fail "$program, --host=none"
	"$FAULTLINE" run --budget 32M --anon 64K -- "$BUILD/tests/$program" || fail "$program, with anonymous memory"
	"$FAULTLINE" run --budget 32M --faults=thread -- "$BUILD/tests/$program" || fail "$program, faults served by threads"
	"$FAULTLINE" run --budget 32M --faults=sigsegv -- "$BUILD/tests/$program" || fail "$program, faults served by SIGSEGV"
done

for host in none auto; do
	"$FAULTLINE" run --budget 32M --direct --host=$host -- "$BUILD/tests/mixed" || fail "mixed, with O_DIRECT, --host=$host"
done

"$BUILD/tests/limits" || fail "limits fails on the kernel itself"
for how in --host=auto --host=none --direct "--anon 64K" "--anon 64K --host=none" --faults=thread "--faults=thread --host=none" --faults=sigsegv; do
	# shellcheck disable=SC2086
	"$FAULTLINE" run --budget 32M $how -- "$BUILD/tests/limits" may-fail || fail "limits, $how"
done

"$BUILD/tests/hole" || fail "hole fails on the kernel itself"
for host in none auto; do
	"$FAULTLINE" run --budget 16M --host=$host -- "$BUILD/tests/hole" || fail "hole, --host=$host"
done

"$BUILD/tests/copies" . 500 || fail "copies fails on the kernel itself"
for how in --host=none --host=auto --faults=thread "--host=none --direct"; do
	# shellcheck disable=SC2086
	"$FAULTLINE" run --budget 16M $how -- "$BUILD/tests/copies" . 3000 || fail "copies, $how"
done

"$BUILD/tests/places" 300 || fail "places fails on the kernel itself"
for how in --host=none "--host=none --direct" "--host=none --faults=sigsegv" --host=auto; do
	# shellcheck disable=SC2086
	"$FAULTLINE" run --budget 4M $how -- "$BUILD/tests/places" 1500 || fail "places, $how"
done
