# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# shellcheck shell=bash disable=SC2154 # run and lib.sh set what tests use
#
# Devices with a stock guest's drivers. A guest runs a script of its own, which lies on its second
# drive.

# script_drive NAME: a drive with the perl program from standard input.
script_drive() {
	local file=$disks/$1-script.raw
	{
		cat
		echo __END__
	} >"$file"
	truncate -s "%4096" "$file"
	printf '[Drive]\nName=script\nPath=%s\nReadOnly=yes\n' "$file" >>"/etc/vmm/$1.vm"
}

# Sockets in the guest. Port 5000 answers with the SHA-256 of what it gets, and a connection to 5001
# ends the guest, which before that has asked ports of the host.
vsock_script() {
	cat <<-'END'
		sub address { pack 'SSLLx4', 40, 0, @_ }
		sub server {
			my $port = shift;
			socket(my $s, 40, 1, 0) or die "socket: $!";
			bind($s, address($port, 0xffffffff)) or die "bind: $!";
			listen($s, 128) or die "listen: $!";
			return $s;
		}
		sub ask {
			my ($port, $bytes) = @_;
			socket(my $s, 40, 1, 0) or die "socket: $!";
			connect($s, address($port, 2)) or return "refused\n";
			print $s $bytes;
			$s->flush;
			shutdown($s, 1);
			return scalar <$s>;
		}
		use IO::Handle;
		$| = 1;
		$SIG{CHLD} = 'IGNORE';
		my ($sums, $end) = (server(5000), server(5001));
		print 'host says ', ask(1000, 'vsock' x 100000);
		print 'nobody says ', ask(1001, 'x'), 'unknown says ', ask(7, 'x');
		unless (fork) {
			while (accept(my $c, $sums)) {
				next if fork;
				open STDIN, '<&', $c;
				open STDOUT, '>&', $c;
				exec 'sha256sum';
			}
		}
		print "guest listens\n";
		accept(my $last, $end);
	END
}

# to_guest NAME PORT: standard input to the guest's port, its answer from there.
to_guest() {
	{
		echo "CONNECT $2"
		cat
	} | socat -b 65536 -t 300 - "UNIX-CONNECT:/run/vmmd/machine/$1/vsock"
}

vsock_machine() {
	local name=$1 transport=$2
	mkdir -p /run/vmm-test
	guest_machine "$name" "Machine.Transport=$transport" \
		"$(with_init 'modprobe vmw_vsock_virtio_transport; perl /dev/vdb')"
	printf '[Vsock]\nHostPorts=1000:/run/vmm-test/%s 1001:/run/vmm-test/none\n' "$name" \
		>>"/etc/vmm/$name.vm"
	vsock_script | script_drive "$name"
	socat "UNIX-LISTEN:/run/vmm-test/$name,fork" EXEC:sha256sum &
}

# MIB of data one way, a sum the other, and COUNT connections one after another.
vsock() {
	local transport=$1 mib=$2 count=$3 name=vsock-$1 data=$disks/vsock-$1-data.raw sum output i
	head -c "${mib}M" /dev/urandom >"$data"
	sum=$(sha256sum <"$data")
	vsock_machine "$name" "$transport"
	systemctl start "vmm@$name"
	wait_console "$name" 200 'guest listens'
	output=$(to_guest "$name" 5000 <"$data")
	matches "the answer of the guest" "$output" "^OK [0-9]+
${sum%% *} "
	for ((i = 0; i < count; i++)); do
		output=$(echo "$i" | to_guest "$name" 5000)
		matches "answer $i" "$output" "$(echo "$i" | sha256sum | cut -c -64)"
	done
	equals "where nobody listens" "$(to_guest "$name" 5002 </dev/null)" ""
	to_guest "$name" 5001 </dev/null >/dev/null
	wait_end "$name" 100 0
	output=$(run_output "$name")
	for ((i = 0; i < 100000; i++)); do echo -n vsock; done >"$data"
	matches "guest" "$output" "host says $(sha256sum <"$data" | cut -c -64)"
	matches "guest" "$output" "nobody says refused.*unknown says refused"
	fails test -e "/run/vmmd/machine/$name"
	rm -r /run/vmm-test
}

add vsock-pci 300 vsock pci 2 5
add_soak vsock-mmio 400 vsock mmio 2 5

