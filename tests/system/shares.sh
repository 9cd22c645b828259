# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# shellcheck shell=bash disable=SC2154,SC2016 # run and lib.sh set what tests use
#
# Shares under load, with a stock guest: the source of a kernel, and a server that is killed.

# share_with_script NAME TREE [LINE...]: a guest that runs the shell script of the standard input, whose
# drive comes first; it has the share "tree" of TREE. LINEs are of a further [Drive].
share_with_script() {
	local name=$1 tree=$2
	shift 2
	guest_machine "$name" "$(with_init 'modprobe virtiofs; sh /dev/vdb')"
	{
		cat
		echo exit # before what ends a program of perl
	} | script_drive "$name"
	(($# == 0)) || printf '%s\n' '[Drive]' "$@" >>"/etc/vmm/$name.vm"
	printf '%s\n' '[Share]' Tag=tree "Path=$tree" >>"/etc/vmm/$name.vm"
	systemctl daemon-reload
}

# with_source_disk COMMAND...: with the disk of tests/lib/make-source-disk mounted at $source.
with_source_disk() {
	source=$(mktemp -d /run/vmm-source.XXXXXX)
	mount LABEL=source "$source" || fail "there is no disk with the source of a kernel"
	# shellcheck disable=SC2064 # what it is now
	trap "end_machines; umount '$source' && rmdir '$source'" EXIT
	"$@"
}

# seconds_between OUTPUT FROM TO: of the guest's clock, which it has said as "WORD SECONDS.HUNDREDTHS".
seconds_between() {
	awk -v from="$2" -v to="$3" '$1 == from { began = $2 } $1 == to { print $2 - began }' <<<"$1"
}

# A guest walks all of the source, which the host has unpacked, and so makes the server know each of
# its files at once. It unpacks a part of it, mounts the share anew, and compares what the server has
# with the archive: types, modes, owners, times, sizes, links and contents. So does the host. (All of
# it takes a guest of an emulated processor more than an hour.)
kernel_source() {
	local name=kernel-source output
	rm -rf "$source/unpacked"
	mkdir "$source/unpacked"
	share_with_script "$name" "$source" Name=archive ReadOnly=yes "Path=$source/part.tar" <<-'END'
		at() {
			read up rest </proc/uptime
			echo "$1 $up"
		}
		fresh() {
			cd /
			! mountpoint -q /mnt || umount /mnt
			echo 3 >/proc/sys/vm/drop_caches
			mount -t virtiofs tree /mnt
			at "$1"
		}
		set -e
		fresh walks
		echo "entries $(find /mnt/source -printf '%s\n' | wc -l)"
		at walked
		fresh unpacks
		tar -C /mnt/unpacked -b 128 -xf /dev/vdc
		at unpacked
		fresh compares
		tar -C /mnt/unpacked -b 128 -df /dev/vdc && echo the same
		at compared
	END
	systemctl start "vmm@$name"
	wait_end "$name" 3000 0
	output=$(run_output "$name")
	echo "$output"
	equals "entries that the guest has found" "$(sed -n 's/^entries //p' <<<"$output")" \
		"$(find "$source/source" | wc -l)"
	matches "guest" "$output" 'the same'
	tar -C "$source/unpacked" -df "$source/part.tar"
	equals "files and links of the part" "$(find "$source/unpacked" ! -type d | wc -l)" \
		"$(tar -tf "$source/part.tar" | grep -vc '/$')"
	echo "NOTE: $(find "$source/source" -type f | wc -l) files walked in" \
		"$(seconds_between "$output" walks walked) s;" \
		"$(find "$source/unpacked" -type f | wc -l) files," \
		"$(du -sm --apparent-size "$source/unpacked" | cut -f 1) MiB, unpacked in" \
		"$(seconds_between "$output" unpacks unpacked) s and compared in" \
		"$(seconds_between "$output" compares compared) s"
}

# The files that a guest knows are state of the server, which a new one has not: what the guest has open
# fails, soon and by an error, until it has mounted the share anew. What it had synced is there.
share_server_killed() {
	local rounds=$1 name=share-killed tree=$disks/share-killed-tree i output
	have_servers
	rm -rf "$tree"
	mkdir "$tree"
	{
		echo "rounds=$rounds"
		cat <<-'END'
			n_files=0
			echo something >/tmp/something
			while [ "$rounds" -gt 0 ]; do
				mount -t virtiofs tree /mnt || echo "no mount"
				cp /tmp/something /mnt/open
				exec 3</mnt/open
				echo "writes, $rounds to go"
				while head -c 100k /dev/urandom >/tmp/data &&
					dd if=/tmp/data of=/mnt/data-$n_files bs=20k conv=fsync 2>/tmp/error; do
					sha256sum /tmp/data | sed "s/.tmp.data/data-$n_files/" >>/tmp/sums
					n_files=$((n_files + 1))
				done
				read -r up rest </proc/uptime
				echo "failed at $up: $(grep -o ': [^:]*$' /tmp/error | head -n 1)"
				! cat <&3 2>/dev/null || echo held
				exec 3<&-
				umount /mnt || echo "no umount"
				rounds=$((rounds - 1))
			done
			mount -t virtiofs tree /mnt
			cd /mnt && sha256sum -c /tmp/sums | grep -vc ': OK$'
			cp /tmp/sums /mnt/sums
			echo "files $n_files"
			dmesg | grep -E 'hung|blocked for|BUG:|WARNING: CPU'
		END
	} | share_with_script "$name" "$tree"
	systemctl start "vmm@$name"
	for ((i = rounds; i > 0; i--)); do
		wait_console "$name" 150 "^writes, $i to go"
		sleep "$((RANDOM % 3)).$((RANDOM % 90 + 10))"
		kill -KILL "$(server_of "share@$name:tree")"
	done
	wait_end "$name" 600 0
	output=$(run_output "$name")
	echo "$output"
	matches "guest" "$output" $'\n0\nfiles [1-9]'
	[[ ! $output =~ (no mount|no umount|held|hung|blocked|BUG:|WARNING:) ]] || fail "guest: ${BASH_REMATCH[0]}"
	equals "failures" "$(grep -c '^failed at' <<<"$output")" "$rounds"
	(cd "$tree" && sha256sum --quiet -c sums)
	said "$name" 'The back end of tree is there again' "$rounds" || fail "not always again"
	echo "NOTE: the server killed $rounds times," \
		"$(sed -n 's/^files //p' <<<"$output") files that were synced before are whole"
	rm -r "$tree"
}

add_soak_smp kernel-source 3600 with_source_disk kernel_source
add_soak share-server-killed 1200 share_server_killed 20
