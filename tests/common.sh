# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
# For the tests in shell: a scratch folder with room, the command under test, and a way to fail.
# Sourced, with BUILD set to the build folder.

set -u
# shellcheck disable=SC2034 # for who sources this
FAULTLINE=$BUILD/cli/faultline
WORK=$(mktemp -d "${TMPDIR:-/var/tmp}/faultline-e2e.XXXXXX") || exit 1
trap 'rm -rf "$WORK"' EXIT
cd "$WORK" || exit 1
unset FAULTLINE_BUDGET FAULTLINE_FAULTS FAULTLINE_DIRECT FAULTLINE_REPORT FAULTLINE_INJECT FAULTLINE_MIN_MAP FAULTLINE_ANON FAULTLINE_IO_URING
export LC_ALL=C

fail()
{
	echo "FAIL: $*" >&2
	exit 1
}

# need PROGRAM...: skips the test when one is missing.
need()
{
	for program; do
		command -v "$program" >/dev/null || { echo "no $program here"; exit 77; }
	done
}
