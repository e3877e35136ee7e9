# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
# For the proofs on real programs: the same work without Faultline and with it, the comparison, and the line of figures.
# Sourced, with BUILD set to the build folder, and
#   SIZE   full (default): a few times as much data as budget, about a minute; small: a few seconds, for CI
#   SEED   what data and order of work are made from (default: 1)
#   HEAP   MiB: both sides work in a memory cgroup of the budget and so much more, for what the programs allocate themselves, with no file in
#          memory at the start (default: no cgroup). Needs root
#   KILLS  for scripts that say "crash-safe" in a line of their head: how often a writer is killed (default: 1)
#
# A script defines
#   prepare  puts what the work starts from into the current folder; not measured
#   work     does it in the current folder, the programs under proof by `run`; what it prints is compared
# and calls `prove`, `served_file` and `figures`.
PROGRAMS=$(cd "$(dirname "$0")" && pwd)
. "$PROGRAMS/../common.sh"
case $BUILD in /*) ;; *) fail "BUILD is not an absolute path" ;; esac
SIZE=${SIZE:-full}
SEED=${SEED:-1}
KILLS=${KILLS:-1}
REPORTS=$WORK/reports
mkdir "$REPORTS" || exit 1
unset FAULTLINE_IO FAULTLINE_FRAMES FAULTLINE_SWAP FAULTLINE_LOG
PATH=$PATH:/usr/sbin
SIDE=plain
RUNNING=
HEAP=${HEAP:-}
CGROUP=
LIMIT=none
working=
killed=0

# What was started in the background ends with the script, however that ends. Work that fails says so into its own files.
stop_all()
{
	[ -z "$working" ] || tail -n 20 "$WORK/$SIDE.err" >&2
	for pid in $RUNNING; do
		kill "$pid" 2>/dev/null
	done
	leave_cgroup
	rm -rf "$WORK"
}
trap stop_all EXIT
trap 'exit 1' HUP INT TERM

# sized FULL SMALL: the one that is for this size.
sized()
{
	case $SIZE in
	full) echo "$1" ;;
	small) echo "$2" ;;
	*) fail "SIZE is '$SIZE', neither full nor small" ;;
	esac
}

# run COMMAND...: on the plain side as it is, on the other under Faultline within $BUDGET.
run()
{
	if [ "$SIDE" = plain ]; then
		"$@"
	else
		"$FAULTLINE" run --budget "$BUDGET" --report=json --report-file "$(mktemp -u "$REPORTS/XXXXXX")" -- "$@"
	fi
}

# generate WHAT ARGUMENT...: see generate.py.
generate()
{
	/usr/bin/python3 "$PROGRAMS/generate.py" --seed "$SEED" "$@" || fail "cannot make the data: $*"
}

# driver NAME LIBRARY: compiles NAME.c of this folder, and skips where the library is not installed.
driver()
{
	need cc
	echo 'int main(void) { return 0; }' >empty.c
	cc empty.c "-l$2" -o empty 2>/dev/null || { echo "no lib$2 here"; exit 77; }
	cc -std=gnu11 -D_GNU_SOURCE -O2 -Wall -Wextra -Werror "$PROGRAMS/$1.c" "-l$2" -o "$WORK/$1" || fail "cannot compile $1.c"
	rm -f empty empty.c
}

now()
{
	date +%s%N
}

# enter_cgroup: this shell and what it starts are in it until leave_cgroup.
enter_cgroup()
{
	[ -n "$HEAP" ] || return 0
	LIMIT=$((${BUDGET%M} + HEAP))M
	if [ -d /sys/fs/cgroup/memory ]; then
		CGROUP=/sys/fs/cgroup/memory$(awk -F: '$2 == "memory" && $3 != "/" { print $3 }' /proc/self/cgroup)/faultline-$$
		limit=memory.limit_in_bytes
	else
		CGROUP=/sys/fs/cgroup$(awk -F: '$2 == "" && $3 != "/" { print $3 }' /proc/self/cgroup)/faultline-$$
		limit=memory.max
	fi
	mkdir "$CGROUP" || fail "no memory cgroup; HEAP= does without"
	{ echo "$LIMIT" >"$CGROUP/$limit" && echo $$ >"$CGROUP/cgroup.procs"; } || fail "the memory cgroup cannot be used; HEAP= does without"
	sync
	echo 3 >/proc/sys/vm/drop_caches
}

# A process that is still about to end keeps it for a moment.
leave_cgroup()
{
	[ -n "$CGROUP" ] || return 0
	echo $$ >"${CGROUP%/*}/cgroup.procs"
	for _ in 1 2 3 4 5; do
		rmdir "$CGROUP" 2>/dev/null && break
		sleep 0.2
	done
	CGROUP=
}

# side NAME: does the work in the folder NAME; what it prints goes to NAME.out. Sets $took, in nanoseconds.
side()
{
	SIDE=$1
	mkdir "$SIDE" && cd "$SIDE" || exit 1
	prepare || fail "$SIDE: cannot prepare"
	enter_cgroup
	start=$(now)
	working=yes
	work >"../$SIDE.out" 2>"../$SIDE.err" </dev/null
	echo "exit status $?" >>"../$SIDE.out"
	working=
	took=$(($(now) - start))
	leave_cgroup
	cd "$WORK" || exit 1
}

# prove: both sides must print the same and leave the same files.
prove()
{
	side plain
	plain_took=$took
	side served
	served_took=$took
	cmp plain.out served.out >&2 || {
		diff plain.out served.out | head -20 >&2
		tail -20 served.err >&2
		fail "the output differs"
	}
	diff -rq plain served >&2 || fail "the files differ"
}

# served_file PATTERN: Faultline served faults on a file whose path matches, within the budget.
served_file()
{
	/usr/bin/python3 - "$1" "$REPORTS"/* <<-'END' || fail "not served as it should be"
		import json, os, re, sys
		faults = 0
		for path in sys.argv[2:]:
		    if not os.path.getsize(path):
		        continue
		    report = json.load(open(path))
		    faults += sum(f["faults"] for f in report["files"] if re.search(sys.argv[1], f["path"]))
		    for p in report["processes"]:
		        if p["peak_bytes"] > report["budget_bytes"]:
		            sys.exit("peak %d over budget %d" % (p["peak_bytes"], report["budget_bytes"]))
		if not faults:
		    sys.exit("no faults on " + sys.argv[1])
	END
}

# mebibytes FILE...: how much data they are.
mebibytes()
{
	du -c --apparent-size -m "$@" | awk 'END { print $1 }'
}

seconds()
{
	awk "BEGIN { printf \"%.1f\", $1 / 1e9 }"
}

# figures MIB: the last line, in the one form that `make programs` reads.
figures()
{
	echo "figures: $(basename "$0" .sh), budget $BUDGET, limit $LIMIT, data $1M, faultline $(seconds "$served_took") s, plain $(seconds "$plain_took") s"
}

# victim COMMAND...: starts it in the background by `run`, and waits until there is a process to kill: $victim. Output goes to
# victim.out.
victim()
{
	rm -f victim.pid
	# shellcheck disable=SC2016 # for the inner shell
	run sh -c 'echo $$ >victim.new && mv victim.new victim.pid && exec "$@"' sh "$@" >victim.out 2>victim.err &
	RUNNING="$RUNNING $!"
	started=$!
	for _ in $(seq 100); do
		[ -s victim.pid ] && break
		sleep 0.1
	done
	victim=$(cat victim.pid) || fail "it does not start: $*"
}

# kill_victim WHAT: after a while of its own kill, and not of its own end.
kill_victim()
{
	sleep "0.$(od -An -N1 -tu1 /dev/urandom | tr -d ' ')"
	kill -9 "$victim" || { cat victim.err >&2; fail "$1: it had ended before it was killed"; }
	wait "$started"
	killed_status=$?
	[ $killed_status -eq 137 ] || { cat victim.err >&2; fail "$1: status $killed_status, not of a kill"; }
	killed=$((killed + 1))
}
