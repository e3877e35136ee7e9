#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Several processes and one page cache: coherence, kills, forks; a host that programs join; the end of a host.
. "$(dirname "$0")/common.sh"
processes=$BUILD/tests/processes
unset FAULTLINE_HOST

# One run, 4 processes, a file of twice the budget; then with kills; then O_DIRECT.
"$FAULTLINE" run --budget 16M --report=json --report-file p.json -- "$processes" file 4 2 1 >out 2>&1 || { cat out; fail "four processes"; }
served p '/file$'
/usr/bin/python3 -c 'import json; f = [f for f in json.load(open("p.json"))["files"] if f["path"].endswith("/file")][0]
assert f["reads"] and f["read_bytes"] and f["writes"] and f["evicted_pages"] and f["processes"] >= 5, f' ||
	fail "the report does not have what the host has done"
"$FAULTLINE" run --budget 16M -- "$processes" file 4 3 2 kill >out 2>&1 || { cat out; fail "four processes with kills"; }
"$FAULTLINE" run --budget 16M --direct -- "$processes" file 3 2 3 kill >out 2>&1 || { cat out; fail "O_DIRECT, with kills"; }

# Locks in a mapping, which libc has the kernel look at; a process that becomes another user elsewhere and forks.
for how in inline thread; do
	"$FAULTLINE" run --budget 16M --faults=$how -- "$BUILD/tests/locks" >out 2>&1 || { cat out; fail "locks, faults served $how"; }
done
"$BUILD/tests/syncs" || fail "syncs fails on the kernel itself"
for how in inline thread; do
	"$FAULTLINE" run --budget 16M --faults=$how -- "$BUILD/tests/syncs" >out 2>&1 || { cat out; fail "syncs, faults served $how"; }
done
"$BUILD/tests/idle_locks" || fail "idle_locks fails on the kernel itself"
"$FAULTLINE" run --budget 16M -- "$BUILD/tests/idle_locks" >out 2>&1 || { cat out; fail "idle_locks"; }
if [ "$(id -u)" -eq 0 ]; then
	"$BUILD/tests/drops" || fail "drops fails on the kernel itself"
	for host in auto none; do
		"$FAULTLINE" run --budget 16M --host=$host --report=json --report-file p.json -- "$BUILD/tests/drops" >out 2>&1 || { cat out; fail "drops"; }
		[ ! -s out ] || fail "drops: says: $(cat out)"
		served p .
		[ "$(/usr/bin/python3 -c 'import json; print(sum(f["mappings"] for f in json.load(open("p.json"))["files"]))')" -ge 9 ] ||
			fail "drops: the report, or the engine, has not seen all mappings: $(cat p.json)"
	done
	"$FAULTLINE" run --budget 16M -- "$BUILD/tests/drops" refused >out 2>&1 || { cat out; fail "drops refused"; }
	grep -q 'serves another user' out || fail "nobody says that the host refuses another user: $(cat out)"
	grep -q 'has gone' out && fail "the host has not gone: $(cat out)"
	status=0
	"$BUILD/tests/unmount" || status=$?
	[ $status -eq 0 ] || [ $status -eq 77 ] || fail "unmount fails on the kernel itself"
	[ $status -ne 0 ] || "$FAULTLINE" run --budget 16M -- "$BUILD/tests/unmount" >out 2>&1 || { cat out; fail "unmount"; }
fi

# What was stored is in the file when the run is over, whoever reads it.
"$processes" file 4 0 4 >out 2>&1 || { cat out; fail "the kernel alone"; }

# What the host cannot write back when the program has ended is an error of the run.
cat >dirty.py <<'EOF'
import mmap, sys
f = open("dirty", "r+b")
mmap.mmap(f.fileno(), 0)[4096] = 7
sys.exit(int(sys.argv[1]))
EOF
head -c 4194304 /dev/zero >dirty
for status in 0 3; do
	FAULTLINE_INJECT=write:enospc:1:0 "$FAULTLINE" run --budget 16M -- python3 dirty.py $status 2>err
	got=$?
	expected=$status
	[ $status -ne 0 ] || expected=125
	[ $got -eq $expected ] || fail "stores are lost, and the run exits with $got"
	grep -q 'lost: No space left on device' err || fail "nobody says that stores are lost: $(cat err)"
done