# connections TRANSPORT COUNT: each way, a hundred of them open at a time, and in the end none is left.
connections() {
	local transport=$1 count=$2 name=connections-$1 began fds
	rm -rf /run/vmm-test
	mkdir /run/vmm-test
	guest_machine "$name" "Machine.Transport=$transport" \
		"$(with_init 'modprobe vmw_vsock_virtio_transport; perl /dev/vdb')"
	printf '[Vsock]\nHostPorts=1000:/run/vmm-test/%s\n' "$name" >>"/etc/vmm/$name.vm"
	{
		# Both sides run this: many() asks, once() answers a line.
		cat <<-'END'
			use IO::Handle;
			use Socket;
			sub once {
				accept(my $c, shift) or die "accept: $!";
				my $line = <$c>;
				print $c "answer to $line";
				close $c or die "close: $!";
			}
			sub many {
				my ($count, $connect) = @_;
				for (my $at = 0; $at < $count; $at += 100) {
					my @open = map { $connect->() or die "connect, $at, $_: $!" } 1 .. 100;
					for my $i (0 .. $#open) {
						$open[$i]->autoflush;
						print { $open[$i] } $at + $i, "\n";
					}
					for my $i (0 .. $#open) {
						my $s = $open[$i];
						my $answer = <$s> // 'nothing';
						$answer eq 'answer to ' . ($at + $i) . "\n" or die "$at, $i: $answer";
						defined <$s> and die "$at, $i: goes on";
						close $s;
					}
				}
			}
		END
	} >"$TEST_DIR/both"
	{
		cat "$TEST_DIR/both" - <<-END
			\$| = 1;
			my \$count = $count;
		END
		cat <<-'END'
			sub address { pack 'SSLLx4', 40, 0, @_ }
			socket(my $l, 40, 1, 0) or die "socket: $!";
			bind($l, address(5000, 0xffffffff)) or die "bind: $!";
			listen($l, 200) or die "listen: $!";
			print "guest listens\n";
			once($l) for 1 .. $count;
			print "guest has answered\n";
			many($count, sub {
				socket(my $s, 40, 1, 0) or die "socket: $!";
				return connect($s, address(1000, 2)) && $s;
			});
			print "guest has asked\n";
			<STDIN>;
		END
	} | script_drive "$name"
	systemctl start "vmm@$name"
	wait_console "$name" 200 'guest listens'
	fds=$(worker_fds "$name")

	began=$SECONDS
	{
		cat "$TEST_DIR/both" - <<-'END'
			my ($count, $path) = @ARGV;
			many($count, sub {
				socket(my $s, AF_UNIX, SOCK_STREAM, 0) or die "socket: $!";
				connect($s, sockaddr_un($path)) or die "connect: $!";
				$s->autoflush;
				print $s "CONNECT 5000\n";
				<$s> =~ /^OK [0-9]+$/ or die 'refused';
				return $s;
			});
		END
	} >"$TEST_DIR/host"
	# It listens before the guest asks, which it does when all have been answered.
	{
		cat "$TEST_DIR/both" - <<-'END'
			my ($count, $path) = @ARGV;
			socket(my $l, AF_UNIX, SOCK_STREAM, 0) or die "socket: $!";
			bind($l, sockaddr_un($path)) or die "bind: $!";
			listen($l, 200) or die "listen: $!";
			once($l) for 1 .. $count;
		END
	} >"$TEST_DIR/listener"
	perl "$TEST_DIR/listener" "$count" "/run/vmm-test/$name" &
	perl "$TEST_DIR/host" "$count" "/run/vmmd/machine/$name/vsock"
	echo "NOTE: $count connections to the guest, $((SECONDS - began)) s"
	wait_console "$name" 60 'guest has answered'
	began=$SECONDS
	wait_console "$name" 600 'guest has asked'
	echo "NOTE: $count connections to the host, $((SECONDS - began)) s"
	wait $!
	eventually 30 "descriptors of connections are left" has_fds "$name" "$fds"
	hard_stop "$name"
	rm -r /run/vmm-test
}

worker_fds() {
	find "/proc/$(main_pid "$1")/fd" -mindepth 1 | wc -l
}

has_fds() {
	(($(worker_fds "$1") <= $2))
}

