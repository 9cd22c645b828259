# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# shellcheck shell=bash disable=SC2154 # run and lib.sh set what tests use
#
# Debian's two kernels, as bzImage and as the ELF inside it, on both transports, with one and with
# four vCPUs.

# Each answer carries its name: a getty of the guest may write between them. No name has a '=', as
# the kernel looks for its parameters in all of its command line.
# shellcheck disable=SC2016 # the guest expands them
questions='echo kernel: $(uname -r); echo cpus: $(nproc); echo root: $(findmnt -no SOURCE,FSTYPE /); '\
'echo pci: $(ls /sys/bus/pci/devices | wc -l)'

# answer NAME KEY: what the guest NAME said of KEY.
answer() {
	run_output "$1" | sed -n "s/.*$2: *//p" | head -n 1
}

# answers NAME FLAVOUR TRANSPORT CPUS: what the guest NAME said to that.
answers() {
	case $2 in
	cloud) matches "kernel of $1" "$(answer "$1" kernel)" '^6\.[0-9.-]+-cloud-amd64$' ;;
	amd64) matches "kernel of $1" "$(answer "$1" kernel)" '^6\.[0-9.]+-[0-9]+-amd64$' ;;
	esac
	equals "vCPUs of $1" "$(answer "$1" cpus)" "$4"
	matches "root file system of $1" "$(answer "$1" root)" '^/dev/vda ext4$'
	case $3 in
	pci) (($(answer "$1" pci) > 1)) ;;
	mmio) (($(answer "$1" pci) <= 1)) ;;
	esac
}

# Both transports at once, up to a shell on the root file system, and off.
boots() {
	local flavour=$1 kind=$2 cpus=$3 name transport
	for transport in pci mmio; do
		guest_machine "boot-$transport" "Machine.CPUs=$cpus" "Machine.Transport=$transport" \
			"Boot.Kernel=$images/$kind-$flavour" "Boot.Initrd=$images/initrd-$flavour" \
			"$(with_init "$questions")"
		systemctl start "vmm@boot-$transport"
	done
	for transport in pci mmio; do
		wait_end "boot-$transport" 200 0
		answers "boot-$transport" "$flavour" "$transport" "$cpus"
	done
}

# All of Debian, with its systemd.
boots_debian() {
	local flavour=$1 transport=$2 name=debian-$1-$2
	guest_machine "$name" "Machine.Transport=$transport" \
		"Boot.Kernel=$images/vmlinuz-$flavour" "Boot.Initrd=$images/initrd-$flavour" \
		"$(with_run "$questions; echo failed: \$(systemctl list-units --failed --no-legend --plain)")"
	systemctl start "vmm@$name"
	wait_console "$name" 150 'vmm-run: exit 0'
	wait_end "$name" 60 0
	answers "$name" "$flavour" "$transport" 1
	matches "failed units of $name" "$(run_output "$name")" 'failed:'
	equals "failed units of $name" "$(answer "$name" failed)" ""
	journalctl --sync
	matches "console" "$(console "$name")" 'reboot: Power down'
}

# With each kernel in CI: both of its forms, both transports, one vCPU and four.
for flavour in cloud amd64; do
	add "$flavour-vmlinuz-1" 240 boots "$flavour" vmlinuz 1
	add_smp "$flavour-vmlinux-4" 300 boots "$flavour" vmlinux 4
	add_soak "$flavour-vmlinux-1" 240 boots "$flavour" vmlinux 1
	add_soak_smp "$flavour-vmlinuz-4" 300 boots "$flavour" vmlinuz 4
done
add debian-cloud-pci 240 boots_debian cloud pci
add debian-amd64-mmio 240 boots_debian amd64 mmio
add_soak debian-cloud-mmio 240 boots_debian cloud mmio
add_soak debian-amd64-pci 240 boots_debian amd64 pci
