# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# shellcheck shell=bash disable=SC2154 # run and lib.sh set what tests use
#
# A storm under systemd itself: workers, vmmd and the bus are killed and systemd executes itself
# again, in random order, under machines that write numbers to their disks and flush them (the guest
# is tests/sandbox/writer.c). No machine ends but the one that was killed, which goes on where its
# disk is; none loses what it flushed; all are listed as what they are, and nothing is left.
# VMMD_STORM_KILLS: how many of each kind (VMMD_STORM_SHORT, or 50). VMMD_STORM_SEED.

storm_machines=(storm0 storm1 storm2 storm3 storm4 storm5 storm6 storm7)
declare -A pids numbers kills_of kills_left

# vmmd.service may start 10 times in 2 minutes, dbus.service 5 times in 10 s: [KIND]=TIMES/SECONDS.
declare -A pace=([vmmd]=9/125 [bus]=4/12)
declare -A times_of

may_kill() {
	local -a times
	read -ra times <<<"${times_of[$1]-}"
	[[ -n ${pace[$1]-} ]] || return 0
	((${#times[@]} < ${pace[$1]%/*})) || ((SECONDS - times[-${pace[$1]%/*}] > ${pace[$1]#*/}))
}

# read_number NAME: sets number to what the disk says was flushed last, which has to be there.
read_number() {
	local first record check
	for _ in {1..100}; do
		read -r first < <(od -A n -t d8 -N 8 "$disks/$1.raw")
		read -r record check < <(od -A n -t d8 -j $((512 * (1 + first % 1024))) -N 16 "$disks/$1.raw")
		if ((first == 0 || (record == first && check == ~first))); then
			number=$first
			return
		fi
	done
	fail "$1: $first was flushed, and $record is there"
}

goes_on() {
	read_number "$1"
	((number > numbers[$1]))
}

# unit_properties PROPERTY: of all machines, one a line.
unit_properties() {
	systemctl show -P "$1" "${storm_machines[@]/#/vmm@}" | sed '/^$/d'
}

# in_order ARRAY: what it has for each machine, one a line.
in_order() {
	local -n of=$1
	local name
	for name in "${storm_machines[@]}"; do
		echo "${of[$name]}"
	done
}

# Nobody but who was killed: their processes are those that were.
check_processes() {
	equals "$1: main processes" "$(unit_properties MainPID)" "$(in_order pids)"
}

all_are_listed() {
	equals_quietly "$(vmmctl list --no-legend 2>/dev/null | awk '$2 == "running" && $3 == "running" { print $1 }')" \
		"$(printf '%s\n' "${storm_machines[@]}")"
}

equals_quietly() {
	[[ $1 == "$2" ]]
}

check_machines() {
	local name
	check_processes "$1"
	eventually 30 "$1: all are listed as running" all_are_listed
	equals "$1: states" "$(unit_properties ActiveState | uniq)" active
	for name in "${storm_machines[@]}"; do
		eventually 60 "$1: $name writes" goes_on "$name"
		numbers[$name]=$number
	done
}

has_another_pid() {
	local pid
	pid=$(systemctl show -P MainPID "$1")
	[[ $pid != 0 && $pid != "$2" && $(systemctl show -P ActiveState "$1") == active ]]
}

kill_worker() {
	local name=${storm_machines[RANDOM % ${#storm_machines[@]}]}
	kill -KILL "${pids[$name]}"
	eventually 30 "$name runs again" has_another_pid "vmm@$name.service" "${pids[$name]}"
	pids[$name]=$(main_pid "$name")
	kills_of[$name]=$((kills_of[$name] + 1))
}

kill_vmmd() {
	local pid
	pid=$(systemctl show -P MainPID vmmd.service)
	kill -KILL "$pid"
	eventually 30 "vmmd runs again" has_another_pid vmmd.service "$pid"
}

# It starts again when somebody connects to it.
kill_bus() {
	kill -KILL "$(systemctl show -P MainPID dbus.service)"
	eventually 30 "the bus is back" busctl --quiet call org.freedesktop.DBus / org.freedesktop.DBus ListNames
}

kill_systemd() {
	systemctl daemon-reexec
}

# One of the kinds that are left and may be killed by now.
choose_kind() {
	local name
	local -a some
	while :; do
		some=()
		for name in "${!kills_left[@]}"; do
			((kills_left[$name] == 0)) || ! may_kill "$name" || some+=("$name")
		done
		((${#some[@]} == 0)) || break
		sleep 1
	done
	kind=${some[RANDOM % ${#some[@]}]}
}

storm() {
	local rounds=$1 name kind number i n_fds written=0 n_restarts
	RANDOM=${VMMD_STORM_SEED:-20261122}
	for name in "${storm_machines[@]}"; do
		writer_machine "$name"
		numbers[$name]=0
		kills_of[$name]=0
	done
	systemctl daemon-reload
	systemctl start "${storm_machines[@]/#/vmm@}"
	for name in "${storm_machines[@]}"; do
		pids[$name]=$(main_pid "$name")
	done
	check_machines "at the start"
	n_fds=$(vmmd_descriptors)
	n_restarts=$(systemctl show -P NRestarts vmmd.service)
	kills_left=([worker]=$rounds [vmmd]=$rounds [bus]=$rounds [systemd]=$rounds)
	for ((i = 1; i <= 4 * rounds; i++)); do
		choose_kind
		"kill_$kind"
		times_of[$kind]+=" $SECONDS"
		kills_left[$kind]=$((kills_left[$kind] - 1))
		check_processes "after $kind, kill $i"
		sleep "0.$((RANDOM % 9))"
		((i % 8)) || check_machines "after kill $i"
	done
	check_machines "at the end"
	equals "restarts of vmmd" "$(systemctl show -P NRestarts vmmd.service)" $((n_restarts + rounds))
	# One that has found its workers has fewer than one that started them.
	(($(vmmd_descriptors) <= n_fds + 2)) || fail "vmmd has $(vmmd_descriptors) descriptors, not $n_fds"
	equals "failed units" "$(systemctl list-units --failed --plain --no-legend)" ""
	journalctl --sync
	equals "restarts" "$(unit_properties NRestarts)" "$(in_order kills_of)"
	for name in "${storm_machines[@]}"; do
		equals "$name found its disk as it was" "$(console "$name" | grep -cx 'goes on' || :)" \
			"${kills_of[$name]}"
		equals "what $name lost" "$(console "$name" | grep '^lost' || :)" ""
	done
	vmmctl stop --force "${storm_machines[@]}"
	for name in "${storm_machines[@]}"; do
		wait_end "$name" 15 0
		read_number "$name"
		((number >= numbers[$name])) || fail "$name: $number, and ${numbers[$name]} was flushed"
		written=$((written + number))
	done
	eventually 10 "nothing is left" nothing_left
	echo "NOTE: ${#storm_machines[@]} machines flushed $written numbers under $rounds kills each of" \
		"workers, vmmd and the bus and $rounds executions of systemd: none lost"
}

add_soak storm 3600 storm "${VMMD_STORM_KILLS:-${VMMD_STORM_SHORT:-50}}"
