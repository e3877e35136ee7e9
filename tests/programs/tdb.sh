#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# TDB, the database of Samba, with its locks by fcntl(2) and by robust mutexes in the file: processes that move money by transactions, of which
# some are killed. A transaction takes all of the mutexes, one after the other, which lie in more pages than are kept for locks.
. "$(dirname "$0")/common.sh"
/usr/bin/python3 -c 'import tdb' 2>/dev/null || { echo "no tdb for Python here"; exit 77; }
BUDGET=16M
mutexes=60011
transfers=$(sized 300 50)

cat >job.py <<'EOF2'
import os
import random
import subprocess
import sys
import time

import tdb

mutexes, transfers, seed = (int(a) for a in sys.argv[1:4])
path, number = (sys.argv[4:] + [None, None])[:2]
MUTEX_LOCKING = 4096
CHAINS = 600011  # so that the file is large from the start
WORKERS, VICTIMS, ACCOUNTS, BALANCE = 3, 3, 5000, 1000


def key(i):
    return b"account%d" % i


def balance(db, i):
    return int(db[key(i)].split(b" ")[0])


def put(db, i, amount):
    db[key(i)] = b"%d %s" % (amount, b"x" * (i % 300))


def opened(path):
    mutex = path == "mutexes.tdb"
    flags = tdb.NOSYNC | (tdb.CLEAR_IF_FIRST | MUTEX_LOCKING if mutex else 0)
    return tdb.Tdb(path, mutexes if mutex else CHAINS, flags, os.O_RDWR | os.O_CREAT, 0o600)


def fill(db):
    db.transaction_start()
    for i in range(ACCOUNTS):
        put(db, i, BALANCE)
    db.transaction_commit()


def work(number):
    db = opened(path)
    rng = random.Random(seed * 100 + number)
    done = 0
    while done < transfers or number >= WORKERS:  # a victim goes on until it is killed
        db.transaction_start()
        a, b = rng.randrange(ACCOUNTS), rng.randrange(ACCOUNTS)
        if a != b:
            amount = rng.randrange(balance(db, a) + 1)
            put(db, a, balance(db, a) - amount)
            put(db, b, balance(db, b) + amount)
        done += 1
        db[b"done%d" % number] = b"%d" % done
        db.transaction_commit()


def start(path, number):
    return subprocess.Popen([sys.executable, sys.argv[0], *sys.argv[1:4], path, str(number)])


def check(db):
    db.transaction_start()
    print("sum", sum(balance(db, i) for i in range(ACCOUNTS)))
    db.transaction_commit()


def together(path):
    db = opened(path)
    fill(db)
    workers = [start(path, i) for i in range(WORKERS)]
    for i in range(VICTIMS):
        victim = start(path, WORKERS + i)
        time.sleep(0.3 + 0.2 * i)
        victim.kill()
        print("killed", victim.wait())
        check(db)
    print("ended", *(w.wait() for w in workers))
    check(db)
    print("done", *(int(db[b"done%d" % i]) for i in range(WORKERS)))
    db.close()


if path == "create":
    fill(opened("locks.tdb"))
elif path:
    work(int(number))
else:
    together("locks.tdb")
    together("mutexes.tdb")
EOF2

# A file that is small when it is first mapped is the kernel's.
prepare()
{
	/usr/bin/python3 ../job.py 0 0 0 create
}

work()
{
	run /usr/bin/python3 ../job.py "$mutexes" "$transfers" "$SEED" || echo "status $?"
	rm ./*.tdb # what lies where depends on who came when
}

prove
served_file '/mutexes.tdb$'
served_file '/locks.tdb$'
figures 10
