#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# units: the unit files pass systemd-analyze's verification, without a warning, and stay under
# their exposure limits; the generated XML and polkit files are well-formed.
#   units.sh UNIT-DIRECTORY PKGLIBEXECDIR SOURCE-DIRECTORY VMM-GENERATOR
set -euo pipefail

units=$1 pkglibexecdir=$2 source=$3 generator=$4
command -v systemd-analyze >/dev/null || exit 77

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
passed=0 failed=0

check() {
	local what=$1
	shift
	if "$@" >"$tmp/out" 2>&1 && [ ! -s "$tmp/out" ]; then
		echo "ok: $what"
		passed=$((passed + 1))
	else
		echo "FAILED: $what"
		cat "$tmp/out"
		failed=$((failed + 1))
	fi
}

# verify insists on the commands, which are not installed where it runs here.
mkdir "$tmp/units" "$tmp/bin"
for name in vmmd vmmd-worker vmmctl; do
	printf '#!/bin/sh\n' >"$tmp/bin/$name"
	chmod +x "$tmp/bin/$name"
done
for unit in vmm@.service vmmd.service vmmd.socket vmm-metrics.socket vmm-metrics@.service \
	vmm-proxy@.socket vmm-proxy@.service vmm-drive@.socket vmm-drive@.service \
	vmm-share@.socket vmm-share@.service vmm-network@.socket vmm-network@.service vmm.target; do
	sed "s|^ExecStart=\(-\?\)/[^ ]*/\(vmm[a-z-]*\)|ExecStart=\1$tmp/bin/\2|" "$units/$unit" >"$tmp/units/$unit"
done
cp "$tmp/units/vmm@.service" "$tmp/units/vmm@web.service"
cp "$tmp/units/vmm-proxy@.socket" "$tmp/units/vmm-proxy@web.socket"
cp "$tmp/units/vmm-proxy@.service" "$tmp/units/vmm-proxy@web.service"
for kind in drive share network; do
	cp "$tmp/units/vmm-$kind@.socket" "$tmp/units/vmm-$kind@web-data.socket"
	# Programs of others, which may be absent here.
	sed "s|^ExecStart=[^ ]*|ExecStart=$tmp/bin/vmmctl|" "$tmp/units/vmm-$kind@.service" \
		>"$tmp/units/vmm-$kind@web-data.service"
done
cp "$tmp/units/vmm-metrics@.service" "$tmp/units/vmm-metrics@1.service"
for unit in vmm@web.service vmm-proxy@web.socket vmm-proxy@web.service vmm-metrics.socket vmm-metrics@1.service vmmd.service vmmd.socket \
	vmm-drive@web-data.socket vmm-drive@web-data.service \
	vmm-share@web-data.socket vmm-share@web-data.service \
	vmm-network@web-data.socket vmm-network@web-data.service vmm.target; do
	check "verify $unit" systemd-analyze verify --man=no "$tmp/units/$unit"
done

# Tenths of the scale; a unit above its limit fails.
# shellcheck disable=SC2317 # called through check
exposure() {
	systemd-analyze security --no-pager --offline=true --threshold="$2" "$1" >"$tmp/table" 2>&1 ||
		{ tail -1 "$tmp/table"; return 1; }
}
# Else a restart of vmmd waits for machines that are being stopped, see the unit.
# shellcheck disable=SC2317 # called through check
ordered() {
	! grep -q '^After=.*vmmd\.service' "$units/vmm@.service" &&
		grep -q '^Wants=.*vmm\.target' "$units/vmm@.service" &&
		grep -q '^After=.*vmm\.target' "$units/vmm@.service" &&
		grep -q '^After=.*vmmd\.service' "$tmp/units/vmm.target"
}
check "machines are ordered after vmmd by vmm.target only" ordered
check "exposure of vmm@.service at most 0.2" exposure "$tmp/units/vmm@web.service" 2

# Nothing that a machine may have opens its unit: with the drop-in of a file that has all of it.
mkdir -p "$tmp/full/etc/vmm" "$tmp/full/out"
cat >"$tmp/full/etc/vmm/web.vm" <<'END'
[Machine]
CPUs=4
Memory=1G
HugePages=2M
Balloon=yes
HotplugMemory=2G
Watchdog=restart
Console=virtio
ReadyWhen=guest
[Boot]
Kernel=/var/lib/vmm/vmlinuz
[Vsock]
CID=100
[Drive]
Name=root
Path=/var/lib/vmm/web.raw
[Drive]
Name=data
Format=qcow2
Path=/var/lib/vmm/data.qcow2
[Network]
Name=lan
Bridge=br0
Vhost=yes
[Network]
Name=user
User=yes
Forward=tcp:8080:80
[Share]
Tag=home
Path=/srv/home
[Service]
MemoryMax=2G
END
check "the drop-in of a machine with everything" \
	"$generator" --root="$tmp/full" "$tmp/full/out" "$tmp/full/out" "$tmp/full/out"
