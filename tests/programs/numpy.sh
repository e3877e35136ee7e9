#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# numpy.memmap: read only, read and write, copy on write; in order, backwards, by columns, at random, sorted in place.
. "$(dirname "$0")/common.sh"
/usr/bin/python3 -c 'import numpy' 2>/dev/null || { echo "no numpy here"; exit 77; }
BUDGET=$(sized 128M 16M)
mib=$(sized 512 64)
HEAP=${HEAP:+$((mib * 2 + 64))} # a private copy of all of it, which the kernel cannot swap out, and arrays
generate bytes data "$mib"

cat >job.py <<'EOF2'
import hashlib
import sys

import numpy as np

seed = int(sys.argv[1])


def digest(array):
    return hashlib.sha256(np.ascontiguousarray(array)).hexdigest()


def reading(a):
    print("read", a.sum(dtype=np.uint64), a.max(), int(np.bitwise_xor.reduce(a)))
    print("backwards", digest(a[::-511]))
    table = a.reshape(-1, 1024)
    print("columns", digest(table[:, 5]), digest(table[::7, 100:120]))
    print("random", digest(a[np.random.default_rng(seed).integers(0, len(a), 50000)]))


reading(np.memmap("../data", dtype=np.uint32, mode="r"))

a = np.memmap("file", dtype=np.uint32, mode="r+")
a[::1000] += 1
a[len(a) // 2:] ^= 0x5a5a5a5a
a[np.random.default_rng(seed + 1).integers(0, len(a), 30000)] = 7
a.flush()
a[len(a) // 4:len(a) // 2].sort()
table = a.reshape(-1, 1024)
table[:, 17] = np.arange(len(table))
reading(a)
del a, table

a = np.memmap("file", dtype=np.uint32, mode="c")
a[::512] = np.arange(len(a[::512]))
a[len(a) // 3:len(a) // 2] = 1
reading(a)
del a

new = np.memmap("new", dtype=np.float64, mode="w+", shape=(len(np.memmap("../data", dtype=np.float64, mode="r")) // 2,))
new[:] = np.arange(len(new))
new[::3] *= 0.5
print("new", new.sum(), digest(new[-1000:]))
EOF2

prepare()
{
	cp ../data file
}

work()
{
	run /usr/bin/python3 ../job.py "$SEED" || echo "status $?"
}

prove
served_file '/data$'
served_file '/file$'
figures "$mib"
