# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# shellcheck shell=bash disable=SC2154 # run and lib.sh set what tests use
#
# The disk of a stock guest on both transports and with both kinds of rings. The guest
# says what was negotiated: /sys/bus/virtio/devices/*/features has a character a bit.

# rings_machine NAME TRANSPORT RINGS: runs the script from standard input (see hotplug.sh), which has
# a disk of its own as /dev/vdc; what is in the file stays.
rings_machine() {
	local name=$1 packed=yes data=$disks/$1-data.raw
	[[ $3 == packed ]] || packed=no
	[[ -e $data ]] || truncate -s 320M "$data"
	guest_machine "$name" "Machine.Transport=$2" "Machine.PackedRings=$packed" Machine.CPUs=2 \
		"$(with_init 'sh /dev/vdb')"
	{
		# Bit 34, of each device that has a driver.
		cat <<-'END'
			show_rings() {
				for d in /sys/bus/virtio/devices/*; do
					[ -e $d/driver ] && echo rings $(cat $d/device) $(cut -c 35 $d/features)
				done
			}
		END
		cat
	} | shell_drive "$name"
	printf '[Drive]\nName=data\nPath=%s\nDiscard=yes\nQueues=2\n' "$data" >>"/etc/vmm/$name.vm"
}

# expect_rings NAME RINGS TYPE: TYPE as in the specification, in hexadecimal, of which there is one or
# more.
expect_rings() {
	local bit=0 seen
	[[ $2 == split ]] || bit=1
	seen=$(console "$1" | grep -o "^rings 0x00$3 [01]" | sort -u)
	equals "what devices of type $3 have negotiated" "$seen" "rings 0x00$3 $bit"
}

# What a disk got in random order and sizes from several processes at a time is what it gives back;
# what is discarded reads as zeroes.
blk() {
	local transport=$1 rings=$2 name=rings-blk-$1-$2
	rings_machine "$name" "$transport" "$rings" <<-'END'
		show_rings
		perl - <<'PERL'
		use Fcntl qw(O_RDWR SEEK_SET);
		my ($parts, $part_bytes) = (4, 4 << 20);
		sub piece {
			my ($offset, $size) = @_;
			my $word = pack 'QQ', $offset, $offset ^ 0x5bd1e995;
			return substr $word x ($size / 16 + 1), 0, $size;
		}
		sub part {
			my $base = shift;
			srand $base;
			my @pieces;
			for (my $at = 0; $at < $part_bytes;) {
				my $size = 512 << int rand 10;
				$size = $part_bytes - $at if $size > $part_bytes - $at;
				push @pieces, [$base + $at, $size];
				$at += $size;
			}
			sysopen my $disk, '/dev/vdc', O_RDWR or die;
			for my $p (sort { $a->[1] <=> $b->[1] || $b->[0] <=> $a->[0] } @pieces) {
				sysseek $disk, $p->[0], SEEK_SET;
				syswrite($disk, piece(@$p)) == $p->[1] or die "write at $p->[0]: $!";
			}
			system 'sync; echo 3 >/proc/sys/vm/drop_caches';
			for my $p (sort { $b->[1] <=> $a->[1] || $a->[0] <=> $b->[0] } @pieces) {
				sysseek $disk, $p->[0], SEEK_SET;
				sysread($disk, my $data, $p->[1]) == $p->[1] or die "read at $p->[0]: $!";
				$data eq piece(@$p) or die "at $p->[0] is something else";
			}
			print 'verified ' . @pieces . " pieces\n";
		}
		for my $i (0 .. $parts - 1) {
			fork or do { part($i * $part_bytes); exit 0 };
		}
		for (1 .. $parts) {
			wait;
			die "a part failed" if $?;
		}
		print "all is verified\n";
		PERL
		blkdiscard /dev/vdc && echo left $(head -c 16M /dev/vdc | tr -d '\0' | wc -c)
	END
	systemctl start "vmm@$name"
	wait_end "$name" 400 0
	expect_rings "$name" "$rings" 02
	console_has "$name" '^all is verified' || fail "something else was read"
	console_has "$name" '^left 0' || fail "something is left of what was discarded"
}

for transport in pci mmio; do
	for rings in packed split; do
		add_soak "blk-$transport-$rings" 900 blk "$transport" "$rings"
	done
done
