/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* config: the text of .vm files: what is read from good ones, what is said of bad ones, word for
 * word. */
#include <string.h>

#include "config-fixture.h"

#define BAD_FORWARD(word)                                                                          \
	{                                                                                          \
		BOOT "[Network]\nName=a\nUser=yes\nForward=udp:9:9 " word " udp:8:8\n",            \
			"E web.vm:6: [Network] Forward=: \"" word                                  \
			"\" is not PROTOCOL:[ADDRESS:]PORT:PORT, "                                 \
			"such as tcp:8080:80 or udp:127.0.0.1:5353:53\n"                           \
	}

static int load(const char *text, size_t size, struct vm_config **ret, char **ret_messages)
{
	struct config_messages messages = {};
	int r = config_load_text(text, size, "web.vm", "web", &messages, ret);

	ck_assert((r == -EBADMSG) == (messages.n_errors > 0));
	*ret_messages = messages_text(&messages);
	config_messages_finish(&messages);
	return r;
}

START_TEST(test_whole_file)
{
	static const char text[] = "# a comment\n"
				   "[Machine]\n"
				   "Description = Web front end \n"
				   "CPUs=2\n"
				   "Memory=512M\n"
				   "Transport=mmio\n"
				   "; another\n"
				   "[Boot]\n"
				   "Kernel=/var/lib/vmm/vmlinuz\r\n"
				   "Initrd=/var/lib/vmm/initrd.img\n"
				   "CommandLine=root=/dev/vda rw \\\n"
				   "  # inside, no part of it\n"
				   "  quiet\n"
				   "CommandLine=console=ttyS0\n"
				   "[Drive]\n"
				   "Name=root\n"
				   "Path=/var/lib/vmm/web.raw\n"
				   "IOPSLimit=2000\n"
				   "[Drive]\n"
				   "Name=data\n"
				   "Path=/dev/sdb\n"
				   "ReadOnly=yes\n"
				   "[Network]\n"
				   "Name=lan\n"
				   "Bridge=br0\n"
				   "MAC=52:54:00:ab:cd:ef\n"
				   "[Unit]\n"
				   "After=postgresql.service\n"
				   "[Service]\n"
				   "MemoryMax=700M\n"
				   "Environment=\"A=b c\" \\\n"
				   "D=e\n"
				   "[Install]\n"
				   "WantedBy=multi-user.target";
	CLEANUP(config_free_p) struct vm_config *c = NULL;
	CLEANUP(free_p) char *messages = NULL;

	ck_assert_int_eq(load(text, strlen(text), &c, &messages), 0);
	ck_assert_str_eq(messages, "");
	ck_assert_str_eq(c->name, "web");
	ck_assert_str_eq(c->machine.description.value, "Web front end");
	ck_assert_uint_eq(c->machine.cpus.value, 2);
	ck_assert_uint_eq(c->machine.cpus.where.line, 4);
	ck_assert_uint_eq(c->machine.memory_bytes.value, UINT64_C(512) << 20);
	ck_assert_uint_eq(c->machine.transport.value, CONFIG_TRANSPORT_MMIO);
	ck_assert_uint_eq(c->machine.rng.value, 1);
	ck_assert_str_eq(c->boot.kernel.value, "/var/lib/vmm/vmlinuz");
	ck_assert_str_eq(c->boot.command_line.value, "root=/dev/vda rw    quiet console=ttyS0");
	ck_assert_uint_eq(c->n_drives, 2);
	ck_assert_str_eq(c->drives[0].name.value, "root");
	ck_assert_uint_eq(c->drives[0].where.line, 15);
	ck_assert_uint_eq(c->drives[0].read_only.value, 0);
	ck_assert_uint_eq(c->drives[0].limits.operations.limit.value, 2000);
	ck_assert_uint_eq(c->drives[1].read_only.value, 1);
	ck_assert_uint_eq(c->n_networks, 1);
	ck_assert_str_eq(c->networks[0].mac.value, "52:54:00:ab:cd:ef");
	ck_assert_uint_eq(c->pass[CONFIG_PASS_UNIT].n_lines, 1);
	ck_assert_uint_eq(c->pass[CONFIG_PASS_SERVICE].n_lines, 2);
	ck_assert_str_eq(c->pass[CONFIG_PASS_SERVICE].lines[1].text, "Environment=\"A=b c\"  D=e");
	ck_assert_uint_eq(c->pass[CONFIG_PASS_SERVICE].lines[1].where.line, 31);
	ck_assert_str_eq(c->pass[CONFIG_PASS_INSTALL].lines[0].text, "WantedBy=multi-user.target");
}
END_TEST

