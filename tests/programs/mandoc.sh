#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# mandoc's makewhatis over a tree of manual pages, then apropos, which maps the data base.
. "$(dirname "$0")/common.sh"
need mandoc mapropos makewhatis
BUDGET=1M
pages=$(sized 25000 10000)
HEAP=${HEAP:+256} # what makewhatis allocates
generate manuals man "$pages"

prepare()
{
	cp -rl ../man .
}

work()
{
	run makewhatis man || echo "status $? of makewhatis"
	for words in fault Nd~reclaim 'Nm~^cache.*1$' any=needle 'Nd~signal.*dirty' Xr~wait_7; do
		run mapropos -M man "$words" || echo "status $? of apropos $words"
	done
	run mandoc -T ascii -M man man/man1/*_8.1 | tail -n 5
	rm -r man/man[1-8]
}

prove
served_file '/mandoc.db$'
figures "$(mebibytes served/man/mandoc.db)"
