#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# generator: what vmm-generator makes of directories of .vm files, compared with what is expected,
# and what it does when it cannot write. --update writes what is expected anew.
#   generator.sh VMM-GENERATOR CASES-DIRECTORY UNIT-DIRECTORY [--update]
set -euo pipefail
generator=$(realpath "$1") cases=$(realpath "$2") units=$(realpath "$3") update=${4-}

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
passed=0 failed=0

result() {
	if [ "$1" = 0 ]; then
		echo "ok: $2"
		passed=$((passed + 1))
	else
		echo "FAILED: $2"
		failed=$((failed + 1))
	fi
}

for case in "$cases"/*/; do
	name=$(basename "$case")
	cd "$case"
	mkdir -p "$tmp/$name/tree" "$tmp/$name/early" "$tmp/$name/late"
	# Twice: a second run replaces what the first has written.
	for _ in 1 2; do
		"$generator" --root=root "$tmp/$name/tree" "$tmp/$name/early" "$tmp/$name/late" \
			2>"$tmp/$name/messages"
	done
	if [ "$update" = --update ]; then
		rm -rf expected
		cp -r "$tmp/$name/tree" expected
		touch expected/.keep
		cp "$tmp/$name/messages" messages
	fi
	r=0
	diff -ru --exclude=.keep expected "$tmp/$name/tree" || r=1
	diff -u messages "$tmp/$name/messages" || r=1
	result $r "$name: drop-ins and messages"
	result "$(find "$tmp/$name/early" "$tmp/$name/late" -type f | wc -l)" "$name: nothing else"

	r=0
	"$generator" --root=root --dry-run >"$tmp/out" 2>/dev/null || r=$?
	errors=$(grep -vc ' warning: ' messages || true)
	result "$((r == (errors > 0) ? 0 : 1))" "$name: --dry-run fails when a file is broken"

	# The drop-ins, as systemd reads them.
	command -v systemd-analyze >/dev/null || continue
	for dropin in "$tmp/$name"/tree/*/; do
		[ -d "$dropin" ] || continue
		# A colon in the name of a file means something else to it.
		unit=$(basename "$dropin" .d)
		unit=${unit/:/-}
		mkdir -p "$tmp/units"
		sed '/\\$/d; /^	--/d; s|^ExecStart=.*|ExecStart=/bin/true|' \
			"$units/${unit%%@*}@.service" >"$tmp/units/$unit"
		grep -q ^ExecStart "$tmp/units/$unit" || echo ExecStart=/bin/true >>"$tmp/units/$unit"
		rm -rf "$tmp/units/$unit.d"
		cp -r "$dropin" "$tmp/units/$unit.d"
		r=0
		systemd-analyze verify --man=no "$tmp/units/$unit" >"$tmp/out" 2>&1 || true
		grep "$unit.d" "$tmp/out" && r=1
		result $r "$name: systemd reads $unit"
	done
done

cd "$cases/plain"
r=0
"$generator" --root=root "$tmp/absent" 2>/dev/null && r=1
result $r "a directory that does not exist is a failure"
r=0
"$generator" --root=root 2>/dev/null && r=1
"$generator" --root=root a b 2>/dev/null && r=1
result $r "the wrong number of directories is a failure"
mkdir "$tmp/blocked"
touch "$tmp/blocked/vmm@a-0.service.d"
r=0
"$generator" --root=root "$tmp/blocked" 2>"$tmp/out" && r=1
grep -q 'no drop-in for a-0' "$tmp/out" || r=1
[ -e "$tmp/blocked/vmm@web.service.d/10-vm-file.conf" ] || r=1
result $r "one that cannot be written does not stop the others"
echo "$passed passed, $failed failed, 0 skipped"
[ $failed = 0 ]
