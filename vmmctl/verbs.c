/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * verbs: the tables of verbs and options. Parsing, help texts, "did you mean" and the test that
 * compares manual page and completion with the program all come from here.
 */
#include <string.h>

#include "base/util.h"
#include "ctl.h"

const struct option_info ctl_options[] = {
	{ "help", 'h', NULL, "Show help, of the verb if there is one" },
	{ "version", 0, NULL, "Show the version" },
	{ "host", 'H', "[USER@]HOST", "Work on another host, by ssh" },
	{ "json", 0, "MODE", "Print JSON: pretty, short or off" },
	{ "json-auto", 'j', NULL, "Print JSON, pretty on a terminal and short otherwise" },
	{ "no-legend", 0, NULL, "Leave headings and totals out" },
	{ "no-pager", 0, NULL, "Do not page output" },
	{ "no-ask-password", 0, NULL, "Do not ask for passwords" },
	{ "quiet", 'q', NULL, "Print nothing but errors" },
	{ "full", 'l', NULL, "Do not cut lines to the width of the terminal" },
	{ "state", 0, "STATE", "Show machines in this state only; may be given several times" },
	{ "property", 'p', "NAME", "Show these properties only, separated by commas" },
	{ "value", 0, NULL, "Show values without their names" },
	{ "property-value", 'P', "NAME", "The same as --value --property=NAME" },
	{ "lines", 'n', "N", "Show so many lines of the log, 10 if not given" },
	{ "output", 'o', "MODE", "Format of the log, see journalctl(1)" },
	{ "follow", 'f', NULL, "Go on with the log as it grows" },
	{ "no-block", 0, NULL, "Do not wait until it is done" },
	{ "job-mode", 0, "MODE", "replace or fail: what happens to a job under way" },
	{ "force", 0, NULL, "At once, without asking" },
	{ "timeout", 0, "SECONDS", "How long the guest may take; stop forces it then" },
	{ "signal", 's', "SIGNAL", "The signal to send, SIGTERM if not given" },
	{ "kill-whom", 0, "WHOM", "leader or all: which processes get it" },
	{ "now", 0, NULL, "Start or stop the machine too" },
	{ "runtime", 0, NULL, "Until the next boot only" },
	{ "replace", 0, NULL, "Replace a configuration that is there" },
	{ "root", 0, "DIR", "Look for files below DIR instead of /" },
	{ "keys", 0, NULL, "List the keys that a .vm file may have" },
	{ "steal", 0, NULL, "Take the input away from whoever has it" },
	{ "read-only", 0, NULL, "Watch, send nothing" },
	{ "no-replay", 0, NULL, "Leave out what the console has shown so far" },
	{ "name", 0, "NAME", "Name of the machine, made up if not given" },
	{ "kernel", 0, "FILE", "Kernel to boot" },
	{ "initrd", 0, "FILE", "Its initial RAM disk" },
	{ "append", 0, "TEXT", "Its command line" },
	{ "cpus", 0, "N", "Number of CPUs" },
	{ "memory", 0, "SIZE", "Memory, such as 512M" },
	{ "drive", 0, "FILE[,ro]",
		"A raw file, image or block device; may be given several times" },
	{ "network", 0, "BRIDGE|KEYS",
		"A network card, such as br0 or User=yes; may be given several times" },
	{ "set", 0, "SECTION[:NAME].KEY=VALUE", "Any other setting of vmm.vm(5)" },
	{ "detach", 'd', NULL, "Leave it in the background, without its console" },
	{ "dry-run", 0, NULL, "Print the configuration, start nothing" },
	{ "interval", 0, "SECONDS", "Time between two readings, 2 if not given" },
	{ "count", 0, "N", "End after so many readings" },
	{ "fdpass", 0, NULL, "Pass the connection to the reader of stdout, as ssh wants it" },
	{ "idle", 0, "SECONDS", "After how long without a connection it rests, 0 is never" },
	{ "on-idle", 0, "WHAT", "pause, stop or nothing" },
	{ "http", 0, NULL, "Answer one HTTP request on stdin" },
	{ "format", 0, "FORMAT", "raw or qcow2, and .xz, .gz, .zst or .bz2 behind it" },
	{ "size", 0, "SIZE", "Make the image as large as this, such as 10G" },
};
const size_t ctl_n_options = ARRAY_SIZE(ctl_options);

