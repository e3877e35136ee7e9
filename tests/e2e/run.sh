#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# `faultline run` as a command: exit statuses, signals, bad input, where the report goes.
. "$(dirname "$0")/common.sh"

# expect STATUS WORDS COMMAND...: fails with this status and one line on standard error that has these words.
expect()
{
	want=$1
	words=$2
	shift 2
	"$@" >out 2>err </dev/null
	status=$?
	[ $status -eq "$want" ] || { cat err >&2; fail "$*: status $status, not $want"; }
	[ ! -s out ] || fail "$*: wrote to standard output"
	[ "$(wc -l <err)" -eq 1 ] || { cat err >&2; fail "$*: not one line"; }
	grep -q "$words" err || { cat err >&2; fail "$*: does not say '$words'"; }
}

for budget in 0 -5 12Q '' 1000 99999T 1M1; do
	expect 125 budget "$FAULTLINE" run --budget "$budget" -- true
done
expect 127 'no-such-program' "$FAULTLINE" run -- no-such-program
expect 127 '/no/such/file' "$FAULTLINE" run -- /no/such/file
expect 126 "$WORK" "$FAULTLINE" run -- "$WORK"
: >plain
expect 126 plain "$FAULTLINE" run -- ./plain
printf 'int main(void) { return 0; }\n' >s.c
if gcc -static s.c -o static 2>/dev/null; then
	expect 126 'static' "$FAULTLINE" run -- ./static
fi
expect 125 "command" "$FAULTLINE" no-such-command
expect 125 . "$FAULTLINE" run --no-such-option -- true
expect 125 . "$FAULTLINE" run
expect 125 . "$FAULTLINE" doctor /no/such/path

for status in 0 1 7 42 255; do
	"$FAULTLINE" run -- sh -c "exit $status"
	[ $? -eq $status ] || fail "exit status $status was lost"
done
for signal in 1 2 6 9 11 15; do
	"$FAULTLINE" run -- sh -c "kill -$signal \$\$" 2>/dev/null
	got=$?
	[ $got -eq $((128 + signal)) ] || fail "signal $signal became $got"
done

[ "$("$FAULTLINE" run --report -- echo hello 2>report)" = hello ] || fail "the output is not the program's"
[ -s report ] || fail "no report"
"$FAULTLINE" run --report=json -- true 2>report
/usr/bin/python3 -c 'import json; json.load(open("report"))' || fail "the JSON report is not JSON"
[ "$("$FAULTLINE" --version)" = "faultline 0.1.0" ] || fail "version"
"$FAULTLINE" --help >/dev/null || fail "help"
"$FAULTLINE" doctor . >doctor || { cat doctor; fail "doctor says this machine cannot"; }
grep -qi userfaultfd doctor || fail "doctor does not mention userfaultfd"
exit 0
