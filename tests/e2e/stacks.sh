#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Alternate signal stacks, on the kernel and under Faultline alike.
. "$(dirname "$0")/common.sh"

"$BUILD/tests/altstack" || fail "altstack fails on the kernel itself"
for how in --host=auto --direct --faults=thread "--host=none --faults=sigsegv" "--host=none --anon 4K"; do
	# shellcheck disable=SC2086
	"$FAULTLINE" run --budget 16M $how -- "$BUILD/tests/altstack" || fail "altstack, $how"
done
