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
	ip -br link | grep -q '^v[bt]-'
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

# drive_rate NAME ROUND: how many requests a second the guest counted in the last ten seconds, in
# hundredths; nothing where it has not looked for so long in that round.
drive_rate() {
	console "$1" | awk -v round="$2" '
		BEGIN { n = 0 }
		/^round / { is_it = $2 == round }
		/^reads / && is_it { at[n] = $3; reads[n++] = $2 }
		END {
			for (i = n - 1; i >= 0 && at[n - 1] - at[i] < 10; i--)
				;
			if (i >= 0)
				printf "%d", 100 * (reads[n - 1] - reads[i]) / (at[n - 1] - at[i])
		}'
}

has_rate() {
	[[ -n $(drive_rate "$1" "$2") ]]
}

# A drive's limit of requests and its limit of bytes, set while it is read: 50 requests of 16 KiB a
# second are either, and come within 2 % of it over ten seconds by the guest's clock and count. A tenth
# of a second's worth is saved up where a busy bed does not come to it; one that did not for longer has
# another two tries. tests/worker/limits.c has the limits of all devices, where time is real.
limits() {
	local name=limits file=$disks/limits-data.raw row round=0 last rate
	truncate -s 256M "$file"
	hotplug_machine "$name" <<-'END'
		echo guest is up
		until [ -b /dev/vdc ]; do sleep 0.3; done
		for i in 1 2 3 4; do
			(while :; do dd if=/dev/vdc of=/dev/null bs=16k count=1000 iflag=direct; done) 2>/dev/null &
		done
		while read -r round; do
			echo round $round
			for i in 1 2 3 4 5 6 7 8 9 10 11 12 13; do
				read -r reads rest </sys/block/vdc/stat
				read -r up rest </proc/uptime
				echo reads $reads $up
				sleep 1
			done
		done
	END
	vmmctl attach-drive "$name" data "$file" IOPSLimit=50 IOPSBurst=5
	for row in 'IOPSLimit=50 IOPSBurst=5 BandwidthLimit=none' \
		'BandwidthLimit=800K BandwidthBurst=80K IOPSLimit=none'; do
		# shellcheck disable=SC2086 # several words
		vmmctl set-limits "$name" data $row
		rate=0
		for ((last = round + 3; round < last && rate < 4900; )); do
			type_in "$name" $((++round))
			eventually 60 "ten seconds" has_rate "$name" "$round"
			rate=$(drive_rate "$name" "$round")
			echo "NOTE: $row: $((rate / 100)).$((rate % 100 / 10))$((rate % 10)) a second"
			((rate <= 5100)) || fail "$row: more than that"
		done
		((rate >= 4900)) || fail "$row: less than that"
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
