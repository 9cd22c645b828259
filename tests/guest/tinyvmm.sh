#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#
# tinyvmm.sh TINYVMM GUEST: the example monitor with a bare-metal guest: console both ways, disk,
# power off, and what it says to bad arguments.
set -u

tinyvmm=$1
guest=$2
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
[[ -r /dev/kvm && -w /dev/kvm ]] || { echo "no /dev/kvm"; exit 77; }
truncate -s 1M "$dir/disk"
passed=0
failed=0

# expect NAME STATUS PATTERN CMD...: its status, and the pattern in what it writes.
expect() {
	local name=$1 status=$2 pattern=$3 got
	shift 3
	timeout 30 "$@" >"$dir/out" 2>&1
	got=$?
	if [[ $got == "$status" ]] && grep -qE -- "$pattern" "$dir/out"; then
		passed=$((passed + 1))
	else
		failed=$((failed + 1))
		echo "not ok $name: status $got, wanted $status and /$pattern/ in:"
		cat "$dir/out"
	fi
}

# Far more than the port's queue holds: nothing may be lost.
line=$(seq -s, 1 4000)
for cpus in 1 3; do
	expect "$cpus vCPUs" 0 "^tiny: you said: $line\$" \
		"$tinyvmm" "$guest" "$dir/disk" "$cpus" 64 < <(printf '%s\n' "$line")
	if ! grep -q '^tiny: sectors: 2048$' "$dir/out" ||
		! grep -q '^tiny: command line: .*root=/dev/vda' "$dir/out"; then
		failed=$((failed + 1))
		echo "not ok $cpus vCPUs: disk or command line"
		cat "$dir/out"
	fi
done
expect "no arguments" 1 '^tinyvmm: usage' "$tinyvmm"
expect "no kernel" 1 "^tinyvmm: $dir/none: No such file" "$tinyvmm" "$dir/none" "$dir/disk" 1 64
expect "no disk" 1 "^tinyvmm: $dir/none: No such file" "$tinyvmm" "$guest" "$dir/none" 1 64
expect "a disk is no kernel" 1 "^tinyvmm: $dir/disk: neither an ELF" "$tinyvmm" "$dir/disk" "$dir/disk" 1 64
expect "no memory" 1 "^tinyvmm: memory" "$tinyvmm" "$guest" "$dir/disk" 1 0
expect "too many vCPUs" 1 "^tinyvmm: virtual machine" "$tinyvmm" "$guest" "$dir/disk" 1000 64
expect "an initrd that is a directory" 1 "^tinyvmm: $guest: initrd: not a regular file" \
	"$tinyvmm" "$guest" "$dir/disk" 1 16 "$dir"
truncate -s 64M "$dir/initrd"
expect "an initrd larger than memory" 1 "^tinyvmm: $guest: initrd: .*do not fit" \
	"$tinyvmm" "$guest" "$dir/disk" 1 16 "$dir/initrd"
echo "$passed passed, $failed failed, 0 skipped"
((failed == 0))
