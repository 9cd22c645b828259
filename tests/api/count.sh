#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#
# tests/lib/count, by which tests/check decides: what is no pass must not be counted as one.
# Argument: the source tree.
set -u

count=$1/tests/lib/count
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
printf '%s\n' '# comment' 'bed/may-skip-*: its reason' 'unit/kvm: there is none' >"$work/skips"
bad=0
n=0

# counts WANTED SUITE FILE: WANTED is the last line.
counts() {
	local got
	got=$("$count" --skips "$work/skips" "$2" "$3" 2>&1 | tail -n 1)
	n=$((n + 1))
	if [[ $got != "$1" ]]; then
		echo "case $n ($2 $(head -c 300 "$3")): '$got', not '$1'"
		bad=$((bad + 1))
	fi
}

stream() {
	printf '%s\n' "${@:2}" >"$work/stream"
	counts "$1" bed "$work/stream"
}

# meson WANTED [RESULT STDOUT]...: STDOUT is text of JSON.
meson() {
	local wanted=$1
	shift
	: >"$work/log.json"
	while (($#)); do
		printf '{"name": "vmmd:unit / kvm", "stdout": "%s", "result": "%s", "returncode": 1}\n' \
			"$2" "$1" >>"$work/log.json"
		shift 2
	done
	counts "$wanted" unit "$work/log.json"
}

stream '2 0 0' 1..2 'ok a.b (1 s)' '  | not ok quoted: in a log' 'ok a.c (2 s)'
stream '1 1 0' 1..2 'ok a (1 s)' 'not ok b: reason (2 s)'
stream '0 1 0' 1..1 'skip other: no reason listed'
stream '0 0 1' 1..1 'skip may-skip-this: because'
stream '1 2 0' 1..3 'ok a'
stream '0 1 0' 'sh: not found'
stream '0 1 0' 1..0
stream '0 1 0' ''
meson '1 0 0' OK ''
meson '0 1 0'
meson '0 1 0' FAIL ''
meson '0 1 0' TIMEOUT ''
meson '0 1 0' ERROR ''
meson '0 0 1' SKIP 'no kvm'
meson '12 0 0' OK '100%: Checks: 12, Failures: 0, Errors: 0\n'
meson '9 3 0' FAIL '75%: Checks: 12, Failures: 1, Errors: 2\n'
meson '9 3 0' OK '75%: Checks: 12, Failures: 1, Errors: 2\n'
meson '12 1 0' FAIL '100%: Checks: 12, Failures: 0, Errors: 0\n'
meson '7 0 0' OK '7 passed, 0 failed, 0 skipped\n'
meson '5 2 0' FAIL '5 passed, 2 failed, 0 skipped\n'
meson '3 1 0' OK '' OK '2 passed, 0 failed, 0 skipped\n' FAIL ''

echo "$((n - bad)) passed, $bad failed, 0 skipped"
((bad == 0))
