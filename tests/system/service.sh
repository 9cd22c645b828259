# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# shellcheck shell=bash disable=SC2154,SC2016 # run and lib.sh set what tests use; guests expand
#
# A VM as a service among others: systemd's own commands, unit settings in a .vm file, drop-ins,
# who may do what, and what a worker is allowed.

passed_to_unit() {
	idle_machine passed
	cat >>/etc/vmm/passed.vm <<-END
		[Unit]
		Description=A name from the file
		[Service]
		MemoryMax=700M
		Environment=SAID=yes
		[Install]
		WantedBy=multi-user.target
	END
	systemctl daemon-reload
	equals "MemoryMax" "$(unit_property passed MemoryMax)" $((700 << 20))
	equals "Description" "$(unit_property passed Description)" "A name from the file"
	systemctl start vmm@passed
	equals "memory.max" "$(cat "/sys/fs/cgroup$(unit_property passed ControlGroup)/memory.max")" \
		$((700 << 20))
	hard_stop passed
}

# OnFailure= of a .vm file: the unit is started when the machine has failed for good, and is told how;
# not when it ends well, and not when it is started again.
on_failure() {
	local told=/run/vmm-told
	rm -f "$told"
	cat >/run/systemd/system/vmm-test-told.service <<-END
		[Service]
		Type=oneshot
		ExecStart=/bin/sh -c 'echo "\$MONITOR_UNIT \$MONITOR_SERVICE_RESULT \$MONITOR_EXIT_STATUS" >>$told'
	END
	writer_machine fails
	printf '[Unit]\nOnFailure=vmm-test-told.service\n' >>/etc/vmm/fails.vm
	systemctl daemon-reload
	equals "OnFailure" "$(unit_property fails OnFailure)" vmm-test-told.service
	systemctl start vmm@fails
	hard_stop fails
	[[ ! -e $told ]] || fail "after an end that was asked for: $(cat "$told")"

	# What is wrong in its file is not tried again.
	printf '[Boot]\nKernel=/nowhere\n' >>/etc/vmm/fails.vm
	fails systemctl start vmm@fails
	eventually 20 "the unit of OnFailure=" test -s "$told"
	equals "what it is told" "$(cat "$told")" "vmm@fails.service exit-code 78"
	rm "$told"

	# A worker that dies is started again, until that has happened too often.
	writer_machine fails
	printf '[Unit]\nOnFailure=vmm-test-told.service\nStartLimitBurst=2\n[Service]\nRestartSec=100ms\n' \
		>>/etc/vmm/fails.vm
	systemctl reset-failed vmm@fails
	systemctl daemon-reload
	systemctl start vmm@fails
	systemctl kill -s KILL vmm@fails
	eventually 30 "the restart" sh -c '[ "$(systemctl show -P NRestarts vmm@fails)" = 1 ]'
	wait_unit fails 30 active
	[[ ! -e $told ]] || fail "while it is started again: $(cat "$told")"
	systemctl kill -s KILL vmm@fails
	wait_unit fails 30 failed
	eventually 20 "the unit of OnFailure=" test -s "$told"
	matches "what it is told" "$(cat "$told")" '^vmm@fails.service '
	rm /run/systemd/system/vmm-test-told.service "$told"
}

enabled_and_disabled() {
	idle_machine enabled
	systemctl enable --now vmm@enabled
	equals "is-enabled" "$(systemctl is-enabled vmm@enabled)" enabled
	equals "is-active" "$(systemctl is-active vmm@enabled)" active
	matches "wanted by" "$(systemctl list-dependencies --plain multi-user.target)" 'vmm@enabled'
	systemctl disable vmm@enabled
	fails systemctl -q is-enabled vmm@enabled
	hard_stop enabled
}

status_tells() {
	idle_machine told Machine.Description='A machine with a description'
	vmmctl reload
	systemctl start vmm@told
	matches "systemctl status" "$(systemctl --no-pager status vmm@told)" 'Status: "'
	matches "vmmctl status" "$(vmmctl status --lines=0 told)" 'running'
	matches "vmmctl list" "$(vmmctl list --no-legend)" 'told'
	equals "state in JSON" \
		"$(vmmctl --json=short list | jq -r '.. | objects | select(.name == "told") | .state')" running
	hard_stop told
	[[ ! $(vmmctl list --no-legend) =~ running ]] || fail "vmmctl list: $(vmmctl list)"
}

