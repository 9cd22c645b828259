# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# shellcheck shell=bash disable=SC2154,SC2016 # run and lib.sh set what tests use; perl expands
#
# Networks of machines that ask for no right on the host's.

# passt takes addresses and routes of the interface with the default route.
have_default_route() {
	ip route show default | grep -q . && return
	ip link add uplink type dummy 2>/dev/null || ip link add uplink type veth peer name uplink-peer
	ip address add 192.0.2.2/24 dev uplink
	ip link set uplink up
	ip link set uplink-peer up 2>/dev/null || :
	ip route add default via 192.0.2.1 dev uplink
}

passt_is() {
	[[ $(systemctl is-active "vmm-network@$1.service") == "$2" ]]
}

passt_pid() {
	systemctl show -P MainPID "vmm-network@$1.service"
}

passt_is_another() {
	passt_is "$1" active && [[ $(passt_pid "$1") != "$2" ]] &&
		[[ $(cat "/proc/$(passt_pid "$1")/comm") == passt* ]]
}

# A listening socket of passt's that leads into the guest.
listens() {
	ss -Hln "$1" "sport = :$2" | grep -q .
}

listens_not() {
	! listens "$@"
}

# passt comes with the machine and each reboot of it, has no right on the host, forwards what the file
# says, and ends with the machine. Its death is not the machine's.
user_network() {
	local pid worker
	command -v passt >/dev/null || skip "passt is not installed"
	have_default_route
	writer_machine reached
	printf '[Network]\nName=lan\nUser=yes\nForward=tcp:127.0.0.1:18080:80 udp:18053:53\nForward=tcp:18022:22\n' \
		>>/etc/vmm/reached.vm
	# It sees none of the host's files but programs.
	mkdir -p /run/systemd/system/vmm-network@.service.d
	printf '[Service]\nExecStartPre=/usr/bin/test ! -e /etc/passwd\n' \
		>/run/systemd/system/vmm-network@.service.d/root.conf
	systemctl daemon-reload
	fails listens -t 18080
	systemctl start vmm@reached
	matches "devices" "$(vmmctl list-devices reached)" 'lan +network'
	eventually 20 "passt" passt_is_another reached:lan 0
	eventually 20 "the forwarded port" listens -t 18080
	listens -t 18022 || fail "nothing listens at port 18022"
	listens -u 18053 || fail "nothing listens at UDP port 18053"
	matches "the address" "$(ss -Hltn 'sport = :18080')" '127\.0\.0\.1:18080'
	pid=$(passt_pid reached:lan)
	(($(stat -c %u "/proc/$pid") > 0)) || fail "passt is root"
	matches "passt's seccomp" "$(cat "/proc/$pid/status")" $'\nSeccomp:\t2'
	matches "passt's privileges" "$(cat "/proc/$pid/status")" $'\nNoNewPrivs:\t1'

	vmmctl reboot --force reached
	eventually 20 "passt after the reboot" passt_is_another reached:lan "$pid"
	eventually 20 "the forwarded port after the reboot" listens -t 18080

	worker=$(main_pid reached)
	systemctl kill -s KILL vmm-network@reached:lan.service
	eventually 20 "the end of the forwarding" listens_not -t 18080
	sleep 1
	equals "the worker" "$(main_pid reached)" "$worker"
	unit_is reached active
	systemctl reset-failed vmm-network@reached:lan.service

	hard_stop reached
	rm -r /run/systemd/system/vmm-network@.service.d
	eventually 20 "the end of passt" passt_is reached:lan inactive
	fails test -e /run/vmmd/backend/network-reached:lan
	ip link delete uplink 2>/dev/null || :
}

