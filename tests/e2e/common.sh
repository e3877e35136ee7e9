# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
# For the end-to-end tests: what all shell tests share, and comparisons with the same command without Faultline.
# Sourced, with BUILD set to the build folder.
. "$(dirname "$0")/../common.sh"

# same NAME COMMAND...: the command prints and leaves behind the same with and without Faultline.
# The budget is in $BUDGET. The report goes to NAME.json.
same()
{
	name=$1
	shift
	"$@" >"$name.plain" 2>"$name.plain.err" </dev/null
	plain=$?
	"$FAULTLINE" run --budget "$BUDGET" --report=json --report-file "$name.json" -- "$@" >"$name.fl" 2>"$name.fl.err" </dev/null
	status=$?
	[ $status -eq $plain ] || { cat "$name.fl.err" >&2; fail "$name: exit status $status, plain $plain"; }
	cmp "$name.plain" "$name.fl" || fail "$name: the output differs"
	cmp "$name.plain.err" "$name.fl.err" || fail "$name: standard error differs"
}

# served NAME PATTERN: the report shows a file whose path matches, with faults, within the budget.
served()
{
	/usr/bin/python3 - "$1.json" "$2" <<-'EOF' || fail "$1: not served as it should be"
		import json, re, sys
		report = json.load(open(sys.argv[1]))
		files = [f for f in report["files"] if re.search(sys.argv[2], f["path"])]
		if not files or not any(f["faults"] for f in files):
		    sys.exit("no faults on %s in %s" % (sys.argv[2], [f["path"] for f in report["files"]]))
		for p in report["processes"]:
		    if p["peak_bytes"] > report["budget_bytes"]:
		        sys.exit("peak %d over budget %d" % (p["peak_bytes"], report["budget_bytes"]))
	EOF
}
