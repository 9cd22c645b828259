# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# shellcheck shell=bash disable=SC2154 # run and lib.sh set what tests use
#
# What README.md tells to do on a machine with systemd, command by command.

readme=/usr/share/doc/vmmd/README.md

# block LABEL: the commands under that label.
block() {
	sed -n "/^\`\`\`sh $1\$/,/^\`\`\`\$/p" "$readme" | sed '1d;$d'
}

# What a person would do at the console: look, and leave it.
leave_console() {
	(
		sleep 2
		printf '\035\035\035'
		sleep 1
	) | timeout 30 script -qec "$1" /dev/null
}

# run_block LABEL: each command by itself, with a here document as part of its command.
run_block() {
	local line command='' end='' said count=0
	while IFS= read -r line; do
		command+=$line$'\n'
		if [[ -n $end ]]; then
			[[ $line == "$end" ]] || continue
		elif [[ $line =~ \<\<([A-Z]+)$ ]]; then
			end=${BASH_REMATCH[1]}
			continue
		fi
		end=
		count=$((count + 1))
		echo "== $command"
		if [[ $command == *" console "* ]]; then
			command=${command%%#*}
			said=$(leave_console "${command%$'\n'}")
			matches "the console" "$said" 'Press \^\] three times.*Left the console'
		else
			eval "$command"
		fi
		command=
	done < <(block "$1")
	((count > 0)) || fail "$readme has no commands under $1"
}

install() {
	run_block install
	equals "vmmd.socket" "$(systemctl is-active vmmd.socket)" active
}

tour() {
	cp --reflink=always "$images/root.raw" "$disks/web.raw"
	ln -sf "$images/vmlinuz-cloud" "$disks/vmlinuz"
	ln -sf "$images/initrd-cloud" "$disks/initrd.img"
	run_block tour >"$TEST_DIR/said"
	cat "$TEST_DIR/said"
	wait_end web 10 0
	matches "what it printed" "$(<"$TEST_DIR/said")" 'web +running'
	matches "what systemctl status says" "$(<"$TEST_DIR/said")" 'loaded \(/etc/vmm/web.vm; enabled'
	matches "the log" "$(<"$TEST_DIR/said")" 'vmmd-worker'
	systemctl disable vmm@web
	rm -f "$disks/vmlinuz" "$disks/initrd.img"
}

add install 60 install
add tour 300 tour
