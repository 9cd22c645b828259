# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# shellcheck shell=bash disable=SC2154,SC2016 # run and lib.sh set what tests use; guests expand
#
# vmmd comes and goes while VMs run, and what others may not do to it.

login='vmm-guest login: root|root@vmm-guest'

listed() {
	[[ $(vmmctl list --no-legend) =~ (^|$'\n')[^a-z]*$1\ +.*$2 ]]
}

daemon_killed() {
	local worker
	guest_machine stays
	systemctl start vmm@stays
	worker=$(main_pid stays)
	wait_console stays 150 "$login"

	# A console that is attached goes on without vmmd.
	mkfifo "$TEST_DIR/keys"
	vmmctl console stays <"$TEST_DIR/keys" >"$TEST_DIR/screen" 2>&1 &
	exec 3>"$TEST_DIR/keys"
	sleep 2
	echo 'echo before-$((40 + 2))' >&3
	eventually 20 "echo on the console" grep -aq 'before-42' "$TEST_DIR/screen"

	systemctl kill -s KILL vmmd.service
	echo 'echo after-$((40 + 2))' >&3
	eventually 20 "echo on the console after the kill" grep -aq 'after-42' "$TEST_DIR/screen"
	eventually 10 "vmmd again" systemctl -q is-active vmmd.service
	sleep 1
	listed stays running || fail "vmmctl list: $(vmmctl list)"
	equals "the worker" "$(main_pid stays)" "$worker"
	equals "restarts of the VM" "$(unit_property stays NRestarts)" 0
	echo 'echo still-$((40 + 2))' >&3
	eventually 20 "echo on the console at the end" grep -aq 'still-42' "$TEST_DIR/screen"
	exec 3>&-
	vmmctl stop stays
	wait_end stays 90 0
}

# A VM that starts while vmmd is down waits for it in the socket's queue.
start_without_daemon() {
	systemctl stop vmmd.service
	guest_machine late "$(with_init true)"
	systemctl start vmm@late
	systemctl -q is-active vmmd.service
	wait_end late 180 0
}

end_while_daemon_is_down() {
	guest_machine gone "$(with_init true)"
	systemctl start vmm@gone
	systemctl mask --runtime vmmd.service
	systemctl stop vmmd.service
	wait_end gone 180 0
	systemctl unmask --runtime vmmd.service
	vmmctl list >"$TEST_DIR/list"
	fails grep -q running "$TEST_DIR/list"
}

# said_by_vmmd PATTERN
said_by_vmmd() {
	journalctl -q -o cat --since "$TEST_SINCE" -u vmmd.service | grep -Eiq -- "$1"
}

# A process that is no worker gets nothing from the broker, whatever it says.
stranger_at_broker() {
	systemctl start vmmd.service
	head -c 64 /dev/zero | timeout 10 socat -t 3 - UNIX-CONNECT:/run/vmmd/broker.sock,type=5 \
		>"$TEST_DIR/answer" || :
	# At most a refusal, which is far shorter than a spec and has no descriptor to offer.
	(($(wc -c <"$TEST_DIR/answer") <= 1024)) || fail "a stranger gets $(wc -c <"$TEST_DIR/answer") bytes"
	eventually 5 "a line in the log" said_by_vmmd 'refus|reject|not.*worker'
	systemctl -q is-active vmmd.service
}

# The real worker binary, in a unit that is not the VM's.
worker_of_no_machine() {
	guest_machine victim
	fails systemd-run --wait --collect -q -u impostor \
		/usr/libexec/vmmd/vmmd-worker --broker=/run/vmmd/broker.sock victim
	eventually 5 "a line in the log" said_by_vmmd 'refus|reject'
	equals "state of the VM" "$(unit_property victim ActiveState)" inactive
}

