#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# crash-safe
# SQLite in WAL mode with mmap_size on: two processes of one run, of which one writes while the other reads, and both are right in
# every transaction; then a writer that is killed.
. "$(dirname "$0")/common.sh"
need /usr/bin/python3
BUDGET=$(sized 64M 16M)
rows=$(sized 800000 150000)
transactions=$(sized 1500 150)

cat >job.py <<'EOF2'
"""job.py WHAT ROWS SEED COUNT: rows whose amounts add up to 0, always. A transaction moves amounts between rows."""
import os
import random
import sqlite3
import sys

what, rows, seed, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])


def connect():
    db = sqlite3.connect("db", timeout=60, isolation_level=None)
    db.execute("PRAGMA mmap_size = 2147418112").fetchall()
    db.execute("PRAGMA journal_mode = wal").fetchall()
    db.execute("PRAGMA synchronous = normal")
    db.execute("PRAGMA wal_autocheckpoint = 200")
    return db


def body(row, amount):
    return f"{row}:{amount};" * 40


def create():
    db = connect()
    db.execute("CREATE TABLE account (id INTEGER PRIMARY KEY, amount INTEGER, body TEXT)")
    db.execute("CREATE TABLE done (number INTEGER)")
    db.execute("BEGIN")
    db.execute("INSERT INTO done VALUES (0)")
    db.executemany("INSERT INTO account VALUES (?, 0, ?)", ((row, body(row, 0)) for row in range(rows)))
    db.execute("COMMIT")
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def write(say):
    db = connect()
    for _ in range(count):
        db.execute("BEGIN IMMEDIATE")
        number = db.execute("SELECT number FROM done").fetchone()[0] + 1
        rng = random.Random(seed * 1000003 + number)
        for _ in range(20):
            for sign in 1, -1:
                row = rng.randrange(rows)
                amount = db.execute("SELECT amount FROM account WHERE id = ?", (row,)).fetchone()[0] + sign * 17
                db.execute("UPDATE account SET amount = ?, body = ? WHERE id = ?", (amount, body(row, amount), row))
        db.execute("UPDATE done SET number = ?", (number,))
        db.execute("COMMIT")
        if say:
            print(number, flush=True)


def look(db, last):
    """One read transaction: the whole, and bodies here and there."""
    db.execute("BEGIN")
    number = db.execute("SELECT number FROM done").fetchone()[0]
    total = db.execute("SELECT sum(amount) FROM account").fetchone()[0]
    if number < last or total:
        sys.exit(f"transaction {number} after {last}: the sum is {total}")
    start = random.randrange(rows)
    for row, amount, text in db.execute("SELECT * FROM account WHERE id >= ? LIMIT 2000", (start,)):
        if text != body(row, amount):
            sys.exit(f"transaction {number}: row {row} is torn")
    db.execute("COMMIT")
    return number


def together():
    """The parent reads for as long as its child, which is another program, writes."""
    import subprocess
    writer = subprocess.Popen([sys.executable, __file__, "write", *sys.argv[2:4], str(count)])
    db = connect()
    last = 0
    try:
        while writer.poll() is None:
            last = look(db, last)
    finally:
        if writer.wait():
            sys.exit(f"the writer ended with {writer.returncode}")
    print(look(db, last))


def verify():
    db = connect()
    print(look(db, 0), db.execute("PRAGMA integrity_check").fetchall())
    for row, amount, text in db.execute("SELECT * FROM account"):
        if text != body(row, amount):
            sys.exit(f"row {row} is torn")
        if amount:
            print(row, amount)


if what == "create":
    create()
elif what == "write":
    write(False)
elif what == "say":
    write(True)
elif what == "together":
    together()
elif what == "verify":
    verify()
EOF2

mkdir base
(cd base && /usr/bin/python3 ../job.py create "$rows" "$SEED" 0) || fail "cannot make the database"

prepare()
{
	cp ../base/db db
}

job()
{
	run /usr/bin/python3 "$WORK/job.py" "$@" || echo "status $? of $*"
}

# When checkpoints come depends on who reads: the content, which verify prints, is what must be the same.
work()
{
	job together "$rows" "$SEED" "$transactions"
	job verify "$rows" "$SEED" 0
	rm -f db*
}

SIDE=served
for _ in $(seq "$KILLS"); do
	rm -rf db*
	cp base/db db
	victim /usr/bin/python3 "$WORK/job.py" say "$rows" "$SEED" 1000000
	until [ -s victim.out ] || ! kill -0 "$victim"; do
		sleep 0.1
	done
	kill_victim sqlite
	committed=$(tail -n 1 victim.out)
	run /usr/bin/python3 "$WORK/job.py" verify "$rows" "$SEED" 0 >found || { cat found >&2; fail "broken after a kill at $committed"; }
	transaction=$(head -n 1 found | cut -d' ' -f1)
	[ "$transaction" -ge "$committed" ] || fail "transaction $committed was committed, $transaction is there"
	rm -rf db*
	cp base/db db
	/usr/bin/python3 "$WORK/job.py" write "$rows" "$SEED" "$transaction"
	/usr/bin/python3 "$WORK/job.py" verify "$rows" "$SEED" 0 >expected
	cmp found expected >&2 || fail "not what $transaction transactions leave"
done
rm -f db*
echo "killed $killed"
prove
served_file '/db$'
figures "$(mebibytes base/db)"
