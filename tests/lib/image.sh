# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# shellcheck shell=bash disable=SC2154 # $top is the caller's
#
# The images of the test bed, in a cache directory named by a hash of their recipe, which is
# make-images beside this file. Sourced by tests/bed; common.sh comes first.
#
# images_ensure sets $image to a directory with
#	bed.raw bed-vmlinuz bed-initrd	the bed: root file system, kernel, initrd
#	data.raw			an XFS of guest/, mounted at /var/lib/vmm-test in the bed
#	ssh-key				the key that root in the bed accepts
#	guest/root.raw			a Debian root file system for guests, an ext4 without partitions
#	guest/{vmlinuz,initrd,vmlinux}-{cloud,amd64}	Debian's kernels, the initrds that its
#					initramfs-tools made, and the ELF inside each kernel
# All are read-only for their users.

image_recipe_hash() {
	{
		cat "$top/tests/lib/make-images"
		packages_for bed-image
		echo --
		packages_for guest-image
		debian_sources
	} | sha256sum | cut -c -16
}

# The Debian archives that apt on this machine uses, as one-line sources; others are left out.
debian_sources() {
	# shellcheck disable=SC2016 # $(SITE) and so on are apt's
	apt-get indextargets 'Created-By: Packages' 'Origin: Debian' \
		--format 'deb $(SITE) $(RELEASE) $(COMPONENT)' | sort -u
}

# images_ensure: makes the images if the cache has none of this recipe; sets $image.
images_ensure() {
	local cache=${VMMD_TEST_CACHE:-/var/cache/vmmd-tests} hash lock work old
	need_root
	install_packages bed
	[[ -n $(debian_sources) ]] || step "reading package lists" apt-get -q update || exit 1
	hash=$(image_recipe_hash) || exit 1
	image=$cache/$hash
	mkdir -p "$cache"
	exec {lock}>"$cache/lock"
	if ! flock -n "$lock"; then
		say "waiting for another process that makes the images"
		flock "$lock"
	fi
	if [[ ! -e $image/complete ]]; then
		rm -rf "$image" "$cache"/new.*
		work=$(mktemp -d "$cache/new.XXXXXX")
		if ! step "making the Debian images of the test bed" "$top/tests/lib/make-images" "$work"; then
			rm -rf "$work"
			die "cannot make the images"
		fi
		touch "$work/complete"
		mv "$work" "$image"
		# Images of older recipes are of no use, but another tree may be using them now.
		for old in "$cache"/????????????????; do
			[[ $old == "$image" ]] || find "$old" -maxdepth 0 -mtime +2 -exec rm -rf {} +
		done
	fi
	touch "$image"
	exec {lock}>&-
}
