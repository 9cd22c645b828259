# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# shellcheck shell=bash disable=SC2154 # run and lib.sh set what tests use
#
# Registration with systemd-machined.

machined_leader() {
	[[ $(machinectl show --value -p Leader "$1" 2>/dev/null) == "$(main_pid "$1")" ]]
}

not_registered() {
	! machinectl show "$1" >/dev/null 2>&1
}

# Over a reboot of the machine and a restart of vmmd, the leader is the worker that runs.
machined() {
	command -v machinectl >/dev/null || skip "systemd-container is not installed"
	writer_machine seen
	systemctl start vmm@seen
	eventually 30 "the registration" machined_leader seen
	matches "machinectl list" "$(machinectl list --no-legend)" 'seen +vm +vmmd'
	vmmctl reboot --force seen
	eventually 30 "the registration after a reboot" machined_leader seen
	systemctl restart vmmd.service
	vmmctl reboot --force seen
	eventually 30 "the registration after a restart of vmmd" machined_leader seen
	machinectl poweroff seen
	eventually 20 "the power button" console_has seen 'asking the guest to power off'
	hard_stop seen
	eventually 20 "the end of the registration" not_registered seen
}

add_soak machined 240 machined
