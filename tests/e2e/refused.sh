#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Where userfaultfd is refused or unknown: one line that names the cause and the cure, nothing started.
. "$(dirname "$0")/common.sh"

"$BUILD/tests/refuse" 1 true || exit 77
for error in 1 38; do
	"$BUILD/tests/refuse" $error "$FAULTLINE" run -- touch started >out 2>err
	[ $? -eq 125 ] || fail "error $error: status $?"
	[ ! -e started ] || fail "error $error: the program ran all the same"
	[ "$(wc -l <err)" -eq 1 ] || { cat err >&2; fail "error $error: not one line"; }
	grep -q userfaultfd err || { cat err >&2; fail "error $error: does not name the cause"; }
	"$BUILD/tests/refuse" $error "$FAULTLINE" doctor . >doctor
	[ $? -eq 1 ] || fail "error $error: doctor does not say that it cannot work"
done
exit 0