# stream TRANSPORT MIB: each way, by socat, with a checksum of what came out at the other end.
stream() {
	local transport=$1 mib=$2 name=stream-$1 began sum
	rm -rf /run/vmm-test
	mkdir /run/vmm-test
	guest_machine "$name" "Machine.Transport=$transport" "$(with_init 'sh /dev/vdb')"
	printf '[Vsock]\nHostPorts=1000:/run/vmm-test/%s\n' "$name" >>"/etc/vmm/$name.vm"
	shell_drive "$name" <<-END
		modprobe vmw_vsock_virtio_transport
		(sleep 1; echo guest listens) &
		socat -b 65536 -t 300 VSOCK-LISTEN:5000 EXEC:cksum
		echo guest sends
		seq 10000000 999999999 | head -c ${mib}M | socat -b 65536 -t 300 - VSOCK-CONNECT:2:1000
	END
	socat -b 65536 -t 300 "UNIX-LISTEN:/run/vmm-test/$name,fork" EXEC:cksum &
	systemctl start "vmm@$name"
	wait_console "$name" 200 'guest listens'
	began=$SECONDS
	sum=$(seq 10000000 999999999 | head -c "${mib}M" | tee >(cksum >"$TEST_DIR/sum") |
		to_guest "$name" 5000 | tail -n 1)
	eventually 5 "the checksum" test -s "$TEST_DIR/sum"
	equals "the checksum of what the guest got" "$sum" "$(<"$TEST_DIR/sum")"
	echo "NOTE: $mib MiB to the guest, $((SECONDS - began)) s: $sum"
	wait_console "$name" 60 'guest sends'
	began=$SECONDS
	wait_console "$name" 1500 "^$sum"
	echo "NOTE: $mib MiB to the host, $((SECONDS - began)) s"
	wait_end "$name" 60 0
	rm -r /run/vmm-test
}

add_soak vsock-1000-connections 600 connections pci 1000
add_soak vsock-1-gib-stream 2000 stream pci 1024

# memory_field NAME FIELD
memory_field() {
	vmmctl memory --json=short "$1" | jq -r ".$2 // 0"
}

memory_is() {
	local value
	value=$(memory_field "$1" "$2")
	((value >= $3 && value <= $4))
}

# type_in NAME TEXT: a line on the console.
type_in() {
	{
		echo "$2"
		sleep 2
	} | timeout $((5 * slow)) vmmctl console --no-replay "$1" >/dev/null || :
}

resident_mib() {
	echo $(($(awk '/^VmRSS/ { print $2 }' "/proc/$(main_pid "$1")/status") / 1024))
}

resident_is_below() {
	(($(resident_mib "$1") < $2))
}

now_msec() {
	echo $((${EPOCHREALTIME/[.,]/} / 1000))
}

# in_seconds MSEC
in_seconds() {
	printf '%d.%02d s' $(($1 / 1000)) $(($1 % 1000 / 10))
}

# fill_guest NAME MIB ROUND: until the guest of memory() has its MIB; sets before, and filled: how many
# milliseconds that took.
fill_guest() {
	eventually 300 "the guest is full" said "$1" '^guest is full' "$3"
	before=$(resident_mib "$1")
	((before > $2)) || fail "a full guest has $before MiB"
	filled=$(console "$1" | awk '/^guest is full/ { t = 1000 * ($5 - $4) } END { print t }')
	# Reporting waits for two seconds: who inflates at once is before it.
	type_in "$1" go &
	eventually 60 "the guest is empty" said "$1" '^guest is empty' "$3"
}

# Memory that the guest has used and freed comes back: 90 % of MIB, by itself within a minute, and by
# the balloon within five seconds, or where processors are emulated in half the time that the guest took
# to fill it (tests/worker/balloon.c has the device's share of that); after that the guest has it again;
# and memory is plugged and unplugged.
memory() {
	local transport=$1 mib=$2 name=memory-$1 before filled began took limit
	local all=$((mib + 212)) back=$((mib * 9 / 10))
	guest_machine "$name" "Machine.Transport=$transport" "Machine.Memory=${all}M" Machine.Balloon=yes \
		Machine.HotplugMemory=256M "$(with_init 'sh /dev/vdb')"
	shell_drive "$name" <<-END
		modprobe virtio_balloon
		modprobe virtio_mem
		echo online >/sys/devices/system/memory/auto_online_blocks
		mount -t tmpfs -o size=90% none /mnt
		for i in 1 2; do
			read from rest </proc/uptime
			perl -e 'print "x" x 65536 for 1 .. $((mib * 16))' >/mnt/a
			read to rest </proc/uptime
			echo guest is full \$from \$to
			read line
			rm /mnt/a
			echo guest is empty
			read line
		done
		grep MemTotal /proc/meminfo
		read line
		grep MemTotal /proc/meminfo
	END
	systemctl start "vmm@$name"
	fill_guest "$name" "$mib" 1
	began=$(now_msec)
	eventually 60 "the freed memory is reported" resident_is_below "$name" $((before - back))
	took=$(($(now_msec) - began))
	echo "NOTE: $back of $mib MiB are back after $(in_seconds "$took") by free page reporting"
	memory_is "$name" Reported $((back << 20)) $((1 << 40)) || fail "hardly any of it was reported"
	type_in "$name" go
	fill_guest "$name" "$mib" 2
	began=$(now_msec)
	limit=$((mib + 20))
	vmmctl memory "$name" $((all - limit))M
	eventually 60 "the freed memory comes back" resident_is_below "$name" $((before - back))
	took=$(($(now_msec) - began))
	echo "NOTE: $back of $mib MiB are back after $(in_seconds "$took") by inflating, which is" \
		"$((100 * took / filled)) % of the time that the guest took to fill it ($(in_seconds "$filled"))"
	((took <= 5000)) || { systemd-detect-virt -q && ((took <= filled / 2)); } ||
		fail "the balloon takes too long"
	eventually 60 "the balloon is full" memory_is "$name" Balloon $((limit - 10 << 20)) $((limit << 20))
	vmmctl memory "$name" $((all + 128))M
	eventually 60 "the balloon is empty" memory_is "$name" Balloon 0 0
	eventually 90 "memory is plugged" memory_is "$name" Plugged $((128 << 20)) $((128 << 20))
	type_in "$name" go
	eventually 60 "the guest sees it" said "$name" MemTotal 1
	vmmctl memory "$name" "${all}M"
	eventually 90 "memory is unplugged" memory_is "$name" Plugged 0 0
	type_in "$name" go
	wait_end "$name" 100 0
	console "$name" | awk '/MemTotal/ { n[++i] = $2 } END { exit !(n[1] - n[2] > 120 * 1024) }' ||
		fail "the guest has not seen more memory, and then less"
}

