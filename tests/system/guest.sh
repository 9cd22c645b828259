# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# shellcheck shell=bash disable=SC2154,SC2016 # run and lib.sh set what tests use; guests expand
#
# What passes between the host and the system in the guest, and what programs of the host learn of it.

# Secrets of the unit are in the guest, and in nothing of the host that others may read.
credentials() {
	guest_machine creds "$(with_run "echo got=\$(systemd-creds --system cat our.secret); \
echo motd=\$(cat /etc/motd); echo id=\$(cat /sys/class/dmi/id/product_uuid)")"
	echo -n 'the file says so' >/run/vmm-creds-test
	cat >>/etc/vmm/creds.vm <<-END
		[Service]
		SetCredential=our.secret:sesame-4711
		LoadCredential=login.motd:/run/vmm-creds-test
	END
	systemctl daemon-reload
	systemctl start vmm@creds
	wait_console creds 240 'id=[0-9a-f]{8}-'
	matches "the guest's credential" "$(console creds)" 'got=sesame-4711'
	[[ ! $(journalctl -q -o verbose --since "$TEST_SINCE" -u vmmd.service) =~ sesame ]] ||
		fail "the log of vmmd has it"
	[[ ! $(ps -ef) =~ sesame ]] || fail "a command line has it"
	rm /run/vmm-creds-test
	hard_stop creds
}

# Prometheus's way to the counters.
metrics() {
	idle_machine counted
	systemctl start vmm@counted vmm-metrics.socket
	exec 5<>/dev/tcp/127.0.0.1/9976
	printf 'GET /metrics HTTP/1.1\r\nHost: here\r\n\r\n' >&5
	matches "the answer" "$(cat <&5)" 'vmm_machine_cpu_seconds_total\{machine="counted"\} [0-9.]+'
	exec 5>&-
	systemctl stop vmm-metrics.socket
	hard_stop counted
}

add metrics 60 metrics
add_soak credentials 400 credentials
