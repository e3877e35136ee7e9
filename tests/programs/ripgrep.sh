#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# ripgrep --mmap: counts, lines, context, no match at all, several files in threads.
. "$(dirname "$0")/common.sh"
need rg
BUDGET=$(sized 64M 16M)
mib=$(sized 1024 128)

mkdir texts
for n in 1 2 3 4; do
	SEED=$((SEED + n)) generate text texts/$n $((mib / 4))
done
cat texts/* >text || fail "no room"

prepare()
{
	:
}

search()
{
	run rg --mmap "$@" || echo "status $? of $*"
}

work()
{
	search -j1 -c 'needle.*[0-9a-f]{3}7$' ../text
	search -j1 -n 'vma budget [0-9a-f]*ab' ../text | sha256sum
	search -j1 -C3 '^[0-9]*77777 ' ../text
	search -j1 'no such line here' ../text
	search -j1 -c -i 'PRIVATE (page|store)' ../text
	search -j4 -c 'cache +clean' ../texts | sort
}

prove
served_file '/text$'
served_file '/texts/'
figures "$mib"
