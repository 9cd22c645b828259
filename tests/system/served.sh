# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# shellcheck shell=bash disable=SC2154 # run and lib.sh set what tests use
#
# What the units of back ends serve is what vmmd has looked at: not what its owner puts there before
# systemd mounts it.

have_servers() {
	command -v qemu-storage-daemon >/dev/null || skip "qemu-storage-daemon is not installed"
	find /usr/libexec /usr/lib/qemu /usr/lib/virtiofsd /usr/bin -maxdepth 1 -name virtiofsd 2>/dev/null |
		grep -q . || skip "virtiofsd is not installed"
}

# served_machine NAME IMAGE TREE: a drive and a share of these paths.
served_machine() {
	writer_machine "$1"
	printf '%s\n' '[Drive]' Name=data Format=qcow2 "Path=$2" '[Share]' Tag=tree "Path=$3" >>"/etc/vmm/$1.vm"
	systemctl daemon-reload
}

# server_of UNIT: the process of the server, below vmmd-serve.
server_of() {
	local pid
	pid=$(systemctl show -P MainPID "vmm-$1.service")
	[[ $pid != 0 ]] && pgrep -P "$pid"
}

server_runs() {
	server_of "$1" >/dev/null
}

# It was killed: nothing is found while it is not started again.
server_is_another() {
	local pid
	pid=$(server_of "$1") && [[ $pid != "$2" ]]
}

# mounted UNIT NAME: the file that is mounted there for the unit; also when its server has
# made a directory of it its root.
mounted() {
	stat -Lc %d:%i "/proc/$(systemctl show -P MainPID "vmm-$1.service")/root/mnt/$2"
}

file_id() {
	stat -Lc %d:%i "$1"
}

# An unprivileged owner's directory, with an image and a tree.
make_home() {
	home=/srv/owner
	rm -rf "$home"
	mkdir -p "$home/tree"
	qemu-img create -q -f qcow2 "$home/image.qcow2" 16M
	chown -R nobody:nogroup "$home"
}

serves() {
	equals "the image" "$(mounted "drive@$1:data" image)" "$(file_id "$2")"
	equals "the tree" "$(mounted "share@$1:tree" share)" "$(file_id "$3")"
}

# From the start on, after the death of a server, and after a reboot, by when the owner has replaced
# both, as is their right.
what_is_there() {
	local home drive share
	have_servers
	make_home
	served_machine given "$home/image.qcow2" "$home/tree"
	systemctl start vmm@given
	eventually 10 "qemu-storage-daemon" server_runs drive@given:data
	eventually 10 "virtiofsd" server_runs share@given:tree
	serves given "$home/image.qcow2" "$home/tree"
	matches "devices" "$(vmmctl list-devices given)" 'data +drive +vhost-user +present'
	matches "devices" "$(vmmctl list-devices given)" 'tree +share +vhost-user +present'

	drive=$(server_of drive@given:data)
	systemctl kill -s KILL vmm-drive@given:data.service
	eventually 10 "qemu-storage-daemon again" server_is_another drive@given:data "$drive"
	share=$(server_of share@given:tree)
	kill -KILL "$share"
	eventually 10 "virtiofsd again" server_is_another share@given:tree "$share"
	serves given "$home/image.qcow2" "$home/tree"
	eventually 10 "the drive again" console_has given 'The back end of data is there again'
	eventually 10 "the share again" console_has given 'The back end of tree is there again'

	qemu-img create -q -f qcow2 "$home/new" 32M
	chown nobody "$home/new"
	mv "$home/new" "$home/image.qcow2"
	mv "$home/tree" "$home/old"
	install -d -o nobody "$home/tree"
	drive=$(server_of drive@given:data)
	share=$(server_of share@given:tree)
	vmmctl reboot --force given
	eventually 10 "qemu-storage-daemon after the reboot" server_is_another drive@given:data "$drive"
	eventually 10 "virtiofsd after the reboot" server_is_another share@given:tree "$share"
	serves given "$home/image.qcow2" "$home/tree"
	hard_stop given
	rm -r "$home"
}