limits_while_running() {
	idle_machine limited
	systemctl start vmm@limited
	systemctl set-property --runtime vmm@limited CPUQuota=20%
	equals "cpu.max" "$(cat "/sys/fs/cgroup$(unit_property limited ControlGroup)/cpu.max")" "20000 100000"
	hard_stop limited
}

dropins() {
	idle_machine dropped
	mkdir -p /etc/vmm/dropped.vm.d
	printf '[Machine]\nMemory=320M\n' >/etc/vmm/dropped.vm.d/10-memory.conf
	systemctl start vmm@dropped
	wait_console dropped 60 'Kernel panic'
	matches "the guest's memory" "$(console dropped)" '/327[0-9]{3}K available|Memory: [0-9]+K/327[0-9]{3}K'
	hard_stop dropped
}

# /etc wins over /run, and /run over /usr/lib.
search_path() {
	idle_machine found
	mv /etc/vmm/found.vm /run/vmm/found.vm
	mkdir -p /usr/lib/vmm
	printf '[Machine]\nMemory=1\n' >/usr/lib/vmm/found.vm
	systemctl start vmm@found
	rm -r /usr/lib/vmm
	hard_stop found
	fails systemctl start vmm@nowhere
}

defined_and_undefined() {
	idle_machine first
	mv /etc/vmm/first.vm "$TEST_DIR/first.vm"
	vmmctl define "$TEST_DIR/first.vm" second
	cmp "$TEST_DIR/first.vm" /etc/vmm/second.vm
	matches "vmmctl list" "$(vmmctl list --no-legend)" 'second +.*inactive|second'
	fails vmmctl define "$TEST_DIR/first.vm" second
	matches "vmmctl cat" "$(vmmctl cat second)" "Path=$disks/first.raw"
	vmmctl verify second
	vmmctl enable second
	vmmctl undefine second
	[[ ! -e /etc/vmm/second.vm && -e $disks/first.raw ]]
	fails systemctl -q is-enabled vmm@second
	printf '[Machine]\nMemory=none\n' >"$TEST_DIR/bad.vm"
	fails vmmctl verify "$TEST_DIR/bad.vm"
	fails vmmctl define "$TEST_DIR/bad.vm"
	[[ ! -e /etc/vmm/bad.vm ]]
}

# A VM from a command line: gone when it ends, with its exit status.
run_once() {
	local rc=0
	cp --reflink=always "$images/root.raw" "$disks/once.raw"
	vmmctl run --name=once --kernel="$images/vmlinuz-cloud" --initrd="$images/initrd-cloud" \
		--append='root=/dev/vda rw console=ttyS0 quiet init=/bin/sh -- -c "echo it is $((40 + 2)); poweroff -f"' \
		--memory=384M --drive="$disks/once.raw" <"/dev/null" >"$TEST_DIR/screen" || rc=$?
	equals "status" "$rc" 0
	grep -aq 'it is 42' "$TEST_DIR/screen"
	[[ ! -e /run/vmm/once.vm ]] || fail "/run/vmm/once.vm is still there"
	fails unit_is once active
}

# Signals on the bus, as another program sees them.
signals() {
	local monitor
	systemctl start vmmd
	busctl monitor --match="type='signal',sender='org.vmmd1'" >"$TEST_DIR/signals" 2>&1 &
	monitor=$!
	sleep 2
	idle_machine seen
	vmmctl reload
	vmmctl start seen
	hard_stop seen
	sleep 2
	kill "$monitor"
	grep -q 'Member=PropertiesChanged' "$TEST_DIR/signals" || fail "no PropertiesChanged"
	grep -q 'Member=JobRemoved' "$TEST_DIR/signals" || fail "no JobRemoved"
	grep -q 'STRING "running"' "$TEST_DIR/signals" || fail "nobody said running"
}

as_user() {
	runuser -u tester -- "$@"
}

# Without polkit's leave an ordinary user may look, and not touch; a rule gives one VM away.
who_may() {
	id tester >/dev/null 2>&1 || useradd -m tester
	idle_machine web
	idle_machine other
	vmmctl reload
	matches "what a user sees" "$(as_user vmmctl list --no-legend)" 'web'
	fails as_user vmmctl --no-ask-password start web
	equals "state" "$(unit_property web ActiveState)" inactive
	cat >/etc/polkit-1/rules.d/40-test.rules <<-END
		polkit.addRule(function (action, subject) {
			if (subject.user == "tester" && action.id == "org.vmmd1.manage-machines" &&
			    action.lookup("machine") == "web")
				return polkit.Result.YES;
		});
	END
	sleep 2
	as_user vmmctl --no-ask-password start web
	equals "state" "$(unit_property web ActiveState)" active
	fails as_user vmmctl --no-ask-password start other
	as_user vmmctl --no-ask-password stop --force web
	rm /etc/polkit-1/rules.d/40-test.rules
	wait_end web 15 0
}

