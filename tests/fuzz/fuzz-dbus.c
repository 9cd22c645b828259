/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * fuzz: the methods of org.vmmd1, each with arguments of the types that it declares or of others,
 * as a client that may do everything sends them: what it reads of them is bounded and checked, and
 * each call is answered once. The bus is a socket, machines never run, and no child opens anything.
 *
 * An input is calls of a method (a number), whose arguments follow: a string is a word of the table
 * below (0x80 and more) or a length with its bytes; numbers are little-endian; an array has a
 * length.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/util.h"
#include "bus.h"
#include "fuzz.h"
#include "log.h"
#include "machine.h"
#include "resources.h"
#include "spawn.h"
#include "sweep.h"

#define MAX_CALLS 8
#define MAX_ITEMS 40
#define MAX_TURNS 1000

static const char *const words[] = { "web", "none", "force", "auto", "acpi", "cad", "replace",
	"fail", "leader", "all", "Path", "ReadOnly", "IOPSLimit", "BandwidthLimit", "MAC", "Tap",
	"Socket", "yes", "/dev/null", "ReceivePacketLimit", "", "new", "52:54:00:01:02:03",
	"Serial" };

static const struct {
	const sd_bus_vtable *vtable;
	const char *path, *interface;
} objects[] = {
	{ manager_vtable, BUS_PATH, BUS_MANAGER_INTERFACE },
	{ machine_vtable, BUS_MACHINES "/web", BUS_MACHINE_INTERFACE },
	{ job_vtable, BUS_JOBS "/1", BUS_JOB_INTERFACE },
};

static struct method {
	size_t object;
	const char *name, *signature;
} methods[96];
static size_t n_methods;

static char root[] = P_tmpdir "/vmmd-fuzz-dbus-XXXXXX";
static sd_event *event;
static struct bus *bus;
static struct manager *manager;
static sd_bus *client;
static unsigned int n_sent, n_answers;
static bool are_files_touched;

/* ---- what methods would do to machines ---- */

static int spawn_init(struct manager *m)
{
	return 0;
}

static void spawn_finish(struct manager *m)
{
}

static void spawn_forget(struct machine *machine)
{
}

static void spawn_job(struct job *job)
{
	job_accept(job);
}

static void spawn_cancel(struct job *job)
{
}

static void spawn_kill(
	struct machine *machine, bool all, int signal, spawn_done_t done, void *userdata)
{
	FUZZ_CHECK(signal > 0 && signal <= 64);
	if (done)
		done(userdata, -ESRCH, NULL);
}

static const struct spawner_ops spawner = {
	.name = "fuzz",
	.init = spawn_init,
	.finish = spawn_finish,
	.enumerate = spawn_init,
	.forget = spawn_forget,
	.start = spawn_job,
	.stop = spawn_job,
	.restart = spawn_job,
	.force = spawn_forget,
	.cancel = spawn_cancel,
	.kill = spawn_kill,
};

/* In place of vmmd/sweep.c: nothing is taken away from the host. */
void sweep_ended(struct manager *m)
{
}

void sweep_network(struct manager *m, const char *machine, const char *network)
{
}

void sweep_machine(struct machine *machine)
{
}

/* In place of vmmd/resources.c and vmmd/log.c: nothing is opened, nothing said. */
int resources_open(struct machine *machine, enum resources_mode mode, resources_done_t done,
	void *userdata, struct resources_request **ret)
{
	return -EAGAIN;
}

int resources_open_config(struct manager *m, const struct vm_config *config,
	enum resources_mode mode, resources_done_t done, void *userdata,
	struct resources_request **ret)
{
	return -EAGAIN;
}

int resources_open_backend(struct machine *machine, enum vmm_device_kind kind, const char *device,
	resources_done_t done, void *userdata, struct resources_request **ret)
{
	return -EAGAIN;
}

void resources_cancel(struct resources_request *request)
{
}

void resources_end(struct manager *m)
{
}

void log_line(int priority, const struct log_about *about, const char *format, ...)
{
	char text[VMM_TEXT_SIZE];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
}

bool log_limit_ok(struct log_limit *limit)
{
	return true;
}

/* ---- once ---- */

static void find_methods(size_t object)
{
	const sd_bus_vtable *entry = objects[object].vtable;
	size_t size = entry->x.start.element_size;

	for (; entry->type != _SD_BUS_VTABLE_END;
		entry = (const sd_bus_vtable *)((const char *)entry + size)) {
		if (entry->type != _SD_BUS_VTABLE_METHOD)
			continue;
		FUZZ_CHECK(n_methods < ARRAY_SIZE(methods));
		methods[n_methods++] = (struct method){ object, entry->x.method.member,
			entry->x.method.signature ? entry->x.method.signature : "" };
	}
}

static void make_path(const char *below, char path[128])
{
	snprintf(path, 128, "%s%s", root, below);
}