# forwarded PROTOCOL ADDRESS PORT: what comes back of "hello", said by the command "${from[@]}".
forwarded() {
	"${from[@]}" perl -MIO::Socket::IP -e '
		alarm 2;
		my ($protocol, $address, $port) = @ARGV;
		my $s = IO::Socket::IP->new(PeerHost => $address, PeerPort => $port,
			Type => $protocol eq "tcp" ? SOCK_STREAM : SOCK_DGRAM) or exit;
		$s->send("hello");
		$s->recv(my $answer, 100);
		print $answer' "$@" 2>/dev/null || :
}

comes_back() {
	[[ $(forwarded "${@:1:3}") == "$4" ]]
}

# Another host, 192.0.2.9 and 2001:db8::9, where the default routes lead.
have_neighbour() {
	ip netns add outside
	ip link add uplink type veth peer name eth0 netns outside || skip "no veth: $(uname -r)"
	ip address add 192.0.2.2/24 dev uplink
	ip -6 address add 2001:db8::2/64 dev uplink nodad
	ip link set uplink up
	ip -n outside address add 192.0.2.9/24 dev eth0
	ip -n outside -6 address add 2001:db8::9/64 dev eth0 nodad
	ip -n outside link set eth0 up
	ip route add default via 192.0.2.1 dev uplink
	ip -6 route add default via 2001:db8::1 dev uplink
}

# Each protocol and each family, with a guest that answers to all, from this host and from another. By
# UDP, passt of Debian 12 with --no-map-gw brings back no answers to programs of its own host.
user_forwards() {
	local to listening protocol address port guest_port
	local -a from=(env)
	command -v passt >/dev/null || skip "passt is not installed"
	have_neighbour
	writer_machine fake
	printf '[Network]\nName=lan\nUser=yes\nForward=%s\n' \
		'udp:127.0.0.1:18053:53 tcp:127.0.0.1:18080:80' >>/etc/vmm/fake.vm
	echo 'Forward=udp:[2001:db8::2]:18054:54 tcp:[::1]:18081:81 tcp:18082:82 udp:18055:55' >>/etc/vmm/fake.vm
	systemctl daemon-reload
	systemd-run -q --unit=fake-guest -p Wants=vmm-network@fake:lan.socket \
		-p Wants=vmm-network@fake:lan.service -p After=vmm-network@fake:lan.socket \
		perl "$here/fake-guest" /run/vmmd/backend/network-fake:lan
	eventually 20 "the forwarded port" listens -t 18080
	listening=$(ss -Hlntu)
	for to in 127.0.0.1:18053 127.0.0.1:18080 '[2001:db8::2]:18054' '[::1]:18081'; do
		[[ $listening == *" $to "* ]] || fail "nothing listens at $to alone: $listening"
	done
	for to in 'tcp 127.0.0.1 18080 80' 'tcp ::1 18081 81' 'tcp 192.0.2.2 18082 82' 'tcp 2001:db8::2 18082 82' \
		outside 'tcp 192.0.2.2 18082 82' 'tcp 2001:db8::2 18082 82' 'udp 192.0.2.2 18055 55' \
		'udp 2001:db8::2 18055 55' 'udp 2001:db8::2 18054 54'; do
		if [[ $to == outside ]]; then
			from=(ip netns exec outside)
			continue
		fi
		read -r protocol address port guest_port <<<"$to"
		eventually 10 "an answer to $to" comes_back "$protocol" "$address" "$port" "$guest_port hello"
	done
	# An address is that one and no other.
	equals "at another address" "$(forwarded tcp 192.0.2.2 18080)" ''
	equals "at another family's" "$(forwarded tcp 2001:db8::2 18080)" ''
	equals "at another address, by UDP" "$(forwarded udp 192.0.2.2 18053)" ''
	systemctl stop fake-guest
	eventually 20 "the end of passt" passt_is fake:lan inactive
	ip link delete uplink
	ip netns delete outside
}

# The uid of passt before it has shut itself into a user namespace of its own, as the kernel sees it outside.
passt_uid() {
	stat -c %u "/proc/$(passt_pid "$1")"
}