START_TEST(test_defaults)
{
	CLEANUP(config_free_p) struct vm_config *c = NULL;
	CLEANUP(free_p) char *messages = NULL;

	ck_assert_int_eq(load(BOOT, strlen(BOOT), &c, &messages), 0);
	ck_assert_uint_eq(c->machine.cpus.value, 1);
	ck_assert_uint_eq(c->machine.cpus.where.line, 0);
	ck_assert_uint_eq(c->machine.memory_bytes.value, UINT64_C(256) << 20);
	ck_assert_ptr_null(c->machine.description.value);
	ck_assert_ptr_null(c->boot.initrd.value);
}
END_TEST

/* Of a number that has no default, too, there is then none. */
START_TEST(test_taken_back)
{
	static const char text[] = BOOT "[Vsock]\nCID=7\nCID=\n"
					"[Machine]\nCPUs=2\nCPUs=\nReadyPort=22\nReadyPort=\n";
	CLEANUP(config_free_p) struct vm_config *c = NULL;
	CLEANUP(free_p) char *messages = NULL;

	ck_assert_int_eq(load(text, strlen(text), &c, &messages), 0);
	ck_assert_uint_eq(c->vsock.cid.value, 0);
	ck_assert_uint_eq(c->machine.ready_port.value, 0);
	ck_assert_uint_eq(c->machine.cpus.value, 1);
}
END_TEST

/* Every key can stand there without a value; a drive's, say, are wrong without its name then. */
START_TEST(test_no_value)
{
	size_t n, n_tried = 0;
	const struct config_section *sections = config_sections(&n);

	for (size_t i = 0; i < n; i++)
		for (size_t j = 0; j < sections[i].n_keys; j++, n_tried++) {
			const char *key = sections[i].keys[j].name;
			CLEANUP(config_free_p) struct vm_config *c = NULL;
			CLEANUP(free_p) char *messages = NULL, *text = NULL;
			int r;

			r = asprintf(&text, BOOT "[%s]\n%s=\n", sections[i].name, key);
			ck_assert_int_gt(r, 0);
			r = load(text, strlen(text), &c, &messages);
			ck_assert_msg(r == 0 || (r == -EBADMSG && strstr(messages, "is required")),
				"[%s] %s= gave %d: %s", sections[i].name, key, r, messages);
		}
	ck_assert_uint_gt(n_tried, 50);
}
END_TEST