const char *const ctl_common_options = "help version host no-legend no-pager no-ask-password "
				       "quiet";

/* Of verbs that print data; others have none. */
#define JSON "json json-auto"

const struct verb ctl_verbs[] = {
	{ "list", "list-machines", "[PATTERN...]", 0, -1, GROUP_LOOK,
		"List machines, all that are defined or run", JSON " full state",
		"Patterns are those of the shell: vmmctl list 'web-*'.", verb_list },
	{ "status", NULL, "[NAME...]", 0, -1, GROUP_LOOK,
		"Show what a machine does, with the end of its log", JSON " full lines output",
		"Exit status: 0 the machine is active, 3 it is not, 4 there is no such machine.\n"
		"Without a name it tells about vmmd.",
		verb_status },
	{ "show", NULL, "[NAME...]", 0, -1, GROUP_LOOK, "Show properties, for programs",
		JSON " property value property-value", "Without a name it shows those of vmmd.",
		verb_show },
	{ "is-active", NULL, "NAME...", 1, -1, GROUP_LOOK, "Say whether machines are active", JSON,
		"Exit status: 0 when one of them is starting, running, paused or stopping, 3 "
		"otherwise.",
		verb_is_active },
	{ "logs", "log", "NAME", 1, 1, GROUP_LOOK, "Show the log of a machine (journalctl)",
		JSON " follow lines output", NULL, verb_logs },
	{ "top", NULL, "[NAME...]", 0, -1, GROUP_LOOK, "Show what machines use, again and again",
		JSON " interval count full",
		"CPU time is in percent of one CPU of the host, RESIDENT the host's memory that the\n"
		"machine occupies; drives and networks in bytes a second. q ends it.",
		verb_top },
	{ "monitor", "events", "[NAME...]", 0, -1, GROUP_LOOK,
		"Show events of machines as they come", JSON,
		"With --json each event is an object on a line of its own.", verb_monitor },
	{ "metrics", NULL, "", 0, 0, GROUP_LOOK,
		"Print counters of all machines in OpenMetrics format, for Prometheus",
		JSON " http",
		"See vmm-metrics(7) for the metrics and for vmm-metrics.socket, which serves them.",
		verb_metrics },
	{ "list-jobs", "jobs", "", 0, 0, GROUP_LOOK, "List operations under way", JSON, NULL,
		verb_list_jobs },
	{ "doctor", NULL, "", 0, 0, GROUP_LOOK,
		"Say what of this host stands in the way of machines, and what to do", JSON " root",
		"KVM, systemd, units that have failed, permissions, what CPUs are vulnerable to, SMT,\n"
		"memory. Needs no vmmd.\n"
		"Exit status: 1 when there is an error; a warning is none. As root it sees more.",
		verb_doctor },
	{ "start", NULL, "NAME...", 1, -1, GROUP_RUN, "Start machines", "no-block job-mode", NULL,
		verb_start },
	{ "stop", "poweroff", "NAME...", 1, -1, GROUP_RUN, "Ask guests to power off, and wait",
		"no-block force timeout",
		"The power button is pressed, again each 10 seconds, then ctrl-alt-del. The unit's\n"
		"TimeoutStopSec= is the end of it.",
		verb_stop },
	{ "terminate", NULL, "NAME...", 1, -1, GROUP_RUN, "Stop machines at once, as stop --force",
		"no-block", NULL, verb_terminate },
	{ "reboot", "restart", "NAME...", 1, -1, GROUP_RUN,
		"Reboot machines, with their configuration as it is now", "no-block force", NULL,
		verb_reboot },
	{ "pause", NULL, "NAME...", 1, -1, GROUP_RUN, "Stop the CPUs of machines", NULL, NULL,
		verb_pause },
	{ "resume", NULL, "NAME...", 1, -1, GROUP_RUN, "Let them go on", NULL, NULL, verb_resume },
	{ "memory", NULL, "NAME [SIZE]", 1, 2, GROUP_RUN,
		"Show or change how much memory a machine has", JSON,
		"Up to Memory= of its file by the balloon, which Balloon=yes asks for; above that up\n"
		"to HotplugMemory= more. The guest follows as it can.",
		verb_memory },
	{ "kill", NULL, "NAME...", 1, -1, GROUP_RUN, "Send a signal to the worker of machines",
		"signal kill-whom",
		"The guest sees nothing of it: use stop or terminate to end a machine.",
		verb_kill },
	{ "wait", NULL, "NAME", 1, 1, GROUP_RUN, "Wait until a machine has ended", NULL,
		"Exit status: that of the machine: 0 the guest powered off, 70 it crashed, 78 its\n"
		"configuration is wrong; 128 and the signal's number for a worker that was killed.",
		verb_wait },
	{ "cancel", NULL, "JOB...", 1, -1, GROUP_RUN, "Cancel operations under way", NULL, NULL,
		verb_cancel },
	{ "run", NULL, "[FILE]", 0, 1, GROUP_RUN,
		"Run a machine that is gone when it ends, and attach to it",
		"name kernel initrd append cpus memory drive network set detach dry-run",
		"What the options say is added to FILE, a .vm file. Example:\n"
		"  vmmctl run --kernel=/boot/vmlinuz --initrd=/boot/initrd.img --drive=disk.raw \\\n"
		"             --append='root=/dev/vda console=ttyS0'\n"
		"Other keys of vmm.vm(5) follow a drive or network behind commas, or are given by\n"
		"--set, where sections that may stand several times have a name:\n"
		"  --network=MACVTap=eth0,Queues=2 --drive=disk.raw,IOPSLimit=500\n"
		"  --set=Machine.Balloon=yes --set=Share:src.Path=/usr/src --set=Drive:drive0.Serial=1\n"
		"SIGTERM and SIGINT stop the machine. Exit status: as wait, or 0 after --detach or\n"
		"when the console is left with the escape sequence, which leaves it running.",
		verb_run },
	{ "list-devices", "devices", "NAME", 1, 1, GROUP_DEVICES,
		"List the drives and networks of a machine that runs", JSON,
		"In and out are what the guest has read and written, received and transmitted.",
		verb_list_devices },
	{ "attach-drive", NULL, "NAME DRIVE PATH [KEY=VALUE...]", 3, -1, GROUP_DEVICES,
		"Attach a disk image or block device to a machine that runs", NULL,
		"The guest notices by itself. Keys are those of [Drive] in vmm.vm(5). The drive is\n"
		"there until the machine ends or reboots: what is to be there then stands in its\n"
		"file. Example:\n"
		"  vmmctl attach-drive web data /var/lib/vmm/data.raw ReadOnly=yes",
		verb_attach_drive },
	{ "detach-drive", NULL, "NAME DRIVE", 2, 2, GROUP_DEVICES,
		"Take a drive away from a machine that runs", "force timeout",
		"The guest is asked to give it up, and has 30 seconds or --timeout for it. It does so\n"
		"whether or not a file system is mounted: unmount it first. With --force it is taken\n"
		"away when the time is over; without --timeout at once.",
		verb_detach_drive },
	{ "attach-network", NULL, "NAME NETWORK [KEY=VALUE...]", 2, -1, GROUP_DEVICES,
		"Attach a network card to a machine that runs", NULL,
		"Keys are those of [Network] in vmm.vm(5). Example:\n"
		"  vmmctl attach-network web lan Bridge=br0",
		verb_attach_network },
	{ "detach-network", NULL, "NAME NETWORK", 2, 2, GROUP_DEVICES,
		"Take a network card away from a machine that runs", "force timeout",
		"As detach-drive.", verb_detach_network },
	{ "set-limits", "set-limit", "NAME DEVICE KEY=VALUE...", 3, -1, GROUP_DEVICES,
		"Change limits of a drive or network while the machine runs", NULL,
		"Keys of a drive: IOPSLimit, IOPSBurst, IOPSOneTimeBurst, BandwidthLimit,\n"
		"BandwidthBurst, BandwidthOneTimeBurst. Of a network: the same with Receive and\n"
		"Transmit before Bandwidth and Packet, such as TransmitBandwidthLimit and\n"
		"ReceivePacketLimit. Limits are a second; none, or 0, takes one away. They hold until\n"
		"the machine ends. Example:\n"
		"  vmmctl set-limits web root IOPSLimit=500 BandwidthLimit=20M BandwidthBurst=100M",
		verb_set_limits },
	{ "resize-drive", NULL, "NAME DRIVE [SIZE]", 2, 3, GROUP_DEVICES,
		"Tell the guest that a drive's file has another size", NULL,
		"Whoever owns the file has made it larger, with truncate or lvextend. With SIZE it is\n"
		"an error when the file does not have that size.",
		verb_resize_drive },
	{ "cat", NULL, "NAME...", 1, -1, GROUP_CONFIG,
		"Show the configuration of machines, drop-ins too", JSON " root", NULL, verb_cat },
	{ "verify", NULL, "[NAME|FILE...]", 0, -1, GROUP_CONFIG,
		"Check configuration, and say what is wrong with it", JSON " root keys",
		"An argument with a slash or .vm at its end is a file. Exit status: 1 when there is\n"
		"an error; a warning is none. Needs no vmmd.",
		verb_verify },
	{ "edit", NULL, "NAME", 1, 1, GROUP_CONFIG,
		"Edit the configuration of a machine, checked before it counts", NULL,
		"$SYSTEMD_EDITOR, $EDITOR, $VISUAL, or what is there of editor, nano, vim and vi.",
		verb_edit },
	{ "define", NULL, "FILE [NAME]", 1, 2, GROUP_CONFIG,
		"Check a .vm file and put it into /etc/vmm", "replace",
		"The name is that of the file if not given. FILE may be -, then it is needed.",
		verb_define },
	{ "undefine", NULL, "NAME...", 1, -1, GROUP_CONFIG,
		"Remove machines' files from /etc/vmm; disks stay", NULL,
		"What was enabled is disabled, as there is nothing to start at boot.",
		verb_undefine },
	{ "enable", NULL, "NAME...", 1, -1, GROUP_CONFIG, "Start machines at boot",
		"now runtime no-block", "The same as systemctl enable vmm@NAME.", verb_enable },
	{ "disable", NULL, "NAME...", 1, -1, GROUP_CONFIG, "Do not start them at boot",
		"now runtime no-block", "The same as systemctl disable vmm@NAME.", verb_disable },
	{ "reload", "daemon-reload", "", 0, 0, GROUP_CONFIG, "Read all .vm files again", NULL,
		"Both vmmd and systemd do. Machines that run keep what they have.", verb_reload },
	{ "console", "login", "NAME", 1, 1, GROUP_REACH, "Attach to the console of a machine",
		"steal read-only no-replay",
		"Press ^] three times within a second to leave it. Without a terminal, input and\n"
		"output are passed on as they are, until the machine ends.",
		verb_console },
	{ "list-images", "images", "[PATTERN...]", 0, -1, GROUP_IMAGES,
		"List the disk images in /var/lib/vmm", JSON " full root",
		"LOCKED says that a machine runs with it, MACHINES which ones have it as a drive.",
		verb_list_images },
	{ "import-image", "import", "FILE [IMAGE]", 1, 2, GROUP_IMAGES,
		"Make a disk image of a file, raw or qcow2, compressed or not",
		JSON " format size root",
		"The format is that of --format= or of the file's name, such as web.qcow2.xz; what\n"
		"is in the file never says it. FILE may be -, then IMAGE and --format= are needed.\n"
		"Example:\n"
		"  vmmctl import-image debian.qcow2 web --size=10G\n"
		"  vmmctl run --drive=web --kernel=/vmlinuz --initrd=/initrd.img \\\n"
		"             --append='root=/dev/vda1 console=ttyS0'\n"
		"An import that fails or is interrupted leaves nothing.",
		verb_import_image },
	{ "clone", "clone-image", "IMAGE NEW-IMAGE", 2, 2, GROUP_IMAGES,
		"Copy an image, with shared blocks where the file system can", JSON " size root",
		"Refused while a machine that runs may write to it.", verb_clone },
	{ "remove-image", NULL, "IMAGE...", 1, -1, GROUP_IMAGES, "Remove images", "force root",
		"Refused while a machine runs with it, and without --force while one has it as a\n"
		"drive.",
		verb_remove_image },
	{ "ssh", NULL, "[USER@]NAME [ARGUMENT...]", 1, -1, GROUP_REACH,
		"Log in to the guest by ssh, without a network", "timeout",
		"As root if there is no user. Arguments are those of ssh, behind --. --timeout= says\n"
		"for how long it is tried while the guest boots. Exit status: that of the\n"
		"command, or 255 where the guest cannot be reached. See INTO THE GUEST in vmmctl(1)\n"
		"for what the guest needs.",
		verb_ssh },
	{ "exec", NULL, "[USER@]NAME -- COMMAND...", 2, -1, GROUP_REACH,
		"Run a command in the guest", "timeout",
		"Exit status: that of the command, or 255 where it could not be run.", verb_exec },
	{ "cp", "copy", "[NAME:]FILE... [NAME:]FILE", 2, -1, GROUP_REACH,
		"Copy files into the guest and out of it", "timeout",
		"Example: vmmctl cp notes.txt web:/root/", verb_cp },
	{ "proxy", NULL, "NAME PORT", 2, 2, GROUP_REACH,
		"Connect stdin and stdout to a vsock port of the guest", "fdpass timeout",
		"Example: ssh -o ProxyCommand='vmmctl proxy web 22' root@web", verb_proxy },
	{ "forward", NULL, "NAME PORT", 2, 2, GROUP_REACH,
		"Forward sockets that systemd passes, starting the machine when it is needed",
		"idle on-idle", "This is what vmm-proxy@.service(8) runs.", verb_forward },
	{ "help", NULL, "[VERB]", 0, 1, GROUP_REACH, "Show help", JSON, NULL, verb_help },
};
const size_t ctl_n_verbs = ARRAY_SIZE(ctl_verbs);

