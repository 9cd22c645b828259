# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# shellcheck shell=bash disable=SC2154 # run and lib.sh set what tests use
#
# The life of a VM: how it ends, by its guest or by its host, with which status, and what systemd
# makes of that.

login='vmm-guest login: root|root@vmm-guest'

# without_restart NAME: for a test that wants to see one life only.
without_restart() {
	local dir=/run/systemd/system/vmm@$1.service.d
	mkdir -p "$dir"
	printf '[Service]\nRestart=no\nRestartForceExitStatus=\n' >"$dir/test.conf"
	systemctl daemon-reload
}

# started NAME [LINE...]: a guest that is up, with a root shell on its console.
started() {
	guest_machine "$@"
	systemctl start "vmm@$1"
	wait_console "$1" 150 "$login"
}

poweroff_by_guest() {
	guest_machine off "$(with_run true)"
	vmmctl start off
	wait_end off 180 0
	equals "result" "$(unit_property off Result)" success
	equals "state" "$(unit_property off ActiveState)" inactive
	equals "restarts" "$(unit_property off NRestarts)" 0
	console_has off 'reboot: Power down'
}

# Two reboots would be one too many to wait for: what was changed on disk shows that the second
# life is that of a fresh worker.
reboot_by_guest() {
	local first
	guest_machine again "Boot.CommandLine=root=/dev/vda rw console=ttyS0 quiet vmm.then=reboot vmm.run=\"echo life: first\""
	systemctl start vmm@again
	first=$(main_pid again)
	sed -i 's/first/second/; s/vmm.then=reboot//' /etc/vmm/again.vm
	wait_console again 180 'vmm-run: exit 0'
	eventually 60 "a restart" restarted again 1
	wait_end again 180 0
	equals "result" "$(unit_property again Result)" success
	equals "what both lives said" "$(run_output again | sed -n 's/.*life: *//p' | paste -s -d ' ')" "first second"
	[[ $first != "$(unit_property again ExecMainPID)" ]] || fail "the worker is the same process"
	console_has again 'The guest reboots'
}

restarted() {
	(($(unit_property "$1" NRestarts) >= $2))
}

# wait_reboot NAME SECONDS: until it has ended because its guest reboots. systemd forgets the exit
# status of a unit that has ended well.
wait_reboot() {
	wait_unit "$1" "$2" inactive
	journalctl --sync
	matches "journal" "$(console "$1")" 'The guest reboots'
}

# Also a kernel that resets without asking anybody: by the keyboard controller, by a triple fault.
# reboot_hard HOW CMD...: CMD waits for the end.
reboot_hard() {
	local how=$1 name=hard-$1
	guest_machine "$name" "$(with_init 'sync; echo b >/proc/sysrq-trigger' "reboot=$how")"
	without_restart "$name"
	systemctl start "vmm@$name"
	wait_console "$name" 150 'vmm-run: begin'
	"${@:2}"
}

panic_with_pvpanic() {
	guest_machine panic "$(with_init 'modprobe pvpanic-mmio; sync; echo c >/proc/sysrq-trigger')"
	without_restart panic
	systemctl start vmm@panic
	wait_console panic 150 'vmm-run: begin'
	wait_end panic 30 70
	equals "state" "$(unit_property panic ActiveState)" failed
	matches "console" "$(console panic)" 'Kernel panic - not syncing'
}

panic_restarts() {
	guest_machine panics "$(with_init 'modprobe pvpanic-mmio; sync; echo c >/proc/sysrq-trigger')"
	systemctl start vmm@panics
	wait_console panics 150 'vmm-run: begin'
	eventually 60 "a restart after the panic" restarted panics 1
	journalctl --sync
	matches "journal" "$(console panics)" 'status=70'
}

# Before the driver is loaded nobody can tell: with panic=1 the kernel resets by itself, and
# without it the guest hangs, its VM stays, and stop ends it.
panic_early() {
	guest_machine early "Boot.Initrd=" "Boot.CommandLine=console=ttyS0 panic=1"
	without_restart early
	systemctl start vmm@early
	wait_reboot early 90
	matches "console" "$(console early)" 'Kernel panic - not syncing: VFS'
}

