# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# shellcheck shell=bash disable=SC2154 # run and lib.sh set what tests use
#
# Disks, network and vsock of a stock guest on both transports and with both kinds of rings. The guest
# says what was negotiated: /sys/bus/virtio/devices/*/features has a character a bit. As a boot of it
# costs more than most of what it does, one guest does all of it: disks, then network, then sockets,
# then file systems, in the midst of which it is killed; its next life checks those.

# rings_machine NAME TRANSPORT RINGS: runs the script from standard input (see hotplug.sh). /dev/vdc
# is served by one engine and /dev/vdd by the other, in two ways to cache; over all combinations it is
# each engine in each way. What is in their files stays. Sets engines.
rings_machine() {
	local name=$1 packed=yes caches=(writeback writethrough)
	engines=(io_uring threads)
	[[ $2 == pci ]] || caches=(direct unsafe)
	if [[ $3 == split ]]; then
		packed=no
		engines=(threads io_uring)
	fi
	truncate -s 64M "$disks/$name-data.raw"
	truncate -s 320M "$disks/$name-more.raw"
	guest_machine "$name" "Machine.Transport=$2" "Machine.PackedRings=$packed" \
		"$(with_init 'sh /dev/vdb' net.ifnames=0)"
	shell_drive "$name"
	cat >>"/etc/vmm/$name.vm" <<-END
		[Drive]
		Name=data
		Path=$disks/$name-data.raw
		Discard=yes
		Queues=2
		Engine=${engines[0]}
		Cache=${caches[0]}
		[Drive]
		Name=more
		Path=$disks/$name-more.raw
		Discard=yes
		Engine=${engines[1]}
		Cache=${caches[1]}
		[Network]
		Name=lan
		Bridge=vmmtest2
		Queues=2
		[Vsock]
		HostPorts=1000:/run/vmm-test/$name
		[Service]
		Restart=no
	END
	systemctl daemon-reload
}

# expect_rings NAME RINGS TYPE: TYPE as in the specification, in hexadecimal, of which there is one or
# more.
expect_rings() {
	local bit=0 seen
	[[ $2 == split ]] || bit=1
	seen=$(console "$1" | grep -o "^rings 0x00$3 [01]" | sort -u)
	equals "what devices of type $3 have negotiated" "$seen" "rings 0x00$3 $bit"
}