static void write_machine(void)
{
	static const char text[] = "[Machine]\nMemory=32M\n[Boot]\nKernel=/k\n";
	char path[128];
	FILE *file;

	make_path("/etc/vmm/web.vm", path);
	file = fopen(path, "we");
	FUZZ_CHECK(file && fputs(text, file) >= 0 && fclose(file) == 0);
}

static void remove_root(void)
{
	char command[64];

	snprintf(command, sizeof(command), "rm -rf %s", root);
	if (system(command) != 0)
		perror(root);
}

static sd_bus *new_bus(int fd, bool is_server)
{
	sd_id128_t id = {};
	sd_bus *new = NULL;

	FUZZ_CHECK(sd_bus_new(&new) >= 0 && sd_bus_set_fd(new, fd, fd) >= 0);
	FUZZ_CHECK(!is_server || sd_bus_set_server(new, true, id) >= 0);
	FUZZ_CHECK(sd_bus_negotiate_fds(new, true) >= 0);
	FUZZ_CHECK(sd_bus_start(new) >= 0);
	return new;
}

static void connect_client(void)
{
	int fds[2];

	FUZZ_CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) == 0);
	bus->bus = new_bus(fds[0], true);
	client = new_bus(fds[1], false);
	FUZZ_CHECK(sd_bus_add_object_vtable(bus->bus, NULL, BUS_PATH, BUS_MANAGER_INTERFACE,
			   manager_vtable, bus) >= 0);
	FUZZ_CHECK(sd_bus_add_fallback_vtable(bus->bus, NULL, BUS_MACHINES, BUS_MACHINE_INTERFACE,
			   machine_vtable, machine_object_find, bus) >= 0);
	FUZZ_CHECK(sd_bus_add_fallback_vtable(bus->bus, NULL, BUS_JOBS, BUS_JOB_INTERFACE,
			   job_vtable, job_object_find, bus) >= 0);
	FUZZ_CHECK(sd_bus_add_object_manager(bus->bus, NULL, BUS_PATH) >= 0);
}

static void prepare(void)
{
	static const char *const below[] = { "/etc", "/etc/vmm", "/run", "/run/vmm", "/run/vmmd",
		"/run/vmmd/machine" };
	struct manager_options options = { .root = root, .spawner = &spawner };
	char path[128];

	for (size_t i = 0; i < ARRAY_SIZE(objects); i++)
		find_methods(i);
	FUZZ_CHECK(mkdtemp(root) && atexit(remove_root) == 0);
	for (size_t i = 0; i < ARRAY_SIZE(below); i++) {
		make_path(below[i], path);
		FUZZ_CHECK(mkdir(path, 0700) == 0);
	}
	write_machine();
	FUZZ_CHECK(sd_event_new(&event) >= 0);
	FUZZ_CHECK(manager_new(event, &options, &manager) == 0);
	FUZZ_CHECK(bus_new(manager, NULL, &bus) == 0);
	connect_client();
	FUZZ_CHECK(manager_start(manager) == 0);
}

/* ---- arguments ---- */

struct input {
	const uint8_t *data;
	size_t size;
};

static uint64_t take(struct input *input, size_t n)
{
	uint64_t value = 0;

	n = MIN(n, input->size);
	memcpy(&value, input->data, n);
	input->data += n;
	input->size -= n;
	return value;
}

static const char *take_string(struct input *input, char text[128])
{
	uint8_t first = (uint8_t)take(input, 1);
	size_t n = MIN(first, input->size);

	if (first >= 0x80)
		return words[(first - 0x80u) % ARRAY_SIZE(words)];
	memcpy(text, input->data, n);
	text[n] = '\0';
	input->data += n;
	input->size -= n;
	return text;
}

/* A file with what is left of the input, or a descriptor of another kind. */
static int append_file(sd_bus_message *message, struct input *input)
{
	uint8_t kind = (uint8_t)take(input, 1);
	CLEANUP(close_p) int fd = -EBADF;

	if (kind & 1) {
		fd = dup(STDOUT_FILENO);
	} else {
		fd = memfd_create("fuzz", MFD_CLOEXEC);
		FUZZ_CHECK(write(fd, input->data, input->size) == (ssize_t)input->size);
	}
	FUZZ_CHECK(fd >= 0);
	return sd_bus_message_append_basic(message, 'h', &fd);
}

static int append_basic(sd_bus_message *message, char type, struct input *input)
{
	char text[128];
	uint64_t value;
	int32_t flag;

	switch (type) {
	case 's':
		return sd_bus_message_append_basic(message, 's', take_string(input, text));
	case 'h':
		return append_file(message, input);
	case 'b':
		flag = (int32_t)take(input, 1) & 1;
		return sd_bus_message_append_basic(message, 'b', &flag);
	case 'q':
		value = take(input, 2);
		return sd_bus_message_append_basic(message, 'q', &value);
	case 'u':
	case 'i':
		value = take(input, 4);
		return sd_bus_message_append_basic(message, type, &value);
	case 't':
		value = take(input, 8);
		return sd_bus_message_append_basic(message, 't', &value);
	default:
		fprintf(stderr, "a method takes a '%c', which this target does not know\n", type);
		abort();
	}
}

