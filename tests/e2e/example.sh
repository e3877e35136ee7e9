#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The README's example, compiled against an installed copy as its reader would, in C and the header in C++.
SOURCE=$(pwd)
. "$(dirname "$0")/common.sh"
need gcc pkg-config ninja

DESTDIR=$WORK/root meson install -C "$BUILD" --no-rebuild --quiet >install.log 2>&1 || { cat install.log; fail "install"; }
PREFIX=$(find root -name faultline.pc -printf '%h\n' | sed 's|/lib.*||;s|/share.*||' | head -1)
export PKG_CONFIG_PATH="$WORK/$PREFIX/lib/pkgconfig" PKG_CONFIG_SYSROOT_DIR="$WORK/root"
sed -n '/^```c$/,/^```$/{/^```/d;p}' "$SOURCE/README.md" >sum.c
# shellcheck disable=SC2046
gcc -Wall -Wextra -Werror sum.c $(pkg-config --cflags --libs faultline) -o sum || fail "the example does not compile"
head -c 20000000 /dev/urandom >data
expected=$(/usr/bin/python3 -c 'print(sum(open("data", "rb").read()))')
[ "$(LD_LIBRARY_PATH=$WORK/$PREFIX/lib ./sum data)" = "$expected" ] || fail "the example's sum is wrong"
if command -v g++ >/dev/null; then
	echo '#include <faultline.h>' | g++ -x c++ -fsyntax-only -Wall -Wextra -Werror -I"$SOURCE/include" - || fail "the header is not C++"
fi
"$WORK/$PREFIX/bin/faultline" run --budget 2M -- /usr/bin/python3 -c '
import mmap
f = open("data", "rb")
m = mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ)
print(sum(m[i] for i in range(0, len(m), 1000)))' >installed || fail "the installed command does not run"
