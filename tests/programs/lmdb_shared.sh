#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# crash-safe
# LMDB between processes, with and without MDB_WRITEMAP: a writer and two readers in processes of their own that check what they
# see in every transaction; then a writer that is killed.
. "$(dirname "$0")/common.sh"
driver lmdb_driver lmdb
BUDGET=$(sized 128M 16M)
records=$(sized 300000 40000)
transactions=$(sized 200 500)

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
			lmdb $flag --nosync together $mode "$records" "$SEED" "$transactions"
			lmdb $flag verify $mode "$records"
		}
		rm -r $mode
	done
}

# A kill loses no transaction that was committed, whether it was synchronous or not, and leaves no part of one.
killed_writer()
{
	rm -rf env again
	mkdir env again && cp base/data.mdb env/ && cp base/data.mdb again/
	victim "$WORK/lmdb_driver" "$@" write env "$records" "$SEED" 100000000
	kill_victim "lmdb $*"
	committed=$(tail -n 1 victim.out)
	run "$WORK/lmdb_driver" "$@" verify env "$records" >found || fail "lmdb $*: broken after a kill at ${committed:-0}"
	transaction=$(cut -d' ' -f2 found)
	[ "$transaction" -ge "${committed:-0}" ] || fail "lmdb $*: transaction $committed was committed, $transaction is there"
	./lmdb_driver --nosync write again "$records" "$SEED" "$transaction" >/dev/null
	./lmdb_driver verify again "$records" >expected
	cmp found expected >&2 || fail "lmdb $*: not what $transaction transactions leave"
}

SIDE=served
for _ in $(seq "$KILLS"); do
	killed_writer
	killed_writer --nosync
	killed_writer --writemap
	killed_writer --writemap --nosync
done
echo "killed $killed"
prove
served_file '/data.mdb$'
figures "$(mebibytes base/data.mdb)"