# first_life: the script.
first_life() {
	cat <<-'END'
		modprobe virtio_net
		modprobe vmw_vsock_virtio_transport
		until [ -e /sys/class/net/eth0 ]; do sleep 0.3; done
		# Bit 34, of each device that has a driver.
		for d in /sys/bus/virtio/devices/*; do
			[ -e $d/driver ] && echo rings $(cat $d/device) $(cut -c 35 $d/features)
		done

		# In sizes from 512 bytes on, in random order, many at once; and through the page cache.
		cat >/tmp/jobs <<-JOBS
			[global]
			thread
			size=3m
			verify=crc32c
			verify_fatal=1
			[direct-c]
			filename=/dev/vdc
			rw=randwrite
			bsrange=512-128k
			direct=1
			ioengine=libaio
			iodepth=16
			[direct-d]
			filename=/dev/vdd
			rw=randwrite
			bsrange=512-128k
			direct=1
			ioengine=libaio
			iodepth=16
			[cached-c]
			filename=/dev/vdc
			offset=8m
			rw=randrw
			bs=4k
			fsync=64
			[cached-d]
			filename=/dev/vdd
			offset=8m
			rw=randrw
			bs=4k
			fsync=64
		JOBS
		fio /tmp/jobs >/tmp/fio 2>&1 && echo disks are verified || cat /tmp/fio
		for d in vdc vdd; do
			blkdiscard /dev/$d && echo left $d $(head -c 12M /dev/$d | tr -d '\0' | wc -c)
		done

		ip addr add 10.79.0.2/24 dev eth0
		ethtool -L eth0 combined 2
		ip link set eth0 up
		for offloads in on off; do
			# One word of these that nothing can be done about would be a failure of all.
			for what in rx-gro-hw tx tso gso gro; do
				ethtool -K eth0 $what $offloads >/dev/null 2>&1
			done
			echo offloads $offloads: $(ethtool -k eth0 | awk '
				/^tx-checksumming|^tcp-segmentation|^generic-rec|^rx-gro-hw/ { print $1 $2 }')
			ping -q -i 0.1 -c 20 -s 1400 10.79.0.1
			for options in '-P 2' '-P 2 -R' '-u -b 5M'; do
				iperf3 -c 10.79.0.1 -t 2 $options >/tmp/iperf && echo iperf "$options" is done ||
					cat /tmp/iperf
				grep -E 'SUM.*(sender|receiver)|receiver' /tmp/iperf | tail -n 1
			done
		done
		ethtool -S eth0 | awk '/[rt]x_queue_[01]_packets/ { print "queue", $1, $2 }'

		socat -t 100 VSOCK-LISTEN:5000,fork EXEC:cksum &
		sleep 1
		echo guest listens
		echo host says $(seq 1000000 | socat -t 100 - VSOCK-CONNECT:2:1000)

		modprobe xfs
		mkfs.ext4 -q /dev/vdc
		mkfs.xfs -q /dev/vdd
		mkdir /mnt/ext4 /mnt/xfs
		for fs in ext4=vdc xfs=vdd; do
			mount /dev/${fs#*=} /mnt/${fs%=*} && cd /mnt/${fs%=*} || continue
			for i in 1 2 3 4; do
				head -c 2M /dev/urandom >$i
			done
			sha256sum ? >sums
			sync
			fallocate -l $(($(df --output=avail -B1M . | tail -n 1) - 8))M most
			cat /dev/zero >rest
			echo $fs is full: $(df --output=avail . | tail -n 1) left
		done 2>&1
		echo disks are filled
		n=0
		while :; do
			n=$((n + 1))
			for fs in ext4 xfs; do
				cd /mnt/$fs
				rm -f rest
				mkdir -p dir$((n % 50)) && head -c 300K /dev/urandom >dir$((n % 50))/file
				rm -rf moved$((n % 50))
				mv dir$((n % 50)) moved$((n % 50))
			done
		done
	END
}

# whole NAME TRANSPORT RINGS: whether the file systems are, after the guest was killed.
whole() {
	local name=$1 engines
	rings_machine "$@" <<-'END'
		modprobe xfs
		mount /dev/vdc /mnt && (cd /mnt && sha256sum -c sums) && umount /mnt &&
			fsck.ext4 -fn /dev/vdc && echo ext4 is clean
		mount /dev/vdd /mnt && (cd /mnt && sha256sum -c sums) && umount /mnt &&
			xfs_repair -n /dev/vdd && echo xfs is clean
	END
	systemctl start "vmm@$name"
	wait_end "$name" 400 0
	console_has "$name" '^ext4 is clean' || fail "ext4 is not whole"
	console_has "$name" '^xfs is clean' || fail "xfs is not whole"
}

# every_device TRANSPORT RINGS: both lives.
every_device() {
	local transport=$1 rings=$2 name=rings-$1-$2 type began=$SECONDS queue engines
	local host=/run/vmm-test/$name
	test_bridge vmmtest2 10.79.0.1/24
	iperf3 -s >/dev/null &
	rm -rf /run/vmm-test
	mkdir /run/vmm-test
	socat -t 100 "UNIX-LISTEN:$host,fork" EXEC:cksum &
	rings_machine "$name" "$transport" "$rings" < <(first_life)
	systemctl start "vmm@$name"

	wait_console "$name" 400 'guest listens'
	for type in 01 02 13; do
		expect_rings "$name" "$rings" "$type"
	done
	console_has "$name" '^disks are verified' || fail "fio has read something else than it wrote"
	said "$name" '^left vd. 0' 2 || fail "something is left of what was discarded"
	equals "the engines" "$(device_field "$name" data Engine) $(device_field "$name" more Engine)" \
		"${engines[*]}"
	said "$name" '^offloads on: .*tx-checksumming:on.*tcp-segmentation-offload:on' 1 ||
		fail "it has no offloads"
	said "$name" '^offloads off: .*tx-checksumming:off.*tcp-segmentation-offload:off' 1 ||
		fail "it has offloads still"
	said "$name" ' 20 received, 0% packet loss' 2 || fail "a packet is lost"
	said "$name" '^iperf .* is done' 6 || fail "iperf3 has not come to its end six times"
	for queue in rx_queue_0 rx_queue_1 tx_queue_0 tx_queue_1; do
		console_has "$name" "^queue ${queue}_packets: [1-9]" || fail "nothing went by $queue"
	done
	equals "what the guest got" "$(seq 1000000 | to_guest "$name" 5000 | tail -n 1)" \
		"$(seq 1000000 | cksum)"
	wait_console "$name" 400 'disks are filled'
	console_has "$name" "^host says $(seq 1000000 | cksum)" || fail "the host got something else"

	sleep 3
	systemctl kill -s KILL "vmm@$name"
	wait_unit "$name" 30 failed
	systemctl reset-failed "vmm@$name"
	echo "NOTE: $(grep -E '^(Engine|Cache)=' "/etc/vmm/$name.vm" | paste -s -d ' ')"
	console "$name" | grep -E '^(rings 0|disks are|left|offloads|iperf|.SUM|queue|[0-9]+ packets|ext4|xfs) ?' |
		sed 's/^/NOTE: /'
	echo "NOTE: killed after $((SECONDS - began)) s"
	whole "$name" "$transport" "$rings"
	rm -r /run/vmm-test
}

for transport in pci mmio; do
	for rings in packed split; do
		add_soak "$transport-$rings" 800 every_device "$transport" "$rings"
	done
done
