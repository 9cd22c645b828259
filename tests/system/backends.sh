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
	rm -rf "$disks/$name-tree"
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
	journalctl --sync
	matches "guest" "$(run_output "$name")" 'hello guest'
	matches "the guest's write" "$(run_output "$name")" 'wrote [1-9]'
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
	# The counter itself goes with the unit, which nothing keeps loaded.
	equals "restarts" "$(console "$name" | grep -c 'Scheduled restart job')" 2
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
'tar -C /mnt -xf /mnt/tree.tar; cd /mnt/zoneinfo; find . -type f -print0 | sort -z | xargs -0 sha256sum | sha256sum'
	tar -C /usr/share -cf "$tree/tree.tar" zoneinfo
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
	equals "the tree" "$(tail -n 1 <<<"$output")" "$(cd "$tree/zoneinfo" &&
		find . -type f -print0 | sort -z | xargs -0 sha256sum | sha256sum | cut -c -64)"
	equals "the tree of the host" "$(sum_of "$tree/zoneinfo")" "$(sum_of /usr/share/zoneinfo)"
	console_has "$name" 'The back end of qcow2 is there again'
	journalctl --sync
	[[ ! $(run_output "$name") =~ 'I/O error' ]] || fail "the guest has seen an error"
	rm -r "$tree"
}

# network_machine NAME COMMAND [LINE...]: a guest with a network, which begins with COMMAND once it
# reaches the host; LINEs are further ones of [Network].
network_machine() {
	local name=$1 command=$2 tap
	shift 2
	guest_machine "$name" Machine.CPUs="${CPUS:-1}" "$(with_init 'modprobe virtio_net; ip link set eth0 up; '\
'ip addr add 192.0.2.2/24 dev eth0; until ping -q -c 1 -W 1 192.0.2.1 >/dev/null; do :; done; '\
"$command" net.ifnames=0)"
	printf '%s\n' '[Network]' Name=lan "$@" >>"/etc/vmm/$name.vm"
	systemctl start "vmm@$name"
	tap=$(ip -br link | grep -o '^vt-[^ ]*')
	ip addr add 192.0.2.1/24 dev "$tap"
}

# network_speed NAME KEY: Mbit/s from a guest to the host and back, in $out and $in.
network_speed() {
	local name=$1
	iperf3 -s >/dev/null &
	network_machine "$name" 'iperf3 -f m -t 5 -c 192.0.2.1; echo now in; iperf3 -f m -t 5 -R -c 192.0.2.1' "$2"
	[[ $2 != Vhost=yes ]] || matches "devices" "$(vmmctl list-devices "$name")" 'lan +network +vhost '
	wait_end "$name" 300 0
	kill $!
	out=$(run_output "$name" | awk '/now in/ { exit } /receiver/ { print $7 }')
	in=$(run_output "$name" | awk '/now in/ { on = 1 } on && /receiver/ { print $7 }')
	matches "speeds" "$out $in" '^[0-9.]+ [0-9.]+$'
}

# note_ratio WHAT UNIT OWN VHOST
note_ratio() {
	awk -v what="$1" -v unit="$2" -v own="$3" -v vhost="$4" 'BEGIN {
		printf "NOTE: %s: own engine %s %s, the kernel %s %s, ratio %.2f\n", what, own, unit,
			vhost, unit, vhost / own }'
}

vhost_net() {
	local in out own_in own_out
	network_speed own-net MAC=52:54:00:00:00:01
	own_in=$in
	own_out=$out
	network_speed vhost-net Vhost=yes
	note_ratio "iperf3 to the host" Mbit/s "$own_out" "$out"
	note_ratio "iperf3 to the guest" Mbit/s "$own_in" "$in"
}

# open_vhosts NAME: how many descriptors of vhost-net its worker has.
open_vhosts() {
	find "/proc/$(main_pid "$1")/fd" -lname /dev/vhost-net | wc -l
}

tap_queues() {
	find /sys/class/net/vt-*/queues/ -name 'rx-*' | wc -l
}

no_vhosts() {
	[[ $(open_vhosts "$1") == 0 ]]
}

# Two pairs of queues, both in use by a guest with two CPUs; detached, nothing of them is left.
vhost_net_queues() {
	local name=vhost-queues
	iperf3 -s >/dev/null &
	CPUS=2 network_machine "$name" 'echo queues /sys/class/net/eth0/queues/*; '\
'iperf3 -f m -t 3 -P 4 -c 192.0.2.1; iperf3 -f m -t 3 -P 4 -R -c 192.0.2.1; echo guest has sent; '\
'while [ -e /sys/class/net/eth0 ]; do sleep 0.3; done' Vhost=yes Queues=2
	equals "descriptors of vhost-net" "$(open_vhosts "$name")" 2
	wait_console "$name" 400 'guest has sent'
	equals "queues of the tap" "$(tap_queues)" 2
	vmmctl detach-network "$name" lan
	eventually 10 "descriptors of vhost-net are closed" no_vhosts "$name"
	fails has_taps
	wait_end "$name" 100 0
	kill $!
	matches "guest" "$(run_output "$name")" 'queues/rx-0 .*queues/rx-1 .*queues/tx-0 .*queues/tx-1'
	equals "sums of the guest" "$(run_output "$name" | grep -c 'SUM.*receiver')" 2
}