# What the kernel says of a running worker.
worker_sandbox() {
	local pid status found links
	idle_machine closed
	systemctl start vmm@closed
	wait_console closed 60 'Kernel panic'
	pid=$(main_pid closed)
	status=$(cat "/proc/$pid/status")
	matches "seccomp" "$status" $'\nSeccomp:\t2'
	matches "no new privileges" "$status" $'\nNoNewPrivs:\t1'
	matches "capabilities" "$status" $'\nCapEff:\t0000000000000000'
	matches "capabilities" "$status" $'\nCapBnd:\t0000000000000000'
	for task in "/proc/$pid/task"/*; do
		matches "seccomp of $(cat "$task/comm")" "$(cat "$task/status")" $'\nSeccomp:\t2'
	done
	(($(stat -c %u "/proc/$pid") > 0)) || fail "it runs as root"
	found=$(find "/proc/$pid/root/" -xdev -type f ! -path '*/proc/*' 2>/dev/null |
		sed "s,^/proc/$pid/root/,/," | sort | paste -s -d ' ')
	[[ -z $found || $found == /usr/libexec/vmmd/vmmd-worker ]] || fail "its root has $found"
	links=$(nsenter -t "$pid" -n ip -br link | cut -d ' ' -f 1)
	equals "its network" "$links" lo
	hard_stop closed
}

# What a worker costs beside the guest's memory: one vCPU, 128 MiB.
worker_memory() {
	local pid kib=0 guest_kib=0 size=0 rss=0 first second flags
	idle_machine lean Machine.Memory=128M
	systemctl start vmm@lean
	wait_console lean 60 'Kernel panic'
	pid=$(main_pid lean)
	# The guest's memory is what is mapped in pieces of 1 MiB or more and left out of core dumps.
	while read -r first second flags; do
		case $first in
		Size:) size=$second ;;
		Rss:) rss=$second ;;
		VmFlags:)
			if ((size >= 1024)) && [[ " $flags " == *" dd "* ]]; then
				((guest_kib += rss, 1))
			else
				((kib += rss, 1))
			fi
			;;
		esac
	done <"/proc/$pid/smaps"
	((guest_kib > 0)) || fail "the guest's memory is not to be told from the worker's"
	echo "resident beside the guest's memory: $kib KiB"
	((kib < 3072)) || fail "$kib KiB are resident beside the guest's memory"
	((kib > 0))
	hard_stop lean
}

# Who speaks, and of what: a guest's words are nobody else's, and a program can ask for a device.
journal() {
	writer_machine tells
	systemctl start vmm@tells
	truncate -s 1M "$disks/more.raw"
	vmmctl attach-drive tells more "$disks/more.raw"
	eventually 10 "the guest's line" sh -c \
		'journalctl -q -o cat --since "$TEST_SINCE" -t console@tells | grep -q "^begins"'
	hard_stop tells
	journalctl --sync
	matches "the unit's log" "$(console tells)" 'begins'
	matches "the worker" "$(journalctl -q -o cat --since "$TEST_SINCE" -u vmm@tells -t vmmd-worker)" \
		'^Started: '
	[[ ! $(journalctl -q -o cat --since "$TEST_SINCE" -u vmm@tells -t vmmd-worker -t vmmd) =~ begins ]] ||
		fail "the guest's line is another's"
	matches "of the drive" "$(journalctl -q -o cat --since "$TEST_SINCE" VMM_NAME=tells VMM_DEVICE=more)" \
		'was attached'
	matches "of the event" "$(journalctl -q -o cat --since "$TEST_SINCE" VMM_NAME=tells VMM_EVENT=started)" \
		'^Started: '
}

add_soak journal 60 journal
add passed-to-unit 60 passed_to_unit
add_soak on-failure 120 on_failure
add enabled-and-disabled 60 enabled_and_disabled
add status-tells 60 status_tells
add limits-while-running 60 limits_while_running
add dropins 90 dropins
add search-path 60 search_path
add defined-and-undefined 60 defined_and_undefined
add transient 240 run_once
add signals 60 signals
add who-may 90 who_may
add worker-sandbox 90 worker_sandbox
add worker-memory 90 worker_memory
