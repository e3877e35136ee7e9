#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Children of who has no descriptors left, or is another user, and threads of who becomes one, on the kernel and under Faultline alike.
. "$(dirname "$0")/common.sh"

"$BUILD/tests/limits" || fail "limits fails on the kernel itself"
"$BUILD/tests/users" || fail "users fails on the kernel itself"
for how in --host=auto --host=none --direct "--anon 64K" "--anon 64K --host=none" --faults=thread "--faults=thread --host=none" --faults=sigsegv; do
	# shellcheck disable=SC2086
	"$FAULTLINE" run --budget 32M $how -- "$BUILD/tests/limits" may-fail || fail "limits, $how"
	# shellcheck disable=SC2086
	timeout -s KILL 300 "$FAULTLINE" run --budget 32M $how -- "$BUILD/tests/users" || fail "users, $how"
done

# Who may not have the address space that the engine takes is told which limit it is, once.
for limit in "-v 1000000" "-d 500000"; do
	for how in --host=auto --host=none; do
		# shellcheck disable=SC2016
		"$FAULTLINE" run --budget 32M $how -- sh -c 'ulimit $1; exec "$0" copies' "$BUILD/tests/cancels" "$limit" 2>said || fail "cancels within $limit, $how: $(cat said)"
		[ "$(grep -c 'limit of this process.s address space' said)" -eq 1 ] || fail "the limit is not named, $limit, $how: $(cat said)"
	done
done