# start_host: one at $WORK/socket; $host is its process.
start_host()
{
	FAULTLINE_BUDGET=16M "$FAULTLINE" host --socket "$WORK/socket" 2>host.err &
	host=$!
	tries=0
	until [ -S socket ]; do
		tries=$((tries + 1))
		[ $tries -lt 100 ] || fail "no socket: $(cat host.err)"
		sleep 0.05
	done
}

# A host that programs join, one after the other and at once; it ends when it is told to.
start_host
"$FAULTLINE" host --socket "$WORK/socket" 2>err && fail "two hosts at one socket"
grep -q 'listens there already' err || fail "not told why there cannot be two: $(cat err)"
head -c 4194304 /dev/zero >a
cp a b
cat >store.py <<'EOF'
import mmap, os, sys
f = open(sys.argv[1], "r+b")
m = mmap.mmap(f.fileno(), 0)
if sys.argv[2] == "store":
    m[3000000:3000005] = b"hello"
    os.kill(os.getpid(), 9)
print(m[3000000:3000005])
os.write(1, os.pread(f.fileno(), 5, 3000000) + b"\n")
EOF
"$FAULTLINE" run --host="$WORK/socket" -- python3 store.py a load >out &
other=$!
"$FAULTLINE" run --host="$WORK/socket" -- python3 store.py b store
[ $? -eq 137 ] || fail "the program was not killed"
"$FAULTLINE" run --host="$WORK/socket" -- python3 store.py b load >out2
wait $other
printf "b'hello'\nhello\n" | cmp - out2 || fail "a store of a process that was killed is gone"
kill -TERM $host
wait $host || fail "the host ended with an error: $(cat host.err)"
[ -e socket ] && fail "the socket is left behind"
[ "$(tail -c +3000001 b | head -c 5)" = hello ] || fail "the store is not in the file"

# A host that is killed: a line that says so, and SIGBUS; programs that start later go on by themselves.
start_host
cat >later.py <<'EOF'
import mmap, os, signal, sys
f = open("a", "r+b")
m = mmap.mmap(f.fileno(), 0)
m[0] = 1
m.flush()
os.kill(int(sys.argv[1]), signal.SIGKILL)
os.read(os.open("a", os.O_RDONLY), 4096)
pid = os.fork()
if pid == 0:
    os._exit(7)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
m[2000000]
EOF
"$FAULTLINE" run --host="$WORK/socket" -- python3 later.py $host >out 2>err
[ $? -eq 135 ] || fail "an access that the host would have served does not end in SIGBUS"
grep -q 'the host has gone' err || fail "nobody says that the host has gone: $(cat err)"
wait $host
[ "$(od -An -tu1 -N1 a | tr -d ' ')" = 1 ] || fail "what was synced is not in the file"
"$FAULTLINE" run --host="$WORK/socket" -- python3 store.py a load >out 2>err || fail "no program starts without the host"
grep -q 'no host at' err || fail "nobody says that there is no host: $(cat err)"

# A child whose parent had mapped nothing has as much of the budget as any.
head -c 12M /dev/zero >copied
cat >forked.py <<'EOF'
import mmap, os
if os.fork() == 0:
    m = mmap.mmap(os.open("copied", os.O_RDWR), 0, mmap.MAP_PRIVATE)
    for n in range(3):
        for at in range(0, len(m), 4096):
            m[at] = n + 1
    os._exit(0)
os.wait()
EOF
"$FAULTLINE" run --budget 64M --report=json --report-file p.json -- python3 forked.py || fail "a child of a parent without mappings"
python3 -c 'import json, sys
f = json.load(open("p.json"))["files"]
sys.exit(not any(x["faults"] > 3000 for x in f) or any(x["swapped_out_pages"] for x in f))' || fail "a child of a parent without mappings has little room: $(cat p.json)"

