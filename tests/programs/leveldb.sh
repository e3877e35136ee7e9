#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# crash-safe
# LevelDB: filling, random reads, more writes, compaction, opening again, all content both ways; then a writer that is killed.
. "$(dirname "$0")/common.sh"
driver leveldb_driver leveldb
BUDGET=$(sized 64M 16M)
records=$(sized 800000 100000)
steps=$(sized 1000 400)

mkdir base
./leveldb_driver write base/db "$records" "$SEED" "$steps" >/dev/null || fail "cannot make the database"

prepare()
{
	cp -r ../base/db .
}

level()
{
	run "$WORK/leveldb_driver" "$@" || echo "status $? of $*"
}

work()
{
	level read db "$records" "$SEED" $((records / $(sized 16 4)))
	level write db "$records" "$SEED" $((steps + steps / 4)) | tail -n 1
	level verify db "$records"
	level compact db
	level verify db "$records"
	# What lies where depends on when the background thread compacts.
	rm -r db
}

prove
served_file '/db/.*ldb$'

# A kill loses nothing that was written by write(2), and leaves no part of a batch.
SIDE=served
for _ in $(seq "$KILLS"); do
	rm -rf db again
	cp -r base/db db && cp -r base/db again
	victim "$WORK/leveldb_driver" write db "$records" "$SEED" 100000000
	kill_victim leveldb
	written=$(tail -n 1 victim.out)
	run "$WORK/leveldb_driver" verify db "$records" >found || fail "broken after a kill at ${written:-0}"
	step=$(sed -n 's/^step \([0-9]*\) .*/\1/p' found)
	[ "$step" -ge "${written:-0}" ] || fail "step $written was written, $step is there"
	./leveldb_driver write again "$records" "$SEED" "$step" >/dev/null
	./leveldb_driver verify again "$records" >expected
	cmp found expected >&2 || fail "not what $step steps leave"
done
echo "killed $killed"
figures "$(mebibytes base/db)"