# hvc0 as the console: what is typed there arrives, and its size. The driver makes it when the device
# has told of its port, a moment after it is loaded.
hvc() {
	local transport=$1 name=hvc-$1
	guest_machine "$name" "Machine.Transport=$transport" Machine.Console=virtio \
		"$(with_init 'modprobe virtio_console; until [ -c /dev/hvc0 ]; do sleep 0.1; done; '\
'exec </dev/hvc0 >/dev/hvc0; echo hvc is open; read line; stty size; head -n 1')"
	systemctl start "vmm@$name"
	wait_console "$name" 200 'hvc is open'
	busctl call org.vmmd1 /org/vmmd1 org.vmmd1.Manager ResizeMachineConsole sqqt "$name" 33 111 0
	type_in "$name" begin
	type_in "$name" hello
	wait_end "$name" 100 0
	console_has "$name" 'hello' || fail "what was typed did not arrive"
	console_has "$name" '^33 111' || fail "the size did not arrive"
}

# A guest that no longer serves its watchdog: as if it had panicked, or rebooted. A unit that is not to
# restart on failure ends there, and still starts again where that was asked for.
watchdog() {
	local action=$1 name=watchdog-$1
	guest_machine "$name" Boot.Kernel="$images/vmlinuz-amd64" Boot.Initrd="$images/initrd-amd64" \
		"Machine.Watchdog=$action" \
		"$(with_init 'modprobe i6300esb heartbeat=4; echo guest hangs; echo 1 >/dev/watchdog; sleep 1000')"
	printf '[Service]\nRestart=no\n' >>"/etc/vmm/$name.vm"
	systemctl daemon-reload
	systemctl start "vmm@$name"
	wait_console "$name" 300 'guest hangs'
	eventually 60 "watchdog" console_has "$name" 'its watchdog expired'
	if [[ $action == restart ]]; then
		eventually 30 "it starts again" restarts_reach "$name" 1
		wait_unit "$name" 60 active
		hard_stop "$name"
	else
		wait_end "$name" 30 70
		equals "restarts" "$(unit_property "$name" NRestarts)" 0
	fi
}

add_soak memory-pci 900 memory pci 1024
add_soak memory-mmio 500 memory mmio 300
add_soak hvc-pci 300 hvc pci
add hvc-mmio 300 hvc mmio
add_soak watchdog-fail 400 watchdog fail
add_soak watchdog-restart 400 watchdog restart

# A file as persistent memory: what the guest has flushed is in it.
pmem() {
	local transport=$1 name=pmem-$1 file=$disks/pmem-$1-data.raw
	truncate -s 64M "$file"
	guest_machine "$name" "Machine.Transport=$transport" \
		"$(with_init 'modprobe virtio_pmem; modprobe nd_pmem; sleep 1; '\
'echo hello persistent memory | dd of=/dev/pmem0 seek=10 conv=fsync,notrunc status=none; '\
'blockdev --getsize64 /dev/pmem0')"
	printf '[Drive]\nName=data\nDevice=pmem\nPath=%s\n' "$file" >>"/etc/vmm/$name.vm"
	systemctl start "vmm@$name"
	wait_end "$name" 300 0
	matches "guest" "$(run_output "$name")" 67108864
	equals "the file" "$(dd if="$file" bs=512 skip=10 count=1 status=none | tr -d '\0')" \
		"hello persistent memory"
}

add_soak pmem-pci 400 pmem pci
add_soak pmem-mmio 400 pmem mmio
