# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# shellcheck shell=bash disable=SC2154,SC2016 # run and lib.sh set what tests use; guests expand
#
# What passes between the host and the system in the guest: credentials, readiness, connections by
# vsock, and a machine that runs when somebody connects.

# echo_machine NAME PORT [LINE...]: its guest's systemd gives back what comes to a vsock port.
echo_machine() {
	local name=$1 port=$2 units=/run/systemd/system
	shift 2
	guest_machine "$name" "$@" "$(with_run "printf '[Socket]\\nListenStream=vsock::$port\\nAccept=yes\\n' >$units/echo.socket; \
printf '[Service]\\nStandardInput=socket\\nExecStart=cat\\n' >$units/echo@.service; \
systemctl daemon-reload; systemctl start echo.socket; echo listens on $port; sleep 3600")"
}

# Secrets of the unit are in the guest, and in nothing of the host that others may read.
credentials() {
	guest_machine creds "$(with_run "echo got=\$(systemd-creds --system cat our.secret); \
echo motd=\$(cat /etc/motd); echo id=\$(cat /sys/class/dmi/id/product_uuid)")"
	echo -n 'the file says so' >/run/vmm-creds-test
	cat >>/etc/vmm/creds.vm <<-END
		[Service]
		SetCredential=our.secret:sesame-4711
		LoadCredential=login.motd:/run/vmm-creds-test
	END
	systemctl daemon-reload
	systemctl start vmm@creds
	wait_console creds 240 'id=[0-9a-f]{8}-'
	matches "the guest's credential" "$(console creds)" 'got=sesame-4711'
	[[ ! $(journalctl -q -o verbose --since "$TEST_SINCE" -u vmmd.service) =~ sesame ]] ||
		fail "the log of vmmd has it"
	[[ ! $(ps -ef) =~ sesame ]] || fail "a command line has it"
	rm /run/vmm-creds-test
	hard_stop creds
}

# The unit is started when the guest is up, however long that takes: it writes so, or answers on a
# port. TimeoutStartSec= is less than that takes here.
ready_when_guest() {
	local name=$1 pattern=$2
	shift 2
	printf '[Service]\nTimeoutStartSec=%d\n' $((20 * slow)) >>"/etc/vmm/$name.vm"
	systemctl daemon-reload
	systemctl start "vmm@$name"
	equals "the state" "$(unit_property "$name" ActiveState)" active
	eventually 20 "the reason" console_has "$name" "$pattern"
	hard_stop "$name"
}

ready_by_text() {
	guest_machine says Machine.ReadyWhen=guest Machine.ReadyText=login:
	ready_when_guest says 'has written "login:"'
}

ready_by_port() {
	echo_machine answers 7 Machine.ReadyWhen=guest Machine.ReadyPort=7
	ready_when_guest answers 'answers on vsock port 7'
	# Not when it runs, but when it listens.
	matches "the order" "$(console answers | tr '\n' ' ')" 'listens on 7.*answers on vsock port 7'
}

# ssh, exec and cp by vsock into a Debian 12 that has what vmmctl(1) says it needs; root's key comes
# by a credential.
ssh_into_guest() {
	local rc=0
	mkdir -p /root/.ssh
	rm -f /root/.ssh/id_ed25519*
	ssh-keygen -q -t ed25519 -N '' -f /root/.ssh/id_ed25519
	guest_machine reach "$(with_run "echo up; sleep $((20 * slow)); systemctl start sshd-vsock.socket; echo listens; sleep 3600")"
	printf '[Service]\nLoadCredential=ssh.authorized_keys.root:/root/.ssh/id_ed25519.pub\n' \
		>>/etc/vmm/reach.vm
	systemctl daemon-reload
	systemctl start vmm@reach
	wait_console reach 200 '^up'
	vmmctl exec reach -- true 2>"$TEST_DIR/error" || rc=$?
	((rc != 0)) || fail "somebody listens"
	matches "what is missing" "$(cat "$TEST_DIR/error")" 'no sshd in the guest listens at vsock port 22'
	# It is waited for, if one asks for that.
	equals "the guest's name" "$(vmmctl --timeout=$((60 * slow)) exec reach -- cat /etc/hostname)" vmm-guest
	rc=0
	vmmctl exec reach -- sh -c 'exit 42' || rc=$?
	equals "the exit status" "$rc" 42
	equals "the arguments" "$(vmmctl exec reach -- printf '<%s>' 'a b' '$HOME' "it's")" "<a b><\$HOME><it's>"
	equals "the input" "$(echo through | vmmctl exec root@reach -- cat)" through
	head -c 1000000 /dev/urandom >"$TEST_DIR/there"
	vmmctl cp "$TEST_DIR/there" reach:/root/
	vmmctl cp reach:/root/there "$TEST_DIR/back"
	cmp "$TEST_DIR/there" "$TEST_DIR/back"
	equals "ssh by name" "$(ssh vmm/reach cat /etc/hostname)" vmm-guest
	equals "vmmctl ssh" "$(vmmctl ssh reach 'echo $((6 * 7))')" 42
	rm -f /root/.ssh/id_ed25519*
	hard_stop reach
}

note_since() {
	echo "NOTE: answered $((($(date +%s%N) - $1) / 1000000)) ms $2"
}

# A connection starts the machine, later ones resume it; it rests in between.
proxy() {
	local begin
	echo_machine lazy 7
	mkdir -p /run/systemd/system/vmm-proxy@lazy.service.d
	printf '[Service]\nEnvironment=VMM_PORT=7 VMM_IDLE=4\n' \
		>/run/systemd/system/vmm-proxy@lazy.service.d/port.conf
	systemctl daemon-reload
	systemctl start vmm-proxy@lazy.socket
	equals "before" "$(unit_property lazy ActiveState)" inactive
	begin=$(date +%s%N)
	equals "the answer" "$(echo hello | timeout $((200 * slow)) socat -t 200 - UNIX-CONNECT:/run/vmmd/proxy/lazy)" hello
	note_since "$begin" "after the connection to a stopped machine"
	eventually 30 "it rests" sh -c 'vmmctl list --no-legend lazy | grep -q paused'
	begin=$(date +%s%N)
	equals "the next answer" "$(echo again | timeout $((60 * slow)) socat -t 60 - UNIX-CONNECT:/run/vmmd/proxy/lazy)" again
	note_since "$begin" "after the connection to a paused machine"
	equals "by hand" "$(echo third | vmmctl proxy lazy 7)" third
	systemctl stop vmm-proxy@lazy.socket vmm-proxy@lazy.service
	rm -r /run/systemd/system/vmm-proxy@lazy.service.d
	hard_stop lazy
}

# Prometheus's way to the counters.
metrics() {
	idle_machine counted
	systemctl start vmm@counted vmm-metrics.socket
	exec 5<>/dev/tcp/127.0.0.1/9976
	printf 'GET /metrics HTTP/1.1\r\nHost: here\r\n\r\n' >&5
	matches "the answer" "$(cat <&5)" 'vmm_machine_cpu_seconds_total\{machine="counted"\} [0-9.]+'
	exec 5>&-
	systemctl stop vmm-metrics.socket
	hard_stop counted
}

add metrics 60 metrics
add_soak credentials 400 credentials
add_soak ready_by_text 400 ready_by_text
add_soak ready_by_port 400 ready_by_port
add_soak proxy 500 proxy
add_soak ssh 600 ssh_into_guest