/* E: refused. W: a warning, and the file is used. */
static const struct {
	const char *text;
	const char *messages;
} said[] = {
	{ "", "E web.vm: [Boot] Kernel=: is required and not set\n" },
	{ "# only a comment\n", "E web.vm: [Boot] Kernel=: is required and not set\n" },
	{ BOOT "[Machine]\nMemory=0\n",
		"E web.vm:4: [Machine] Memory=: \"0\" is too little: at least 1M\n" },
	{ BOOT "[Machine]\nMemory=1048577\n",
		"E web.vm:4: [Machine] Memory=: \"1048577\" is not a multiple of 4K\n" },
	{ BOOT "[Machine]\nMemory=2T\n",
		"E web.vm:4: [Machine] Memory=: \"2T\" is too much: at most 1T\n" },
	{ BOOT "[Machine]\nMemory=99999999999999999999\n",
		"E web.vm:4: [Machine] Memory=: \"99999999999999999999\" does not fit into 64 bits\n" },
	{ BOOT "[Machine]\nMemory=99999999999999T\n",
		"E web.vm:4: [Machine] Memory=: \"99999999999999T\" does not fit into 64 bits\n" },
	{ BOOT "[Machine]\nMemory=-1\n",
		"E web.vm:4: [Machine] Memory=: \"-1\" is not a size: a number, then K, M, G, T or "
		"nothing\n" },
	{ BOOT "[Machine]\nMemory=512MB\n",
		"E web.vm:4: [Machine] Memory=: \"512MB\" is not a size: a number, then K, M, G, T or "
		"nothing\n" },
	{ BOOT "[Machine]\nMemory=511M\nHugePages=2M\n",
		"E web.vm:4: [Machine] Memory=: \"511M\" is not a multiple of HugePages=2M\n" },
	{ BOOT "[Machine]\nHugePages=1G\n",
		"E web.vm:4: [Machine] Memory=: \"256M\" is not a multiple of HugePages=1G\n" },
	{ BOOT "[Machine]\nCPUs=0\n",
		"E web.vm:4: [Machine] CPUs=: \"0\" is not between 1 and 64\n" },
	{ BOOT "[Machine]\nCPUs=65\n",
		"E web.vm:4: [Machine] CPUs=: \"65\" is not between 1 and 64\n" },
	{ BOOT "[Machine]\nCPUs=two\n", "E web.vm:4: [Machine] CPUs=: \"two\" is not a number\n" },
	{ BOOT "[Machine]\nCPUs= 1 2\n", "E web.vm:4: [Machine] CPUs=: \"1 2\" is not a number\n" },
	{ BOOT "[Machine]\nCPUs=+1\n", "E web.vm:4: [Machine] CPUs=: \"+1\" is not a number\n" },
	{ BOOT "[Machine]\nCPUs=99999999999999999999\n",
		"E web.vm:4: [Machine] CPUs=: \"99999999999999999999\" does not fit into 64 bits\n" },
	{ BOOT "[Machine]\nTransport=isa\n",
		"E web.vm:4: [Machine] Transport=: \"isa\" is none of pci, mmio\n" },
	{ BOOT "[Machine]\nRng=maybe\n",
		"E web.vm:4: [Machine] Rng=: \"maybe\" is neither yes nor no\n" },
	{ BOOT "[Machine]\nmemory=1G\n",
		"W web.vm:4: [Machine] memory=: unknown key, ignored; did you mean Memory=?\n" },
	{ BOOT "[Machine]\nMemroy=1G\n",
		"W web.vm:4: [Machine] Memroy=: unknown key, ignored; did you mean Memory=?\n" },
	{ BOOT "[Machine]\nFlavour=sweet\n",
		"W web.vm:4: [Machine] Flavour=: unknown key, ignored\n" },
	{ BOOT "[Drives]\nName=a\n",
		"W web.vm:3: [Drives]: unknown section, ignored; did you mean [Drive]?\n" },
	{ BOOT "[Container]\nName=a\nx\n", "W web.vm:3: [Container]: unknown section, ignored\n" },
	{ BOOT "[Machine]\nWatchdog=fail\nTransport=mmio\n",
		"E web.vm:4: [Machine] Watchdog=: is a PCI device, and Transport= is not pci\n" },
	{ BOOT "[Machine]\nWatchdog=restart\nConsole=virtio\n", "" },
	{ BOOT "[Machine]\nMemory=1G\nHugePages=1G\nHotplugMemory=2M\n",
		"E web.vm:6: [Machine] HotplugMemory=: \"2M\" is not a multiple of HugePages=1G\n" },
	{ BOOT "[Machine]\nConsoleBandwidthLimit=1M\n",
		"E web.vm:4: [Machine] ConsoleBandwidthLimit=: is for Console=virtio\n" },
	{ BOOT "[Drive]\nName=a\nPath=/a\nSerial=abcdefghijklmnopqrst\nQueues=16\nBlockSize=4096\n",
		"" },
	{ BOOT "[Drive]\nName=a\nPath=/a\nSerial=abcdefghijklmnopqrstu\n",
		"E web.vm:6: [Drive] Serial=: \"abcdefghijklmnopqrstu\" is not up to 20 printable ASCII "
		"characters\n" },
	{ BOOT "[Drive]\nName=a\nPath=/a\nSerial=\xc3\xa4\n",
		"E web.vm:6: [Drive] Serial=: \"\xc3\xa4\" is not up to 20 printable ASCII characters\n" },
	{ BOOT "[Drive]\nName=a\nPath=/a\nDevice=pmem\n", "" },
	{ BOOT "[Drive]\nName=a\nPath=/a\nDevice=pmem\nReadOnly=yes\n",
		"E web.vm:7: [Drive] ReadOnly=: is not for Device=pmem\n" },
	{ BOOT "[Drive]\nName=a\nPath=/a\nIOPSLimit=5\nDevice=pmem\n",
		"E web.vm:6: [Drive] IOPSLimit=: is not for Device=pmem\n" },
	{ BOOT "[Drive]\nName=a\nPath=/a\nBandwidthLimit=1M\nDevice=pmem\nCache=direct\n",
		"E web.vm:8: [Drive] Cache=: is not for Device=pmem\n"
		"E web.vm:6: [Drive] BandwidthLimit=: is not for Device=pmem\n" },
	{ BOOT "[Drive]\nName=a\nPath=/a\nBandwidthBurst=1M\nBandwidthLimit=1M\n", "" },
	{ BOOT "[Drive]\nName=a\nPath=/a\nIOPSOneTimeBurst=5\n",
		"E web.vm:6: [Drive] IOPSOneTimeBurst=: is a burst of IOPSLimit=, and there is none\n" },
	{ BOOT "[Network]\nName=a\nTransmitPacketBurst=5\nReceivePacketLimit=5\n",
		"E web.vm:5: [Network] TransmitPacketBurst=: is a burst of TransmitPacketLimit=, and "
		"there is none\n" },
	{ BOOT "[Vsock]\nCID=2\n",
		"E web.vm:4: [Vsock] CID=: \"2\" is not between 3 and 4294967294\n" },
	{ BOOT "[Machine]\nReadyWhen=guest\n", "" },
	{ BOOT "[Machine]\nReadyWhen=guest\nReadyText=login:\n[Vsock]\nEnabled=no\n", "" },
	{ BOOT "[Machine]\nReadyWhen=guest\n[Vsock]\nEnabled=no\n",
		"E web.vm:4: [Machine] ReadyWhen=: the guest can say so by a vsock, by ReadyText= or "
		"ReadyPort=, and it has none of them\n" },
	{ BOOT "[Machine]\nReadyWhen=guest\nReadyPort=22\n", "" },
	{ BOOT "[Machine]\nReadyPort=22\n",
		"W web.vm:4: [Machine] ReadyPort=: does nothing without ReadyWhen=guest\n" },
	{ BOOT "[Machine]\nReadyText=login:\nReadyWhen=running\n",
		"W web.vm:4: [Machine] ReadyText=: does nothing without ReadyWhen=guest\n" },
	{ BOOT "[Machine]\nReadyWhen=guest\nReadyPort=22\n[Vsock]\nEnabled=no\n",
		"E web.vm:5: [Machine] ReadyPort=: is a port of the vsock, and there is none\n" },
	{ BOOT "[Machine]\nReadyWhen=guest\nReadyPort=0\n",
		"E web.vm:5: [Machine] ReadyPort=: \"0\" is not between 1 and 4294967294\n" },
	{ BOOT "[Vsock]\nVhost=yes\nCID=9\n", "" },
	{ BOOT "[Vsock]\nVhost=yes\nHostPorts=1:/run/a\nBandwidthLimit=1M\n",
		"E web.vm:5: [Vsock] HostPorts=: is for a vsock that the machine serves itself, not for "
		"one with Vhost=\n"
		"E web.vm:6: [Vsock] BandwidthLimit=: is for a vsock that the machine serves itself, not "
		"for one with Vhost=\n" },
	{ BOOT "[Machine]\nReadyWhen=guest\n[Vsock]\nVhost=yes\n",
		"E web.vm:4: [Machine] ReadyWhen=: needs ReadyText= where the vsock has Vhost=\n" },
	{ BOOT "[Vsock]\nHostPorts=1:/run/a 22:/run/b/c\nHostPorts=4294967294:/run/d\n", "" },
	{ BOOT "[Vsock]\nHostPorts=1:/run/a /run/b\n",
		"E web.vm:4: [Vsock] HostPorts=: \"/run/b\" is not PORT:PATH with a path below /run\n" },
	{ BOOT "[Vsock]\nHostPorts=1:/tmp/a\n",
		"E web.vm:4: [Vsock] HostPorts=: \"1:/tmp/a\" is not PORT:PATH with a path below /run\n" },
	{ BOOT "[Vsock]\nHostPorts=1:/run/a/../../etc/b\n",
		"E web.vm:4: [Vsock] HostPorts=: \"1:/run/a/../../etc/b\" is not PORT:PATH with a path "
		"below /run\n" },
	{ BOOT "[Vsock]\nHostPorts=4294967295:/run/a\n",
		"E web.vm:4: [Vsock] HostPorts=: \"4294967295:/run/a\" is not PORT:PATH with a path "
		"below /run\n" },
	{ BOOT "[Vsock]\nHostPorts=1:/run/\n",
		"E web.vm:4: [Vsock] HostPorts=: \"1:/run/\" is not PORT:PATH with a path below /run\n" },
	{ BOOT "[X-Notes]\nanything\n", "" },
	{ BOOT "[Machine]\nX-Owner=me\n", "" },
	{ BOOT "[Machine]\nCPUs=2\nCPUs=3\n",
		"W web.vm:5: [Machine] CPUs=: given again; line 4 no longer counts\n" },
	{ BOOT "[Machine]\nCPUs=\n", "" },
	{ "[Boot]\nKernel=vmlinuz\n",
		"E web.vm:2: [Boot] Kernel=: \"vmlinuz\" is not an absolute path\n"
		"E web.vm: [Boot] Kernel=: is required and not set\n" },
	{ "[Boot]\nKernel=/a/../b\n", "E web.vm:2: [Boot] Kernel=: \"/a/../b\" has . or .. in it\n"
				      "E web.vm: [Boot] Kernel=: is required and not set\n" },
	{ "[Boot]\nKernel=/k\nKernel=\n",
		"W web.vm:3: [Boot] Kernel=: given again; line 2 no longer counts\n"
		"E web.vm: [Boot] Kernel=: is required and not set\n" },
	{ BOOT "Initrd=/boot/\n", "E web.vm:3: [Boot] Initrd=: \"/boot/\" names a directory\n" },
	{ BOOT "[Drive]\nName=a\n",
		"E web.vm:3: [Drive] Path=: is required and not set, and there is no Socket=\n" },
	{ BOOT "[Drive]\nPath=/a\n", "E web.vm:3: [Drive] Name=: is required and not set\n" },
	{ BOOT "[Drive]\nName=a\nPath=/a\n[Drive]\nName=a\nPath=/b\n",
		"E web.vm:7: [Drive] Name=: \"a\" is already the name of the one in line 3\n" },
	{ BOOT "[Drive]\nName=a\nPath=/a\n[Drive]\nName=b\nPath=/a\n",
		"E web.vm:8: [Drive] Path=: \"/a\" is also the drive \"a\"; two drives may share a file "
		"only when both are ReadOnly=yes\n" },
	{ BOOT "[Drive]\nName=a\nPath=/a\nReadOnly=1\n[Drive]\nName=b\nPath=/a\nReadOnly=1\n", "" },
	{ BOOT "[Drive]\nName=Root\nPath=/a\n",
		"E web.vm:4: [Drive] Name=: \"Root\" is not a name: a-z, 0-9, and after the first - and "
		"_\nE web.vm:3: [Drive] Name=: is required and not set\n" },
	{ BOOT "[Drive]\nName=abcdefghijklmnopqrstu\nPath=/a\n",
		"E web.vm:4: [Drive] Name=: \"abcdefghijklmnopqrstu\" is longer than 20 characters\n"
		"E web.vm:3: [Drive] Name=: is required and not set\n" },
	{ BOOT "[Drive]\nName=a\nPath=/a\nSocket=/s\n",
		"E web.vm:6: [Drive] Socket=: excludes Path=\n" },
	{ BOOT "[Drive]\nName=a\nSocket=/s\nReconnectSec=5\nQueues=4\n", "" },
	{ BOOT "[Drive]\nName=a\nSocket=/s\nCache=direct\nReadOnly=yes\nFormat=qcow2\n",
		"E web.vm:6: [Drive] Cache=: is for drives that the machine serves itself, not for "
		"those with Socket= or Format=\n"
		"E web.vm:7: [Drive] ReadOnly=: is for the back end to know, where there is a "
		"Socket=\n"
		"E web.vm:8: [Drive] Format=: is for drives with Path=\n" },
	{ BOOT "[Drive]\nName=a\nPath=/a\nFormat=qcow2\nReadOnly=yes\n", "" },
	{ BOOT "[Drive]\nName=a\nPath=/a\nFormat=qcow2\nSerial=x\n",
		"E web.vm:7: [Drive] Serial=: is for drives that the machine serves itself, not for "
		"those with Socket= or Format=\n" },
	{ BOOT "[Network]\nName=a\nSocket=/s\nBridge=br0\nVhost=yes\n",
		"E web.vm:5: [Network] Socket=: excludes Bridge=: there is no tap\n"
		"E web.vm:7: [Network] Vhost=: is for taps: Socket= is served by another process\n" },
	{ BOOT "[Network]\nName=a\nUser=yes\n", "" },
	{ BOOT "[Network]\nName=a\nUser=yes\nReceiveBandwidthLimit=1M\n"
	       "Forward=tcp:1:65535 udp:1:1\nForward=tcp:[::1]:8022:22 tcp:127.0.0.1:1:9\n",
		"" },
	{ BOOT "[Network]\nName=a\nForward=tcp:1:2\n",
		"E web.vm:5: [Network] Forward=: needs User=yes\n" },
	{ BOOT "[Network]\nName=a\nUser=yes\nBridge=b\nSocket=/s\nVhost=yes\nQueues=2\n",
		"E web.vm:6: [Network] Bridge=: excludes User=\n"
		"E web.vm:7: [Network] Socket=: excludes User=\n"
		"E web.vm:8: [Network] Vhost=: excludes User=\n"
		"E web.vm:9: [Network] Queues=: excludes User=\n" },
	{ BOOT "[Network]\nName=a\nMACVTap=eno1\nVhost=yes\nQueues=4\n", "" },
	{ BOOT "[Network]\nName=a\nZone=abcdefghijkl\nVhost=yes\n", "" },
	{ BOOT "[Network]\nName=a\nZone=abcdefghijklm\n",
		"E web.vm:5: [Network] Zone=: \"abcdefghijklm\" is longer than 12 characters\n" },
	{ BOOT "[Network]\nName=a\nZone=a/b\n",
		"E web.vm:5: [Network] Zone=: \"a/b\" is not a network interface's name\n" },
	{ BOOT "[Network]\nName=a\nZone=a\nBridge=b\nMACVTap=c\nUser=yes\nSocket=/s\n",
		"E web.vm:5: [Network] Zone=: excludes Bridge=\n"
		"E web.vm:5: [Network] Zone=: excludes User=\n"
		"E web.vm:5: [Network] Zone=: excludes Socket=\n"
		"E web.vm:7: [Network] MACVTap=: excludes Bridge=\n"
		"E web.vm:7: [Network] MACVTap=: excludes Zone=\n"
		"E web.vm:7: [Network] MACVTap=: excludes User=\n"
		"E web.vm:7: [Network] MACVTap=: excludes Socket=\n"
		"E web.vm:6: [Network] Bridge=: excludes User=\n"
		"E web.vm:9: [Network] Socket=: excludes User=\n" },
	{ BOOT "[Network]\nName=a\nMACVTap=eno1\nReceiveBandwidthLimit=1M\n", "" },
	{ BOOT "[Network]\nName=a\nMACVTap=eno1\nBridge=br0\n",
		"E web.vm:5: [Network] MACVTap=: excludes Bridge=\n" },
	{ BOOT "[Network]\nName=a\nUser=yes\nMACVTap=eno1\n",
		"E web.vm:6: [Network] MACVTap=: excludes User=\n" },
	{ BOOT "[Network]\nName=a\nMACVTap=eno1\nSocket=/s\n",
		"E web.vm:5: [Network] MACVTap=: excludes Socket=\n" },
	{ BOOT "[Network]\nName=a\nMACVTap=abcdefghijklmnop\n",
		"E web.vm:5: [Network] MACVTap=: \"abcdefghijklmnop\" is not a network interface's "
		"name\n" },
	{ BOOT "[Network]\nName=a\nUser=yes\nForward=tcp:1:2 tcp:1:3\n",
		"E web.vm:6: [Network] Forward=: tcp port 1 is there twice\n" },
	BAD_FORWARD("8080:80"),
	BAD_FORWARD("sctp:8080:80"),
	BAD_FORWARD("tcp:"),
	BAD_FORWARD("tcp:80"),
	BAD_FORWARD("tcp:80:"),
	BAD_FORWARD("tcp::80"),
	BAD_FORWARD("tcp:0:80"),
	BAD_FORWARD("tcp:80:65536"),
	BAD_FORWARD("tcp:99999999999999999999:80"),
	BAD_FORWARD("tcp:-1:80"),
	BAD_FORWARD("tcp:80:80/1"),
	BAD_FORWARD("tcp:127.0.0:80:80"),
	BAD_FORWARD("tcp:localhost:80:80"),
	BAD_FORWARD("tcp:::1:80:80"),
	BAD_FORWARD("tcp:[::1:80:80"),
	BAD_FORWARD("tcp:[::1]80:80"),
	BAD_FORWARD("tcp:[]:80:80"),
	BAD_FORWARD("tcp:[127.0.0.1]:80:80"),
	BAD_FORWARD("tcp:[::1%lo]:80:80"),
	BAD_FORWARD("tcp:0000000000000000000000000000000000000000000000000001.1.1.1:80:80"),
	{ BOOT "[Network]\nName=a\nVhost=yes\n", "" },
	{ BOOT "[Network]\nName=a\nQueues=8\n", "" },
	{ BOOT "[Network]\nName=a\nQueues=8\nVhost=yes\n", "" },
	{ BOOT "[Network]\nName=a\nQueues=2\nSocket=/s\n",
		"E web.vm:5: [Network] Queues=: is for taps, not for networks with Socket=\n" },
	{ BOOT "[Share]\nTag=a\nPath=/a\nReadOnly=yes\n[Share]\nTag=b\nSocket=/s\n", "" },
	{ BOOT "[Share]\nTag=a\n",
		"E web.vm:3: [Share] Path=: is required and not set, and there is no Socket=\n" },
	{ BOOT "[Share]\nPath=/a\n", "E web.vm:3: [Share] Tag=: is required and not set\n" },
	{ BOOT "[Share]\nTag=a\nPath=/a\n[Share]\nTag=a\nPath=/b\n",
		"E web.vm:7: [Share] Tag=: \"a\" is already the name of the one in line 3\n" },
	{ BOOT "[Share]\nTag=a\nSocket=/s\nReadOnly=yes\n",
		"E web.vm:6: [Share] ReadOnly=: is for the back end to know, where there is a "
		"Socket=\n" },
	{ BOOT "[Network]\nName=a\n[Network]\nName=a\n",
		"E web.vm:6: [Network] Name=: \"a\" is already the name of the one in line 3\n" },
	{ BOOT "[Network]\nName=a\nMAC=01:00:00:00:00:00\n",
		"E web.vm:5: [Network] MAC=: \"01:00:00:00:00:00\" is a group address\n" },
	{ BOOT "[Network]\nName=a\nMAC=00:00:00:00:00:00\n",
		"E web.vm:5: [Network] MAC=: \"00:00:00:00:00:00\" is all zeroes\n" },
	{ BOOT "[Network]\nName=a\nMAC=52:54:0:12:34:56:\n",
		"E web.vm:5: [Network] MAC=: \"52:54:0:12:34:56:\" is not an address of the form "
		"52:54:00:12:34:56\n" },
	{ BOOT "[Network]\nName=a\nBridge=a/b\n",
		"E web.vm:5: [Network] Bridge=: \"a/b\" is not a network interface's name\n" },
	{ "Kernel=/k\n" BOOT, "E web.vm:1: before the first [Section]\n" },
	{ BOOT "[Machine\n", "E web.vm:3: a line that begins with [ must be a [Section]\n" },
	{ BOOT "[]\n", "E web.vm:3: a line that begins with [ must be a [Section]\n" },
	{ BOOT "[\n", "E web.vm:3: a line that begins with [ must be a [Section]\n" },
	{ BOOT "quiet\n", "E web.vm:3: [Boot]: \"quiet\" is not of the form Key=Value\n" },
	{ BOOT "=x\n", "E web.vm:3: [Boot]: \"=x\" is not of the form Key=Value\n" },
	{ BOOT "[Service]\nMemoryMax\n",
		"E web.vm:4: [Service]: \"MemoryMax\" is not of the form Key=Value\n" },
	{ BOOT "[Machine]\nDescription=a\001b\n",
		"E web.vm:4: a control character: this is not a text file\n" },
	{ BOOT "[Machine]\nDescription=a\xff\n", "E web.vm:4: not UTF-8\n" },
	{ BOOT "[Machine]\nDescription=\xc0\xaf\n", "E web.vm:4: not UTF-8\n" },
	{ BOOT "[Machine]\nDescription=\xed\xa0\x80\n", "E web.vm:4: not UTF-8\n" },
	{ BOOT "[Machine]\nDescription=\xe2\x82\n", "E web.vm:4: not UTF-8\n" },
	{ BOOT "[Machine]\nDescription=\xc3\xa9\xe2\x82\xac\xf0\x9f\x90\xa7\n", "" },
	{ "\xef\xbb\xbf" BOOT, "" },
	{ "\177ELF\002\001", "E web.vm:1: a control character: this is not a text file\n"
			     "E web.vm: [Boot] Kernel=: is required and not set\n" },
};

