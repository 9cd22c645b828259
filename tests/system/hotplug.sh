# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# shellcheck shell=bash disable=SC2154 # run and lib.sh set what tests use
#
# Drives and networks that come, change and go while a stock guest runs. The guest notices by
# itself: nothing in it asks its PCI bus to look again. It runs a script that lies on its second
# drive; what is attached is its third.

# shell_drive NAME: a drive with the shell script from standard input; with_init "sh /dev/vdb".
shell_drive() {
	local file=$disks/$1-script.raw
	{
		cat
		echo exit
	} >"$file"
	truncate -s "%4096" "$file"
	printf '[Drive]\nName=script\nPath=%s\nReadOnly=yes\n' "$file" >>"/etc/vmm/$1.vm"
}

# hotplug_machine NAME [LINE...]: runs the script from standard input.
hotplug_machine() {
	local name=$1
	shift
	guest_machine "$name" "$(with_init 'modprobe virtio_net; sh /dev/vdb')" "$@"
	shell_drive "$name"
	systemctl start "vmm@$name"
	wait_console "$name" 200 'guest is up'
}

# test_bridge NAME ADDRESS: gone when the test ends.
test_bridge() {
	ip link del "$1" 2>/dev/null || : # a test that was killed could not
	ip link add "$1" type bridge
	# shellcheck disable=SC2064 # the name of now
	trap "ip link del $1" EXIT
	ip addr add "$2" dev "$1"
	ip link set "$1" up
}

has_device() {
	vmmctl list-devices --no-legend "$1" | grep -Eq "^$2 +$3 "
}

has_taps() {
	ip -br link | grep -q '^vt-'
}

# A drive comes, grows, goes while it is read, and comes back with what was written; a network comes
# and goes. Short, and of programs as few as can be: in the test bed each costs the guest a moment.
come_and_go() {
	local name=hotplug file=$disks/hotplug-data.raw
	test_bridge vmmtest0 10.77.0.1/24
	truncate -s 8M "$file"
	hotplug_machine "$name" <<-'END'
		await() {
			until eval "$1"; do sleep 0.3; done
		}
		echo guest is up
		await '[ -b /dev/vdc ]'
		read -r sectors </sys/block/vdc/size
		echo drive came with $sectors
		head -c 1M /dev/urandom >/tmp/data
		dd if=/tmp/data of=/dev/vdc bs=64k oflag=direct status=none
		await 'read -r sectors </sys/block/vdc/size; [ $sectors = 32768 ]'
		echo drive has grown
		await '[ -e /sys/class/net/eth0 ]'
		ip addr add 10.77.0.2/24 dev eth0
		ip link set eth0 up
		ping -q -c 1 -W 5 10.77.0.1 >/dev/null && echo network answers
		(while dd if=/dev/vdc of=/dev/null bs=64k iflag=direct; do :; done) 2>/dev/null &
		echo drive is read
		await '[ ! -b /dev/vdc ]'
		wait
		echo drive is gone
		await '[ -b /dev/vdc ]'
		head -c 1M /dev/vdc | cmp - /tmp/data && echo drive is whole
		await '[ ! -e /sys/class/net/eth0 ]'
		echo network is gone
	END
	vmmctl attach-drive "$name" data "$file"
	vmmctl attach-network "$name" lan Bridge=vmmtest0
	wait_console "$name" 30 'drive came with 16384'
	truncate -s 16M "$file"
	vmmctl resize-drive "$name" data 16M
	wait_console "$name" 30 'drive has grown'
	has_device "$name" data drive
	has_device "$name" lan network
	wait_console "$name" 30 'network answers'
	wait_console "$name" 30 'drive is read'
	vmmctl detach-drive "$name" data
	wait_console "$name" 30 'drive is gone'
	fails has_device "$name" data drive
	vmmctl attach-drive "$name" data "$file"
	wait_console "$name" 30 'drive is whole'
	vmmctl detach-network "$name" lan
	wait_console "$name" 30 'network is gone'
	fails has_device "$name" lan network
	fails has_taps
	wait_end "$name" 60 0
}

