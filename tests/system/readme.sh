# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# shellcheck shell=bash disable=SC2154 # run and lib.sh set what tests use
#
# Each command that the README tells people to type. Its code blocks are marked "sh NAME".

# block NAME: a code block of the README.
block() {
	sed -n "/^\`\`\`sh $1\$/,/^\`\`\`\$/p" "$here/README.md" | sed '1d;$d'
}

install_commands() {
	block install >"$TEST_DIR/install"
	[[ -s $TEST_DIR/install ]]
	bash -ex "$TEST_DIR/install"
	equals "vmmd.socket" "$(systemctl is-active vmmd.socket)" active
}

# Attached on a terminal, a person reads for a while and leaves by the escape sequence.
attach_and_leave() {
	(
		sleep 5
		printf '\035\035\035'
		sleep 5
	) | script -qec 'vmmctl console web' /dev/null
}

tour() {
	cp "$images/vmlinuz-cloud" "$disks/vmlinuz"
	cp "$images/initrd-cloud" "$disks/initrd.img"
	cp --reflink=always "$images/root.raw" "$disks/web.raw"
	block tour | sed 's/^vmmctl console web.*/attach_and_leave/' >"$TEST_DIR/tour"
	grep -q '^attach_and_leave$' "$TEST_DIR/tour"
	export -f attach_and_leave
	(
		set -o pipefail
		SYSTEMD_PAGER='' bash -ex "$TEST_DIR/tour" | tee "$TEST_DIR/output"
	)
	wait_end web 90 0
	matches "what the tour shows" "$(cat "$TEST_DIR/output")" 'Web front end'
	matches "what the tour shows" "$(cat "$TEST_DIR/output")" 'web .*running'
	equals "is-enabled" "$(systemctl is-enabled vmm@web)" enabled
	systemctl disable vmm@web
	rm "$disks/vmlinuz" "$disks/initrd.img"
}

# The example monitor as the README starts it, with the binary that the build has installed.
library() {
	local command deadline
	command=$(block library | grep '^\./tinyvmm ')
	# Programs do not run from /run.
	rm -rf /root/library
	mkdir /root/library
	cd /root/library || return
	cp /usr/libexec/vmmd-tests/tinyvmm .
	ln -s "$images/vmlinuz-cloud" vmlinuz
	ln -s "$images/initrd-cloud" initrd.img
	cp --reflink=always "$images/root.raw" "$disks/library.raw"
	ln -s "$disks/library.raw" root.raw
	mkfifo keys
	bash -c "$command" <keys >screen 2>&1 &
	exec 7>keys
	deadline=$((SECONDS + 180 * slow))
	until grep -aq 'root@vmm-guest' screen; do
		((SECONDS < deadline)) || fail "no prompt: $(tail -c 1500 screen)"
		sleep 0.5
	done
	echo 'systemctl poweroff' >&7
	exec 7>&-
	wait $!
	rm -r /root/library
}

add install 60 install_commands
add_smp tour 500 tour
add library 240 library
