#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Processes that share the pages of one file, each with bytes of its own: nobody finds anything there but what it has left.
. "$(dirname "$0")/common.sh"

"$BUILD/tests/zones" plain 2 1 300 1 4 || fail "zones on the kernel itself"
for how in "" --direct; do
	for workers in "3 1" "2 3"; do
		# shellcheck disable=SC2086
		"$FAULTLINE" run --budget 16M $how -- "$BUILD/tests/zones" file $workers 1200 2 20 || fail "zones, $workers, $how"
	done
done