START_TEST(test_messages)
{
	CLEANUP(config_free_p) struct vm_config *c = NULL;
	CLEANUP(free_p) char *messages = NULL;
	int r = load(said[_i].text, strlen(said[_i].text), &c, &messages);

	ck_assert_str_eq(messages, said[_i].messages);
	ck_assert_int_eq(r, strstr(messages, "E web") ? -EBADMSG : 0);
	ck_assert((r == 0) == (c != NULL));
}
END_TEST

START_TEST(test_nul_byte)
{
	static const char text[] = BOOT "[Machine]\nCPUs=1\0\n";
	CLEANUP(config_free_p) struct vm_config *c = NULL;
	CLEANUP(free_p) char *messages = NULL;

	ck_assert_int_eq(load(text, sizeof(text) - 1, &c, &messages), -EBADMSG);
	ck_assert_str_eq(messages, "E web.vm:4: a NUL byte: this is not a text file\n");
}
END_TEST

/* Repeats unit behind BOOT and returns what is said. */
static char *repeated(const char *unit, size_t n)
{
	CLEANUP(config_free_p) struct vm_config *c = NULL;
	CLEANUP(free_p) char *text = NULL;
	char *messages;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	fputs(BOOT, f);
	for (size_t i = 0; i < n; i++)
		fprintf(f, unit, i, i, i);
	fclose(f);
	load(text, size, &c, &messages);
	return messages;
}

