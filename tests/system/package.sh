# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# shellcheck shell=bash disable=SC2154 # run and lib.sh set what tests use
#
# The Debian packages, which tests/check puts into /root/packages: installed, upgraded while machines
# run, and purged. The installation that all other tests use is put aside meanwhile.

packages=${VMMD_PACKAGES:-/root/packages}
manifest=/run/vmmd-installed

put_aside() {
	systemctl stop vmmd.service vmmd.socket
	sed 's|^\./||' "$manifest" | grep -v '/$' | tar -C / -cf "$TEST_DIR/installed.tar" -T -
	sed 's|^\./|/|' "$manifest" | grep -v '/$' | tr '\n' '\0' | xargs -0 rm -f
	userdel vmmd-metrics
	rm -rf /run/vmmd
	systemctl daemon-reload
}

put_back() {
	dpkg --purge vmmctl vmmd >/dev/null 2>&1
	tar -C / --keep-directory-symlink -xf "$TEST_DIR/installed.tar"
	systemd-sysusers
	systemd-tmpfiles --create
	systemctl daemon-reload
	systemctl try-reload-or-restart dbus.service
	systemctl -q preset vmmd.socket vmmd.service
	systemctl start vmmd.socket
}

# What a package could leave behind; machines' own files are not its.
ours() {
	find /etc /run /usr /var -xdev \( -name '*vmmd*' -o -name '*vmmctl*' -o -name 'vmm@*' -o \
		-name 'vmm-proxy*' -o -name 'vmm-metrics*' -o -name 'vmm-generator*' -o -name 'vmm.target' -o \
		-name '20-vmm.conf' \) ! -path "$manifest*" ! -path '/run/vmmd-*' ! -path '/var/log/*' \
		! -path '/run/vmm-system-test*' ! -path '/var/lib/vmm-test*' ! -path '/run/log/*' \
		! -path '/usr/local/*' ! -path '/usr/include/linux/*' ! -path '/var/cache/vmmd-tests*'
}

upgrade_and_purge() {
	local i pids='' now='' console_pid daemon
	put_aside
	equals "before the installation" "$(ours)" ''
	dpkg -i "$packages"/old/*.deb
	equals "vmmd.socket" "$(systemctl is-active vmmd.socket)" active
	equals "vmmd.service at boot" "$(systemctl is-enabled vmmd.service)" enabled
	for i in 1 2 3 4 5 6 7 8; do
		writer_machine "up$i"
	done
	systemctl start vmm@up{1,2,3,4,5,6,7,8}
	mkfifo "$TEST_DIR/keys"
	vmmctl console up3 <"$TEST_DIR/keys" >"$TEST_DIR/screen" 2>&1 &
	console_pid=$!
	exec 3>"$TEST_DIR/keys"
	for i in 1 2 3 4 5 6 7 8; do pids+="$(main_pid "up$i") "; done
	systemctl start vmmd.service
	daemon=$(systemctl show -P MainPID vmmd.service)
	eventually 30 "the console" console_has up3 '1 attached to the console'

	dpkg -i "$packages"/new/*.deb
	for i in 1 2 3 4 5 6 7 8; do
		now+="$(main_pid "up$i") "
		equals "restarts of up$i" "$(unit_property "up$i" NRestarts)" 0
	done
	equals "the workers" "$now" "$pids"
	vmmctl list
	equals "machines that run" "$(vmmctl list --no-legend | grep -c running)" 8
	[[ $(systemctl show -P MainPID vmmd.service) != "$daemon" ]] || fail "vmmd was not restarted"
	kill -0 "$console_pid" || fail "the console has ended: $(cat "$TEST_DIR/screen")"
	! console_has up3 '0 attached to the console' || fail "the console was let go"
	# The catalog is one of the package's.
	matches "journalctl -x" "$(journalctl -q -x --since "$TEST_SINCE" -u vmm@up1)" 'Defined-By: vmmd'
	# A worker that starts now reaches the new vmmd.
	vmmctl stop --force up8
	systemctl start vmm@up8

	vmmctl stop --force up{1,2,3,4,5,6,7,8}
	exec 3>&-
	wait "$console_pid" || :
	systemctl enable vmm@up1
	systemctl enable --now vmm-proxy@up1.socket
	echo image >"$disks/mine.img"
	dpkg --purge vmmctl vmmd
	equals "what is left" "$(ours)" ''
	equals "units that are left" "$(systemctl list-units --plain --no-legend 'vmm*')" ''
	! getent passwd vmmd-metrics || fail "the user is left"
	equals "the image" "$(cat "$disks/mine.img")" image
	[[ -e /etc/vmm/up1.vm ]] || fail "a .vm file is gone"
	rm "$disks/mine.img"
}

package() {
	[[ -d $packages ]] || skip "no packages in $packages"
	# At its end, however that comes: in "(upgrade_and_purge) || ..." no failed command would count.
	trap put_back EXIT
	upgrade_and_purge
}

add_soak upgrade-and-purge 900 package
