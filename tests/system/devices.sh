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
	} | socat -t 60 - "UNIX-CONNECT:/run/vmmd/machine/$1/vsock"
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
add_soak vsock-1000-connections 2000 vsock pci 64 1000

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

# Memory that the guest has used and freed comes back: by itself, by the balloon, and after that
# the guest has it again; and memory is plugged and unplugged.
memory() {
	local transport=$1 name=memory-$1 before
	guest_machine "$name" "Machine.Transport=$transport" Machine.Memory=512M Machine.Balloon=yes \
		Machine.HotplugMemory=256M \
		"$(with_init 'modprobe virtio_balloon; modprobe virtio_mem; '\
'echo online >/sys/devices/system/memory/auto_online_blocks; mount -t tmpfs -o size=90% none /mnt; '\
'head -c 300M /dev/zero | tr x y >/mnt/a; echo guest is full; read line; rm /mnt/a; '\
'echo guest is empty; read line; grep MemTotal /proc/meminfo; read line; grep MemTotal /proc/meminfo')"
	systemctl start "vmm@$name"
	wait_console "$name" 300 'guest is full'
	before=$(resident_mib "$name")
	((before > 300)) || fail "a full guest has $before MiB"
	type_in "$name" go
	wait_console "$name" 60 'guest is empty'
	# Free page reporting.
	eventually 90 "the freed memory comes back" resident_is_below "$name" $((before - 270))
	memory_is "$name" Reported $((270 << 20)) $((1 << 40)) || fail "hardly any of it was reported"
	vmmctl memory "$name" 256M
	eventually 60 "the balloon is full" memory_is "$name" Balloon $((250 << 20)) $((256 << 20))
	vmmctl memory "$name" 640M
	eventually 60 "the balloon is empty" memory_is "$name" Balloon 0 0
	eventually 90 "memory is plugged" memory_is "$name" Plugged $((128 << 20)) $((128 << 20))
	type_in "$name" go
	wait_console "$name" 60 'MemTotal'
	vmmctl memory "$name" 512M
	eventually 90 "memory is unplugged" memory_is "$name" Plugged 0 0
	type_in "$name" go
	wait_end "$name" 100 0
	console "$name" | awk '/MemTotal/ { n[++i] = $2 } END { exit !(n[1] - n[2] > 120 * 1024) }' ||
		fail "the guest has not seen more memory, and then less"
}

# hvc0 as the console: what is typed there arrives, and its size.
hvc() {
	local transport=$1 name=hvc-$1
	guest_machine "$name" "Machine.Transport=$transport" Machine.Console=virtio \
		"$(with_init 'modprobe virtio_console; exec </dev/hvc0 >/dev/hvc0; echo hvc is open; '\
'read line; stty size; head -n 1')"
	systemctl start "vmm@$name"
	wait_console "$name" 200 'hvc is open'
	busctl call org.vmmd1 /org/vmmd1 org.vmmd1.Manager ResizeMachineConsole sqqt "$name" 33 111 0
	type_in "$name" begin
	type_in "$name" hello
	wait_end "$name" 100 0
	console_has "$name" 'hello' || fail "what was typed did not arrive"
	console_has "$name" '^33 111' || fail "the size did not arrive"
}

# A guest that no longer serves its watchdog: once it fails, once it starts again.
watchdog() {
	local action=$1 status=$2 name=watchdog-$1
	guest_machine "$name" Boot.Kernel="$images/vmlinuz-amd64" Boot.Initrd="$images/initrd-amd64" \
		"Machine.Watchdog=$action" \
		"$(with_init 'modprobe i6300esb heartbeat=4; echo guest hangs; echo 1 >/dev/watchdog; sleep 1000')"
	systemctl start "vmm@$name"
	wait_console "$name" 300 'guest hangs'
	eventually 60 "watchdog" console_has "$name" 'its watchdog expired'
	[[ $action == restart ]] || wait_end "$name" 30 "$status"
}

add_soak memory-pci 500 memory pci
add_soak memory-mmio 500 memory mmio
add_soak hvc-pci 300 hvc pci
add hvc-mmio 300 hvc mmio
add_soak watchdog-fail 400 watchdog fail 70
add_soak watchdog-restart 400 watchdog restart 133

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
