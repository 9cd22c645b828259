# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# shellcheck shell=bash disable=SC2154 # run and lib.sh set what tests use
#
# The sandbox as systemd and vmmd make it together: who is taken for a worker, and what is said of
# one that was killed by its policy.

# drop_in NAME LINE...: for the [Service] of a VM's unit.
drop_in() {
	local dir=/run/systemd/system/vmm@$1.service.d
	shift
	mkdir -p "$dir"
	printf '%s\n' '[Service]' "$@" >"$dir/test.conf"
	systemctl daemon-reload
}

# refused_by_broker PATTERN
refused_by_broker() {
	journalctl -q -o cat --since "$TEST_SINCE" -u vmmd.service |
		grep -Eq -- "refused a peer on the broker .*$1"
}

# The command of the unit, without the machine's name.
worker_command() {
	systemctl cat vmm@.service | sed -n 's/^ExecStart=\(.*\) %i$/\1/p'
}

# A process of a VM's own unit, with its uid and its name, that is not its main one.
not_the_main_process() {
	writer_machine own
	drop_in own "ExecStartPre=-$(worker_command) own"
	systemctl start vmm@own
	eventually 5 "a line in the log" refused_by_broker 'not the main process of vmm@own'
	# The one that is gets its machine.
	equals "state" "$(unit_property own ActiveState)" active
}

# The main process of a VM's unit with a uid that is not the unit's.
another_uid() {
	writer_machine other
	drop_in other ExecStart= "ExecStart=+$(worker_command) other" Restart=no
	fails systemctl start vmm@other
	eventually 5 "a line in the log" refused_by_broker 'uid'
	equals "state" "$(unit_property other ActiveState)" failed
}

# As code that runs in the main thread could: it makes the call socket(). By ptrace(2), see
# tests/sandbox/inject.h; where it was stopped in a call, that instruction is two bytes back.
inject_socket() {
	perl -e '
		my $pid = 0 + shift; my ($attach, $getregs, $setregs, $cont) = (16, 12, 13, 7);
		my $registers = "\0" x 216; my $status = "\0" x 4;
		syscall(101, $attach, $pid, 0, 0) == 0 or die "attach: $!";
		syscall(61, $pid, $status, 0x40000000, 0);
		syscall(101, $getregs, $pid, 0, $registers) == 0 or die "registers: $!";
		my @r = unpack("Q27", $registers);
		$r[16] -= 2; $r[10] = 41; $r[15] = ~0; $r[14] = 1; $r[13] = 1; $r[12] = 0;
		$registers = pack("Q27", @r);
		syscall(101, $setregs, $pid, 0, $registers) == 0 or die "registers: $!";
		syscall(101, $cont, $pid, 0, 0) == 0 or die "continue: $!";
		syscall(61, $pid, $status, 0x40000000, 0);
	' "$1"
}

killed_by_policy() {
	local said='thread "vmmd-worker" was killed for a system call .*: socket \(41\)'
	# Of this one the kernel has to speak.
	touch "$TEST_DIR/expects-kill"
	writer_machine breaks
	drop_in breaks Restart=no
	systemctl start vmm@breaks
	inject_socket "$(main_pid breaks)"
	wait_unit breaks 10 failed
	equals "signal" "$(unit_property breaks ExecMainStatus)" 31
	# In a namespace of processes the kernel's records are of other numbers.
	! systemd-detect-virt -cq || said='was killed for a system call that it may not make'
	eventually 10 "which call it was, in the log of the VM" console_has breaks "$said"
}

add_soak not-the-main-process 60 not_the_main_process
add_soak another-uid 60 another_uid
add_soak killed-by-policy 60 killed_by_policy