# What both sides know: bytes that come in a stream, by their place.
vsock_stream_perl='
	my $pattern = join "", map { pack "N", $_ * 2654435761 & 0xffffffff } 0 .. 32767;
	sub part { my ($at, $n) = @_; substr $pattern x 2, $at % length $pattern, $n }'

# In the guest: port 5000 answers a line with itself, 5001 takes a stream and says how many bytes it has
# compared, 5002 is the end.
vsock_servers() {
	vsock_script | sed '/use IO::Handle/,$d'
	echo "$vsock_stream_perl"
	cat <<-'END'
		$| = 1;
		my ($lines, $streams, $end) = map { server($_) } 5000 .. 5002;
		my ($first, $second);
		unless ($first = fork) {
			while (accept(my $c, $lines)) {
				syswrite $c, scalar <$c>;
			}
		}
		unless ($second = fork) {
			while (accept(my $c, $streams)) {
				my $total = 0;
				while (my $n = sysread $c, my $data, 65536) {
					$data eq part($total, $n) or $total = -1, last;
					$total += $n;
				}
				syswrite $c, "$total\n";
			}
		}
		print "guest listens\n";
		accept(my $last, $end);
		kill 'KILL', $first, $second;
	END
}

# vsock_client SOCKET|CID COUNT MIB: what it measures: connections a second, MiB a second.
vsock_client() {
	{
		echo "$vsock_stream_perl"
		cat <<-'END'
			use Socket;
			my ($to, $count, $mib) = @ARGV;
			sub seconds {
				syscall 228, 1, my $time = pack 'qq'; # clock_gettime, CLOCK_MONOTONIC
				my ($sec, $nsec) = unpack 'qq', $time;
				return $sec + $nsec / 1e9;
			}
			sub reach {
				my $port = shift;
				my $s;
				if ($to =~ m{^/}) {
					socket($s, AF_UNIX, SOCK_STREAM, 0) or die "socket: $!";
					connect($s, sockaddr_un($to)) or die "connect: $!";
					syswrite $s, "CONNECT $port\n";
					my ($word, $byte) = ('');
					$word .= $byte while sysread($s, $byte, 1) && $byte ne "\n";
					$word =~ /^OK/ or die "port $port: $word";
				} else {
					socket($s, 40, SOCK_STREAM, 0) or die "socket: $!";
					connect($s, pack 'SSLLx4', 40, 0, $port, $to) or die "connect: $!";
				}
				return $s;
			}
			my $began = seconds;
			for my $i (1 .. $count) {
				my $s = reach(5000);
				syswrite $s, "line $i\n";
				my $answer = <$s>;
				$answer eq "line $i\n" or die "answer $i: $answer";
			}
			my $rate = $count / (seconds() - $began);
			$began = seconds;
			my $s = reach(5001);
			for (my $at = 0; $at < $mib << 20;) {
				my $n = syswrite $s, part($at, 65536);
				defined $n or die "write: $!";
				$at += $n;
			}
			shutdown $s, 1;
			my $answer = <$s>;
			$answer == $mib << 20 or die "$answer bytes arrived";
			printf "%.1f %.2f\n", $rate, $mib / (seconds() - $began);
			close reach(5002);
		END
	} >"$TEST_DIR/client.perl"
	perl "$TEST_DIR/client.perl" "$@"
}

# vsock_speed NAME SOCKET|CID COUNT MIB [LINE...]: LINEs are of [Vsock]. In $connections and $stream.
vsock_speed() {
	local name=$1 to=$2 count=$3 mib=$4 speeds
	shift 4
	guest_machine "$name" \
		"$(with_init 'modprobe vmw_vsock_virtio_transport; perl /dev/vdb')"
	printf '%s\n' '[Vsock]' "$@" >>"/etc/vmm/$name.vm"
	vsock_servers | script_drive "$name"
	systemctl start "vmm@$name"
	wait_console "$name" 200 'guest listens'
	speeds=$(vsock_client "$to" "$count" "$mib")
	read -r connections stream <<<"$speeds"
	wait_end "$name" 100 0
}

vhost_vsock() {
	local connections stream own_connections own_stream
	vsock_speed own-vsock /run/vmmd/machine/own-vsock/vsock "$@" Enabled=yes
	own_connections=$connections
	own_stream=$stream
	vsock_speed vhost-vsock 4711 "$@" Vhost=yes CID=4711
	note_ratio "$1 connections over vsock" /s "$own_connections" "$connections"
	note_ratio "$2 MiB over vsock" MiB/s "$own_stream" "$stream"
}

# Frames and packets of a driver in this program, through the kernel's real devices.
vhost_kernel() {
	/usr/libexec/vmmd-tests/vhost-kernel
}

add share-and-qcow2 150 share_and_qcow2
add_soak share-read-only 300 share_read_only
add_soak share-over-reboot 400 share_over_reboot
add_soak servers-killed 1500 servers_killed 20
add_soak vhost-kernel 120 vhost_kernel
add_soak vhost-net 600 vhost_net
add_soak_smp vhost-net-queues 900 vhost_net_queues
add_soak vhost-vsock 900 vhost_vsock 1000 32