# Two of one machine and one of another: none may trace another or end it.
user_each_its_own() {
	local -a uids pids
	local network i j
	command -v passt >/dev/null || skip "passt is not installed"
	have_default_route
	writer_machine one
	printf '[Network]\nName=%s\nUser=yes\n' lan wan >>/etc/vmm/one.vm
	writer_machine two
	printf '[Network]\nName=lan\nUser=yes\n' >>/etc/vmm/two.vm
	systemctl daemon-reload
	systemctl start vmm@one vmm@two
	for network in one:lan one:wan two:lan; do
		eventually 20 "passt of $network" passt_is_another $network 0
		pids+=("$(passt_pid $network)")
		uids+=("$(passt_uid $network)")
	done
	equals "different uids" "$(printf '%s\n' "${uids[@]}" | sort -u | wc -l)" 3
	equals "different users" "$(systemctl show -P User vmm-network@{one:lan,one:wan,two:lan}.service |
		grep . | sort -u | wc -l)" 3
	for i in 0 1 2; do
		for j in 0 1 2; do
			((i != j)) || continue
			fails setpriv --reuid="${uids[i]}" --clear-groups kill -0 "${pids[j]}" 2>/dev/null
		done
		setpriv --reuid="${uids[i]}" --clear-groups kill -0 "${pids[i]}"
	done
	# One has no unit that comes later than its machine.
	fails vmmctl attach-network one more User=yes 2>"$TEST_DIR/said"
	matches "why not" "$(<"$TEST_DIR/said")" '\[Network\] User=: its unit is made of the \.vm file'
	hard_stop one
	hard_stop two
	ip link delete uplink 2>/dev/null || :
}

# A stock guest that is told nothing gets an address and a route, and what comes to the forwarded port is
# the guest's.
user_traffic() {
	local network=/run/systemd/network
	command -v passt >/dev/null || skip "passt is not installed"
	have_default_route
	guest_machine talks "$(with_run "mkdir -p $network; printf '[Match]\\nName=e*\\n[Network]\\nDHCP=yes\\n' \
>$network/10-all.network; systemctl start systemd-networkd; for i in \$(seq 60); do ip route show default | grep . && break; \
sleep 1; done; ip -br address; socat TCP-LISTEN:80,fork EXEC:cat & echo listens; sleep 3600")"
	printf '[Network]\nName=lan\nUser=yes\nForward=tcp:127.0.0.1:18080:80\n' >>/etc/vmm/talks.vm
	systemctl daemon-reload
	systemctl start vmm@talks
	wait_console talks 240 '^listens'
	matches "the guest's route" "$(run_output talks)" 'default via [0-9.]+ dev e'
	sleep 2
	equals "what comes back" \
		"$(echo hello | timeout $((30 * slow)) socat -t 20 - TCP-CONNECT:127.0.0.1:18080)" hello
	hard_stop talks
	ip link delete uplink 2>/dev/null || :
}

# In place of udev, where there is neither it nor a devtmpfs.
make_nodes() {
	local number node
	while :; do
		for number in /sys/class/net/mv-*/macvtap/tap*/dev; do
			node=/dev/$(basename "${number%/dev}")
			[[ ! -e $number || -e $node ]] || mknod "$node" c "$(cut -d : -f 1 "$number")" \
				"$(cut -d : -f 2 "$number")"
		done
		sleep 0.02
	done 2>/dev/null
}

# A veth whose other end, with 10.79.1.1, is in a network namespace: the network that machines are on.
make_uplink() {
	ip netns add vmmpeer
	ip link add vmmup0 type veth peer name vmmpeer0 netns vmmpeer
	ip link set vmmup0 up
	ip -n vmmpeer addr add 10.79.1.1/24 dev vmmpeer0
	ip -n vmmpeer link set vmmpeer0 up
	trap 'ip netns del vmmpeer; ip link del vmmup0 2>/dev/null || :' EXIT
	[[ $(findmnt -no FSTYPE /dev) == devtmpfs ]] || make_nodes &
}