# A VM's own unit, whose worker asks for another VM.
worker_of_another_machine() {
	local dir=/run/systemd/system/vmm@liar.service.d
	guest_machine victim
	guest_machine liar
	mkdir -p "$dir"
	printf '[Service]\nExecStart=\nExecStart=%s\nRestart=no\n' \
		'/usr/libexec/vmmd/vmmd-worker --broker=/run/vmmd/broker.sock victim' >"$dir/lie.conf"
	systemctl daemon-reload
	fails systemctl start vmm@liar
	eventually 5 "a line in the log" said_by_vmmd 'refus|reject'
	equals "state of the liar" "$(unit_property liar ActiveState)" failed
	equals "state of the VM" "$(unit_property victim ActiveState)" inactive
}

two_machines() {
	guest_machine one "$(with_init 'sleep 5')"
	guest_machine two "$(with_init 'sleep 5')"
	systemctl start vmm@one vmm@two
	listed one running
	listed two running
	[[ $(ps -o uid= -p "$(main_pid one)") != $(ps -o uid= -p "$(main_pid two)") ]]
	wait_end one 240 0
	wait_end two 240 0
}

# vmmd restarts while a machine takes its time to end, and the machine is not disturbed by it.
restart_while_stopping() {
	local worker begin
	idle_machine slowly
	systemctl start vmm@slowly
	worker=$(main_pid slowly)
	systemctl stop --no-block vmm@slowly
	eventually 20 "it is being stopped" daemon_is vmm@slowly.service deactivating
	begin=$SECONDS
	systemctl restart vmmd.service
	echo "vmmd restarted in $((SECONDS - begin)) s"
	equals "the state" "$(unit_property slowly ActiveState)" deactivating
	equals "the worker" "$(main_pid slowly)" "$worker"
	hard_stop slowly
}

# daemon_runs COMMAND: vmmd.service with another ExecStart=, until daemon_is_itself.
daemon_runs() {
	mkdir -p /run/systemd/system/vmmd.service.d
	printf '[Service]\nExecStart=\nExecStart=%s\n' "$1" >/run/systemd/system/vmmd.service.d/test.conf
	systemctl daemon-reload
}

daemon_is_itself() {
	rm -r /run/systemd/system/vmmd.service.d
	systemctl daemon-reload
}

daemon_is() {
	[[ $(systemctl show -P ActiveState "$1") == "$2" ]]
}

# Without machines and clients vmmd ends by itself; its name, its socket and a machine start it again.
daemon_idle() {
	daemon_runs '/usr/libexec/vmmd/vmmd --idle=3'
	systemctl restart vmmd.service
	eventually 30 "vmmd ends" daemon_is vmmd.service inactive
	equals "how it ended" "$(systemctl show -P Result vmmd.service)" success
	matches "vmmctl list" "$(vmmctl list)" 'No machines'
	daemon_is vmmd.service active || fail "vmmctl has not started it"
	eventually 30 "vmmd ends again" daemon_is vmmd.service inactive
	idle_machine needs
	systemctl start vmm@needs
	sleep $((8 * slow))
	daemon_is vmmd.service active || fail "it has left a machine alone"
	systemctl reload vmmd.service
	hard_stop needs
	eventually 30 "vmmd ends after the machine" daemon_is vmmd.service inactive
	daemon_is_itself
}

