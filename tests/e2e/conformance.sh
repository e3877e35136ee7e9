#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The tests of conformance, with the preload library in the place of the kernel; and once more, with anonymous memory served.
. "$(dirname "$0")/common.sh"

export CONFORMANCE_TESTS='*, kernel'
for test in "$BUILD"/tests/conformance-*; do
	name=${test##*/}
	[ -f "$test" ] && [ -x "$test" ] || continue
	"$FAULTLINE" run --budget 4M --min-map 1 --report=json --report-file "$name.json" -- "$test" >log 2>&1 || { cat log; fail "$name"; }
	"$FAULTLINE" run --budget 4M --min-map 1 --anon 4K -- "$test" >log 2>&1 || { cat log; fail "$name, anonymous memory"; }
done
served conformance-sharing faultline-test
