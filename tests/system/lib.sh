# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# shellcheck shell=bash
#
# What system tests are made of: VMs from the guest images of the test bed, their consoles in the
# journal, and questions about them that fail with a reason.

slow=${TEST_SLOW:-1} # times as long as on an idle machine
images=/var/lib/vmm-test
disks=/var/lib/vmm

fail() {
	echo "FAIL: $*"
	exit 1
}

skip() {
	echo "$*"
	exit 77
}

# For the ERR trap of a test: the command that ended it, unless that was fail.
failed_command() {
	echo "FAIL: $2: $1: failed"
}

# fails CMD...: "! CMD" alone would never end a test.
fails() {
	if "$@"; then
		fail "succeeds: $*"
	fi
}

# equals WHAT GOT WANTED
equals() {
	[[ $2 == "$3" ]] || fail "$1 is '$2', not '$3'"
}

# matches WHAT TEXT PATTERN: an extended regular expression.
matches() {
	[[ $2 =~ $3 ]] || fail "$1: no /$3/ in: $2"
}

# eventually SECONDS WHAT CMD...: CMD is tried until it succeeds.
eventually() {
	local deadline=$((SECONDS + $1 * slow)) what=$2
	shift 2
	until "$@"; do
		((SECONDS < deadline)) || fail "$what: not within the time"
		sleep 0.2
	done
}

# machine NAME: its .vm file from standard input.
machine() {
	cat >"/etc/vmm/$1.vm"
}