panic_early_hangs() {
	guest_machine hangs "Boot.Initrd=" "Boot.CommandLine=console=ttyS0 panic=0"
	systemctl start vmm@hangs
	wait_console hangs 90 'Kernel panic - not syncing: VFS'
	sleep 3
	equals "state" "$(unit_property hangs ActiveState)" active
	# The first asks the guest, which is dead; the second is hard.
	systemctl kill --kill-who=main -s TERM vmm@hangs
	sleep 2
	systemctl kill --kill-who=main -s TERM vmm@hangs
	wait_end hangs 15 0
	equals "restarts" "$(unit_property hangs NRestarts)" 0
}

stop_by_systemctl() {
	started stop
	systemctl stop vmm@stop
	equals "status" "$(unit_property stop ExecMainStatus)" 0
	equals "state" "$(unit_property stop ActiveState)" inactive
	matches "console" "$(console stop)" 'reboot: Power down'
}

stop_by_vmmctl() {
	started stopped
	vmmctl stop stopped
	wait_end stopped 90 0
	equals "state" "$(unit_property stopped ActiveState)" inactive
	matches "console" "$(console stopped)" 'reboot: Power down'
}

# The button is pressed while nobody in the guest can hear it yet, so it has to be pressed again.
stop_during_boot() {
	guest_machine soon
	systemctl start vmm@soon
	sleep 1
	systemctl stop vmm@soon
	equals "status" "$(unit_property soon ExecMainStatus)" 0
	matches "console" "$(console soon)" 'reboot: Power down'
}

stop_forced() {
	started forced
	vmmctl stop --force forced
	wait_end forced 15 0
	# Else what was said last might not be there yet.
	journalctl --sync
	[[ ! $(console forced) =~ 'reboot: Power down' ]] || fail "the guest was asked"
}

reboot_by_vmmctl() {
	local first
	started reboot
	first=$(main_pid reboot)
	vmmctl reboot reboot
	eventually 120 "a restart" restarted reboot 1
	wait_unit reboot 30 active
	[[ $(main_pid reboot) != "$first" ]] || fail "the worker is the same process"
}

# paused NAME: whether its vCPUs stand still: what they have used does not grow.
cpu_usec() {
	sed -n 's/^usage_usec //p' "/sys/fs/cgroup$(unit_property "$1" ControlGroup)/cpu.stat"
}

pause_and_resume() {
	local before after
	guest_machine paused "$(with_run 'while :; do :; done')"
	systemctl start vmm@paused
	wait_console paused 150 'vmm-run: begin'
	vmmctl pause paused
	matches "list" "$(vmmctl list --no-legend)" 'paused +.*paused'
	before=$(cpu_usec paused)
	sleep 3
	after=$(cpu_usec paused)
	((after - before < 300000)) || fail "it has used $((after - before)) us while paused"
	vmmctl resume paused
	sleep 3
	((after = $(cpu_usec paused) - after, after > 1000000)) || fail "it has used $after us in 3 s"
	equals "state" "$(unit_property paused ActiveState)" active
}

worker_killed() {
	local first
	started killed
	first=$(main_pid killed)
	kill -KILL "$first"
	eventually 30 "a restart" restarted killed 1
	wait_unit killed 30 active
	[[ $(main_pid killed) != "$first" ]] || fail "the worker is the same process"
	[[ $(find /run/vmmd/machine -mindepth 1 -maxdepth 1 | wc -l) == 1 ]]
	wait_console killed 150 "$login"
}

add poweroff-by-guest 240 poweroff_by_guest
add reboot-by-guest 400 reboot_by_guest
add reboot-by-keyboard-controller 240 reboot_hard k wait_reboot hard-k 30
add reboot-by-acpi 240 reboot_hard a wait_reboot hard-a 30
add triple-fault 240 reboot_hard t wait_end hard-t 30 70
add panic-with-pvpanic 240 panic_with_pvpanic
add panic-restarts 240 panic_restarts
add panic-before-pvpanic 150 panic_early
add panic-before-pvpanic-hangs 150 panic_early_hangs
add stop-by-systemctl 300 stop_by_systemctl
add stop-by-vmmctl 300 stop_by_vmmctl
add stop-during-boot 300 stop_during_boot
add stop-forced 240 stop_forced
add reboot-by-vmmctl 300 reboot_by_vmmctl
add pause-and-resume 240 pause_and_resume
add worker-killed 400 worker_killed
