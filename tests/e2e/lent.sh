#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Processes whose private memory is several times what the budget lends, all alive: who has memory gives it back when others want some, and the sum
# stays within the budget, whoever is killed or stopped meanwhile.
. "$(dirname "$0")/common.sh"
lent=$BUILD/tests/lent
unset FAULTLINE_HOST

for how in in-turn inherit kill stop at-once forks; do
	"$lent" 4 1 2 $how || fail "$how: fails on the kernel itself"
done
"$lent" 12 2 2 in-turn 12 2>out && fail "the kernel keeps to a budget that it was not told of"

# run BUDGET WITHIN CHILDREN MIB ROUNDS HOW: all are served, and have so many MiB at most.
run()
{
	budget=$1 within=$2
	shift 2
	"$FAULTLINE" run --budget "$budget" --anon 256K --report=json --report-file lent.json -- "$lent" "$@" "$within" >out 2>&1 ||
		{ cat out; fail "$budget: $*"; }
	/usr/bin/python3 - "$1" <<-'EOP' || fail "$budget: $*: some have memory of the kernel's"
		import json, sys
		files = json.load(open("lent.json"))["files"]
		sys.exit(max(f["processes"] for f in files) < int(sys.argv[1]))
	EOP
}
for direct in 0 1; do
	export FAULTLINE_DIRECT=$direct
	run 16M 12 12 2 2 in-turn
	run 16M 12 20 2 2 in-turn
	run 32M 24 16 4 2 in-turn
	run 16M 12 12 2 2 inherit
	run 16M 12 16 2 3 kill
	run 16M 12 12 4 3 stop
	run 16M 12 20 1 2 at-once
	run 16M 0 8 3 4 forks
done

# More than there is room for at all: they work, and it is said that the budget is not kept.
"$FAULTLINE" run --budget 16M --anon 256K -- "$lent" 60 1 2 in-turn >out 2>&1 || { cat out; fail "no room for all"; }
grep -q 'no room in the host' out || fail "nobody says that there is no room: $(cat out)"

# There are two threads; what the kernel refuses to a process that has two is done all the same.
if [ "$(id -u)" -eq 0 ]; then
	cat >user.py <<-'EOP'
		import ctypes, mmap, os
		m = mmap.mmap(-1, 2 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
		m[0:2 << 20:4096] = bytes(512)
		before = len(os.listdir("/proc/self/task"))
		os.setgroups([65534])
		os.setresgid(65534, 65534, 65534)
		os.setresuid(65534, 65534, 65534)
		for task in os.listdir("/proc/self/task"):
		    status = open("/proc/self/task/%s/status" % task).read()
		    assert "Uid:\t65534\t65534\t65534" in status and "Gid:\t65534\t65534\t65534" in status, "a thread is another user"
		m[0:2 << 20:4096] = bytes(512)
		libc = ctypes.CDLL(None, use_errno=True)
		assert not libc.unshare(0x10000000) or ctypes.get_errno() not in (0, 22), "unshare: %d" % ctypes.get_errno()
		m[0:2 << 20:4096] = bytes(512)
		assert not libc.syscall(272, 0x10000000) or ctypes.get_errno() not in (0, 22), "unshare, by number: %d" % ctypes.get_errno()
		print(before)
	EOP
	chmod 755 .
	"$FAULTLINE" run --budget 16M --anon 256K -- python3 user.py >out 2>&1 || { cat out; fail "another user"; }
	[ "$(cat out)" = 2 ] || fail "no thread listens to the host: $(cat out)"
fi
exit 0
