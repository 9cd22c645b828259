# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# shellcheck shell=bash disable=SC2154,SC2016 # run and lib.sh set what tests use
#
# Drives and shares that others serve: virtiofsd and qemu-storage-daemon as units, with a stock
# guest, whose reboot and whose servers' deaths they survive.

# share_machine NAME CMD [LINE...]: a guest with a share "tree" of $disks/NAME-tree and a drive of
# the format qcow2.
share_machine() {
	local name=$1 cmd=$2
	shift 2
	guest_machine "$name" "$(with_init "$cmd")"
	mkdir "$disks/$name-tree"
	qemu-img create -q -f qcow2 "$disks/$name-qcow2.raw" 64M
	printf '%s\n' '[Drive]' Name=qcow2 Format=qcow2 "Path=$disks/$name-qcow2.raw" \
		'[Share]' Tag=tree "Path=$disks/$name-tree" "$@" >>"/etc/vmm/$name.vm"
	systemctl daemon-reload
}

# sum_of DIRECTORY: one for all names, modes and contents below it.
sum_of() {
	(
		cd "$1" || exit 1
		{
			find . -printf '%p %m %l\n' | sort
			find . -type f -print0 | sort -z | xargs -0 sha256sum
		} | sha256sum | cut -c -64
	)
}

backend_is() {
	[[ $(systemctl is-active "vmm-$1.service") == "$2" ]]
}

# What is served is the guest's; what it writes is here; and nothing is left running.
share_and_qcow2() {
	local name=shared tree=$disks/shared-tree output
	share_machine "$name" 'modprobe virtiofs; mount -t virtiofs tree /mnt; cat /mnt/from-host; '\
'echo hello host >/mnt/from-guest; umount /mnt; blockdev --getsize64 /dev/vdb; '\
'echo hello qcow2 | dd of=/dev/vdb seek=7 conv=fsync status=none; '\
'dd if=/dev/vdb skip=7 count=1 iflag=direct status=none | head -n 1'
	echo hello guest >"$tree/from-host"
	systemctl start "vmm@$name"
	matches "devices" "$(vmmctl list-devices "$name")" 'tree +share +vhost-user +present'
	matches "devices" "$(vmmctl list-devices "$name")" 'qcow2 +drive +vhost-user +present'
	wait_end "$name" 100 0
	output=$(run_output "$name")
	matches "guest" "$output" 'hello guest'
	matches "guest" "$output" $'67108864\nhello qcow2'
	equals "what the guest wrote" "$(<"$tree/from-guest")" 'hello host'
	matches "the image" "$(qemu-img map "$disks/$name-qcow2.raw" | wc -l)" '^[2-9]'
	eventually 10 "the end of virtiofsd" backend_is "share@$name:tree" inactive
	eventually 10 "the end of qemu-storage-daemon" backend_is "drive@$name:qcow2" inactive
	fails test -e "/run/vmmd/backend/share-$name:tree"
	rm -r "$tree"
}

# A read-only one: the guest cannot change it.
share_read_only() {
	local name=fixed-share
	share_machine "$name" 'modprobe virtiofs; mount -t virtiofs tree /mnt; cat /mnt/from-host; '\
'echo x >/mnt/new; echo wrote $?' ReadOnly=yes
	echo hello guest >"$disks/$name-tree/from-host"
	systemctl start "vmm@$name"
	wait_end "$name" 200 0
	matches "guest" "$(run_output "$name")" 'hello guest'
	[[ ! $(run_output "$name") =~ 'wrote 0' ]] || fail "the guest could write"
	fails test -e "$disks/$name-tree/new"
	rm -r "$disks/$name-tree"
}

# The guest reboots, by exit 133, and finds its share and its disk again.
share_over_reboot() {
	local name=again tree=$disks/again-tree
	share_machine "$name" 'modprobe virtiofs; mount -t virtiofs tree /mnt; echo boot >>/mnt/boots; '\
'cat /mnt/boots; n=$(wc -l </mnt/boots); echo $n | dd of=/dev/vdb conv=fsync status=none; umount /mnt; '\
'[ $n -ge 3 ] || { echo rebooting; reboot -f; }'
	systemctl start "vmm@$name"
	wait_end "$name" 300 0
	equals "boots" "$(wc -l <"$tree/boots")" 3
	equals "restarts" "$(unit_property "$name" NRestarts)" 2
	rm -r "$tree"
}