START_TEST(test_bounds)
{
	CLEANUP(free_p) char *drives = NULL, *sections = NULL, *line = NULL, *lines = NULL;
	CLEANUP(free_p) char *file = NULL, *words = NULL, *unknown = NULL;
	struct config_messages messages = {};

	drives = repeated("[Drive]\nName=d%zu\nPath=/d%zu\n", CONFIG_MAX_DRIVES);
	ck_assert_str_eq(drives, "");
	free(drives);
	drives = repeated("[Drive]\nName=d%zu\nPath=/d%zu\n", CONFIG_MAX_DRIVES + 1);
	ck_assert_str_eq(drives, "E web.vm:75: [Drive]: more than 24 of these sections\n");
	sections = repeated("[Machine]\n", CONFIG_MAX_SECTIONS);
	ck_assert_str_eq(sections, "E web.vm:258: more than 256 sections\n");
	lines = repeated("[Unit]\nAfter=a\\\n", CONFIG_MAX_LINE_BYTES);
	ck_assert_ptr_nonnull(strstr(lines, "E web.vm:"));
	line = repeated("[Unit]\\\n", CONFIG_MAX_LINE_BYTES);
	ck_assert_str_eq(line, "E web.vm:3: a line that is too long\n");
	file = repeated("################\n", CONFIG_MAX_FILE_BYTES / 16);
	ck_assert_str_eq(file, "E web.vm: the file is larger than 262144 bytes\n");
	words = repeated("CommandLine=%zu.%zu.%zu\n", 400);
	ck_assert_ptr_nonnull(strstr(words, "more than the 2047 that a kernel takes"));
	/* Warnings are bounded too, and an error behind them is still one. */
	unknown = repeated("Z%zu=\n", 1000);
	ck_assert_uint_eq(strlen(unknown) > 0, 1);
	for (size_t i = 0; i < 2 * CONFIG_MAX_MESSAGES; i++)
		ck_assert_int_eq(
			config_messages_add(&messages, CONFIG_WARNING, "f", 1, "k", "t"), 0);
	ck_assert_int_eq(config_messages_add(&messages, CONFIG_ERROR, "f", 1, "k", "t"), 0);
	ck_assert_uint_eq(messages.n_items, CONFIG_MAX_MESSAGES);
	ck_assert_uint_eq(messages.n_errors, 1);
	config_messages_finish(&messages);
}
END_TEST

