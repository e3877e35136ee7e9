#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# `faultline top`: sees what runs and hosts do while they do it, and their end; nothing of them is left behind.
. "$(dirname "$0")/common.sh"
unset FAULTLINE_HOST
started=
trap 'kill -9 $started 2>/dev/null; rm -rf "$WORK"' EXIT

# Loads and stores all over a file until there is a file `stop`, then nothing until there is one `end`.
cat >work.py <<'PY'
import mmap, os, random, sys, time
f = open("data", "r+b")
m = mmap.mmap(f.fileno(), 0)
open("where", "w").write(os.environ["FAULTLINE_REPORT"])
open("pid", "w").write(str(os.getpid()))
pages = len(m) // 4096
while not os.path.exists("stop"):
    for _ in range(100):
        i = random.randrange(pages) * 4096
        m[i] = (m[i] + 1) % 256
m.flush()
open("idle", "w")
while not os.path.exists("end"):
    time.sleep(0.05)
PY
head -c 48M /dev/zero >data

# await COMMAND...: until it is true.
await()
{
	deadline=$(($(date +%s) + 60))
	until "$@" 2>/dev/null; do
		[ "$(date +%s)" -lt $deadline ] || fail "in vain: $*"
		sleep 0.05
	done
}

# start OPTION...: a run of that; $run is its process, $pid the program's, $where its directory.
start()
{
	rm -f stop idle end where pid
	"$FAULTLINE" run --budget 16M "$@" -- /usr/bin/python3 work.py >out 2>err &
	run=$!
	started="$started $run"
	await test -s pid
	pid=$(cat pid)
	where=$(cat where)
	started="$started $pid"
}

# refused WORDS ARGUMENT...: top ends with status 125 and one line on standard error that has these words.
refused()
{
	words=$1
	shift
	"$FAULTLINE" top "$@" >out 2>err
	status=$?
	[ $status -eq 125 ] || fail "top $*: status $status"
	[ ! -s out ] || fail "top $*: wrote to standard output"
	[ "$(wc -l <err)" -eq 1 ] || fail "top $*: not one line: $(cat err)"
	grep -q -e "$words" err || fail "top $*: does not say '$words': $(cat err)"
}

# judge FILE STATEMENT: of the last object in it, as `o`, and its entry for our file, as `f`.
judge()
{
	/usr/bin/python3 - "$1" "$2" "$run" "$pid" <<-'PY' || fail "$1: not so: $2: $(cat "$1")"
		import json, sys
		o = json.loads(open(sys.argv[1]).read().splitlines()[-1])
		f = [f for f in o["files"] if f["path"].endswith("/data")]
		f = f[0] if f else None
		run, pid = int(sys.argv[3]), int(sys.argv[4])
		sys.exit(not eval(sys.argv[2]))
	PY
}

# Memory is full, and goes round.
is_busy()
{
	"$FAULTLINE" top --json --delay 0.5 --count 1 "$run" >busy.json || fail "top of a run"
	/usr/bin/python3 -c 'import json
assert any(f["evicted_pages_per_second"] for f in json.load(open("busy.json"))["files"])'
}

is_idle()
{
	"$FAULTLINE" top --json --delay 0.5 --count 1 "$run" >idle.json || fail "top of an idle run"
	/usr/bin/python3 -c 'import json
o = json.load(open("idle.json"))
assert o["files"] and all(not v for x in [o] + o["files"] for k, v in x.items() if k.endswith("_per_second"))'
}

for host in none auto; do
	start --host=$host
	await is_busy
	"$FAULTLINE" top --json --delay 1.5 --count 2 "$run" >busy.json || fail "top of a run"
	[ "$(wc -l <busy.json)" -eq 2 ] || fail "not one line for each refresh: $(cat busy.json)"
	judge busy.json 'f["mapped_bytes"] == 48 << 20 and 4 << 20 < f["memory_bytes"] <= 16 << 20 and f["processes"] == 1'
	judge busy.json 'all(f[k + "_per_second"] > 0 for k in ("faults", "reads", "read_bytes", "evicted_pages", "fault_ns"))'
	judge busy.json '0 <= f["hit_share"] < 1 and f["mean_fault_ns"] > 0 and 1.4 < o["seconds"] < 30'
	judge busy.json 'o["budget_bytes"] == 16 << 20 and 8 << 20 < o["used_bytes"] <= o["peak_bytes"] <= 16 << 20'
	judge busy.json 'any(p["pid"] == pid and p["faults_per_second"] > 0 for p in o["processes"])'
	judge busy.json "len(o['runs']) == 1 and o['runs'][0]['pid'] == run and 'work.py' in o['runs'][0]['command']"
	judge busy.json "any(p['host'] for p in o['processes']) == ('$host' == 'auto')"

	# Without a process it is among all; with one of the run's it is the run.
	"$FAULTLINE" top --json --delay 0.2 --count 1 >all.json || fail "top of all"
	judge all.json 'f and any(r["pid"] == run for r in o["runs"])'
	"$FAULTLINE" top --json --delay 0.2 --count 1 "$pid" >all.json || fail "top of a program"
	judge all.json '[r["pid"] for r in o["runs"]] == [run]'

	"$FAULTLINE" top --batch --delay 0.5 --count 1 "$run" >busy.txt || fail "top --batch"
	grep -q '^budget 16.0 MiB' busy.txt || fail "no budget: $(cat busy.txt)"
	grep -q "^ *48.0M .*  $WORK/data\$" busy.txt || fail "no line for the file: $(cat busy.txt)"
	"$FAULTLINE" top --processes --delay 0.5 --count 1 "$run" >busy.txt || fail "top --processes"
	grep -q " $pid  .*python" busy.txt || fail "no line for the process: $(cat busy.txt)"

	: >stop
	await test -e idle
	await is_idle
	timeout 60 "$FAULTLINE" top --delay 0.2 "$run" >watched.txt &
	top=$!
	started="$started $top"
	await grep -q data watched.txt
	: >end
	wait $run || fail "the run ended with an error: $(cat err)"
	wait $top || fail "top ended with an error when the run had ended"
	[ "$(tail -n 1 watched.txt)" = "$run has ended" ] || fail "the end was not seen: $(tail watched.txt)"
	[ ! -e "$where" ] || fail "left behind: $where"
