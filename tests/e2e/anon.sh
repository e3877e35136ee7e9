#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Anonymous memory within the budget, where that is asked for: 64 MiB in 16, seen from outside; a malloc(3) of the program's own that has its memory there; and real programs.
. "$(dirname "$0")/common.sh"

"$BUILD/tests/anon" || fail "anon fails on the kernel itself"
"$FAULTLINE" run --budget 16M --anon 1M -- "$BUILD/tests/anon" 18000 || fail "more memory than the budget, or other bytes"
"$FAULTLINE" run --budget 16M --anon 1M --faults=thread -- "$BUILD/tests/anon" 18000 || fail "faults served by threads"
"$BUILD/tests/own_malloc" || fail "own_malloc fails on the kernel itself"
for how in --faults=thread "--faults=thread --host=none" --faults=inline --faults=sigsegv; do
	# shellcheck disable=SC2086
	timeout -s KILL 300 "$FAULTLINE" run --budget 16M --anon 256K $how --report=json --report-file own_malloc.json -- "$BUILD/tests/own_malloc" ||
		fail "a malloc of the program's own, $how"
	served own_malloc 'anonymous memory'
done
"$BUILD/tests/contexts" || fail "contexts fails on the kernel itself"
for how in --host=auto --host=none --faults=thread "--faults=thread --host=none" "--faults=sigsegv --host=none"; do
	# shellcheck disable=SC2086
	timeout -s KILL 300 "$FAULTLINE" run --budget 16M --anon 64K $how -- "$BUILD/tests/contexts" || fail "stacks of contexts, $how"
done
for how in --host=auto --host=none; do
	timeout -s KILL 300 "$FAULTLINE" run --budget 16M --anon 64K --faults=thread $how -- "$BUILD/tests/contexts" by_hand by_hand_low || fail "a coroutine's stack, $how"
done
FAULTLINE_ANON=1M "$FAULTLINE" run --budget 16M --report=json --report-file anon.json -- "$BUILD/tests/anon" 18000 || fail "by the variable"
BUDGET=16M
served anon 'anonymous memory'
"$FAULTLINE" run --budget 16M --report=json --report-file off.json -- "$BUILD/tests/anon" || fail "not asked for"
grep -q anonymous off.json && fail "served without being asked for"

cat >job.py <<'EOF'
import hashlib, mmap, os, random
size = 64 << 20
m = mmap.mmap(-1, size)
r = random.Random(5)
for at in range(0, size, 1 << 20):
    m[at:at + (1 << 20)] = r.randbytes(1 << 20)
print(hashlib.sha256(m).hexdigest())
p = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
p[0:size:4096] = bytes(i % 256 for i in range(size // 4096))
pid = os.fork()
if pid == 0:
    p[5] = 1
    os._exit(p[4096 * 300] != 300 % 256)
print(os.waitpid(pid, 0)[1], p[5])
words = [hashlib.md5(b"%d" % i).hexdigest() for i in range(160000)]
words.sort()
print(hashlib.sha256("".join(words).encode()).hexdigest())
EOF
export FAULTLINE_ANON=256K
same python /usr/bin/python3 job.py
served python 'anonymous memory'
/usr/bin/python3 -c "
import random
r = random.Random(6)
for i in range(400000):
    print('%016x %d' % (r.getrandbits(64), i))
" >lines
same sort sort --parallel=2 -S 64M lines
same tac tac lines
exit 0
