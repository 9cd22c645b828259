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