done

# A run is cleared up after when it is told to end, and by the next one when it could not do so itself.
start
kill -TERM $run
wait $run
[ $? -eq 143 ] || fail "SIGTERM does not reach the program"
[ ! -e "$where" ] || fail "left behind by a run that got SIGTERM: $where"
start
kill -KILL $run
wait $run 2>/dev/null
kill -KILL "$pid"
[ -e "$where" ] || fail "the directory of a run that was killed is not there"
cp -r "$where" kept
"$FAULTLINE" run -- true
[ ! -e "$where" ] || fail "not removed by the next run: $where"
case $where in
/dev/shm/*)
	cp -r kept "$where"
	"$FAULTLINE" top --count 1 --delay 0.1 >out 2>err
	[ ! -e "$where" ] || fail "not removed by top: $where"
	;;
esac

# What leaves counters behind in a run that lasts is forgotten while it lasts.
cat >short.sh <<'SH'
echo "$FAULTLINE_REPORT" >where
/usr/bin/python3 -c 'import mmap; f = open("data", "rb"); m = mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ); m[5]'
ls "$FAULTLINE_REPORT" >before
for i in $(seq 600); do
	ls "$FAULTLINE_REPORT" >after
	grep -q report after || break
	sleep 0.1
done
SH
"$FAULTLINE" run --host=none -- sh short.sh || fail "a short process"
grep -q report before || fail "a process has left no counters: $(cat before)"
grep -q report after && fail "its counters are still there: $(cat after)"

# A host and who joins it.
cat >join.py <<'PY'
import mmap, os, time
f = open("data", "rb")
m = mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ)
while not os.path.exists("stop"):
    for i in range(0, len(m), 4096):
        m[i]
PY
listed()
{
	"$FAULTLINE" top --json --delay 0.3 --count 1 "$run" >host.json && grep -q data host.json
}
rm -f stop
FAULTLINE_BUDGET=16M "$FAULTLINE" host --socket "$WORK/socket" 2>host.err &
run=$!
started="$started $run"
await test -S socket
"$FAULTLINE" run --host="$WORK/socket" -- /usr/bin/python3 join.py 2>err &
pid=$!
started="$started $pid"
await listed
"$FAULTLINE" top --json --delay 1 --count 1 "$run" >host.json || fail "top of a host"
judge host.json "[r['kind'] for r in o['runs']] == ['host'] and o['runs'][0]['socket'] == '$WORK/socket'"
judge host.json 'f["read_bytes_per_second"] > 0 and o["budget_bytes"] == 16 << 20 and 0 < o["used_bytes"] <= 16 << 20'
"$FAULTLINE" top --json --delay 1 --count 1 >all.json || fail "top of a host and a run"
judge all.json '{"host", "run"} <= {r["kind"] for r in o["runs"]} and f["faults_per_second"] > 0 and f["read_bytes_per_second"] > 0'
: >stop
wait $pid || fail "the run at a host: $(cat err)"
where=$(sed -n 's|.* \(/.*/faultline-run-[^/]*\)/.*|\1|p' /proc/$run/maps | head -n 1)
[ -d "$where" ] || fail "the host has no directory: $(cat /proc/$run/maps)"
kill -TERM $run
wait $run || fail "the host: $(cat host.err)"
[ ! -e "$where" ] || fail "left behind by a host that got SIGTERM: $where"

# More files than there are slots for.
cat >files.py <<'PY'
import mmap, os
os.mkdir("many")
kept = []
for i in range(1100):
    with open("many/%d" % i, "wb") as f:
        f.truncate(4096)
    with open("many/%d" % i, "rb") as f:
        kept.append(mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ))
    kept[-1][0]
