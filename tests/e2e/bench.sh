#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# `faultline bench`: what it prints, that it only reads, what it refuses, and that it leaves nothing behind. No time is looked at.
. "$(dirname "$0")/common.sh"
need setpriv

# refuses WORDS ARGUMENT...: status 125, nothing on standard output, and one line on standard error that has these words.
refuses()
{
	words=$1
	shift
	"$FAULTLINE" bench "$@" >out 2>err </dev/null
	status=$?
	[ $status -eq 125 ] || { cat err >&2; fail "bench $*: status $status, not 125"; }
	[ ! -s out ] || fail "bench $*: wrote to standard output"
	[ "$(wc -l <err)" -eq 1 ] || { cat err >&2; fail "bench $*: not one line"; }
	grep -q -- "$words" err || { cat err >&2; fail "bench $*: does not say '$words'"; }
}

# Not a whole number of pages.
head -c 40001000 /dev/urandom >data
cp data before
times=$(stat -c '%y %z' data)

"$FAULTLINE" bench --seconds 0.02 data >text 2>err || { cat err >&2; fail "a run"; }
[ ! -s err ] || { cat err >&2; fail "it says something on standard error"; }
for words in 'sequential scan .*B/s' 'random reads, 1 thread .*/s' 'skewed reads, 4 threads .*/s' 'MADV_' '^Within 4.8 MiB, .* kernel mmap'; do
	grep -q "$words" text || { cat text >&2; fail "no '$words'"; }
done

"$FAULTLINE" bench --json --budget 5M --seconds 0.02 data >json 2>err || { cat err >&2; fail "JSON"; }
/usr/bin/python3 - <<'EOF' || { cat json >&2; fail "the JSON is not what it should be"; }
import json
r = json.load(open("json"))
assert r["file"] == "data" and r["file_bytes"] == 40001000 // 4096 * 4096 and r["budget_bytes"] == 5 << 20
assert [row["workload"] for row in r["rows"]] == ["sequential", "random", "skewed"]
for row in r["rows"]:
    assert row["faultline"] > 0 and row["kernel"] > 0 and row["ratio"] > 0 and row["kernel_advice"].startswith("MADV_")
assert r["kernel_capped"] or r["kernel_not_capped_because"]
assert r["conclusion"].startswith("Within 5.0 MiB")
EOF

cmp data before || fail "the file was written"
[ "$(stat -c '%y %z' data)" = "$times" ] || fail "the file has another time"

# All of it fits.
"$FAULTLINE" bench --budget 64M --seconds 0.02 data >text || fail "a budget larger than the file"

: >empty
head -c 1000000 data >small
mkfifo fifo
refuses 'no file given'
refuses 'no-such-file: No such file' no-such-file
refuses 'is a directory' .
refuses 'is empty' empty
refuses 'too small to tell anything' small
refuses 'not a regular file' fifo
refuses 'not a regular file' /dev/zero
refuses '--budget 12Q' --budget 12Q data
refuses 'too small for the kernel' --budget 1M data
refuses 'give less' --budget 90000T data
refuses 'not a time' --seconds 0 data
refuses 'not a time' --seconds nan data
refuses 'not a time' --seconds 1x data
refuses 'not understood' --no-such-option data
refuses 'not understood' data data
(FAULTLINE_LOG=shout; export FAULTLINE_LOG; refuses 'FAULTLINE_LOG=shout' data) || exit 1
if [ "$(stat -f -c %T /dev/shm 2>/dev/null)" = tmpfs ] && shm=$(mktemp /dev/shm/faultline-e2e.XXXXXX); then
	cp data "$shm"
	refuses 'is in memory' "$shm"
	rm "$shm"
fi
"$FAULTLINE" help bench | grep -q 'budget' || fail "help"

# A signal ends it, its process and its cgroup.
"$FAULTLINE" bench --seconds 60 data >out 2>err &
bench=$!
worker=
for _ in $(seq 100); do
	read -r worker <"/proc/$bench/task/$bench/children" || :
	[ -z "$worker" ] || break
	sleep 0.1
done
[ -n "$worker" ] || fail "no process that measures"
kill -TERM $bench
wait $bench
[ $? -eq 143 ] || fail "killed by SIGTERM, it does not look so"
[ ! -e "/proc/$worker" ] || fail "the process that measures is still there"
[ -z "$(find /sys/fs/cgroup -name "faultline-bench-$bench" 2>/dev/null)" ] || fail "the memory cgroup is still there"

# Without privilege there is no memory cgroup, which is said; a file that may not be read is refused.
if [ "$(id -u)" -eq 0 ]; then
	nobody="setpriv --reuid 65534 --regid 65534 --clear-groups --inh-caps=-all"
	mkdir bin
	cp "$FAULTLINE" bin/
	chmod -R a+rX .
	# shellcheck disable=SC2086
	$nobody bin/faultline bench --seconds 0.02 data >text 2>err || { cat err >&2; fail "as an ordinary user"; }
	grep -q 'NOT held to that' text || { cat text >&2; fail "it does not say that the kernel's side had all memory"; }
	grep -q 'no fair comparison' text || { cat text >&2; fail "nor does its conclusion"; }
	chmod 600 data
	# shellcheck disable=SC2086
	$nobody bin/faultline bench data >out 2>err
	[ $? -eq 125 ] || { cat err >&2; fail "a file that may not be read"; }
	[ "$(wc -l <err)" -eq 1 ] || { cat err >&2; fail "not one line"; }
	grep -q 'Permission denied' err || { cat err >&2; fail "it does not say why"; }
fi
exit 0
