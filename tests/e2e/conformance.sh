#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The tests of conformance, with the preload library in the place of the kernel: as it is by default, with anonymous memory
# served, with faults served by threads, by SIGSEGV, with O_DIRECT, and at a host, which a budget of 4 MiB is too small for.
. "$(dirname "$0")/common.sh"

export CONFORMANCE_TESTS='*, kernel'

# conforms NAME OPTION...
conforms()
{
	name=$1
	shift
	timeout -s KILL 300 "$FAULTLINE" run --budget 4M --min-map 1 "$@" -- "$BUILD/tests/$name" >log 2>&1 || { cat log; fail "$name $*"; }
}

for test in "$BUILD"/tests/conformance-*; do
	[ -f "$test" ] && [ -x "$test" ] || continue
	conforms "${test##*/}" --report=json --report-file "${test##*/}.json"
	conforms "${test##*/}" --anon 4K
	conforms "${test##*/}" --faults=thread
	conforms "${test##*/}" --faults=sigsegv --anon 4K
	conforms "${test##*/}" --direct
	conforms "${test##*/}" --budget 16M
done
served conformance-sharing faultline-test