# systemd executes itself again and again while a machine is started and ended by vmmctl: a request, and
# a worker that greets, wait until systemd can be asked.
daemon_reexec() {
	local times=$1 n=0 lost
	writer_machine again
	mkdir -p /run/systemd/system/vmm@again.service.d
	printf '[Unit]\nStartLimitIntervalSec=0\n' >/run/systemd/system/vmm@again.service.d/often.conf
	systemctl daemon-reload
	# An activation by the bus is lost when systemd does not hear of it.
	vmmctl list >"$TEST_DIR/list"
	for ((; times > 0; times--)); do
		systemctl daemon-reexec
		sleep "0.$((RANDOM % 5))"
	done &
	while kill -0 $! 2>/dev/null; do
		vmmctl start again
		listed again running || fail "vmmctl list: $(vmmctl list)"
		vmmctl stop --force again
		n=$((n + 1))
	done
	wait $!
	journalctl --sync
	# One that ends before systemd has said what runs is not told of.
	lost=$(journalctl -q -o cat --since "$TEST_SINCE" -u vmmd.service |
		grep -c 'connection to systemd has ended' || :)
	((lost >= $1 / 5)) || fail "vmmd has lost systemd only $lost times"
	fails said_by_vmmd 'refused a peer|failed: systemd cannot'
	equals "how its last worker ended" "$(unit_property again Result)" success
	echo "NOTE: $n starts and stops while systemd executed itself $1 times: none failed"
}

# A vmmd that crashes again and again: it and its socket have failed, and everybody who needs it says
# so; nothing waits for ever.
daemon_crash_loop() {
	local said rc=0
	systemctl stop vmmd.service
	daemon_runs /bin/false
	idle_machine waits
	timeout $((120 * slow)) systemctl start vmm@waits 2>"$TEST_DIR/error" || rc=$?
	((rc != 0 && rc != 124)) || fail "starting a machine: status $rc"
	eventually 60 "vmmd is given up" daemon_is vmmd.service failed
	eventually 60 "its socket too" daemon_is vmmd.socket failed
	rc=0
	said=$(timeout 60 vmmctl list 2>&1) || rc=$?
	((rc == 1)) || fail "vmmctl list: status $rc: $said"
	echo "vmmctl says: $said"
	matches "what vmmctl says" "$said" 'See systemctl status vmmd.service'
	matches "the machine's log" "$(console waits)" 'vmmd'
	systemctl stop vmm@waits || :
	# Mended, and on again.
	daemon_is_itself
	systemctl reset-failed vmmd.service vmmd.socket vmm@waits.service
	systemctl start vmmd.socket
	systemctl start vmm@waits
	hard_stop waits
}

# systemd takes connections and says nothing: vmmd answers all the same, forgets no machine, and goes on
# when systemd does.
silent_systemd() {
	local pid before
	writer_machine heard
	systemctl start vmm@heard
	mv /run/systemd/private /run/systemd/private.away
	trap 'rm -f /run/systemd/private; mv /run/systemd/private.away /run/systemd/private' EXIT
	# It leaves what connects where it is.
	systemd-socket-activate -l /run/systemd/private sleep 60 2>/dev/null &
	pid=$!
	eventually 5 "a socket that nobody reads" test -S /run/systemd/private
	SYSTEMCTL_FORCE_BUS=1 systemctl restart vmmd.service
	before=${EPOCHREALTIME/./}
	for _ in {1..40}; do
		timeout 1 vmmctl list >"$TEST_DIR/list"
		sleep 0.2
	done
	echo "NOTE: 40 lists in $((${EPOCHREALTIME/./} - before)) us"
	[[ -S /run/vmmd/machine/heard/control ]] || fail "the directory of a machine that runs is gone"
	rm /run/systemd/private
	mv /run/systemd/private.away /run/systemd/private
	trap - EXIT
	kill "$pid"
	eventually 20 "what runs" sh -c 'vmmctl list --no-legend heard | grep -q running'
	hard_stop heard
}

add killed 400 daemon_killed
add start-without-daemon 240 start_without_daemon
add end-while-daemon-is-down 240 end_while_daemon_is_down
add stranger-at-broker 60 stranger_at_broker
add worker-of-no-machine 60 worker_of_no_machine
add worker-of-another-machine 60 worker_of_another_machine
add two-machines 400 two_machines
add idle 150 daemon_idle
add_soak restart-while-stopping 120 restart_while_stopping
add_soak reexec 300 daemon_reexec 20
add_soak crash-loop 240 daemon_crash_loop
add_soak silent-systemd 120 silent_systemd
