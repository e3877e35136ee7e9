#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Varnish with its objects in a mapped file (-s file): filled from an origin by four clients, asked again, and under load from ab. All of its threads have
# one alternate signal stack.
. "$(dirname "$0")/common.sh"
. "$PROGRAMS/server.sh"
need varnishd ab cc
BUDGET=$(sized 64M 16M)
mib=$(sized 256 64)
requests=$(sized 400 40)

mkdir site
for n in $(seq $((mib / 2))); do
	SEED=$((SEED + n)) generate pages "site/$n.html" 2
	truncate -s -$((n * 37)) "site/$n.html"
done
origin=$(/usr/bin/python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
/usr/bin/python3 - "$origin" site >/dev/null 2>&1 <<-'END' &
	import functools, http.server, sys
	class Handler(http.server.SimpleHTTPRequestHandler):
	    protocol_version = "HTTP/1.1"
	handler = functools.partial(Handler, directory=sys.argv[2])
	http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), handler).serve_forever()
END
RUNNING="$RUNNING $!"

prepare()
{
	:
}

work()
{
	serve varnishd -F -j none -n "$PWD/n" -P "$PWD/pid" -a "127.0.0.1:$port" -b "127.0.0.1:$origin" -t 3600 -s "file,$PWD/store,$((mib + 64))M"
	fetch_all /
	fetch_all /
	load "$requests" 4 /1.html
	fetch_all /
	varnishstat -n "$PWD/n" -1 -f MAIN.n_lru_nuked -f MAIN.cache_miss -f MAIN.sess_dropped | awk '{ print $1, $2 }'
	stop_server
	rm -rf n store log pid
}

prove
served_file '/store$'
figures "$mib"