/* "a{st}" and "a(ss)": a list of pairs of basic types. */
static int append_pairs(sd_bus_message *message, const char *pairs, struct input *input)
{
	char kind = pairs[1] == '{' ? SD_BUS_TYPE_DICT_ENTRY : SD_BUS_TYPE_STRUCT;
	char element[5], types[3] = { pairs[2], pairs[3], '\0' };
	size_t n = take(input, 1) % MAX_ITEMS;
	int r;

	memcpy(element, pairs + 1, 4);
	element[4] = '\0';
	r = sd_bus_message_open_container(message, 'a', element);
	for (size_t i = 0; r >= 0 && i < n && input->size > 0; i++) {
		r = sd_bus_message_open_container(message, kind, types);
		if (r >= 0)
			r = append_basic(message, types[0], input);
		if (r >= 0)
			r = append_basic(message, types[1], input);
		if (r >= 0)
			r = sd_bus_message_close_container(message);
	}
	return r < 0 ? r : sd_bus_message_close_container(message);
}

/* Negative where it is no message at all, as with a text that is not UTF-8. */
static int append_arguments(sd_bus_message *message, const char *signature, struct input *input)
{
	int r = 0;

	for (; r >= 0 && *signature; signature++) {
		if (*signature == 'a') {
			r = append_pairs(message, signature, input);
			signature += 4;
		} else {
			r = append_basic(message, *signature, input);
		}
	}
	return r;
}

/* ---- calls ---- */

static int on_answer(sd_bus_message *reply, void *userdata, sd_bus_error *error)
{
	n_answers++;
	return 0;
}

/* Until nobody has anything more to say. */
static void process(void)
{
	for (unsigned int i = 0; i < MAX_TURNS; i++) {
		int r = sd_bus_process(bus->bus, NULL), s = sd_bus_process(client, NULL);
		int t = sd_event_run(event, 0);

		FUZZ_CHECK(r >= 0 && s >= 0 && t >= 0);
		if (r == 0 && s == 0 && t == 0)
			return;
	}
	FUZZ_CHECK(false);
}

static void call(struct input *input)
{
	CLEANUP(sd_bus_message_unrefp) sd_bus_message *message = NULL;
	uint8_t number = (uint8_t)take(input, 1);
	const struct method *method = &methods[number % n_methods], *types = method;

	/* Now and then arguments of another method. */
	if (number >= 0xf0)
		types = &methods[take(input, 1) % n_methods];
	FUZZ_CHECK(
		sd_bus_message_new_method_call(client, &message, NULL, objects[method->object].path,
			objects[method->object].interface, method->name) >= 0);
	if (append_arguments(message, types->signature, input) < 0)
		return;
	FUZZ_CHECK(sd_bus_call_async(client, NULL, message, on_answer, NULL, UINT64_MAX) >= 0);
	n_sent++;
	are_files_touched |= strstr(method->name, "efine") || strstr(method->name, "Transient");
	process();
	FUZZ_CHECK(bus->n_requests <= BUS_MAX_REQUESTS);
	FUZZ_CHECK(n_answers + bus->n_requests == n_sent);
}

/* Files and machines as they were. */
static void restore(void)
{
	char path[128];

	while (manager->n_jobs > 0)
		job_cancel(manager->jobs[0]);
	process();
	if (!are_files_touched)
		return;
	are_files_touched = false;
	for (size_t i = manager->n_machines; i-- > 0;) {
		const char *name = manager->machines[i]->name;

		if (strcmp(name, "web") == 0)
			continue;
		snprintf(path, sizeof(path), "%s/etc/vmm/%s.vm", root, name);
		unlink(path);
		snprintf(path, sizeof(path), "%s/run/vmm/%s.vm", root, name);
		unlink(path);
	}
	snprintf(path, sizeof(path), "%s/run/vmm/web.vm", root);
	unlink(path);
	write_machine();
	FUZZ_CHECK(manager_reload(manager) == 0);
	process();
	FUZZ_CHECK(manager->n_machines == 1 && manager->n_jobs == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input input = { data, size };

	if (!manager)
		prepare();
	n_sent = n_answers = 0;
	for (unsigned int i = 0; i < MAX_CALLS && input.size > 0; i++)
		call(&input);
	restore();
	/* Who waited for a job has heard of it. */
	FUZZ_CHECK(n_answers == n_sent && bus->n_requests == 0 && bus->n_queries == 0);
	return 0;
}
