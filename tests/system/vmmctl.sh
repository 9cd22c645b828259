# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# shellcheck shell=bash disable=SC2154,SC2016 # run and lib.sh set what tests use; guests expand
#
# vmmctl on a real system: what it does beside what systemctl does, and what it says to slips.

# The generator's words are in the kernel's log, and the drop-in of a broken file has them too.
generator_says() {
	printf '[Boot]\nKernel=relative\n' | machine broken
	vmmctl reload
	eventually 5 "the kernel's log" journalctl -q -k --since "$TEST_SINCE" \
		-t vmm-generator -g '^/etc/vmm/broken.vm:2: \[Boot\] Kernel=: "relative"'
	matches "systemctl cat" "$(systemctl cat vmm@broken)" '# error: /etc/vmm/broken.vm:2:'
	fails vmmctl start broken
	equals "SourcePath" "$(unit_property broken SourcePath)" /etc/vmm/broken.vm
	matches "vmmctl status" "$(vmmctl status broken || :)" 'broken.vm:2: \[Boot\] Kernel=: "relative"'
}

# [Install] of the file itself, also when systemd has not read it yet.
enables() {
	idle_machine enabled
	printf '[Install]\nWantedBy=timers.target\n' >>/etc/vmm/enabled.vm
	matches "enable" "$(vmmctl enable enabled 2>&1)" \
		'Created symlink /etc/systemd/system/timers.target.wants/vmm@enabled.service'
	equals "is-enabled" "$(systemctl is-enabled vmm@enabled)" enabled
	matches "status" "$(vmmctl status enabled || :)" 'Loaded: /etc/vmm/enabled.vm \(enabled\)'
	matches "disable" "$(vmmctl disable enabled 2>&1)" 'Removed .*timers.target.wants'
	fails systemctl -q is-enabled vmm@enabled
	matches "enable --now" "$(vmmctl enable --now enabled 2>&1)" 'Created symlink'
	equals "state" "$(systemctl is-active vmm@enabled)" active
	vmmctl disable enabled
	hard_stop enabled
	said=$(vmmctl enable nothing 2>&1) && fail "enables what does not exist"
	matches "what it says" "$said" 'nothing: there is no such machine'
}

# A file that systemd has not read: a start says so, and after a reload it does not.
stale() {
	idle_machine stale
	printf '[Service]\nMemoryMax=600M\n' >>/etc/vmm/stale.vm
	matches "start" "$(vmmctl start stale 2>&1)" 'warning: systemd has not read /etc/vmm/stale.vm'
	hard_stop stale
	vmmctl reload
	equals "start" "$(vmmctl start stale 2>&1)" ""
	equals "MemoryMax" "$(unit_property stale MemoryMax)" $((600 << 20))
	hard_stop stale
}

defined_and_edited() {
	idle_machine source
	mv /etc/vmm/source.vm "$TEST_DIR/made.vm"
	vmmctl define "$TEST_DIR/made.vm"
	cmp /etc/vmm/made.vm "$TEST_DIR/made.vm"
	fails vmmctl define "$TEST_DIR/made.vm"
	# systemd knows it at once.
	equals "SourcePath" "$(unit_property made SourcePath)" /etc/vmm/made.vm

	EDITOR='sed -i s/^Memory=.*/Memory=128M/' vmmctl edit made
	grep -qx Memory=128M /etc/vmm/made.vm
	equals "Memory" "$(vmmctl show -P Memory made)" $((128 << 20))
	fails env EDITOR='sed -i s/^Memory=.*/Memory=lots/' vmmctl edit made </dev/null
	grep -qx Memory=128M /etc/vmm/made.vm
	rm -f /tmp/vmmctl-*.vm
	matches "unchanged" "$(EDITOR=true vmmctl edit made 2>&1)" 'Nothing is changed'

	vmmctl start made
	fails vmmctl undefine made
	[[ -e /etc/vmm/made.vm ]]
	hard_stop made
	vmmctl undefine made
	[[ ! -e /etc/vmm/made.vm ]]
	fails vmmctl status made
}

run_options() {
	options=(--memory=384M --kernel="$images/vmlinuz-cloud" --initrd="$images/initrd-cloud"
		--drive="$disks/transient.raw")
	cp --reflink=always "$images/root.raw" "$disks/transient.raw"
}

# Runs in the foreground without a terminal, ends with the guest and leaves nothing.
transient() {
	local options
	run_options
	timeout 200 vmmctl run --name=transient "${options[@]}" \
		--append='root=/dev/vda rw console=ttyS0 quiet vmm.run="echo sum $((40 + 2))"' \
		</dev/null >"$TEST_DIR/screen"
	grep -aq 'sum 42' "$TEST_DIR/screen"
	[[ -z $(ls /run/vmm) ]] || fail "left: $(ls /run/vmm)"
	equals "state" "$(systemctl is-active vmm@transient || :)" inactive
	fails vmmctl show transient
}

# On a terminal, over a reboot: left by the escape sequence, attached to again, stopped.
transient_on_terminal() {
	local options
	run_options
	(
		sleep 1
		eventually 150 "a first boot" grep -aq 'root@vmm-guest' "$TEST_DIR/screen"
		printf 'reboot\r'
		sleep 15
		eventually 150 "a second boot" \
			sh -c "sed '1,/reboot: Restarting/d' '$TEST_DIR/screen' | grep -aq root@vmm-guest"
		printf '\035\035\035'
		sleep 3
	) | timeout 300 script -qefc "vmmctl run --name=terminal ${options[*]} \
		--append='root=/dev/vda rw console=ttyS0 quiet'" "$TEST_DIR/screen" >/dev/null
	grep -aq 'Left the console of machine terminal' "$TEST_DIR/screen"
	matches "list" "$(vmmctl list --no-legend)" 'terminal +running'
	(($(unit_property terminal NRestarts) >= 1)) || fail "it has not rebooted"
	vmmctl stop terminal
	[[ -z $(ls /run/vmm) ]] || fail "left: $(ls /run/vmm)"
}

