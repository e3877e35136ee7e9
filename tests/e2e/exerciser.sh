#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The file exerciser on the kernel, then under Faultline with budgets from 1 MiB up, inline and by threads.
. "$(dirname "$0")/common.sh"

"$BUILD/tests/exerciser" plain 1 1500 || fail "the exerciser fails on the kernel itself"
for seed in 1 2 3; do
	for budget in 1M 2M 8M; do
		"$FAULTLINE" run --budget $budget -- "$BUILD/tests/exerciser" file $seed 2500 || fail "seed $seed, budget $budget"
	done
done
"$FAULTLINE" run --budget 1M --direct -- "$BUILD/tests/exerciser" file 4 1500 || fail "O_DIRECT"
"$FAULTLINE" run --budget 1M --faults=thread -- "$BUILD/tests/exerciser" file 5 1500 || fail "faults served by threads"
FAULTLINE_FRAMES=shmem "$FAULTLINE" run --budget 1M -- "$BUILD/tests/exerciser" file 6 1500 || fail "shmem frames only"
"$BUILD/tests/refuse" 1:vm "$FAULTLINE" run --budget 1M -- "$BUILD/tests/exerciser" file 7 1500 || fail "process_vm_readv refused"