# More processes than a small budget has room for: those that are in see each other's stores, the others are told that they are not.
cat >many.py <<'EOF'
import mmap, os, time
f = open("many", "w+b")
f.truncate(8 << 20)
pids = []
for i in range(90):
    pid = os.fork()
    if pid == 0:
        try:
            m = mmap.mmap(os.open("many", os.O_RDWR), 8 << 20)
        except OSError:
            os._exit(0)
        m[4096 * i] = i + 1
        marks = os.open("marks", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.write(marks, bytes([i]))
        time.sleep(3)
        os._exit(0 if all(m[4096 * j] == j + 1 for j in open("marks", "rb").read()) else 1)
    pids.append(pid)
assert all(os.waitstatus_to_exitcode(os.waitpid(p, 0)[1]) == 0 for p in pids)
EOF
"$FAULTLINE" run --budget 16M -- python3 many.py >out 2>&1 || { cat out; fail "many processes"; }
[ "$(stat -c %s marks)" -ge 20 ] || fail "room for few processes"

# Code is the kernel's, but not beside processes that have its file by the host; nor the other way round. One word for each process, also for a child
# that has mapped nothing before it: what one stores, the others see.
cat >code.py <<'EOF'
import mmap, os, sys
RW, ALL = mmap.PROT_READ | mmap.PROT_WRITE, mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC
def show(f, prot):
    return mmap.mmap(f.fileno(), 0, mmap.MAP_SHARED, prot)
first, second = (RW, ALL) if sys.argv[1] == "data" else (ALL, RW)
f = open("code", "w+b")
f.truncate(8 << 20)
to, fro = os.pipe(), os.pipe()
if os.fork() == 0:
    os.read(to[0], 1)
    m = show(f, second)
    ok = m[4096] == 1
    m[8192] = 2
    os.write(fro[1], b"x")
    os.read(to[0], 1)
    os._exit(0 if ok and m[5000000] == 3 and m[4096] == 4 else 1)
m = show(f, first)
m[4096] = 1
os.write(to[1], b"x")
os.read(fro[0], 1)
assert m[8192] == 2
m[5000000], m[4096] = 3, 4
os.write(to[1], b"x")
assert os.wait()[1] == 0
EOF
for first in data code; do
	"$FAULTLINE" run --budget 16M -- python3 code.py $first 2>err || fail "code and data of one file, first $first: $(cat err)"
done

# A process that stays when the program has ended keeps its host, and the run does not wait for it; what it has stored before is in the file then.
cat >stay.py <<'EOF'
import mmap, os, time
f = open("a", "r+b")
m = mmap.mmap(f.fileno(), 0)
has, tells = os.pipe()
if os.fork() == 0:
    m[2500000:2500004] = b"soon"
    os.write(tells, b"x")
    os.setsid()
    null = os.open("/dev/null", os.O_RDWR)
    for fd in range(3):
        os.dup2(null, fd)
    for i in range(600):
        if os.path.exists("ended"):
            m[3500000:3500004] = b"late"
            break
        time.sleep(0.1)
    os._exit(0)
os.read(has, 1)
os.kill(os.getpid(), 9)
EOF
rm -f ended
status=0
"$FAULTLINE" run --budget 16M -- python3 stay.py 2>err || status=$?
[ $status -eq 137 ] || fail "the program that leaves a process behind: status $status: $(cat err)"
[ "$(tail -c +2500001 a | head -c 4)" = soon ] || fail "what a process that stays had stored before the run ended is not in the file"
: >ended
tries=0
until [ "$(tail -c +3500001 a | head -c 4)" = late ]; do
	tries=$((tries + 1))
	[ $tries -lt 600 ] || fail "the run has waited for a process that stays, or what that has stored then is not in the file"
	sleep 0.1
done

# Nor does the host end while all that is left is a child that is no client yet.
mkfifo go
head -c 4194304 /dev/zero >b
"$FAULTLINE" run --budget 16M -- sh -c '{ read -r word; exec python3 store.py b store; } <go &' 2>err || fail "a shell that leaves a child behind"
echo word >go
tries=0
until [ "$(tail -c +3000001 b | head -c 5)" = hello ]; do
	tries=$((tries + 1))
	[ $tries -lt 300 ] || fail "a program that began when all others had ended had no host: $(cat err)"
	sleep 0.1
done

# Processes of others that begin and end by the thousand, so that there is one without an environment at any moment, are not taken for those of a run.
: >storm
for _ in 1 2 3 4; do
	while [ -e storm ]; do /bin/true; done &
done
for i in $(seq 10); do
	head -c 4194304 /dev/zero >b
	status=0
	FAULTLINE_LOG=info "$FAULTLINE" run --budget 16M -- python3 store.py b store 2>err || status=$?
	[ $status -eq 137 ] || fail "beside others, time $i: status $status: $(cat err)"
	[ "$(tail -c +3000001 b | head -c 5)" = hello ] || fail "what a program has stored that was killed is not in the file when the run is over, time $i"
	! grep 'the host stays' err || fail "a run has taken the processes of others for its own, time $i"
done
rm storm
wait
