#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Threads and processes that share the pages of one file, and change their own bytes of them in every way, on the kernel and under Faultline alike.
. "$(dirname "$0")/common.sh"

for what in threads processes killed; do
	"$BUILD/tests/stripes" plain 1 3000 $what || fail "$what fail on the kernel itself"
done
seed=1
for how in "--budget 1M" "--budget 2M --direct" "--budget 1M --faults=thread" "--budget 1M --faults=sigsegv" "--budget 16M"; do
	seed=$((seed + 1))
	# shellcheck disable=SC2086
	"$FAULTLINE" run $how -- "$BUILD/tests/stripes" file $seed 1500 threads || fail "threads, $how"
done
for how in "" --faults=thread --direct; do
	for what in processes killed; do
		seed=$((seed + 1))
		# shellcheck disable=SC2086
		"$FAULTLINE" run --budget 16M $how -- "$BUILD/tests/stripes" file $seed 1500 $what || fail "$what, $how"
	done
done
