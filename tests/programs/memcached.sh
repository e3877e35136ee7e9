#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# memcached with its items in a mapped file (-e): four connections fill it and read it; it is stopped, and another process goes on with the file.
. "$(dirname "$0")/common.sh"
need memcached
BUDGET=$(sized 64M 16M)
memory=$(sized 512 64)
items=$(sized 30000 2500)

prepare()
{
	:
}

# start: the server, and waits until it listens.
start()
{
	rm -f socket pid
	# As root it wants to be told that it shall stay so. Its thread that moves slabs misses being told to end, now and then, and it then never ends:
	# it is to have none.
	run memcached -o no_slab_reassign -u root -s "$PWD/socket" -P "$PWD/pid" -m "$memory" -t 4 -e "$PWD/items" >server.out 2>&1 &
	server=$!
	RUNNING="$RUNNING $server"
	for _ in $(seq 100); do
		[ -s pid ] && [ -S socket ] && return
		kill -0 "$server" 2>/dev/null || break
		sleep 0.1
	done
	cat server.out >&2
	fail "memcached does not start"
}

# stop: as it is stopped to be started again with the same items.
stop()
{
	kill -USR1 "$(cat pid)"
	wait "$server"
	echo "memcached: $?"
	cp server.out "../$SIDE.server"
}

ask()
{
	/usr/bin/python3 "$PROGRAMS/memcached.py" --seed "$SEED" "$@" socket "$items" || echo "status $? of $*"
}

work()
{
	start
	ask fill
	ask read
	stop
	# A file that was left in the same second is refused.
	sleep 2
	start
	ask read
	ask change
	ask read
	stop
	# Addresses and times are in it.
	rm -f items items.meta socket pid server.out
}

prove
served_file '/items$'
figures "$((items * 8 / 1024))"
