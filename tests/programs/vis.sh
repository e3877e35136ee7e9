#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The editor vis on a large file, at a terminal: open, search, edit here and there, save.
. "$(dirname "$0")/common.sh"
need vis
BUDGET=$(sized 128M 16M)
mib=$(sized 1024 64)
generate text text "$mib"

prepare()
{
	cp ../text text
	lines=$(wc -l <text)
}

work()
{
	export HOME="$WORK" TERM=xterm VIS_PATH="$WORK"
	run /usr/bin/python3 "$PROGRAMS/terminal.py" 600 vis text <<-END
		/ 77777 
		ione line more<Escape>
		:$((lines / 2))
		dd
		Othe middle<Escape>
		G
		Athe end<Escape>
		gg
		5dd
		:w! saved
		:w
		:q!
	END
	echo "status $?"
}

prove
cmp -s plain/text text && fail "nothing was edited"
cmp plain/saved plain/text || fail "two ways of saving"
served_file '/text$'
figures "$mib"
