#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# `faultline walk`: the example, what was saved of it, dumps by hand, and input that makes no sense.
. "$(dirname "$0")/common.sh"

# refuses WORDS ARGUMENT...: status 125, nothing on standard output, and one line on standard error that has these words.
refuses()
{
	words=$1
	shift
	"$FAULTLINE" walk "$@" >out 2>err </dev/null
	status=$?
	[ $status -eq 125 ] || { cat err >&2; fail "walk $*: status $status, not 125"; }
	[ ! -s out ] || fail "walk $*: wrote to standard output"
	[ "$(wc -l <err)" -eq 1 ] || { cat err >&2; fail "walk $*: not one line"; }
	grep -q "$words" err || { cat err >&2; fail "walk $*: does not say '$words'"; }
}

# shows PATTERN FILE
shows()
{
	grep -q -- "$1" "$2" || { cat "$2" >&2; fail "no '$1'"; }
}

"$FAULTLINE" walk --example --save saved >example 2>err || { cat err >&2; fail "the example"; }
[ ! -s err ] || { cat err >&2; fail "the example says something on standard error"; }
sed '1,/^$/d' example >listed
"$FAULTLINE" walk saved >again || fail "what was saved is not read"
cmp listed again || fail "what was saved is shown otherwise"
for kind in file private 'zero page'; do
	shows "[0-9] $kind" listed
done
shows '^00500000-00510000 rw-p' listed # the heap
shows '16 pages: 3 private, 13 nothing; 3 accessed, 2 in several mappings' listed
shows 'r-xp .*program' listed
shows 'rw-s .*shared' listed
[ "$(grep -c '^[0-9a-f]*-[0-9a-f]* ' listed)" -eq 5 ] || fail "not five mappings"

# The same addresses every time; entries differ, as the memory of the host does.
"$FAULTLINE" walk --example | sed 's/ [0-9]* *\(\/memfd\)/ \1/' >second
sed 's/ [0-9]* *\(\/memfd\)/ \1/' example | cmp - second || fail "another run shows something else"

"$FAULTLINE" walk saved 400123 501000 0x510000 700000000000 >walked || fail "addresses"
shows '^  PGD   0  [0-9a-f]*7  present write user  -> table ' walked
shows '^  PTE   0  0000[0-9a-f]*025  present user accessed  -> memory at ' walked
shows 'here: byte 123 of the file' walked
shows '^  PTE 257  8000[0-9a-f]*425  present user accessed nx anon  -> memory at ' walked
shows '2 mappings show it, so a write makes a copy' walked
shows '^000000510000: not mapped' walked
shows '^  PTE 272  0*  empty' walked
shows '^  PGD 224  -  *no page below' walked
shows 'an access raises SIGSEGV' walked
FAULTLINE_BUDGET=1M "$FAULTLINE" walk --example 500000 >walked || fail "the example does not fit into 1 MiB"
shows 'here: a private page' walked

# Five levels, names with blanks, a page in swap, a device, a page that went.
cat >five <<'END'
00010000-00018000 rw-p 00010000 08:01 17                                 /a file with blanks
  000000010000  5[0]=0000000000002007 4[0]=0000000000003007 3[0]=0000000000004007 2[0]=0000000000005007 1[16]=0000000000009400  swap at 9000, 3 mappings
  000000011000  5[0]=0000000000002007 4[0]=0000000000003007 3[0]=0000000000004007 2[0]=0000000000005007 1[17]=80007f000000b467  private at a000
  000000012000  5[0]=0000000000002007 4[0]=0000000000003007 3[0]=0000000000000000  nothing
100000000000000-100000000001000 rw-s 00000000 00:00 3                    [ring]
  100000000000000  5[256]=0000000000006007 4[0]=0000000000007007 3[0]=0000000000008007 2[0]=0000000000009007 1[0]=80007f000000c227  device at 5000
END
"$FAULTLINE" walk five >listed || fail "five levels"
shows '8 pages: 1 private, 1 swap, 6 nothing; 1 accessed, 1 dirty, 1 in several mappings' listed
shows '1 page: 1 device' listed
"$FAULTLINE" walk five 10fff 100000000000010 >walked || fail "five levels"
shows '^  P4D   0  ' walked
shows '^  PTE  16  0000000000009400  not present anon  -> slot 9' walked
shows 'in swap at 9000; 3 mappings show it' walked
shows '^  PGD 256  ' walked
shows 'for its byte 5010' walked
"$FAULTLINE" walk /dev/null | grep -q 'nothing is mapped' || fail "an empty dump"

refuses 'no file given'
refuses 'no-such-file: No such file' no-such-file
refuses 'line 1 is not of a dump' second
sed 3d five | sed 2p >twice
refuses 'line 3 is not of a dump' twice
sed 's/ 1\[16\]/ 1[x]/' five >index
refuses 'line 2 is not of a dump' index
printf '\0\n' >zeros
refuses 'line 1 is not of a dump' zeros
refuses 'zz: not an address' saved zz
refuses 'not an address' saved 200000000000000
refuses 'not an address' saved 1x
refuses 'only with --example' --save other
refuses 'cannot be written\|can be written' --example --save no/such/folder
refuses 'not understood' --no-such-option
FAULTLINE_BUDGET=12Q refuses 'FAULTLINE_BUDGET' --example
"$FAULTLINE" help walk | grep -q 'ADDRESS' || fail "help"

# Soft spaces need no userfaultfd.
if "$BUILD/tests/refuse" 1 true; then
	"$BUILD/tests/refuse" 1 "$FAULTLINE" walk --example >without 2>err || { cat err >&2; fail "without userfaultfd"; }
	sed 's/ [0-9]* *\(\/memfd\)/ \1/' without | cmp - second || fail "something else is shown without userfaultfd"
fi
exit 0
