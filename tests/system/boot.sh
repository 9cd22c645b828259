# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# shellcheck shell=bash disable=SC2154 # run and lib.sh set what tests use
#
# Debian's two kernels, as bzImage and as the ELF inside it, on both transports, with one and with
# four vCPUs: up to a command run by the guest's systemd, and off again.

boots() {
	local flavour=$1 kind=$2 transport=$3 cpus=$4 name output
	name=boot-$flavour-$transport-$cpus
	guest_machine "$name" "Machine.CPUs=$cpus" "Machine.Transport=$transport" \
		"Boot.Kernel=$images/$kind-$flavour" "Boot.Initrd=$images/initrd-$flavour" \
		"$(with_run 'uname -r; nproc; findmnt -no SOURCE,FSTYPE /; ls -d /sys/bus/pci/devices/* | wc -l')"
	systemctl start "vmm@$name"
	wait_console "$name" 150 'vmm-run: exit 0'
	wait_end "$name" 60 0
	output=$(run_output "$name")
	case $flavour in
	cloud) matches "kernel" "$output" '6\.[0-9.-]+-cloud-amd64' ;;
	amd64) matches "kernel" "$output" '6\.[0-9.]+-[0-9]+-amd64' ;;
	esac
	equals "vCPUs of the guest" "$(sed -n 2p <<<"$output")" "$cpus"
	matches "root file system" "$(sed -n 3p <<<"$output")" '^/dev/vda +ext4'
}

for flavour in cloud amd64; do
	for transport in pci mmio; do
		for cpus in 1 4; do
			for kind in vmlinuz vmlinux; do
				add "$flavour-$kind-$transport-$cpus" 240 \
					boots "$flavour" "$kind" "$transport" "$cpus"
			done
		done
	done
done