# The same again and again, with load on the drive that stays and on the network.
under_load() {
	local rounds=$1 name=hotplug-load file=$disks/hotplug-load-data.raw i
	test_bridge vmmtest1 10.78.0.1/24
	iperf3 -s >/dev/null &
	truncate -s 64M "$file"
	hotplug_machine "$name" <<-'END'
		await() {
			until eval "$1"; do sleep 0.3; done
		}
		mount -t tmpfs none /mnt
		(while :; do dd if=/dev/vda of=/dev/null bs=64k count=200 iflag=direct; done) 2>/dev/null &
		echo guest is up
		while :; do
			await '[ -b /dev/vdc ] && [ -e /sys/class/net/eth0 ]'
			ip addr add 10.78.0.2/24 dev eth0
			ip link set eth0 up
			(iperf3 -c 10.78.0.1 -t 100 >/dev/null 2>&1) &
			net=$!
			mkfs.ext4 -q -F /dev/vdc 8M
			(while dd if=/dev/vdc of=/dev/null bs=64k iflag=direct; do :; done) 2>/dev/null &
			echo guest is loaded
			await '[ ! -b /dev/vdc ] && [ ! -e /sys/class/net/eth0 ]'
			kill $net
			echo guest is unloaded
		done
	END
	for ((i = 1; i <= rounds; i++)); do
		vmmctl attach-drive "$name" data "$file"
		vmmctl attach-network "$name" lan Bridge=vmmtest1
		eventually 100 "load of round $i" said "$name" 'guest is loaded' "$i"
		sleep 2
		vmmctl detach-network "$name" lan
		vmmctl detach-drive "$name" data
		eventually 60 "the end of round $i" said "$name" 'guest is unloaded' "$i"
	done
	fails has_taps
	hard_stop "$name"
}

# A drive's limit of requests and its limit of bytes, set while it is read: 500 requests of 16 KiB are
# ten seconds of either, and take them within 2 % by the guest's clock. To ask the machine for its
# counters would take a while of its own.
limits() {
	local name=limits file=$disks/limits-data.raw row key other reads=0 msec
	truncate -s 256M "$file"
	hotplug_machine "$name" <<-'END'
		echo guest is up
		until [ -b /dev/vdc ]; do sleep 0.3; done
		while :; do dd if=/dev/vdc of=/dev/null bs=16k count=500 iflag=direct 2>&1 | grep copied; done
	END
	vmmctl attach-drive "$name" data "$file" IOPSLimit=50
	for row in IOPSLimit=50:BandwidthLimit=none BandwidthLimit=800K:IOPSLimit=none; do
		IFS=: read -r key other <<<"$row"
		vmmctl set-limits "$name" data "$key" "$other"
		# One that began before is not under this limit alone, and the next has its burst.
		reads=$(lines_with "$name" ' copied, ')
		eventually 60 "500 blocks with $key" said "$name" ' copied, ' $((reads + 3))
		msec=$(console "$name" | grep ' copied, ' | tail -n 1 |
			awk '{ for (i = 1; i < NF; i++) if ($i == "copied,") printf "%d", $(i + 1) * 1000 }')
		((msec >= 9800 && msec <= 10200)) || fail "$key: 500 requests of 16 KiB took $msec ms"
		echo "NOTE: $key: 500 requests of 16 KiB took $msec ms by the guest's clock"
	done
	hard_stop "$name"
}

# device_field NAME DEVICE FIELD
device_field() {
	vmmctl list-devices --json=short "$1" |
		jq -r --arg name "$2" ".[] | select(.name == \$name) | .${3,}"
}

add come-and-go 300 come_and_go
add_soak under-load 900 under_load 5
add_soak limits 300 limits
