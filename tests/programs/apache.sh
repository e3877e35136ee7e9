#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Apache httpd with EnableMMAP on and forked children, under load from ab and with the bodies fetched and compared. It maps files
# in pieces of 4 MiB.
. "$(dirname "$0")/common.sh"
. "$PROGRAMS/server.sh"
need apache2 ab
BUDGET=$(sized 64M 16M)
mib=$(sized 256 64)
requests=$(sized 1000 100)

mkdir site
for n in $(seq $((mib / 8))); do
	SEED=$((SEED + n)) generate pages "site/$n.html" 8
	truncate -s -$((n * 37)) "site/$n.html"
done

prepare()
{
	modules=/usr/lib/apache2/modules
	cat >httpd.conf <<-END
		ServerRoot $WORK/$SIDE
		ServerName localhost
		Listen 127.0.0.1:$port
		PidFile $WORK/$SIDE/pid
		ErrorLog $WORK/$SIDE/log
		Mutex fcntl:$WORK/$SIDE
		LoadModule mpm_prefork_module $modules/mod_mpm_prefork.so
		LoadModule authz_core_module $modules/mod_authz_core.so
		LoadModule filter_module $modules/mod_filter.so
		LoadModule deflate_module $modules/mod_deflate.so
		LoadModule alias_module $modules/mod_alias.so
		LoadModule mime_module $modules/mod_mime.so
		TypesConfig /dev/null
		AddType text/html .html
		${as_root}User #65534
		${as_root}Group #65534
		StartServers 4
		MaxRequestWorkers 8
		DocumentRoot $WORK/site
		EnableMMAP On
		EnableSendfile Off
		<Location /packed>
			SetOutputFilter DEFLATE
		</Location>
		Alias /packed $WORK/site
	END
}

work()
{
	serve apache2 -f "$WORK/$SIDE/httpd.conf" -DFOREGROUND
	fetch_all /
	fetch_all /packed/ gzip
	load "$requests" 4 /1.html
	load "$((requests / 5))" 8 /2.html
	fetch_all /
	stop_server
	rm -f httpd.conf log pid
}

prove
served_file '/site/'
figures "$mib"
