#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# SQLite with mmap_size on, by its command and by python3's module: scans, look-ups, a rollback, growth, deletion, VACUUM.
. "$(dirname "$0")/common.sh"
need sqlite3 /usr/bin/python3
BUDGET=$(sized 128M 16M)
rows=$(sized 600000 70000)
MMAP='PRAGMA mmap_size = 2147418112;'

sqlite3 base.db >/dev/null <<-SQL || fail "cannot make the database"
	PRAGMA journal_mode = off;
	PRAGMA synchronous = off;
	CREATE TABLE item (id INTEGER PRIMARY KEY, shelf INTEGER, score INTEGER, body TEXT);
	WITH RECURSIVE seed (id, x) AS (
		SELECT 1, 20240229 + $SEED
		UNION ALL
		SELECT id + 1, (x * 1103515245 + 12345) & 2147483647 FROM seed WHERE id < $rows
	)
	INSERT INTO item SELECT id, (x >> 8) % 97, (x >> 4) % 1000003, printf('%0900d', x) FROM seed;
	CREATE INDEX by_score ON item (score);
SQL

prepare()
{
	cp ../base.db db
}

sql()
{
	run sqlite3 -batch -bail db "$MMAP" "$@" || echo "status $? of $*"
}

work()
{
	sql "SELECT count(*), sum(score), max(body % 1000003) FROM item;
		SELECT shelf, count(*), sum(score) FROM item GROUP BY shelf ORDER BY 3 DESC LIMIT 3;"
	sql "WITH RECURSIVE pick (n, x) AS (SELECT 1, 42 UNION ALL SELECT n + 1, (x * 1103515245 + 12345) & 2147483647 FROM pick WHERE n < 20000)
		SELECT count(*), sum(score), sum(length(body)) FROM pick JOIN item ON id = 1 + (x >> 4) % $rows;"
	sql "BEGIN; UPDATE item SET score = score + 1, body = body || 'x' WHERE id % 30 = 0; ROLLBACK; SELECT sum(score) FROM item;"
	sql "UPDATE item SET body = body || body WHERE id % 20 = 0; INSERT INTO item (shelf, score, body) SELECT shelf, score, body FROM item WHERE id % 15 = 0;
		SELECT count(*), sum(length(body)) FROM item;"
	sql "DELETE FROM item WHERE id % 3 = 0; VACUUM; SELECT count(*), sum(length(body)) FROM item;"
	run /usr/bin/python3 - <<-END || echo "status $? of python3"
		import hashlib, random, sqlite3
		db = sqlite3.connect("db")
		db.execute("$MMAP").fetchall()
		rng = random.Random($SEED)
		digest = hashlib.sha256()
		for _ in range(5000):
		    for row in db.execute("SELECT * FROM item WHERE id >= ? LIMIT 2", (rng.randrange($rows),)):
		        digest.update(repr(row).encode())
		with db:
		    db.executemany("UPDATE item SET score = ?, body = ? WHERE id = ?",
		                   [(rng.randrange(1000003), "%0700d" % rng.getrandbits(31), rng.randrange($rows)) for _ in range(5000)])
		for row in db.execute("SELECT score, body FROM item INDEXED BY by_score WHERE score < 20000 ORDER BY score, id"):
		    digest.update(repr(row).encode())
		print(digest.hexdigest(), db.execute("SELECT count(*), sum(score) FROM item").fetchall())
	END
	sql "PRAGMA integrity_check;"
}

prove
[ "$(sqlite3 served/db 'PRAGMA integrity_check')" = ok ] || fail "integrity"
served_file '/db$'
figures "$(mebibytes base.db)"
