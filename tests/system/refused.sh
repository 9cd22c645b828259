# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# shellcheck shell=bash disable=SC2154 # run and lib.sh set what tests use
#
# Bad input: one message that names the file, the line and the key, and the reason; exit status
# 78; no restart; nothing left behind.

# refused NAME KEY REASON: the VM NAME, whose file is written, is refused for its line "KEY=...".
# REASON is an extended regular expression. KEY may be empty for a file without that line.
refused() {
	local name=$1 key=$2 reason=$3 line pattern said
	fails systemctl start "vmm@$name"
	# An answer that would lead to a restart would do so by now.
	sleep 0.5
	equals "state" "$(unit_property "$name" ActiveState)" failed
	equals "status" "$(unit_property "$name" ExecMainStatus)" 78
	equals "restarts" "$(unit_property "$name" NRestarts)" 0
	journalctl --sync
	line=$(grep -n "^$key=" "/etc/vmm/$name.vm" | tail -n 1 | cut -d : -f 1)
	pattern="/etc/vmm/$name\.vm:$line: .*$key=: .*($reason)"
	[[ -n $key ]] || pattern="/etc/vmm/$name\.vm: .*($reason)"
	# The worker has no paths: where it is the one to refuse, vmmd says where that was asked for.
	said=$(journalctl -q -o cat --since "$TEST_SINCE" -u "vmm@$name" -u vmmd)
	grep -Eq -- "$pattern" <<<"$said" || fail "no /$pattern/ in: $said"
	said=$(journalctl -q -o cat --since "$TEST_SINCE" -u "vmm@$name" -t vmmd-worker)
	equals "number of messages in the log of the VM" "$(wc -l <<<"$said")" 1
	matches "the message in the log of the VM" "$said" "$reason"
}

