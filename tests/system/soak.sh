# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# shellcheck shell=bash disable=SC2154 # run and lib.sh set what tests use
#
# The long ones: storms of kills and reboots, and large transfers.

# A kernel without its initrd panics at once and resets: a life of a second or two.
reboot_storm() {
	local rounds=$1
	guest_machine storm "Boot.Initrd=" "Boot.CommandLine=console=ttyS0 panic=-1"
	mkdir -p /run/systemd/system/vmm@storm.service.d
	printf '[Unit]\nStartLimitIntervalSec=0\n' >/run/systemd/system/vmm@storm.service.d/storm.conf
	systemctl daemon-reload
	systemctl start vmm@storm
	eventually 600 "$rounds restarts" restarts_reach storm "$rounds"
	systemctl kill -s KILL vmm@storm
	equals "directories of machines" "$(find /run/vmmd/machine -mindepth 1 -maxdepth 1 | wc -l)" 1
	equals "open descriptors of vmmd" \
		"$(($(find "/proc/$(systemctl show -P MainPID vmmd)/fd" -mindepth 1 | wc -l) < 64))" 1
}

restarts_reach() {
	(($(unit_property "$1" NRestarts) >= $2))
}

# Workers killed at every moment of their start.
worker_kill_storm() {
	local i pid
	guest_machine killed
	mkdir -p /run/systemd/system/vmm@killed.service.d
	printf '[Unit]\nStartLimitIntervalSec=0\n' >/run/systemd/system/vmm@killed.service.d/storm.conf
	systemctl daemon-reload
	for ((i = 0; i < $1; i++)); do
		systemctl start --no-block vmm@killed
		sleep "0.$((RANDOM % 80 + 10))"
		pid=$(main_pid killed)
		((pid == 0)) || kill -KILL "$pid" 2>/dev/null || :
	done
	systemctl stop vmm@killed || :
	systemctl reset-failed vmm@killed || :
	systemctl start vmm@killed
	wait_console killed 150 'login:'
}

daemon_kill_storm() {
	local i worker
	mkdir -p /run/systemd/system/vmmd.service.d
	printf '[Unit]\nStartLimitIntervalSec=0\n' >/run/systemd/system/vmmd.service.d/storm.conf
	systemctl daemon-reload
	guest_machine stays
	systemctl start vmm@stays
	worker=$(main_pid stays)
	for ((i = 0; i < $1; i++)); do
		sleep "0.$((RANDOM % 90 + 10))"
		systemctl kill -s KILL vmmd.service || :
	done
	rm -r /run/systemd/system/vmmd.service.d
	systemctl daemon-reload
	sleep 1
	matches "vmmctl list" "$(vmmctl list --no-legend)" 'stays +.*running'
	equals "the worker" "$(main_pid stays)" "$worker"
	vmmctl stop --force stays
	wait_end stays 15 0
}

large_transfer() {
	local disk=$disks/large.raw output
	truncate -s 1280M "$disk"
	guest_machine large Machine.CPUs=2 "$(with_run 'head -c 1G /dev/urandom | tee /dev/vdb | sha256sum; sync; '\
'echo 3 >/proc/sys/vm/drop_caches; head -c 1G /dev/vdb | sha256sum')"
	printf '[Drive]\nName=data\nPath=%s\n' "$disk" >>/etc/vmm/large.vm
	systemctl start vmm@large
	wait_end large 1500 0
	output=$(run_output large | grep -Eo '^[0-9a-f]{64}')
	equals "what was read back" "$(sed -n 2p <<<"$output")" "$(sed -n 1p <<<"$output")"
	equals "what is in the file" "$(head -c 1G "$disk" | sha256sum | cut -c -64)" \
		"$(sed -n 1p <<<"$output")"
}

add_soak reboot-storm 900 reboot_storm 50
add_soak worker-kill-storm 900 worker_kill_storm 100
add_soak daemon-kill-storm 600 daemon_kill_storm 60
add_soak large-transfer 1800 large_transfer
