#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# LMDB, with and without MDB_WRITEMAP: a writer, a reader that checks what it sees in every transaction, and all content.
. "$(dirname "$0")/common.sh"
driver lmdb_driver lmdb
BUDGET=$(sized 128M 16M)
records=$(sized 300000 40000)
transactions=$(sized 150 500)
reads=$(sized 20 60)

# The file must have its size before the work starts: one that is small when it is mapped is left to the kernel.
mkdir base
./lmdb_driver --nosync create base "$records" "$SEED" || fail "cannot make the database"

prepare()
{
	mkdir plain writemap && cp ../base/data.mdb plain/ && cp ../base/data.mdb writemap/
}

lmdb()
{
	run "$WORK/lmdb_driver" "$@" || echo "status $? of $*"
}

work()
{
	for mode in plain writemap; do
		flag=
		[ $mode = plain ] || flag=--writemap
		# shellcheck disable=SC2086 # none or one
		{
			lmdb $flag --nosync write $mode "$records" "$SEED" "$transactions" | tail -n 1
			lmdb $flag write $mode "$records" "$SEED" 20 | tail -n 1
			lmdb $flag read $mode "$records" "$SEED" "$reads"
			lmdb $flag verify $mode "$records"
		}
		# Free pages are as they happen to be: what is compared is the content, which verify has printed.
		rm -r $mode
	done
}

prove
served_file '/data.mdb$'
figures "$(mebibytes base/data.mdb)"
