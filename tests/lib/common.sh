# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# shellcheck shell=bash disable=SC2154 # $top is the caller's
#
# What the test commands share: messages, long steps with visible progress, and the installation
# of what is missing. Sourced, never run. The caller sets $top to the root of the source tree.

# Everything for people goes to stderr: stdout belongs to the command that was asked for.
say() {
	printf '%s\n' "$*" >&2
}

die() {
	printf '%s: %s\n' "${0##*/}" "$*" >&2
	exit 1
}

need_root() {
	((EUID == 0)) || die "needs root: run it with sudo"
}

# tell_time TEXT LOG: a line a second on a terminal, and one each 20 s elsewhere, until killed.
tell_time() {
	local text=$1 log=$2 start=$SECONDS now
	while sleep 1 && kill -0 $$ 2>/dev/null; do
		now=$((SECONDS - start))
		if [[ -t 2 ]]; then
			printf '\r%s ... %d s' "$text" "$now" >&2
		elif ((now % 20 == 0)); then
			say "$text ... $now s: $(tail -n 1 "$log" | tr -cd '[:print:]' | cut -c -80)"
		fi
	done
}

# step TEXT CMD...: runs CMD with its output kept aside, says how long it takes while it runs, and
# shows the end of that output when it fails. Returns CMD's status.
step() {
	local text=$1 log start teller now rc=0
	shift
	log=$(mktemp "${TMPDIR:-/tmp}/vmmd-step.XXXXXX") || return 1
	start=$SECONDS
	[[ -t 2 ]] && printf '%s ...' "$text" >&2
	tell_time "$text" "$log" &
	teller=$!
	# In the foreground, so that an interrupt reaches it.
	"$@" >"$log" 2>&1 </dev/null || rc=$?
	kill "$teller"
	wait "$teller" 2>/dev/null
	now=$((SECONDS - start))
	[[ -t 2 ]] && printf '\r' >&2
	if ((rc == 0)); then
		say "$text: done in $now s   "
	else
		say "$text: failed ($rc) after $now s"
		tail -n "${VMMD_LOG_LINES:-60}" "$log" >&2
	fi
	rm -f "$log"
	return "$rc"
}

# packages_for PURPOSE...: the package names that tests/lib/packages lists, one a line.
packages_for() {
	local purpose
	for purpose; do
		sed -n "s/#.*//; s/^$purpose://p" "$top/tests/lib/packages" | tr -s '[:blank:]' '\n' |
			sed '/^$/d'
	done | sort -u
}

# missing_packages PURPOSE...: those of them that are not installed.
missing_packages() {
	comm -23 <(packages_for "$@") \
		<(dpkg-query -W -f '${db:Status-Status} ${Package}\n' 2>/dev/null |
			sed -n 's/^installed //p' | sort -u)
}

apt_install() {
	export DEBIAN_FRONTEND=noninteractive
	apt-get -q -o DPkg::Lock::Timeout=600 update &&
		apt-get -q -y -o DPkg::Lock::Timeout=600 -o Dpkg::Use-Pty=0 \
			install --no-install-recommends "$@"
}

# install_packages PURPOSE...: installs what is missing with the machine's own apt configuration.
install_packages() {
	local -a missing
	command -v apt-get >/dev/null || die "needs Debian's apt-get to install packages"
	mapfile -t missing < <(missing_packages "$@")
	((${#missing[@]} == 0)) && return 0
	((EUID == 0)) || die "needs root to install: ${missing[*]}"
	say "missing, from Debian's packages: ${missing[*]}"
	step "installing ${#missing[@]} packages" apt_install "${missing[@]}" ||
		die "cannot install ${missing[*]}"
}

configure_and_build() {
	if [[ ! -e $1/build.ninja ]]; then
		meson setup --prefix=/usr --sysconfdir=/etc --localstatedir=/var \
			--buildtype=debugoptimized -Dinstalled_tests=true "$1" "$top" || return
	fi
	ninja ${VMMD_JOBS:+-j "$VMMD_JOBS"} -C "$1"
}

# build_project DIR: a build tree to install from, brought up to date.
build_project() {
	install_packages build test
	[[ -e $top/meson.build ]] || die "no meson.build in $top"
	step "building in ${1##*/}" configure_and_build "$1"
}
