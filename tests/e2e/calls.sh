#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Programs of small cases, on the kernel and under Faultline alike: ranges that are ours in part, arguments in
# mapped memory, system calls by number, streams, what is in proc(5), descriptors that come to mean another file,
# programs that are started.
. "$(dirname "$0")/common.sh"

for program in aio atfork buffers cancels clone cuts deepbind descriptors exec_locks faults held hints hooks immutable lasting leaves maps masks messages mixed names pending random_advice raw spawn stream_buffers stream_cancels stream_errors streams submit timestamps wide; do
	"$BUILD/tests/$program" || fail "$program fails on the kernel itself"
	"$FAULTLINE" run --budget 32M -- "$BUILD/tests/$program" || fail "$program"
	"$FAULTLINE" run --budget 32M --host=none -- "$BUILD/tests/$program" || fail "$program, --host=none"
	"$FAULTLINE" run --budget 32M --anon 64K -- "$BUILD/tests/$program" || fail "$program, with anonymous memory"
	"$FAULTLINE" run --budget 32M --faults=thread -- "$BUILD/tests/$program" || fail "$program, faults served by threads"
	"$FAULTLINE" run --budget 32M --faults=sigsegv -- "$BUILD/tests/$program" || fail "$program, faults served by SIGSEGV"
done

"$BUILD/tests/masks" segv || fail "masks of SIGSEGV fails on the kernel itself"
"$FAULTLINE" run --budget 32M --faults=sigsegv -- "$BUILD/tests/masks" segv || fail "masks of SIGSEGV, faults served by SIGSEGV"

for host in none auto; do
	"$FAULTLINE" run --budget 32M --direct --host=$host -- "$BUILD/tests/mixed" || fail "mixed, with O_DIRECT, --host=$host"
done

"$BUILD/tests/traced" || fail "traced fails on the kernel itself"
for host in none auto; do
	timeout -s KILL 300 "$FAULTLINE" run --budget 32M --faults=thread --host=$host -- "$BUILD/tests/traced" || fail "traced, --host=$host"
done

"$BUILD/tests/hole" || fail "hole fails on the kernel itself"
for host in none auto; do
	"$FAULTLINE" run --budget 16M --host=$host -- "$BUILD/tests/hole" || fail "hole, --host=$host"
done
