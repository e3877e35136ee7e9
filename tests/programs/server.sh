# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
# For the proofs on servers: one that is started on a free port, asked, and stopped. Sourced after common.sh.

port=$(/usr/bin/python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
# Started as root, as servers are: what serves becomes another user.
# shellcheck disable=SC2034 # for the scripts
if [ "$(id -u)" -eq 0 ]; then
	chmod a+rx "$WORK"
	as_root=
else
	as_root='#'
fi

listening()
{
	/usr/bin/python3 -c "import socket; socket.create_connection(('127.0.0.1', $port), 1)" 2>/dev/null
}

# serve COMMAND...: in the foreground, in a session of its own since a server may end its whole process group. It writes its
# process id to `pid`.
serve()
{
	chmod a+rwx .
	chmod -R a+rX ../site
	run setsid --wait "$@" >server.out 2>&1 &
	server=$!
	RUNNING="$RUNNING $server"
	for _ in $(seq 100); do
		if [ -s pid ] && listening; then
			RUNNING="$RUNNING $(cat pid)"
			return
		fi
		kill -0 $server 2>/dev/null || break
		sleep 0.1
	done
	cat server.out log >&2
	fail "$1 does not listen"
}

stop_server()
{
	kill "$(cat pid)"
	wait "$server"
	echo "server: status $?"
	rm -f server.out
}

# fetch_all PREFIX [gzip]: asks for each file of the site, four at a time; prints the digest of each body, unpacked.
fetch_all()
{
	/usr/bin/python3 - "$port" "$@" <<-'END'
		import concurrent.futures, gzip, hashlib, os, sys, urllib.request
		port, prefix, packed = sys.argv[1], sys.argv[2], sys.argv[3:]
		def fetch(name):
		    request = urllib.request.Request(f"http://127.0.0.1:{port}{prefix}{name}", headers={"Accept-Encoding": "gzip"} if packed else {})
		    with urllib.request.urlopen(request, timeout=60) as answer:
		        body, coding = answer.read(), answer.headers.get("Content-Encoding")
		    if coding == "gzip":
		        body = gzip.decompress(body)
		    return name, coding, len(body), hashlib.sha256(body).hexdigest()
		with concurrent.futures.ThreadPoolExecutor(4) as pool:
		    for line in pool.map(fetch, sorted(os.listdir("../site"))):
		        print(*line)
	END
}

# load REQUESTS AT_ONCE PATH: from ab; what it says of failures.
load()
{
	ab -q -k -n "$1" -c "$2" "http://127.0.0.1:$port$3" 2>&1 | grep -E 'Complete requests|Failed requests|Non-2xx|Document Length|apr_'
}