# bound_elsewhere KIND DEVICE DESTINATION PATH: systemd binds another than the .vm file says.
bound_elsewhere() {
	local dir=/run/systemd/system/vmm-$1@other:$2.service.d
	mkdir -p "$dir"
	# The empty one takes away all that is bound.
	printf '%s\n' '[Service]' BindPaths= "BindPaths=$4:/mnt/$3" \
		"$(systemctl cat "vmm-$1@.service" | grep ^BindReadOnlyPaths=)" >"$dir/50-other.conf"
	systemctl daemon-reload
}

# refused_to_serve KIND DEVICE KEY PATH
refused_to_serve() {
	local unit=vmm-$1@other:$2.service said
	said="$3 \"$4\" is not what the unit $unit has got to serve"
	fails systemctl start vmm@other
	equals "exit status" "$(unit_property other ExecMainStatus)" 78
	journalctl --sync
	matches "the error" "$(console other)" "/etc/vmm/other.vm:[0-9]+: ${said//\[/\\[}"
	matches "the event" "$(journalctl -q -o cat --since "$TEST_SINCE" VMM_NAME=other VMM_EVENT=refused)" "not started: .*$unit"
	matches "the unit's log" "$(journalctl -q -o cat --since "$TEST_SINCE" -u "$unit")" \
		'vmmd does not want what is mounted'
	equals "the unit" "$(systemctl show -P MainPID "$unit")" 0
	rm -r "/run/systemd/system/$unit.d"
	systemctl reset-failed vmm@other "$unit" 2>/dev/null || :
	systemctl daemon-reload
}

# Its server does not run for a moment.
something_else() {
	local home before
	have_servers
	make_home
	served_machine other "$home/image.qcow2" "$home/tree"
	qemu-img create -q -f qcow2 "$home/private" 16M
	before=$(sha256sum <"$home/private")
	bound_elsewhere drive data image "$home/private"
	refused_to_serve drive data '[Drive] Path=:' "$home/image.qcow2"
	equals "the other image" "$(sha256sum <"$home/private")" "$before"
	bound_elsewhere share tree share /etc
	refused_to_serve share tree '[Share] Path=:' "$home/tree"
	systemctl start vmm@other
	serves other "$home/image.qcow2" "$home/tree"
	# Nor later, when a server comes back.
	bound_elsewhere drive data image "$home/private"
	systemctl kill -s KILL vmm-drive@other:data.service
	eventually 10 "a line in the log" console_has other 'no back end for "data": .* is not what the unit'
	fails server_runs drive@other:data
	unit_is other active
	hard_stop other
	rm -r /run/systemd/system/vmm-drive@other:data.service.d "$home"
}

# exchange LINK: its owner points it to what is theirs, and what is not, as fast as they can.
# shellcheck disable=SC2317 # in the background
exchange() {
	perl -e '
		my ($home) = @ARGV;
		$> = 65534;
		while (1) {
			for my $to ("theirs", "image") {
				for my $name ("link", "way") {
					symlink($name eq "link" ? "$home/$to.qcow2" : "$home/$to.tree", "$home/$name.new");
					rename("$home/$name.new", "$home/$name");
				}
				select undef, undef, undef, rand($to eq "image" ? 0.04 : 0.01);
			}
		}' "$1"
}