open("mapped", "w")
while not os.path.exists("stop"):
    kept[-1].madvise(mmap.MADV_DONTNEED)
    kept[-1][0]
PY
rm -f stop
"$FAULTLINE" run --host=none --min-map 4K -- /usr/bin/python3 files.py 2>err &
run=$!
started="$started $run"
await test -e mapped
"$FAULTLINE" top --json --delay 1 --count 1 $run >many.json || fail "top of many files"
judge many.json '1000 < len(o["files"]) <= 1024 and any(x["path"] == "(other files)" and x["faults_per_second"] > 0 for x in o["files"])'
: >stop
wait $run || fail "many files: $(cat err)"

# What makes no sense.
refused 'not a process' abc
refused 'not a process' 0
refused 'not a process' -- -1
refused 'no such process' 999999999
refused 'not part of a run or host' $$
refused 'one process at a time' 1 2
refused 'not a time' --delay 0 $$
refused 'not a time' --delay 1x $$
refused 'not a number of refreshes' --count 0 $$
refused 'no such column' --sort z $$
refused 'not understood' --no-such-option
if unshare -rm sh -c 'mount -t tmpfs none /dev/shm' 2>/dev/null; then
	unshare -rm sh -c 'mount -t tmpfs none /dev/shm && exec "$0" top --batch' "$FAULTLINE" >out 2>err
	[ $? -eq 1 ] || fail "nothing is under way, and the status is not 1: $(cat out err)"
	[ ! -s out ] && [ "$(wc -l <err)" -eq 1 ] && grep -q 'nothing is under way' err || fail "nothing is under way, and that is not said: $(cat out err)"
fi

# Counters for which there is no room are counted by nobody, and the program goes on.
if unshare -rm sh -c 'mount -t tmpfs none /dev/shm' 2>/dev/null; then
	for room in 4 16; do
		unshare -rm sh -c 'mount -t tmpfs -o size=64k none /dev/shm && head -c $1k /dev/zero >/dev/shm/full && exec "$0" run --budget 16M -- \
			/usr/bin/python3 -c "import mmap; f = open(\"data\", \"rb\"); print(len(mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ)[:]))"' \
			"$FAULTLINE" $((64 - room)) >out 2>err
		[ "$(cat out)" = $((48 << 20)) ] || fail "room for $room KiB of counters: $(cat out err)"
	done
fi

# On a terminal.
cat >screen.py <<'PY'
import fcntl, os, pty, re, select, struct, sys, termios, time

child, fd = pty.fork()
if child == 0:
    os.environ["TERM"] = "vt100"
    os.execv(sys.argv[1], sys.argv[1:])


def size(rows, columns):
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


# What comes until it has the words; what moves the cursor stands for a blank.
def see(words, seconds=20):
    text = ""
    end = time.time() + seconds
    while words not in text:
        if time.time() > end:
            sys.exit("no '%s' in: %s" % (words, text))
        if select.select([fd], [], [], 0.1)[0]:
            text += re.sub(r"\x1b(\[[?0-9;]*[A-Za-z]|[()].|.)|[\x00\x0e\x0f]", " ", os.read(fd, 65536).decode())


size(24, 100)
see("/data")
os.write(fd, b"p")
see("PROGRAM")
os.write(fd, b"p")
see("PATH")
for rows, columns in ((1, 1), (3, 20), (5, 300), (24, 80)):
    size(rows, columns)
    time.sleep(0.3)
    os.write(fd, b"<>u")
see("budget")
os.write(fd, b"q")
end = time.time() + 20
while True:
    if select.select([fd], [], [], 0.1)[0]:
        try:
            os.read(fd, 65536)
        except OSError:
            pass
    done, status = os.waitpid(child, os.WNOHANG)
    if done:
        sys.exit(os.waitstatus_to_exitcode(status))
    if time.time() > end:
        os.kill(child, 9)
        sys.exit("q does not end it")
PY
start
/usr/bin/python3 screen.py "$FAULTLINE" top "$run" || fail "on a terminal"
TERM=no-such-terminal /usr/bin/python3 -c 'import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))' "$FAULTLINE" top $run >out 2>&1 </dev/null
[ $? -eq 125 ] || fail "a terminal that nobody knows: $(cat out)"
grep -q 'TERM=no-such-terminal' out || fail "not told of the terminal: $(cat out)"

# Of another user.
if [ "$(id -u)" -eq 0 ] && setpriv --reuid 65534 --regid 65534 --clear-groups "$FAULTLINE" --version >out 2>&1; then
	setpriv --reuid 65534 --regid 65534 --clear-groups "$FAULTLINE" top "$run" >out 2>err
	[ $? -eq 125 ] || fail "another user looks at a run of ours"
	grep -q 'a process of root; only that user can look at it' err || fail "another user is not told why: $(cat err)"
fi
: >stop
await test -e idle
: >end
wait $run || fail "the last run: $(cat err)"
[ ! -e "$where" ] || fail "left behind: $where"
exit 0
