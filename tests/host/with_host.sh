#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# with_host.sh FAULTLINE PROGRAM [ARG...]: runs a program that uses the library, with its files at a host, which must end well too.

faultline=$1
shift
name=@faultline-test-$$
FAULTLINE_BUDGET=${FAULTLINE_BUDGET:-64M} "$faultline" host --socket "$name" &
host=$!
trap 'kill -9 $host 2>/dev/null' EXIT
tries=0
until grep -q "$name\$" /proc/net/unix; do
	tries=$((tries + 1))
	if [ $tries -gt 200 ] || ! kill -0 $host 2>/dev/null; then
		echo "the host does not start"
		exit 1
	fi
	sleep 0.05
done
FAULTLINE_HOST=$name "$@"
status=$?
kill -TERM $host
wait $host
ended=$?
trap - EXIT
if [ $ended -ne 0 ]; then
	echo "the host ended with status $ended"
	exit 1
fi
exit $status
