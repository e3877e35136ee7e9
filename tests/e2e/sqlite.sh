#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# sqlite3 with mmap_size on: reads and writes of a database several times the budget, as without Faultline.
. "$(dirname "$0")/common.sh"
need sqlite3
BUDGET=4M

sqlite3 base.db "
	PRAGMA journal_mode=DELETE;
	CREATE TABLE t(id INTEGER PRIMARY KEY, k INTEGER, v TEXT);
	WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < 120000)
	INSERT INTO t SELECT i, (i * 7919) % 100003, hex(zeroblob(100)) || i FROM n;
	CREATE INDEX tk ON t(k);" >/dev/null || fail "cannot make the database"
[ "$(stat -c %s base.db)" -gt $((6 * 4194304)) ] || fail "the database is too small"
MMAP="PRAGMA mmap_size=1073741824;"

cp base.db db
same read sqlite3 db "$MMAP SELECT count(*), sum(length(v)), sum(k) FROM t; SELECT v FROM t WHERE k=500; SELECT max(v) FROM t WHERE id % 97 = 3;"
served read '/db$'

# Both start from the same file, and leave the same content.
write_sql="$MMAP UPDATE t SET v = v || 'x' WHERE id % 10 = 0; DELETE FROM t WHERE id % 17 = 0;
	INSERT INTO t(k, v) SELECT k, 'new' || id FROM t WHERE id < 5000; SELECT count(*), sum(length(v)) FROM t; PRAGMA integrity_check;"
for mode in DELETE WAL; do
	cp base.db plain.db
	cp base.db served.db
	sqlite3 plain.db "PRAGMA journal_mode=$mode; $write_sql" >plain.out || fail "plain sqlite3"
	"$FAULTLINE" run --budget $BUDGET -- sqlite3 served.db "PRAGMA journal_mode=$mode; $write_sql" >served.out || fail "sqlite3 in mode $mode"
	cmp plain.out served.out || fail "mode $mode: the answers differ"
	sqlite3 plain.db .dump >plain.dump
	sqlite3 served.db .dump >served.dump
	cmp plain.dump served.dump || fail "mode $mode: the databases differ"
	[ "$(sqlite3 served.db 'PRAGMA integrity_check')" = ok ] || fail "mode $mode: integrity"
	rm -f plain.db* served.db*
done

same vacuum sqlite3 db "$MMAP VACUUM; SELECT count(*) FROM t; PRAGMA integrity_check;"