# A tree is unpacked and compared over the share, a pattern is written to the qcow2 drive and read
# back, and their servers are killed all the time.
servers_killed() {
	local rounds=$1 name=killed-servers tree=$disks/killed-servers-tree i output
	share_machine "$name" 'modprobe virtiofs; mount -t virtiofs tree /mnt; '\
'head -c 32M /dev/urandom >/tmp/data; sha256sum </tmp/data; '\
'for i in 1 2 3 4 5 6; do dd if=/tmp/data of=/dev/vdb bs=64k oflag=direct conv=fsync status=none && '\
'dd if=/dev/vdb bs=64k count=512 iflag=direct status=none | sha256sum; done; dmesg -l err; '\
'tar -C /mnt -xf /mnt/tree.tar; cd /mnt/doc; find . -type f -print0 | sort -z | xargs -0 sha256sum | sha256sum'
	tar -C /usr/share -cf "$tree/tree.tar" doc
	systemctl start "vmm@$name"
	wait_console "$name" 150 '^[0-9a-f]{64}'
	for ((i = 0; i < rounds; i++)); do
		sleep "0.$((RANDOM % 90 + 10))"
		systemctl kill -s KILL "vmm-drive@$name:qcow2.service" || :
		eventually 20 "qemu-storage-daemon again" backend_is "drive@$name:qcow2" active
	done
	wait_end "$name" 900 0
	output=$(run_output "$name" | grep -Eo '^[0-9a-f]{64}')
	equals "number of checksums" "$(wc -l <<<"$output")" 8
	equals "different checksums of the disk" "$(head -n 7 <<<"$output" | sort -u | wc -l)" 1
	equals "the tree" "$(tail -n 1 <<<"$output")" "$(cd "$tree/doc" &&
		find . -type f -print0 | sort -z | xargs -0 sha256sum | sha256sum | cut -c -64)"
	equals "the tree of the host" "$(sum_of "$tree/doc")" "$(sum_of /usr/share/doc)"
	console_has "$name" 'The back end of qcow2 is there again'
	[[ ! $(run_output "$name") =~ 'I/O error' ]] || fail "the guest has seen an error"
	rm -r "$tree"
}

# network_speed NAME KEY: Mbit/s from a guest to the host, in $speed; KEY is another of [Network].
network_speed() {
	local name=$1 tap
	guest_machine "$name" "$(with_init 'modprobe virtio_net; ip link set eth0 up; '\
'ip addr add 192.0.2.2/24 dev eth0; until ping -q -c 1 -W 1 192.0.2.1; do :; done; '\
'iperf3 -f m -t 5 -c 192.0.2.1' net.ifnames=0)"
	printf '%s\n' '[Network]' Name=lan "$2" >>"/etc/vmm/$name.vm"
	systemctl start "vmm@$name"
	tap=$(ip -br link | grep -o '^vt-[^ ]*')
	ip addr add 192.0.2.1/24 dev "$tap"
	iperf3 -s -1 >/dev/null &
	[[ $2 != Vhost=yes ]] || matches "devices" "$(vmmctl list-devices "$name")" 'lan +network +vhost '
	wait_end "$name" 300 0
	wait
	speed=$(run_output "$name" | awk '/receiver/ { print $7 }')
	matches "speed" "$speed" '^[0-9.]+$'
}

vhost_net() {
	local speed own
	network_speed own-net MAC=52:54:00:00:00:01
	own=$speed
	network_speed vhost-net Vhost=yes
	awk -v own="$own" -v vhost="$speed" 'BEGIN {
		printf "to the host: own engine %s Mbit/s, vhost-net %s Mbit/s, ratio %.2f\n", own, vhost,
			vhost / own }'
}

add share-and-qcow2 150 share_and_qcow2
add_soak share-read-only 300 share_read_only
add_soak share-over-reboot 400 share_over_reboot
add_soak servers-killed 1500 servers_killed 20
add_soak vhost-net 600 vhost_net