# setting NAME LINE REASON: a good file but for one "Section.Key=Value".
setting() {
	local name=$1 line=$2 key=${2#*.}
	guest_machine "$name" "$line"
	refused "$name" "${key%%=*}" "$3"
}

# le BYTES VALUE: little-endian.
le() {
	local i
	for ((i = 0; i < $1; i++)); do
		printf '%b' "\\x$(printf '%02x' $((($2 >> (8 * i)) & 255)))"
	done
}

# elf ENTRY OFFSET PADDR FILESZ MEMSZ: a 64-bit kernel of one segment, whose contents are a page
# of zeroes behind the headers at 120.
elf() {
	printf '\177ELF\2\1\1'
	head -c 9 /dev/zero
	le 2 2 && le 2 62 && le 4 1 && le 8 "$1" && le 8 64 && le 8 0 && le 4 0
	le 2 64 && le 2 56 && le 2 1 && le 2 0 && le 2 0 && le 2 0
	le 4 1 && le 4 5 && le 8 "$2" && le 8 "$3" && le 8 "$3" && le 8 "$4" && le 8 "$5" && le 8 4096
	head -c 4096 /dev/zero
}

# kernel NAME REASON MAKER [ARG...]: MAKER writes the kernel.
kernel() {
	local name=$1 reason=$2 file=$disks/$1-kernel.raw
	shift 2
	"$@" >"$file"
	guest_machine "$name" "Boot.Kernel=$file"
	refused "$name" Kernel "$reason"
}

text_file() {
	yes 'this is no kernel' | head -c 65536
}

# bzimage_with OFFSET BYTES VALUE: Debian's, with a field changed.
bzimage_with() {
	head -c "$1" "$images/vmlinuz-cloud"
	le "$2" "$3"
	tail -c "+$(($1 + $2 + 1))" "$images/vmlinuz-cloud"
}

large_initrd() {
	truncate -s 1G "$disks/initrd.raw"
	setting large-initrd "Boot.Initrd=$disks/initrd.raw" 'memory|large|fit'
}

long_command_line() {
	setting long-line "Boot.CommandLine=$(head -c 3000 /dev/zero | tr '\0' x)" 'long|more than'
}

# disk NAME REASON CMD...: with $disk for its path, CMD makes the disk.
disk() {
	local name=$1 reason=$2 disk=$disks/$1-2.raw
	shift 2
	"$@" "$disk"
	guest_machine "$name" "Drive.Path=$disk"
	refused "$name" Path "$reason"
	[[ ! -e $disk ]] || chattr -i "$disk" 2>/dev/null || :
	rm -rf "$disk"
}

immutable() {
	truncate -s 1M "$1"
	chattr +i "$1"
}

# A second VM on a writable disk; the first one goes on.
locked_disk() {
	guest_machine first "$(with_init 'sleep 1000')"
	guest_machine second "Drive.Path=$disks/first.raw"
	systemctl start vmm@first
	refused second Path 'lock|in use|used by'
	equals "the first" "$(unit_property first ActiveState)" active
	systemctl kill -s KILL vmm@first
	systemctl stop vmm@first
	# And when the first is gone the second may have it.
	systemctl reset-failed vmm@second
	systemctl start vmm@second
}

duplicate_names() {
	guest_machine twice
	printf '[Drive]\nName=root\nPath=%s\n' "$images/root.raw" >>/etc/vmm/twice.vm
	refused twice Name 'already'
}

# A name that cannot be a VM's is told to the one who asks, and as a unit it fails without a loop.
bad_name() {
	local said rc=0
	said=$(vmmctl start Bad_Name 2>&1) || rc=$?
	((rc != 0)) || fail "vmmctl start succeeds"
	matches "what vmmctl says" "$said" 'Bad_Name.*name'
	fails systemctl start 'vmm@Bad_Name.service'
	sleep 1
	equals "state" "$(unit_property Bad_Name ActiveState)" failed
}

no_file() {
	local said rc=0
	said=$(vmmctl start nothing 2>&1) || rc=$?
	((rc != 0)) || fail "vmmctl start succeeds"
	matches "what vmmctl says" "$said" 'nothing'
	fails systemctl start vmm@nothing
	sleep 0.5
	equals "status" "$(unit_property nothing ExecMainStatus)" 78
	equals "restarts" "$(unit_property nothing NRestarts)" 0
}

no_kvm() {
	guest_machine no-kvm
	# The test bed's own VM (tests/lib/make-images) keeps the module.
	systemctl stop bed-kvm
	modprobe -r kvm_amd kvm_intel
	fails systemctl start vmm@no-kvm
	sleep 0.5
	modprobe -a kvm_amd kvm_intel || :
	systemctl start bed-kvm
	equals "status" "$(unit_property no-kvm ExecMainStatus)" 78
	equals "restarts" "$(unit_property no-kvm NRestarts)" 0
	journalctl --sync
	matches "journal" "$(console no-kvm)" '/dev/kvm'
	eventually 10 "/dev/kvm is back" test -e /dev/kvm
}

# What is not known is a warning, with file and line, and the VM runs.
unknown_is_a_warning() {
	local line
	guest_machine warned "$(with_init true)"
	printf '[Machine]\nColour=green\n[Weather]\nRain=yes\n' >>/etc/vmm/warned.vm
	systemctl start vmm@warned
	wait_end warned 180 0
	journalctl --sync
	for key in Colour '\[Weather\]'; do
		line=$(grep -n "^$key" /etc/vmm/warned.vm | cut -d : -f 1)
		journalctl -q -o cat --since "$TEST_SINCE" -u vmm@warned -u vmmd |
			grep -Eq "/etc/vmm/warned\.vm:$line: .*$key.*unknown" ||
			fail "no warning for $key in line $line"
	done
}

add kernel-missing 60 setting kernel-missing "Boot.Kernel=$disks/none" 'No such file'
add kernel-directory 60 setting kernel-dir "Boot.Kernel=$disks" 'directory|not a regular file'
add kernel-empty 60 kernel empty 'empty|short|truncated|not a kernel' cat /dev/null
add kernel-text 60 kernel text 'neither|not|unknown' text_file
add elf-truncated 60 kernel elf-truncated 'truncated|end of the file|beyond|short' \
	head -c 100 "$images/vmlinux-cloud"
add elf-cut-segment 60 kernel elf-cut 'truncated|end of the file|beyond|short' \
	head -c 1000000 "$images/vmlinux-cloud"
add elf-outside-memory 60 kernel elf-outside 'memory' elf 0x1000000 0 0xffff00000000 4096 4096
add elf-over-boot-tables 60 kernel elf-tables 'overlap|reserved|boot|below' elf 0x7000 0 0x7000 4096 4096
add elf-entry-outside 60 kernel elf-entry 'entry' elf 0x9000000 0 0x1000000 4096 4096
add elf-endless-memsz 60 kernel elf-memsz 'memory|size|large|wrap' elf 0x1000000 0 0x1000000 4096 -1
add elf-endless-filesz 60 kernel elf-filesz 'file|size|large|wrap' elf 0x1000000 0 0x1000000 -1 -1
add elf-endless-offset 60 kernel elf-offset 'file|offset|end' elf 0x1000000 -1 0x1000000 4096 4096
add bzimage-truncated 60 kernel bz-truncated 'but the file has' \
	head -c 100000 "$images/vmlinuz-cloud"
add bzimage-old-protocol 60 kernel bz-old 'protocol|version' bzimage_with 518 2 0x0206
add bzimage-many-sectors 60 kernel bz-sects 'truncated|end of the file|short|beyond|set.?up' \
	bzimage_with 497 1 255
add bzimage-endless-init-size 60 kernel bz-init 'memory|size|large' bzimage_with 608 4 0xffffffff
add initrd-missing 60 setting initrd-missing "Boot.Initrd=$disks/none" 'No such file'
add initrd-larger-than-memory 60 large_initrd
add command-line-too-long 60 long_command_line
add disk-missing 60 setting disk-missing "Drive.Path=$disks/none.raw" 'No such file'
add disk-directory 60 disk disk-dir 'directory|regular' mkdir
add disk-unreadable 60 disk disk-immutable 'not permitted|denied' immutable
add disk-fifo 60 disk disk-fifo 'is a pipe' mkfifo
add disk-of-odd-size 60 disk disk-odd 'not whole sectors' truncate -s 1000
add disk-empty 60 disk disk-empty 'empty|size|sector' truncate -s 0
add disk-locked 240 locked_disk
add memory-zero 60 setting memory-zero Machine.Memory=0 'too little|at least'
add memory-unaligned 60 setting memory-odd Machine.Memory=268435457 'multiple'
add memory-more-than-host 60 setting memory-much Machine.Memory=900G 'memory|more than'
add cpus-zero 60 setting cpus-zero Machine.CPUs=0 'between|at least'
add cpus-too-many 60 setting cpus-many Machine.CPUs=65 'between|at most'
add cpus-text 60 setting cpus-text Machine.CPUs=many 'number|many'
add transport-unknown 60 setting transport Machine.Transport=scsi 'pci'
add duplicate-names 60 duplicate_names
add bad-name 60 bad_name
add no-file 60 no_file
add no-kvm 60 no_kvm
add unknown-is-a-warning 240 unknown_is_a_warning
