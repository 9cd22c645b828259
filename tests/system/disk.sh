# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# shellcheck shell=bash disable=SC2154 # run and lib.sh set what tests use
#
# Disks, with the bytes compared on both sides.

# disk_machine NAME CMD [LINE...]: a guest with a second disk that runs CMD. A LINE goes into that
# disk's section.
disk_machine() {
	local name=$1 cmd=$2
	shift 2
	guest_machine "$name" "Machine.Transport=${transport-}" "$(with_init "$cmd")"
	printf '%s\n' '[Drive]' 'Name=data' "$@" >>"/etc/vmm/$name.vm"
}

# 64 MiB written by the guest, flushed, and read back past its page cache.
write_and_read() {
	local transport=$1 name=data-$1 disk=$disks/data-$1-2.raw output
	truncate -s 96M "$disk"
	disk_machine "$name" 'mount -t tmpfs none /mnt; head -c 64M /dev/urandom >/mnt/data; sha256sum </mnt/data; '\
'dd if=/mnt/data of=/dev/vdb bs=1M oflag=direct conv=fsync status=none && '\
'dd if=/dev/vdb bs=1M count=64 iflag=direct status=none | sha256sum' "Path=$disk"
	systemctl start "vmm@$name"
	wait_end "$name" 300 0
	output=$(run_output "$name" | grep -Eo '^[0-9a-f]{64}')
	equals "number of checksums" "$(wc -l <<<"$output")" 2
	equals "what was read back" "$(sed -n 2p <<<"$output")" "$(sed -n 1p <<<"$output")"
	equals "what is in the file" "$(head -c 64M "$disk" | sha256sum | cut -c -64)" \
		"$(sed -n 1p <<<"$output")"
	equals "what was not written" "$(tail -c 32M "$disk" | tr -d '\0' | wc -c)" 0
}

read_only() {
	local disk=$disks/fixed-data.raw before
	head -c 8M /dev/urandom >"$disk"
	before=$(sha256sum <"$disk")
	disk_machine fixed 'cat /sys/block/vdb/ro; sha256sum </dev/vdb; echo x >/dev/vdb; echo wrote $?' \
		"Path=$disk" ReadOnly=yes
	systemctl start vmm@fixed
	wait_end fixed 200 0
	journalctl --sync
	matches "guest" "$(run_output fixed)" "^1
${before%% *}"
	matches "the guest's write" "$(run_output fixed)" 'wrote [1-9]'
	equals "the file" "$(sha256sum <"$disk")" "$before"
}

block_device() {
	local disk=$disks/loop-data.raw loop
	truncate -s 16M "$disk"
	loop=$(losetup -f --show "$disk")
	disk_machine loop 'echo hello block device | dd of=/dev/vdb conv=fsync status=none; '\
'blockdev --getsize64 /dev/vdb; lsblk -dno SERIAL /dev/vdb' "Path=$loop"
	systemctl start vmm@loop
	wait_end loop 200 0
	losetup -d "$loop"
	matches "guest" "$(run_output loop)" '16777216
data'
	equals "the file" "$(head -c 18 "$disk")" 'hello block device'
}

for transport in pci mmio; do
	add "write-and-read-64M-$transport" 400 write_and_read "$transport"
done
add read-only 300 read_only
add block-device 300 block_device