# guest_machine NAME [LINE...]: a VM with the cloud kernel as Debian boots it and a root file
# system of its own. A LINE is "Section.Key=Value" and comes in place of the default of that key,
# or is added; "Section.Key=" takes the default away.
guest_machine() {
	local name=$1 line key section
	local -A keys=(
		[Machine.CPUs]=1 [Machine.Memory]=384M
		[Boot.Kernel]=$images/vmlinuz-cloud [Boot.Initrd]=$images/initrd-cloud
		[Boot.CommandLine]="root=/dev/vda rw console=ttyS0 quiet"
		[Drive.Name]=root [Drive.Path]=$disks/$name.raw
	)
	shift
	cp --reflink=always "$images/root.raw" "$disks/$name.raw"
	for line; do
		keys[${line%%=*}]=${line#*=}
	done
	for section in Machine Boot Drive; do
		echo "[$section]"
		for key in "${!keys[@]}"; do
			[[ $key == "$section".* && -n ${keys[$key]} ]] || continue
			echo "${key#*.}=${keys[$key]}"
		done
	done | machine "$name"
}

# idle_machine NAME [LINE...]: a VM that is up within seconds and then does nothing: its kernel finds
# no root file system, says so, and stays.
idle_machine() {
	local name=$1
	shift
	guest_machine "$name" Machine.Memory=256M Boot.Initrd= \
		"Boot.CommandLine=console=ttyS0 panic=0" "$@"
}

writer_kernel() {
	echo "${VMMD_WRITER_ELF:-/usr/libexec/vmmd-tests/writer.elf}"
}

# writer_machine NAME: a VM without a kernel (tests/sandbox/writer.c), which is up at once, also on
# hosts where no stock kernel runs, and writes to its disk.
writer_machine() {
	truncate -s 1M "$disks/$1.raw"
	machine "$1" <<-END
		[Machine]
		Memory=32M
		[Boot]
		Kernel=$(writer_kernel)
		[Drive]
		Name=root
		Path=$disks/$1.raw
	END
}

# hard_stop NAME: for a guest that cannot hear.
hard_stop() {
	vmmctl stop --force "$1"
	wait_end "$1" 30 0
}

# with_run CMD: a kernel command line on which the guest's systemd, when it is up, runs CMD and powers
# off. CMD holds no double quotes.
with_run() {
	printf 'Boot.CommandLine=root=/dev/vda rw console=ttyS0 quiet vmm.run="%s"' "$1"
}

# with_init CMD [PARAMETER...]: the same with a shell in place of systemd, for tests of what lies below:
# several times as fast. PARAMETERs go on the kernel's command line.
with_init() {
	printf 'Boot.CommandLine=root=/dev/vda rw console=ttyS0 quiet %s init=/bin/sh -- -c "%s"' \
		"${*:2}" "echo vmm-run: begin; $1; echo vmm-run: exit \$?; poweroff -f"
}

unit_property() {
	systemctl show -P "$2" "vmm@$1.service"
}

# What the guest has written on its console, and the worker to its log, since the test began.
console() {
	journalctl -q -o cat --no-pager --since "$TEST_SINCE" -u "vmm@$1.service" | tr -d '\r'
}

console_has() {
	console "$1" | grep -Eq -- "$2"
}

# lines_with NAME PATTERN: in how many lines of its console. That it is in none is no failed command:
# the report of one would be read as part of the number.
lines_with() {
	console "$1" | grep -Ec -- "$2" || :
}

# said NAME PATTERN COUNT: whether it is in so many.
said() {
	(($(lines_with "$1" "$2") >= $3))
}

# wait_console NAME SECONDS PATTERN
wait_console() {
	local deadline=$((SECONDS + $2 * slow)) state
	until console_has "$1" "$3"; do
		state=$(unit_property "$1" ActiveState)
		if [[ $state == failed || $state == inactive ]]; then
			# What it said last may still be on its way to the journal.
			journalctl --sync
			console_has "$1" "$3" && break
			fail "$1 is $state and has not said /$3/"
		fi
		((SECONDS < deadline)) || fail "$1 has not said /$3/ within $2 s"
		sleep 0.3
	done
}

unit_is() {
	[[ $(unit_property "$1" ActiveState) == "$2" ]]
}

# wait_unit NAME SECONDS STATE
wait_unit() {
	eventually "$2" "vmm@$1.service $3" unit_is "$1" "$3"
}

# wait_end NAME SECONDS STATUS: until its unit is done, with the worker's exit status.
wait_end() {
	local deadline=$((SECONDS + $2 * slow))
	while [[ $(unit_property "$1" ActiveState) != @(inactive|failed) ]]; do
		((SECONDS < deadline)) || fail "$1 has not ended within $2 s"
		sleep 0.3
	done
	equals "exit status of $1" "$(unit_property "$1" ExecMainStatus)" "$3"
}

main_pid() {
	unit_property "$1" MainPID
}

vmmd_descriptors() {
	find "/proc/$(systemctl show -P MainPID vmmd.service)/fd" -mindepth 1 | wc -l
}

# run_output NAME: what the command of vmm.run printed.
run_output() {
	console "$1" | sed -n '/vmm-run: begin/,/vmm-run: exit/p' | sed '1d;$d'
}

# For the reports of failures.
machine_logs() {
	local _ monitors
	monitors=$(pgrep -d , 'vmmd-work|tinyv')
	# Twice: whether a guest's vCPUs still do something.
	for _ in 1 2; do
		[[ ! $monitors ]] || ps -L -p "$monitors" -o pid,tid,psr,stat,time,wchan:20,comm
		sleep 1
	done
	systemctl --no-pager list-units --all 'vmm@*' 'vmm-drive@*' 'vmm-share@*' \
		'vmm-network@*' 'vmmd*'
	journalctl -q --no-pager -o short-monotonic --since "$TEST_SINCE" -u 'vmm@*' -u 'vmm-drive@*' \
		-u 'vmm-share@*' -u 'vmm-network@*' -u vmmd.service -u vmmd.socket -u init.scope | tail -n 120
	journalctl -q --no-pager -k --since "$TEST_SINCE" | tail -n 20
}

# end_machines: ends all VMs and takes their files away. What a VM made must go with it.
end_machines() {
	local -a units
	mapfile -t units < <(systemctl list-units --all --plain --no-legend 'vmm@*' 'vmm-drive@*' \
		'vmm-share@*' 'vmm-network@*' | cut -d ' ' -f 1)
	if ((${#units[@]})); then
		systemctl kill -s KILL "${units[@]}" 2>/dev/null
		systemctl stop "${units[@]}" 2>/dev/null
		systemctl reset-failed "${units[@]}" 2>/dev/null
	fi
	rm -rf /etc/vmm/*.vm /etc/vmm/*.vm.d /run/vmm/*.vm /run/vmm/*.vm.d "$disks"/*.raw
	rm -rf /etc/systemd/system/vmm@* /run/systemd/system/vmm@* /run/systemd/transient/vmm@* \
		/run/systemd/system/vmmd.service.d /etc/systemd/system.control/vmm@* /etc/systemd/system/*.wants/vmm@*
	systemctl reset-failed vmmd.service vmmd.socket 2>/dev/null
	systemctl start vmmd.socket
	# Both systemd and vmmd read their files again.
	vmmctl reload || systemctl daemon-reload
}

# nothing_left: the last line says what there is.
nothing_left() {
	local what
	what=$(systemctl list-units --plain --no-legend 'vmm@*' 'vmm-drive@*' 'vmm-share@*' 'vmm-network@*')
	[[ -z $what ]] || { echo "units: $what"; return 1; }
	what=$(pgrep -a vmmd-worker)
	[[ -z $what ]] || { echo "workers: $what"; return 1; }
	# vmmd clears the directory of a VM that has ended; it may be just doing so.
	for _ in 1 2 3 4 5 6 7 8 9 10; do
		what=$(ls -A /run/vmmd/machine)
		[[ -n $what ]] || break
		sleep 0.3
	done
	[[ -z $what ]] || { echo "/run/vmmd/machine: $what"; return 1; }
	# Those that do not end with the worker go a moment later.
	for _ in 1 2 3 4 5 6 7 8 9 10; do
		what=$(ip -br link | grep -E '^(vt|vb|mv|vz)-')
		[[ -n $what ]] || break
		sleep 0.3
	done
	[[ -z $what ]] || { echo "network interfaces: $what"; return 1; }
	what=$(find /sys/fs/cgroup/machine.slice -mindepth 1 -type d -name 'vmm*' 2>/dev/null)
	[[ -z $what ]] || { echo "control groups: $what"; return 1; }
	what=$(findmnt -rno TARGET | grep '^/run/vmmd')
	[[ -z $what ]] || { echo "mounts: $what"; return 1; }
	what=$(journalctl -q -k -o cat --since "$TEST_SINCE" -g 'type=1326|segfault|general protection|BUG:')
	# A test that breaks a policy on purpose says so.
	[[ ! -e $TEST_DIR/expects-kill ]] || what=$(grep -v 'type=1326' <<<"$what")
	[[ -z $what ]] || { echo "the kernel says: $what"; return 1; }
	what=$(systemctl show -P ActiveState vmmd.service)
	[[ $what != failed ]] || { echo "vmmd.service: $what"; return 1; }
}
