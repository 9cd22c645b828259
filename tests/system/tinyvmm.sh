# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# shellcheck shell=bash disable=SC2154 # run and lib.sh set what tests use
#
# The example monitor: boots both stock kernels from a virtio disk to a prompt on its serial port,
# takes commands there, and ends when the guest powers off.

tinyvmm=/usr/libexec/vmmd-tests/tinyvmm

# tinyvmm_says SECONDS PATTERN: waits for it in what the monitor wrote from byte $seen on.
tinyvmm_says() {
	local deadline=$((SECONDS + $1 * slow)) text
	until text=$(tail -c +"$seen" "$out" | tr -d '\r') && grep -Eaq -- "$2" <<<"$text"; do
		((SECONDS < deadline)) || fail "no /$2/ in: $(tail -c 2000 "$out")"
		kill -0 "$pid" 2>/dev/null || fail "tinyvmm has ended: $(tail -c 2000 "$out")"
		sleep 0.2
	done
}

# prompt FLAVOUR KIND CPUS INIT: INIT is "shell" for a root file system whose init is a shell, or
# "systemd" for Debian's own.
prompt() {
	local flavour=$1 kind=$2 cpus=$3 init=$4 disk=$disks/tiny.raw out seen=1 pid status=0
	local wanted='root@.*#'
	[[ -x $tinyvmm ]] || fail "$tinyvmm is not installed"
	out=$TEST_DIR/out
	cp --reflink=always "$images/root.raw" "$disk"
	if [[ $init == shell ]]; then
		mkdir "$out.mnt"
		mount -o loop "$disk" "$out.mnt"
		ln -sf /bin/sh "$out.mnt/sbin/init"
		umount "$out.mnt"
		rmdir "$out.mnt"
		wanted='^# '
	fi
	mkfifo "$out.in"
	"$tinyvmm" "$images/$kind-$flavour" "$disk" "$cpus" 384 "$images/initrd-$flavour" \
		<"$out.in" >"$out" 2>&1 &
	pid=$!
	exec 7>"$out.in"
	tinyvmm_says 120 "$wanted"
	seen=$(($(stat -c %s "$out") + 1))
	# shellcheck disable=SC2016 # the guest's shell is to expand it
	echo 'echo "cpus=$(nproc) root=$(findmnt -no SOURCE /)"' >&7
	# A terminal's codes may come before it on its line.
	tinyvmm_says 30 "cpus=$cpus root=/dev/vda$"
	echo 'sync; poweroff -f' >&7
	exec 7>&-
	wait "$pid" || status=$?
	equals "status" "$status" 0
	rm -f "$disk"
}

add cloud-vmlinuz-1 180 prompt cloud vmlinuz 1 shell
add_smp amd64-vmlinux-4 240 prompt amd64 vmlinux 4 shell
add debian 240 prompt cloud vmlinux 1 systemd
