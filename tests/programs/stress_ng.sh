#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# stress-ng's stressors of mappings, with --verify: of files, and of anonymous memory within the budget too. What is compared is
# that each finds nothing wrong and does as many operations.
. "$(dirname "$0")/common.sh"
need stress-ng
BUDGET=$(sized 64M 16M)
mib=$(sized 256 32)
HEAP= # it takes what memory there is, so that in a cgroup the kernel ends its processes again and again

prepare()
{
	:
}

# stress NAME OPERATIONS OPTION...
stress()
{
	name=$1
	operations=$2
	shift 2
	run stress-ng --temp-path . --verify --seed "$SEED" --metrics-brief --"$name" 1 --"$name"-ops "$operations" "$@" >log 2>&1
	echo "$name $*: status $?"
	sed -n 's/.*metrc: \[[0-9]*\] \([a-z]\{1,\}\)  *\([0-9]\{1,\}\) .*/\1 \2/p; /fail:/p' log
	rm -f log
}

work()
{
	unset FAULTLINE_ANON
	stress mmap 1 --mmap-bytes "$(sized 64 16)m" --mmap-file
	stress msync "$(sized 4000 1000)" --msync-bytes "${mib}m"
	stress mlock "$(sized 5000 1000)"
	export FAULTLINE_ANON=256K
	stress mmap 1 --mmap-bytes "${mib}m"
	stress msync "$(sized 2000 500)" --msync-bytes "${mib}m"
	stress mremap 2 --mremap-bytes "${mib}m"
	stress mlock "$(sized 5000 1000)"
	stress shm "$(sized 5 2)" --shm-bytes "$(sized 32 8)m"
	# It takes as much memory as the machine has free, in 32 processes.
	[ "$SIZE" = small ] || stress mmapfork 1
}

prove
grep 'status [1-9]' plain.out && fail "stress-ng fails without Faultline"
# That of the stressor mmap is not always served: it draws the flags of its mapping, and one that is locked or populated may be too
# large for the budget.
served_file 'stress-ng-msync'
served_file 'anonymous memory'
figures "$mib"
