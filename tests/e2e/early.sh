#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Calls that change a file and begin before anybody has it mapped. Without a host, processes do not see each other's mappings.
. "$(dirname "$0")/common.sh"

for who in threads processes; do
	"$BUILD/tests/early" $who || fail "early $who fails on the kernel itself"
	for how in --host=auto --direct --host=none "--host=none --faults=thread" "--host=none --faults=sigsegv"; do
		case $who-$how in processes---host=none*) continue ;; esac
		# shellcheck disable=SC2086
		"$FAULTLINE" run --budget 16M $how -- "$BUILD/tests/early" $who || fail "early $who, $how"
	done
done