cp -r "$tmp/full/out/vmm@web.service.d" "$tmp/units/"
check "it is read" grep -q '^MemoryMax=2G' -r "$tmp/units/vmm@web.service.d"
check "exposure of vmm@.service with everything at most 0.2" exposure "$tmp/units/vmm@web.service" 2
# It would be noticed: a line that opens it makes the figure larger.
printf '[Service]\nPrivateNetwork=no\nNoNewPrivileges=no\n' >"$tmp/units/vmm@web.service.d/99-open.conf"
check "exposure of vmm@.service looks at drop-ins" \
	sh -c "! systemd-analyze security --no-pager --offline=true --threshold=2 '$tmp/units/vmm@web.service' >/dev/null 2>&1"
rm -r "$tmp/units/vmm@web.service.d"

check "exposure of vmm-proxy@.service at most 1.2" exposure "$tmp/units/vmm-proxy@web.service" 12
check "exposure of vmm-metrics@.service at most 0.4" exposure "$tmp/units/vmm-metrics@1.service" 4
check "exposure of vmm-drive@.service at most 1.4" exposure "$tmp/units/vmm-drive@web-data.service" 14
check "exposure of vmm-share@.service at most 2.7" exposure "$tmp/units/vmm-share@web-data.service" 27
check "exposure of vmm-network@.service at most 2.2" exposure "$tmp/units/vmm-network@web-data.service" 22
check "exposure of vmmd.service at most 2.3" exposure "$tmp/units/vmmd.service" 23

# An instance without a user of its own would share its uid with all others.
check "vmm@.service names a user for each instance" \
	sh -c "grep -qx 'User=vmm-%i' '$units/vmm@.service' || echo no"

if command -v systemd-tmpfiles >/dev/null; then
	root=$tmp/root
	mkdir "$root"
	check "tmpfiles" systemd-tmpfiles --create --root="$root" "$units/vmmd.conf"
	check "the skeleton" test -d "$root/run/vmmd/root/usr"
	check "the private directory" sh -c "[ \$(stat -c %a '$root/run/vmmd/machine') = 700 ] || echo no"
fi

if command -v systemd-sysusers >/dev/null; then
	mkdir -p "$tmp/root/etc"
	systemd-sysusers --root="$tmp/root" "$source/units/vmmd.sysusers" >/dev/null
	check "the user of vmm-metrics@.service" sh -c \
		"grep -q \"^\$(sed -n 's/^User=//p' '$units/vmm-metrics@.service'):\" '$tmp/root/etc/passwd' || echo no"
fi

# The catalog has an entry for each id that is logged, and journald reads it.
ids() {
	grep -Eho '"[0-9a-f]{32}"' "$source/vmmd/log.h" "$source/worker/log.h" | tr -d '"' | sort
}
entries() {
	sed -n 's/^-- //p' "$source/units/vmmd.catalog" | sort
}
check "catalog: an entry for each id" diff <(ids) <(entries)
check "catalog: each id once" sh -c "[ \"\$(sed -n 's/^-- //p' '$source/units/vmmd.catalog' |
	sort | uniq -d)\" = '' ] || echo twice"
if command -v journalctl >/dev/null; then
	mkdir -p "$tmp/catalog/usr/lib/systemd/catalog" "$tmp/catalog/var/lib/systemd/catalog"
	cp "$source/units/vmmd.catalog" "$tmp/catalog/usr/lib/systemd/catalog"
	check "catalog: journald reads it" journalctl --root="$tmp/catalog" --update-catalog
	n=$(journalctl --root="$tmp/catalog" --no-pager --list-catalog | wc -l)
	check "catalog: all entries" [ "$n" = "$(ids | wc -l)" ]
fi

for xml in "$source"/dbus/*.xml "$source"/dbus/*.conf "$source"/policy/*.policy; do
	[ -e "$xml" ] || continue
	check "well-formed: ${xml##*/}" python3 -c \
		'import sys, xml.dom.minidom as m; m.parse(sys.argv[1])' "$xml"
done
echo "$passed passed, $failed failed, 0 skipped"
[ $failed = 0 ]