macvtaps() {
	ip -br link | grep -o '^mv-[^@ ]*'
}

has_macvtaps() {
	[[ $(macvtaps | wc -l) == "$1" ]]
}

# The link comes with the machine and goes with it, however that ends, and whether there is a vmmd or
# not; one of somebody else's stays.
macvtap() {
	local link
	make_uplink
	ip link add link vmmup0 name mv-other type macvtap mode bridge
	writer_machine onlan
	printf '[Network]\nName=lan\nMACVTap=vmmup0\nQueues=2\nMAC=52:54:00:12:34:56\n' >>/etc/vmm/onlan.vm
	systemctl start vmm@onlan
	matches "devices" "$(vmmctl list-devices onlan)" 'lan +network'
	link=$(macvtaps | grep onlan)
	matches "the link" "$(ip -d link show "$link")" 'ALLMULTI.*UP.*52:54:00:12:34:56.*macvtap +mode bridge'
	matches "its alias" "$(ip link show "$link")" 'alias vmmd onlan/lan'
	matches "its mark" "$(ip link show group 1986882916)" "$link"
	equals "its addresses" "$(ip -o addr show "$link")" ""

	vmmctl attach-network onlan wan MACVTap=vmmup0
	has_macvtaps 3 || fail "no link of the second network"
	fails vmmctl attach-network onlan wan MACVTap=vmmup0
	has_macvtaps 3 || fail "the link of a network in use is gone"
	fails vmmctl attach-network onlan bad MACVTap=nowhere0 2>"$TEST_DIR/refused"
	matches "refusal" "$(cat "$TEST_DIR/refused")" '\[Network\] MACVTap=: "nowhere0": No such device'
	fails vmmctl attach-network onlan bad "MACVTap=$link" 2>"$TEST_DIR/refused"
	matches "refusal" "$(cat "$TEST_DIR/refused")" 'is a macvtap itself'
	vmmctl detach-network --force onlan wan
	eventually 10 "the end of the second link" has_macvtaps 2

	hard_stop onlan
	eventually 10 "the end of the link" has_macvtaps 1
	systemctl start vmm@onlan
	has_macvtaps 2 || fail "no link after the second start"
	systemctl kill -s KILL vmmd.service vmm@onlan.service
	systemctl stop vmm@onlan.service
	eventually 20 "the end of the link after kill -9" has_macvtaps 1
	equals "what is left" "$(macvtaps)" mv-other
	systemctl reset-failed vmm@onlan.service 2>/dev/null || :
	ip link del mv-other
}

# A network is detached while there is no vmmd to hear of it: its link goes when one comes, and what the
# machine has stays.
macvtap_without_vmmd() {
	local worker
	make_uplink
	writer_machine alone
	printf '[Network]\nName=lan\nMACVTap=vmmup0\n' >>/etc/vmm/alone.vm
	systemctl start vmm@alone
	vmmctl attach-network alone wan MACVTap=vmmup0
	vmmctl attach-network alone man MACVTap=vmmup0
	has_macvtaps 3 || fail "not a link for each network"
	worker=$(main_pid alone)
	kill -STOP "$worker"
	vmmctl detach-network --force alone wan &
	sleep 1
	systemctl stop vmmd.socket
	systemctl kill -s KILL vmmd.service
	systemctl stop vmmd.service
	kill -CONT "$worker"
	wait $! || :
	sleep 1
	has_macvtaps 3 || fail "a link has gone without a vmmd"
	systemctl start vmmd.socket vmmd.service
	eventually 10 "the end of the link" has_macvtaps 2
	matches "devices" "$(vmmctl list-devices --no-legend alone | cut -d ' ' -f 1 | tr '\n' ' ')" 'lan man'
	vmmctl detach-network --force alone man
	eventually 10 "the end of the other link" has_macvtaps 1
	hard_stop alone
	eventually 10 "the end of the last link" has_macvtaps 0
}

