#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# io_uring is refused as by a kernel without, and the report says so, unless --io-uring=allow.
. "$(dirname "$0")/common.sh"

"$BUILD/tests/rings" works || exit 77

# told FILE: the report has a note of it.
told()
{
	/usr/bin/python3 - "$1" <<-'EOP'
		import json, sys
		notes = [n for n in json.load(open(sys.argv[1]))["notes"] if n["text"].startswith("io_uring: refused")]
		sys.exit(0 if len(notes) == 1 and "--io-uring=allow" in notes[0]["text"] else 1)
	EOP
}

for mode in '' --host=none '--anon 64K' --faults=thread --faults=sigsegv; do
	# shellcheck disable=SC2086 # options
	run() { "$FAULTLINE" run --budget 32M $mode --report=json --report-file report "$@"; }
	run -- "$BUILD/tests/rings" refused || fail "refused, $mode"
	told report || { cat report; fail "the report does not say that it was refused, $mode"; }
	run --io-uring=allow -- "$BUILD/tests/rings" works || fail "allowed, $mode"
	told report && { cat report; fail "the report says that it was refused, $mode"; }
	run --io-uring=refuse -- sh -c "'$BUILD/tests/rings' refused" || fail "refused by name, in a child, $mode"
done

# By the variable, for who has mapped nothing, and as people read it.
FAULTLINE_IO_URING=allow "$FAULTLINE" run -- "$BUILD/tests/rings" works || fail "allowed by the variable"
FAULTLINE_IO_URING=allow "$FAULTLINE" run --io-uring=refuse -- "$BUILD/tests/rings" refused || fail "the option does not win"
"$FAULTLINE" run --report -- /usr/bin/python3 -c 'import ctypes; assert ctypes.CDLL(None).syscall(425, 1, 0) == -1' 2>report ||
	fail "python3"
grep -q 'io_uring: refused' report || { cat report; fail "the report does not tell of a program that maps nothing"; }
"$FAULTLINE" run --io-uring=perhaps -- true 2>err
[ $? -eq 125 ] || fail "a value that makes no sense: status $?"
[ "$(wc -l <err)" -eq 1 ] || { cat err; fail "not one line"; }
exit 0
