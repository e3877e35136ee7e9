#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A program on an emulator whose memory is a soft space: it prints, leaves in its file and ends as on the kernel, with
# three times the budget sorted on the way.
. "$(dirname "$0")/common.sh"

GUEST=$BUILD/examples/guest
[ -x "$GUEST" ] || { echo "no Unicorn here"; exit 77; }
head -c 1500001 /dev/urandom >original

# alike NAME PROGRAM BUDGET WORD...: natively and as a guest, what it prints, its status and its file are the same.
alike()
{
	name=$1 program=$BUILD/examples/$2 budget=$3
	shift 3
	cp original file
	"$program" file "$@" >plain
	plain=$?
	cp file "$name.plain"
	cp original file
	"$GUEST" --verbose --budget "$budget" ${SEED:+"--seed=$SEED"} "$program" file "$@" >guest 2>"$name.err"
	status=$?
	[ $status -eq $plain ] || { cat "$name.err" >&2; fail "$name: exit status $status, plain $plain"; }
	cmp plain guest || fail "$name: the output differs"
	cmp "$name.plain" file || fail "$name: the file differs"
}

# told NAME WORD: the number after WORD in what --verbose says.
told()
{
	sed -n "s/^guest: .*$2 \([0-9]*\).*/\1/p" "$1.err"
}

SEED=
alike sort guest_program 8M
[ "$(told sort peak)" -le 8388608 ] || fail "over the budget"
[ "$(told sort swapped)" -gt 16777216 ] || fail "the sort did not need swap"
grep -q 'no system call' sort.err && { cat sort.err >&2; fail "a system call is missing"; }
alike small guest_program 1M quick
SEED=7
alike pie guest_program_pie 4M quick
for end in fault bus abort; do
	alike $end guest_program 4M $end 2>/dev/null
done
grep -q '^Segmentation fault$' fault.err || fail "no word of the fault"
grep -q '^Bus error$' bus.err || fail "no word of the bus error"
grep -q '^Aborted$' abort.err || fail "no word of the abort"

# A program that knows nothing of this, where it is static: Debian's busybox-static.
if "$GUEST" /bin/busybox true 2>/dev/null; then
	for words in 'sha256sum original' 'gzip -c original' 'ls -l /etc'; do
		# shellcheck disable=SC2086
		[ "$("$GUEST" --budget 2M /bin/busybox $words | cksum)" = "$(/bin/busybox $words | cksum)" ] || fail "busybox $words"
	done
fi

# The same seed, the same addresses; and they can be looked at.
for run in 1 2; do
	cp original file
	"$GUEST" --seed 3 --dump=dump.$run "$BUILD/examples/guest_program_pie" file quick >/dev/null || [ $? -eq 42 ] || fail "dump"
done
sed 's/ [0-9a-f:]* [0-9]* .*//' dump.1 | grep '^[0-9a-f]*-' >maps.1
sed 's/ [0-9a-f:]* [0-9]* .*//' dump.2 | grep '^[0-9a-f]*-' >maps.2
cmp maps.1 maps.2 || fail "other addresses with the same seed"
grep -q guest_program_pie dump.1 || fail "the dump does not show the program"
exit 0