# A stock guest and a peer on the network that the host's interface is on.
macvtap_traffic() {
	make_uplink
	guest_machine onlan "$(with_init 'modprobe virtio_net; ip link set eth0 up; ip addr add 10.79.1.2/24 dev eth0; '\
'until ping -q -c 1 -W 1 10.79.1.1 >/dev/null; do :; done; echo the peer answers; sleep 3600' net.ifnames=0)"
	printf '[Network]\nName=lan\nMACVTap=vmmup0\n%s\n' "$1" >>/etc/vmm/onlan.vm
	systemctl start vmm@onlan
	wait_console onlan 120 '^the peer answers'
	ip netns exec vmmpeer ping -q -c 3 -W 5 10.79.1.2
	[[ -z $1 ]] || matches "devices" "$(vmmctl list-devices onlan)" 'lan +network +vhost '
	hard_stop onlan
	eventually 10 "the end of the link" has_macvtaps 0
}

has_address() {
	ip -4 -o addr show "$1" scope global | grep -q .
}

start_networkd() {
	[[ -x /lib/systemd/systemd-networkd ]] || skip "there is no systemd-networkd"
	systemctl -q is-active systemd-networkd.service ||
		trap 'systemctl stop systemd-networkd.socket systemd-networkd.service' EXIT
	# Where no udev runs, a /sys that cannot be written says so.
	systemctl -q is-active systemd-udevd.service || mount -o remount,ro,bind /sys
	systemctl start systemd-networkd.service
}

# Beside systemd-networkd, whose own files make a network of a zone: the host has an address in it.
zone_networkd() {
	start_networkd
	writer_machine zoned
	printf '[Network]\nName=lan\nZone=lab\n' >>/etc/vmm/zoned.vm
	systemctl start vmm@zoned
	eventually 20 "the host's address" has_address vz-lab
	matches "the bridge" "$(networkctl --no-pager status vz-lab)" 'Network File: .*/80-container-vz.network'
	eventually 20 "a DHCP server" listens -u 67
	# The machine's own end is nobody's business but the bridge's.
	matches "the port" "$(networkctl --no-pager --no-legend list 'vb-*')" 'unmanaged'
	matches "its master" "$(ip link show master vz-lab)" 'vb-zoned'
	hard_stop zoned
	eventually 10 "the end of the bridge" sh -c '! ip link show vz-lab >/dev/null 2>&1'
}

# A stock guest gets a lease there, and reaches the host.
zone_lease() {
	local network=/run/systemd/network
	start_networkd
	guest_machine leased "$(with_run "mkdir -p $network; printf '[Match]\\nName=e*\\n[Network]\\nDHCP=ipv4\\n' \
>$network/10-all.network; systemctl start systemd-networkd; for i in \$(seq 60); do ip route show default | grep . && break; \
sleep 1; done; set -- \$(ip route show default); ping -q -c 3 -W 5 \$3 && echo the host answers")"
	printf '[Network]\nName=lan\nZone=lab\n' >>/etc/vmm/leased.vm
	systemctl start vmm@leased
	wait_console leased 240 '^the host answers'
	matches "the guest's route" "$(run_output leased)" 'default via [0-9.]+ dev e.* proto dhcp'
	echo "NOTE: the guest has $(run_output leased | grep -o 'default via.*')"
	wait_end leased 60 0
}

add_soak macvtap 120 macvtap
add_soak macvtap-without-vmmd 60 macvtap_without_vmmd
add_soak macvtap-traffic 200 macvtap_traffic ""
add_soak macvtap-vhost 200 macvtap_traffic Vhost=yes
add_soak traffic 400 user_traffic
add_soak user 120 user_network
add_soak user-forwards 200 user_forwards
add_soak user-each-its-own 120 user_each_its_own
add_soak zone-networkd 120 zone_networkd
add_soak zone-lease 240 zone_lease
