#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# python3's mmap module: shared and private, reading, writing, resizing, flushing; more data than budget.
. "$(dirname "$0")/common.sh"
[ -x /usr/bin/python3 ] || exit 77
BUDGET=3M

cat >job.py <<'EOF'
import hashlib, mmap, os, random, socket, sys
size = 24 << 20
r = random.Random(3)
with open("data", "wb") as f:
    for i in range(size // 65536):
        f.write(r.randbytes(65536))
with open("data", "r+b") as f:
    m = mmap.mmap(f.fileno(), 0)
    print(len(m), hashlib.sha256(m).hexdigest(), m.find(b"\x01\x02\x03"), m.rfind(b"\xff\xfe"))
    for i in range(3000):
        at = r.randrange(size - 100)
        m[at:at + 50] = bytes([i % 256]) * 50
    m.move(0, 1 << 20, 1 << 20)
    m.flush()
    print(hashlib.sha256(open("data", "rb").read()).hexdigest())
    f.seek(5 << 20)
    f.write(b"written by write")
    f.flush()
    print(m[5 << 20:(5 << 20) + 16])
    m[6 << 20:(6 << 20) + 4] = b"mmap"
    f.seek(6 << 20)
    print(f.read(4))
    m.resize(size + (4 << 20))
    m[size + 100] = 7
    print(len(m), m[size + 100], os.fstat(f.fileno()).st_size)
    # system calls straight on mapped memory
    a, b = socket.socketpair()
    view = memoryview(m)
    sent = 0
    got = hashlib.sha256()
    while sent < 4 << 20:
        n = a.send(view[sent:sent + 30000])
        left = n
        while left:
            data = b.recv(left)
            got.update(data)
            left -= len(data)
        sent += n
    print(sent, got.hexdigest())
    a.sendall(b"into the map")
    print(b.recv_into(view[9 << 20:(9 << 20) + 12]), bytes(view[9 << 20:(9 << 20) + 12]))
    with open("copy", "wb", buffering=0) as c:
        at = 0
        while at < len(m):
            at += c.write(view[at:])
    with open("data2", "w+b", buffering=0) as c:
        c.write(bytes(range(256)) * 256)
        c.seek(0)
        print(c.readinto(view[1 << 20:(1 << 20) + 65536]), bytes(view[(1 << 20) + 1000:(1 << 20) + 1010]))
    del view
    m.close()
with open("data", "rb") as f:
    c = mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_COPY)
    before = hashlib.sha256(open("data", "rb").read()).hexdigest()
    for i in range(0, len(c), 4096):
        c[i] = i // 4096 % 256
    print(hashlib.sha256(c).hexdigest(), before == hashlib.sha256(open("data", "rb").read()).hexdigest())
    pid = os.fork()
    if pid == 0:
        bad = any(c[i] != i // 4096 % 256 for i in range(0, len(c), 4096))
        c[0] = 99
        os._exit(bad)
    print(os.waitpid(pid, 0)[1], c[0])
EOF
run_in()
{
	mkdir "$1" && cd "$1" || exit 1
	shift
	"$@" >../out.$$ 2>&1
	status=$?
	cd ..
	[ $status -eq 0 ] || { cat out.$$ >&2; fail "$*"; }
}
run_in plain /usr/bin/python3 ../job.py
mv out.$$ plain.out
for mode in "" --direct --faults=thread; do
	rm -rf served
	# shellcheck disable=SC2086
	run_in served "$FAULTLINE" run --budget $BUDGET $mode --report=json --report-file ../job.json -- /usr/bin/python3 ../job.py
	cmp plain.out out.$$ || fail "python3 $mode: the output differs"
	for f in data copy data2; do
		cmp plain/$f served/$f || fail "python3 $mode: $f differs"
	done
	served job '/data$'
done
