#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# On a file system that can clone: the exerciser, whose steps then do it and compare ranges to make them one; a clone by another process of what
# this one has stored in a mapping.
. "$(dirname "$0")/common.sh"

[ "$(id -u)" = 0 ] || { echo "needs root, to mount a disk"; exit 77; }
truncate -s 400M disk
mkdir mnt
mkfs.btrfs -q disk 2>err || mkfs.xfs -q -m reflink=1 disk 2>err || { echo "needs mkfs.btrfs or mkfs.xfs"; exit 77; }
mount -o loop disk mnt || { echo "needs loop devices"; exit 77; }
trap 'cd /; umount -l "$WORK/mnt"; rm -rf "$WORK"' EXIT
cd mnt || exit 1

"$BUILD/tests/exerciser" plain 1 1500 || fail "the exerciser fails on the kernel itself"
seed=1
for how in "--budget 64M" "--budget 2M --host=none" "--budget 16M --faults=thread" "--budget 2M --faults=sigsegv" "--budget 16M --direct"; do
	seed=$((seed + 1))
	# shellcheck disable=SC2086
	"$FAULTLINE" run $how -- "$BUILD/tests/exerciser" file $seed 1500 || fail "seed $seed, $how"
done

cat >store.py <<'EOT'
import fcntl, mmap, shutil, subprocess

FICLONE = 0x40049409

with open("store", "w+b") as f:
    f.truncate(4 << 20)
    m = mmap.mmap(f.fileno(), 0)
    m[5] = m[3 << 20] = 65
    subprocess.run(["cp", "--reflink=always", "store", "clone"], check=True)
    with open("clone", "rb") as c:
        assert c.read() == m[:], "the clone lacks what was stored"
    m[6] = 66
    with open("other", "wb") as o:
        o.write(b"z" * (4 << 20))
    subprocess.run(["cp", "--reflink=always", "other", "store"], check=True)
    assert m[:] == b"z" * (4 << 20), "the mapping does not show what was cloned into its file"
    m[0:1 << 20] = b"y" * (1 << 20)
    with open("other", "rb") as o:
        fcntl.ioctl(f.fileno(), FICLONE, o.fileno())
    m.flush()
    assert m[0] == 122
    if shutil.which("filefrag"):
        extents = subprocess.run(["filefrag", "-sv", "store"], check=True, capture_output=True, text=True).stdout.splitlines()
        extents = [line for line in extents if line.strip()[:1].isdigit()]
        assert extents and all("shared" in line for line in extents), "what had been stored was written into the clone"
EOT
/usr/bin/python3 store.py || fail "cp on the kernel itself"
"$FAULTLINE" run --budget 64M -- /usr/bin/python3 store.py || fail "cp"