# A signal asks the guest, as stop does.
transient_stopped() {
	local options pid status=0
	run_options
	vmmctl run --name=signaled "${options[@]}" --append='root=/dev/vda rw console=ttyS0 quiet' \
		</dev/null >"$TEST_DIR/screen" 2>&1 &
	pid=$!
	eventually 150 "a boot" grep -aq 'root@vmm-guest' "$TEST_DIR/screen"
	kill -TERM "$pid"
	wait "$pid" || status=$?
	equals "exit status" "$status" 0
	grep -aq 'reboot: Power down' "$TEST_DIR/screen"
	[[ -z $(ls /run/vmm) ]] || fail "left: $(ls /run/vmm)"
}

waits() {
	idle_machine waited
	vmmctl start waited
	vmmctl wait waited &
	sleep 1
	vmmctl terminate waited
	wait $!
	local status=0
	vmmctl is-active waited || status=$?
	equals "is-active" "$status" 3
	status=0
	vmmctl status waited >/dev/null || status=$?
	equals "status" "$status" 3
	status=0
	vmmctl status unheard-of >/dev/null 2>&1 || status=$?
	equals "status of nothing" "$status" 4
	# What is wanted is the case already.
	vmmctl stop waited
}

# run_that_fails NAME LINE...: the LINEs go into [Service] of its unit; it does not start. Sets said.
run_that_fails() {
	local name=$1 dropin=/run/systemd/system/vmm@$1.service.d
	shift
	mkdir -p "$dropin"
	printf '%s\n' '[Service]' "$@" >"$dropin/fails.conf"
	systemctl daemon-reload
	said=$(timeout 30 vmmctl run --name="$name" --memory=32M --kernel="$(writer_kernel)" \
		--drive="$disks/$name.raw" </dev/null 2>&1) && fail "$name: it has started"
	rm -r "$dropin"
}

# What ends before vmmd has heard of it has not said why: what is known of it is told. A unit that would
# try again is not left behind to do so.
run_fails() {
	local said
	truncate -s 1M "$disks"/{gone,before,killed}.raw
	run_that_fails gone ExecStart= ExecStart=/nonexistent
	matches "no program" "$said" 'it did not start: systemd could not set up its worker \(exit status 203\)'
	wait_unit gone 10 inactive
	run_that_fails before ExecStartPre=/nonexistent
	matches "no command before it" "$said" 'it did not start: a command of its unit has failed'
	wait_unit before 10 inactive
	(
		for _ in {1..100}; do
			sleep 0.01
			systemctl kill -s KILL vmm@killed 2>/dev/null && break
		done
	) &
	run_that_fails killed Restart=no
	wait
	matches "killed" "$said" 'it did not start: its worker was killed by SIGKILL'
	# Long enough that its file, which has gone, has been looked for.
	sleep 1
	matches "status" "$(vmmctl status killed || :)" 'Status: its worker was killed by SIGKILL'
	systemctl reset-failed vmm@killed
	# Nor is what it has said before why it ended.
	mkdir -p /run/systemd/system/vmm@killed.service.d
	printf '[Service]\nRestart=no\n' >/run/systemd/system/vmm@killed.service.d/once.conf
	systemctl daemon-reload
	vmmctl run --detach --name=killed --memory=32M --kernel="$(writer_kernel)" --set=Drive:root.Path="$disks/killed.raw"
	matches "status" "$(vmmctl status killed)" 'Status: running'
	systemctl kill -s ABRT vmm@killed
	eventually 5 "the reason" sh -c "vmmctl status killed | grep -q 'Status: its worker was killed by SIGABRT'"
	systemctl reset-failed vmm@killed
	eventually 5 "no machine of that name" sh -c '! vmmctl show killed 2>/dev/null'
}

# Whoever asks for an end gets one, and no failed unit, also while it is just starting.
forced_at_start() {
	local delay
	writer_machine early
	vmmctl reload
	for delay in 0.01 0.015 0.02 0.025 0.03 0.04 0.06 0.1 0.2; do
		systemctl start --no-block vmm@early
		eventually 10 "its start" job_or_process early
		sleep "$delay"
		vmmctl stop --force early
		equals "state after $delay s" "$(unit_property early ActiveState)" inactive
	done
	for delay in 0.001 0.005 0.01; do
		systemctl start --no-block vmm@early
		sleep "$delay"
		# Its guest does not follow where it has begun to run.
		timeout 1 systemctl stop vmm@early || vmmctl stop --force early
		equals "state after $delay s" "$(unit_property early ActiveState)" inactive
	done
}

job_or_process() {
	[[ $(vmmctl show -P State "$1") != inactive ]]
}

# What was forced off has a next life, which nobody ends.
forced_and_started() {
	local pid
	writer_machine next
	vmmctl start next
	vmmctl stop --force next
	vmmctl start next
	pid=$(main_pid next)
	sleep 12
	equals "its worker" "$(main_pid next)" "$pid"
	vmmctl reboot --force next
	[[ $(main_pid next) != "$pid" ]]
	equals "result" "$(unit_property next Result)" success
	hard_stop next
}

add generator-says 60 generator_says
add enables 90 enables
add stale 90 stale
add defined-and-edited 90 defined_and_edited
add transient 240 transient
add transient-on-terminal 420 transient_on_terminal
add transient-stopped 300 transient_stopped
add waits 60 waits
add_soak run-fails 120 run_fails
add_soak forced-at-start 120 forced_at_start
add_soak forced-and-started 60 forced_and_started
