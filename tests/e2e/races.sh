#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Threads that want the same pages, or the same places, on the kernel and under Faultline alike.
. "$(dirname "$0")/common.sh"

"$BUILD/tests/copies" . 500 || fail "copies fails on the kernel itself"
for how in --host=none --host=auto --faults=thread "--host=none --direct"; do
	# shellcheck disable=SC2086
	"$FAULTLINE" run --budget 16M $how -- "$BUILD/tests/copies" . 3000 || fail "copies, $how"
done

"$BUILD/tests/in_flight" . 5 || fail "in_flight fails on the kernel itself"
for how in --host=none "--host=none --direct" "--host=none --faults=sigsegv" "--host=none --faults=thread" --host=auto; do
	# shellcheck disable=SC2086
	"$FAULTLINE" run --budget 64M $how -- "$BUILD/tests/in_flight" . 20 || fail "in_flight, $how"
done

"$BUILD/tests/places" 300 || fail "places fails on the kernel itself"
for how in --host=none "--host=none --direct" "--host=none --faults=sigsegv" --host=auto; do
	# shellcheck disable=SC2086
	"$FAULTLINE" run --budget 4M $how -- "$BUILD/tests/places" 1500 || fail "places, $how"
done

"$BUILD/tests/direct" 100 || fail "direct fails on the kernel itself"
for how in --host=none --host=auto --faults=thread "--host=none --faults=thread"; do
	# shellcheck disable=SC2086
	"$FAULTLINE" run --budget 16M $how -- "$BUILD/tests/direct" 300 || fail "direct, $how"
done
