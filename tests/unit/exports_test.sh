#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# A program that uses the library and runs under the preload library has one engine: the preload library must define
# every call that the library exports. And what is exported is declared, and the other way round.
#
#   exports_test.sh FOLDER      the top of the source tree

cd "$1" || exit 1
calls()
{
	grep -o '\bfl_[a-z0-9_]*;' "$1" | tr -d ';' | sort -u
}

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
calls src/faultline.map >"$dir/library"
calls shim/shim.map >"$dir/shim"
grep -oh '\bfl_[a-z0-9_]*(' include/*.h | tr -d '(' | sort -u >"$dir/named"
bad=0
for call in $(comm -23 "$dir/library" "$dir/shim"); do
	echo "$call is in src/faultline.map and not in shim/shim.map"
	bad=1
done
for call in $(comm -13 "$dir/library" "$dir/shim"); do
	echo "$call is in shim/shim.map and not in src/faultline.map"
	bad=1
done
for call in $(comm -23 "$dir/library" "$dir/named"); do
	echo "$call is exported and declared in no header of include/"
	bad=1
done
exit $bad
