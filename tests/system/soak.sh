# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# shellcheck shell=bash disable=SC2154 # run and lib.sh set what tests use
#
# The long ones: storms of kills and reboots, and large transfers.

# no_start_limit NAME: however often its unit starts.
no_start_limit() {
	local dir=/run/systemd/system/$1.service.d
	mkdir -p "$dir"
	printf '[Unit]\nStartLimitIntervalSec=0\n' >"$dir/often.conf"
	systemctl daemon-reload
}

restarts_reach() {
	(($(unit_property "$1" NRestarts) >= $2))
}

has_ended() {
	[[ $(unit_property "$1" ActiveState) == @(inactive|failed) ]]
}

# A kernel without its initrd panics at once and resets: a life of a second or two.
reboot_storm() {
	local rounds=$1 n_fds n
	guest_machine storm Boot.Initrd= "Boot.CommandLine=console=ttyS0 quiet panic=-1"
	no_start_limit vmm@storm
	systemctl start vmm@storm
	eventually 60 "a restart" restarts_reach storm 1
	n_fds=$(vmmd_descriptors)
	eventually 800 "$rounds restarts" restarts_reach storm "$rounds"
	n=$(unit_property storm NRestarts)
	vmmctl stop --force storm
	# It may have been just starting, and was killed then.
	eventually 30 "its end" has_ended storm
	# Each was one of the guest's own, after a kernel had run.
	journalctl --sync
	echo "NOTE: $n restarts, $(lines_with storm 'The guest reboots') reboots" \
		"and $(lines_with storm 'Kernel panic - not syncing') panics of guests"
	said storm 'The guest reboots' "$rounds" || fail "not all restarts are reboots"
	said storm 'Kernel panic - not syncing' "$rounds" || fail "not all guests have run"
	eventually 10 "no directory of a machine" no_directories
	eventually 10 "vmmd has closed all" has_descriptors "$n_fds"
}

# Workers killed at every moment of their start.
worker_kill_storm() {
	local rounds=$1 i n=0 n_fds
	guest_machine killed
	no_start_limit vmm@killed
	vmmctl list >"$TEST_DIR/list"
	n_fds=$(vmmd_descriptors)
	for ((i = 0; i < rounds; i++)); do
		systemctl start --no-block vmm@killed
		sleep "0.$((RANDOM % 80 + 10))"
		! systemctl kill --kill-whom=main -s KILL vmm@killed 2>/dev/null || n=$((n + 1))
	done
	((n >= rounds * 3 / 4)) || fail "of $rounds workers only $n were there to be killed"
	systemctl stop vmm@killed || :
	systemctl reset-failed vmm@killed || :
	eventually 30 "no directory of a machine" no_directories
	eventually 30 "vmmd has closed all" has_descriptors "$n_fds"
	# Its disk is free, and nothing is in the way of a whole boot.
	systemctl start vmm@killed
	wait_console killed 150 'login:'
	echo "NOTE: $n workers killed, and the machine boots"
	hard_stop killed
}

no_directories() {
	[[ -z $(ls -A /run/vmmd/machine) ]]
}

has_descriptors() {
	(($(vmmd_descriptors) <= $1))
}

# vmmd killed at every moment of its start and after it, while a guest boots.
daemon_kill_storm() {
	local rounds=$1 i worker pid=0 n_restarts
	no_start_limit vmmd
	guest_machine stays
	systemctl start vmm@stays
	worker=$(main_pid stays)
	n_restarts=$(systemctl show -P NRestarts vmmd.service)
	for ((i = 0; i < rounds; i++)); do
		eventually 30 "another vmmd" daemon_has_another_pid "$pid"
		pid=$(systemctl show -P MainPID vmmd.service)
		sleep "0.$((RANDOM % 90 + 10))"
		kill -KILL "$pid"
	done
	eventually 30 "another vmmd" daemon_has_another_pid "$pid"
	eventually 10 "the machine is listed" is_listed_as_running stays
	equals "restarts of vmmd" "$(systemctl show -P NRestarts vmmd.service)" $((n_restarts + rounds))
	rm -r /run/systemd/system/vmmd.service.d
	systemctl daemon-reload
	equals "the worker" "$(main_pid stays)" "$worker"
	equals "restarts of the machine" "$(unit_property stays NRestarts)" 0
	# The guest has noticed nothing, and hears what the last vmmd has to say.
	wait_console stays 150 'login:'
	vmmctl stop stays
	wait_end stays 90 0
	echo "NOTE: vmmd killed $rounds times while a guest booted"
}

daemon_has_another_pid() {
	[[ $(systemctl show -P MainPID vmmd.service) != @(0|"$1") ]]
}

is_listed_as_running() {
	[[ $(vmmctl list --no-legend 2>/dev/null) =~ (^|$'\n')$1\ +.*running ]]
}

# 1 GiB from disk to disk through the guest's page cache, which is far smaller, and read again.
large_transfer() {
	local from=$disks/from.raw to=$disks/to.raw
	head -c 1G /dev/urandom >"$from"
	truncate -s 1280M "$to"
	guest_machine large "$(with_init 'dd if=/dev/vdb of=/dev/vdc bs=1M conv=fsync status=none && '\
'echo 3 >/proc/sys/vm/drop_caches && cmp -n 1073741824 /dev/vdb /dev/vdc && echo both are the same')"
	printf '[Drive]\nName=from\nPath=%s\nReadOnly=yes\n[Drive]\nName=to\nPath=%s\n' "$from" "$to" \
		>>/etc/vmm/large.vm
	systemctl start vmm@large
	wait_end large 1500 0
	equals "what the guest says" "$(run_output large)" "both are the same"
	cmp -n 1073741824 "$from" "$to"
	equals "bytes that were not to be written" "$(tail -c 256M "$to" | tr -d '\0' | wc -c)" 0
}

add_soak reboot-storm 1000 reboot_storm 50
add_soak worker-kill-storm 900 worker_kill_storm 100
add_soak daemon-kill-storm 900 daemon_kill_storm 60
add_soak large-transfer 1800 large_transfer
