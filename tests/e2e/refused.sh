#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Where userfaultfd is refused or unknown, faults come by SIGSEGV. For who insists on userfaultfd: one line that names the cause and the cure, nothing
# started.
. "$(dirname "$0")/common.sh"

"$BUILD/tests/refuse" 1 true || exit 77
for error in 1 38; do
	"$BUILD/tests/refuse" $error "$FAULTLINE" run --faults=inline -- touch started >out 2>err
	[ $? -eq 125 ] || fail "error $error: status $?"
	[ ! -e started ] || fail "error $error: the program ran all the same"
	[ "$(wc -l <err)" -eq 1 ] || { cat err >&2; fail "error $error: not one line"; }
	grep -q userfaultfd err || { cat err >&2; fail "error $error: does not name the cause"; }
	FAULTLINE_FAULTS=inline "$BUILD/tests/refuse" $error "$FAULTLINE" doctor . >doctor
	[ $? -eq 1 ] || fail "error $error: doctor does not say that it cannot work"
	"$BUILD/tests/refuse" $error "$FAULTLINE" doctor . >doctor || { cat doctor; fail "error $error: doctor says that it cannot work"; }
	grep -q 'served by SIGSEGV' doctor || { cat doctor; fail "error $error: doctor does not say how"; }
	"$BUILD/tests/refuse" $error "$FAULTLINE" run --host=@nobody -- touch started 2>err
	[ $? -eq 125 ] || fail "error $error: a host without userfaultfd"
done

# Nor is there another way without /proc, which takes root to be tried.
export FAULTLINE BUILD
# shellcheck disable=SC2016 # for the other shell
if unshare -m true 2>/dev/null; then
	unshare -m sh -c 'mount -t tmpfs none /proc && "$FAULTLINE" run --faults=sigsegv -- touch started' 2>err
	[ $? -eq 125 ] || fail "without /proc: status $?"
	[ ! -e started ] || fail "without /proc: the program ran all the same"
	grep -q /proc/self/mem err || { cat err >&2; fail "without /proc: does not name the cause"; }
	unshare -m sh -c 'mount -t tmpfs none /proc && FAULTLINE_FAULTS=sigsegv "$FAULTLINE" doctor .' >doctor
	[ $? -eq 1 ] || fail "without /proc: doctor does not say that it cannot work"
fi

dd if=/dev/urandom of=file bs=1M count=40 2>/dev/null
"$BUILD/tests/refuse" 1 "$FAULTLINE" bench --budget 8M --seconds 0.05 file >bench 2>&1 || { cat bench; fail "bench"; }

for program in buffers faults mixed pending raw stream_buffers streams; do
	"$BUILD/tests/refuse" 1 "$FAULTLINE" run --budget 32M --report=json --report-file report -- "$BUILD/tests/$program" || fail "$program"
	grep -q '"faults": *"sigsegv"' report || fail "$program: the report does not say how faults were served"
done

# More changed private memory than the budget has, and an order of pages of which each is a mapping of its own to the kernel.
for anon in '' '--anon 64K'; do
	# shellcheck disable=SC2086 # options
	"$BUILD/tests/refuse" 1 "$FAULTLINE" run --budget 8M $anon --report=json --report-file report -- python3 - "$WORK/data" <<-'EOF' || fail "python"
	import mmap, os, sys
	pages = 6000
	with open(sys.argv[1], "wb") as f:
	    f.truncate(pages * 4096)
	for access in mmap.ACCESS_COPY, mmap.ACCESS_WRITE:
	    with open(sys.argv[1], "r+b") as f, mmap.mmap(f.fileno(), 0, access=access) as m:
	        for i in range(pages):
	            at = i * 1777 % pages * 4096
	            m[at:at + 8] = i.to_bytes(8, "little")
	        for i in range(pages):
	            at = i * 1777 % pages * 4096
	            assert m[at:at + 8] == i.to_bytes(8, "little"), i
	data = open(sys.argv[1], "rb").read()
	assert all(data[i * 1777 % pages * 4096:][:2] == (i & 0xffff).to_bytes(2, "little") for i in range(0, pages, 7))
	EOF
	grep -q '"faults": *"sigsegv"' report || fail "python: not served"
done
exit 0
