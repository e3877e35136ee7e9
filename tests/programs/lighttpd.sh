#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# lighttpd, which compresses what it has mapped (mod_deflate), under load from ab and with the bodies fetched and compared.
. "$(dirname "$0")/common.sh"
. "$PROGRAMS/server.sh"
need lighttpd ab
[ -e /usr/lib/lighttpd/mod_deflate.so ] || { echo "no mod_deflate here"; exit 77; }
BUDGET=$(sized 64M 16M)
mib=$(sized 192 64)
requests=$(sized 400 40)

mkdir site
for n in $(seq $((mib / 8))); do
	SEED=$((SEED + n)) generate pages "site/$n.html" 8
	truncate -s -$((n * 37)) "site/$n.html"
done

prepare()
{
	cat >lighttpd.conf <<-END
		server.document-root = "$WORK/site"
		server.port = $port
		${as_root}server.username = "nobody"
		${as_root}server.groupname = "nogroup"
		server.bind = "127.0.0.1"
		server.pid-file = "$WORK/$SIDE/pid"
		server.errorlog = "$WORK/$SIDE/log"
		server.network-backend = "writev"
		server.modules = ("mod_deflate")
		mimetype.assign = (".html" => "text/html")
		deflate.mimetypes = ("text/html")
		deflate.allowed-encodings = ("gzip")
		deflate.compression-level = 1
	END
}

work()
{
	serve lighttpd -D -f "$WORK/$SIDE/lighttpd.conf"
	fetch_all / gzip
	fetch_all /
	load "$requests" 4 /1.html
	fetch_all / gzip
	stop_server
	rm -f lighttpd.conf log pid
}

prove
served_file '/site/'
figures "$mib"