/* Whether word is one of the words of list. */
static bool has_word(const char *list, const char *word)
{
	size_t size = strlen(word);

	while (list && *list != '\0') {
		size_t n = strcspn(list, " ");

		if (n == size && strncmp(list, word, n) == 0)
			return true;
		list += n + strspn(list + n, " ");
	}
	return false;
}

const struct verb *verb_find(const char *name)
{
	for (size_t i = 0; i < ctl_n_verbs; i++) {
		if (strcmp(ctl_verbs[i].name, name) == 0 || has_word(ctl_verbs[i].aliases, name))
			return &ctl_verbs[i];
	}
	return NULL;
}

bool verb_has_option(const struct verb *verb, const char *option)
{
	return has_word(ctl_common_options, option) || has_word(verb->options, option);
}

/* How many letters must be put in, left out, replaced or swapped with their neighbour to make a
 * the n_b characters at b. Words longer than the tables are far away. */
static size_t distance(const char *a, const char *b, size_t n_b)
{
	size_t rows[3][33], n_a = strlen(a);

	if (n_a >= ARRAY_SIZE(rows[0]) || n_b >= ARRAY_SIZE(rows[0]))
		return SIZE_MAX;
	for (size_t j = 0; j <= n_b; j++)
		rows[0][j] = j;
	for (size_t i = 1; i <= n_a; i++) {
		size_t *row = rows[i % 3], *above = rows[(i + 2) % 3], *second = rows[(i + 1) % 3];

		row[0] = i;
		for (size_t j = 1; j <= n_b; j++) {
			size_t one_more = MIN(above[j], row[j - 1]) + 1;

			row[j] = MIN(one_more, above[j - 1] + (a[i - 1] != b[j - 1]));
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
				row[j] = MIN(row[j], second[j - 2] + 1);
		}
	}
	return rows[n_a % 3][n_b];
}

char *nearest_word(const char *word, const char *candidates)
{
	size_t best = MAX(strlen(word) / 2, (size_t)1) + 1;
	const char *found = NULL;
	size_t n_found = 0;

	while (*candidates != '\0') {
		size_t n = strcspn(candidates, " ");
		size_t d = distance(word, candidates, n);

		if (d < best && d < n) {
			best = d;
			found = candidates;
			n_found = n;
		}
		candidates += n + strspn(candidates + n, " ");
	}
	return found ? must_alloc(strndup(found, n_found)) : NULL;
}