# A link that changes all the time: whatever starts has what is its owner's.
exchanged() {
	local home pid i started=0 refused=0 image tree
	have_servers
	make_home
	qemu-img create -q -f qcow2 "$home/theirs.qcow2" 16M
	mkdir "$home/theirs.tree"
	mv "$home/tree" "$home/image.tree"
	ln -s "$home/image.qcow2" "$home/link"
	ln -s "$home/image.tree" "$home/way"
	chown -h nobody "$home/link" "$home/way"
	served_machine raced "$home/link" "$home/way"
	mkdir -p /run/systemd/system/vmm@raced.service.d
	printf '[Unit]\nStartLimitBurst=1000\n[Service]\nRestart=no\n' >/run/systemd/system/vmm@raced.service.d/test.conf
	systemctl daemon-reload
	image=$(file_id "$home/image.qcow2")
	tree=$(file_id "$home/image.tree")
	exchange "$home" &
	pid=$!
	for ((i = 0; i < $1; i++)); do
		if systemctl start vmm@raced 2>/dev/null; then
			started=$((started + 1))
			equals "the image" "$(mounted drive@raced:data image)" "$image"
			equals "the tree" "$(mounted share@raced:tree share)" "$tree"
			vmmctl stop --force raced
			wait_end raced 30 0
		else
			refused=$((refused + 1))
			journalctl --sync
			matches "the reason" "$(console raced | grep '\.vm:[0-9]' | tail -n 1)" \
				'a symbolic link that is not|has got to serve|Stale'
		fi
		systemctl reset-failed 'vmm*@raced*' 2>/dev/null || :
	done
	kill $pid
	echo "NOTE: $started starts and $refused refusals while links were exchanged;" \
		"$(journalctl -q -o cat --since "$TEST_SINCE" -u 'vmm-drive@raced*' -u 'vmm-share@raced*' |
			grep -c 'vmmd does not want') times a unit had another file"
	((started > 0 && refused > 0)) || fail "$started started, $refused refused"
	rm -r /run/systemd/system/vmm@raced.service.d "$home"
}

# An image that is only a part: whose other part its owner would choose.
backing_file() {
	local home
	have_servers
	make_home
	qemu-img create -q -f qcow2 -F raw -b /usr/bin/env "$home/above.qcow2"
	chown nobody "$home/above.qcow2"
	served_machine chain "$home/above.qcow2" "$home/tree"
	fails systemctl start vmm@chain
	equals "exit status" "$(unit_property chain ExecMainStatus)" 78
	journalctl --sync
	matches "the error" "$(console chain)" 'Drive\] Path=: "/srv/owner/above.qcow2" has a backing file'
	systemctl reset-failed vmm@chain
	rm -r "$home"
}

# The server does not open it either, where its owner is faster than vmmd: as the unit starts it.
backing_file_too_late() {
	local home line
	have_servers
	make_home
	echo secret >"$home/secret"
	truncate -s 1M "$home/secret"
	qemu-img create -q -f qcow2 -F raw -b "$home/secret" "$home/above.qcow2"
	served_machine late "$home/image.qcow2" "$home/tree"
	line=$(sed -n 's/^Environment="VMM_DISK=\(.*\)"$/\1/p' \
		/run/systemd/generator/vmm-drive@late:data.service.d/*.conf | sed 's/\\"/"/g')
	matches "what the unit is told" "$line" '"driver":"qcow2"'
	qemu-storage-daemon --blockdev "driver=file,node-name=file,filename=$home/above.qcow2,read-only=off" \
		--blockdev "$line" --chardev stdio,id=c --monitor c >"$TEST_DIR/answers" <<-'END'
			{"execute":"qmp_capabilities"}
			{"execute":"query-named-block-nodes","arguments":{"flat":true}}
			{"execute":"quit"}
		END
	matches "its nodes" "$(<"$TEST_DIR/answers")" '"node-name": "disk"'
	equals "nodes" "$(grep -o '"node-name": "[^"]*"' "$TEST_DIR/answers" | sort -u | wc -l)" 2
	rm -r "$home"
}

add_soak what-is-there 120 what_is_there
add_soak something-else 120 something_else
add_soak exchanged 300 exchanged 20
add_soak backing-file 60 backing_file
add_soak backing-file-too-late 60 backing_file_too_late
