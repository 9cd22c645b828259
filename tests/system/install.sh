# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# shellcheck shell=bash disable=SC2154 # run and lib.sh set what tests use
#
# What the installation is, as systemd and D-Bus of a Debian see it.

units_verify() {
	local said unit
	for unit in vmmd.service vmmd.socket vmm@web.service; do
		# Also warnings, as on a key that this systemd does not know.
		said=$(systemd-analyze verify --man=no "$unit" 2>&1)
		equals "what systemd says on $unit" "$said" ""
	done
}

exposure() {
	local said
	said=$(systemd-analyze security --no-pager vmm@web.service | tail -n 1)
	matches "exposure of a worker" "$said" 'level for vmm@web.service: (0\.[0-5]) '
}

socket_listens() {
	systemctl start vmmd.socket
	equals "vmmd.socket" "$(systemctl is-active vmmd.socket)" active
	[[ -S /run/vmmd/broker.sock ]]
	equals "mode of the machines' directory" "$(stat -c '%a %U' /run/vmmd/machine)" "700 root"
}

# The daemon starts when its name is called for, and serves the interfaces that its XML has.
bus_activation() {
	local introspection
	systemctl stop vmmd.service
	introspection=$(busctl introspect org.vmmd1 /org/vmmd1)
	equals "vmmd.service" "$(systemctl is-active vmmd.service)" active
	matches "interfaces" "$introspection" 'org\.vmmd1\.Manager'
	matches "interfaces" "$introspection" 'org\.freedesktop\.DBus\.ObjectManager'
}

add units-verify 30 units_verify
add exposure 30 exposure
add socket-listens 30 socket_listens
add bus-activation 60 bus_activation