START_TEST(test_names)
{
	static const char *const good[] = { "a", "0", "web", "web-1", "a-b-c", "10-0", "a--b",
		"abcdefghijklmnopqrstuvwxyz0" };
	static const char *const bad[] = { "", "-", "a-", "-a", "Web", "web.1", "a_b", "a b", "a/b",
		"..", "abcdefghijklmnopqrstuvwxyz01", "a\n", "\xc3\xa9" };

	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		ck_assert_msg(config_name_valid(good[i]), "%s", good[i]);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		ck_assert_msg(!config_name_valid(bad[i]), "%s", bad[i]);
}
END_TEST

START_TEST(test_table)
{
	size_t n, size;
	const struct config_section *sections = config_sections(&n);
	CLEANUP(free_p) char *text = NULL;
	FILE *f = open_memstream(&text, &size);

	config_keys_print(f);
	fclose(f);
	for (size_t i = 0; i < n; i++) {
		const struct config_key *keys = sections[i].keys;

		/* Its keys are ours, or systemd's. */
		ck_assert((sections[i].n_keys > 0) == (sections[i].pass == CONFIG_N_PASS_SECTIONS));
		for (size_t j = 0; j < sections[i].n_keys; j++) {
			ck_assert_ptr_nonnull(strstr(text, keys[j].doc));
			for (size_t k = 0; k < j; k++)
				ck_assert_str_ne(keys[j].name, keys[k].name);
		}
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("config");
	TCase *text = unit_case(suite, "text");

	tcase_add_test(text, test_whole_file);
	tcase_add_test(text, test_defaults);
	tcase_add_test(text, test_taken_back);
	tcase_add_test(text, test_no_value);
	tcase_add_loop_test(text, test_messages, 0, ARRAY_SIZE(said));
	tcase_add_test(text, test_nul_byte);
	tcase_add_test(text, test_bounds);
	tcase_add_test(text, test_names);
	tcase_add_test(text, test_table);
	config_files_add(suite);
	return unit_run(suite);
}
