/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * metrics: what vmmd counts, in the text format of OpenMetrics 1.0, on stdout or as the answer to
 * one HTTP request on stdin: of whoever connects to vmm-metrics.socket. The request is read up to
 * a limit and for a few seconds only, and nothing in it but method and path counts.
 */
#include <inttypes.h>
#include <string.h>

#include "base/util.h"
#include "http.h"
#include "stats.h"

#define REQUEST_NSEC UINT64_C(5000000000)

/* What a metric is of, and so its labels. */
enum of {
	OF_MACHINE,
	OF_VCPU,
	OF_DRIVE,
	OF_NETWORK,
};

static const struct metric {
	const char *name; /* without vmm_ and _total */
	const char *type; /* "counter" or "gauge" */
	const char *unit; /* as the name ends, or "" */
	const char *help;
	enum of of;
	const char *key;
	bool property; /* of the machine's object: always there */
} metrics[] = {
	{ "machine_cpus", "gauge", "", "Virtual CPUs", OF_MACHINE, "CPUs", true },
	{ "machine_memory_bytes", "gauge", "bytes", "Memory that the guest has", OF_MACHINE,
		"Memory", true },
	{ "machine_restarts", "counter", "", "Reboots and restarts since it was started",
		OF_MACHINE, "NRestarts", true },
	{ "machine_resident_bytes", "gauge", "bytes", "Memory of the host that it occupies",
		OF_MACHINE, "MemoryResident", false },
	{ "machine_cpu_seconds", "counter", "seconds", "CPU time of worker and guest", OF_MACHINE,
		"CPUUsageNSec", false },
	{ "vcpu_exits", "counter", "", "Exits of a virtual CPU to the worker", OF_VCPU, "Exits",
		false },
	{ "drive_read_bytes", "counter", "bytes", "Read by the guest", OF_DRIVE, "ReadBytes",
		false },
	{ "drive_written_bytes", "counter", "bytes", "Written by the guest", OF_DRIVE, "WriteBytes",
		false },
	{ "drive_reads", "counter", "", "Read requests", OF_DRIVE, "ReadOperations", false },
	{ "drive_writes", "counter", "", "Write requests", OF_DRIVE, "WriteOperations", false },
	{ "drive_errors", "counter", "", "Requests that failed", OF_DRIVE, "Errors", false },
	{ "network_received_bytes", "counter", "bytes", "Received by the guest", OF_NETWORK,
		"ReceivedBytes", false },
	{ "network_transmitted_bytes", "counter", "bytes", "Transmitted by the guest", OF_NETWORK,
		"TransmittedBytes", false },
	{ "network_received_frames", "counter", "", "Frames received by the guest", OF_NETWORK,
		"ReceivedFrames", false },
	{ "network_transmitted_frames", "counter", "", "Frames transmitted by the guest",
		OF_NETWORK, "TransmittedFrames", false },
	{ "network_dropped_frames", "counter", "", "Frames dropped", OF_NETWORK, "DroppedFrames",
		false },
};

static const char *const states[] = { "inactive", "starting", "running", "paused", "stopping",
	"failed" };

static void print_label(FILE *stream, const char *name, const char *text)
{
	fprintf(stream, "%s=\"", name);
	for (; *text != '\0'; text++) {
		if (*text == '\n')
			fputs("\\n", stream);
		else if (*text == '"' || *text == '\\')
			fprintf(stream, "\\%c", *text);
		else
			fputc(*text, stream);
	}
	fputc('"', stream);
}

/* label, the second, may be NULL. */
static void print_sample(FILE *stream, const struct metric *metric, const char *machine,
	const char *label, const char *text, uint64_t number)
{
	fprintf(stream, "vmm_%s%s{", metric->name,
		strcmp(metric->type, "counter") == 0 ? "_total" : "");
	print_label(stream, "machine", machine);
	if (label) {
		fputc(',', stream);
		print_label(stream, label, text);
	}
	if (strcmp(metric->unit, "seconds") == 0)
		fprintf(stream, "} %" PRIu64 ".%09" PRIu64 "\n", number / 1000000000,
			number % 1000000000);
	else
		fprintf(stream, "} %" PRIu64 "\n", number);
}

static void print_vcpus(FILE *stream, const struct metric *metric, const struct value *machine)
{
	const struct value *stats = value_get(machine, "Stats");

	for (unsigned i = 0;; i++) {
		CLEANUP(free_p) char *key = must_printf("VCPU%u%s", i, metric->key);
		CLEANUP(free_p) char *number = must_printf("%u", i);

		if (!value_get(stats, key))
			return;
		print_sample(stream, metric, value_get_string(machine, "Name"), "vcpu", number,
			value_get_unsigned(stats, key));
	}
}

static void print_devices(FILE *stream, const struct metric *metric, const struct value *machine)
{
	const char *type = metric->of == OF_DRIVE ? "drive" : "network";
	const struct value *devices = value_get(machine, "Devices");

	for (size_t i = 0; i < devices->n_items; i++) {
		const struct value *device = &devices->items[i];

		if (strcmp(value_get_string(device, "Type"), type) == 0 &&
			value_get(device, metric->key))
			print_sample(stream, metric, value_get_string(machine, "Name"), type,
				value_get_string(device, "Name"),
				value_get_unsigned(device, metric->key));
	}
}

static void print_metric(FILE *stream, const struct metric *metric, const struct value *machines)
{
	fprintf(stream, "# TYPE vmm_%s %s\n", metric->name, metric->type);
	if (*metric->unit != '\0')
		fprintf(stream, "# UNIT vmm_%s %s\n", metric->name, metric->unit);
	fprintf(stream, "# HELP vmm_%s %s.\n", metric->name, metric->help);
	for (size_t i = 0; i < machines->n_items; i++) {
		const struct value *machine = &machines->items[i];
		const struct value *from = metric->property ? machine : value_get(machine, "Stats");

		if (metric->of == OF_VCPU)
			print_vcpus(stream, metric, machine);
		else if (metric->of != OF_MACHINE)
			print_devices(stream, metric, machine);
		else if (value_get(from, metric->key))
			print_sample(stream, metric, value_get_string(machine, "Name"), NULL, NULL,
				value_get_unsigned(from, metric->key));
	}
}

static void print_states(FILE *stream, const struct value *machines)
{
	fputs("# TYPE vmm_machine_state stateset\n"
	      "# HELP vmm_machine_state What the machine does.\n",
		stream);
	for (size_t i = 0; i < machines->n_items; i++)
		for (size_t j = 0; j < ARRAY_SIZE(states); j++) {
			const struct value *machine = &machines->items[i];

			fputs("vmm_machine_state{", stream);
			print_label(stream, "machine", value_get_string(machine, "Name"));
			fprintf(stream, ",vmm_machine_state=\"%s\"} %d\n", states[j],
				strcmp(states[j], value_get_string(machine, "State")) == 0);
		}
}

static void print_all(FILE *stream, const struct value *machines)
{
	print_states(stream, machines);
	for (size_t i = 0; i < ARRAY_SIZE(metrics); i++)
		print_metric(stream, &metrics[i], machines);
	fputs("# EOF\n", stream);
}

/* ---- HTTP ---- */

static void answer(const char *status, const char *type, const char *text, bool with_body)
{
	printf("HTTP/1.1 %s\r\n"
	       "Content-Type: %s\r\n"
	       "Content-Length: %zu\r\n"
	       "Connection: close\r\n"
	       "\r\n%s",
		status, type, strlen(text), with_body ? text : "");
}

static int serve(struct ctl *ctl)
{
	struct http_request request;
	struct value machines = {};
	char *body = NULL;
	bool is_head;
	size_t size;
	FILE *stream;
	int r;

	r = http_read(STDIN_FILENO, REQUEST_NSEC, &request);
	if (r == -E2BIG)
		answer("431 Request Header Fields Too Large", "text/plain", "too large\n", true);
	else if (r == -ETIMEDOUT)
		answer("408 Request Timeout", "text/plain", "no request\n", true);
	else if (r == -EBADMSG)
		answer("400 Bad Request", "text/plain", "not a request\n", true);
	if (r < 0)
		return EXIT_FAILURE;
	if (request.method == HTTP_OTHER) {
		answer("405 Method Not Allowed", "text/plain", "GET or HEAD\n", true);
		return EXIT_FAILURE;
	}
	is_head = request.method == HTTP_HEAD;
	if (strcmp(request.path, "/metrics") != 0) {
		answer("404 Not Found", "text/plain", "there is /metrics only\n", !is_head);
		return EXIT_FAILURE;
	}
	if (stats_read(ctl, NULL, &machines) < 0) {
		answer("503 Service Unavailable", "text/plain", "vmmd cannot be asked\n", !is_head);
		return EXIT_FAILURE;
	}
	stream = must_alloc(open_memstream(&body, &size));
	print_all(stream, &machines);
	if (fclose(stream) != 0)
		must_alloc(NULL);
	answer("200 OK", "application/openmetrics-text; version=1.0.0; charset=utf-8", body,
		!is_head);
	value_finish(&machines);
	free(body);
	return EXIT_SUCCESS;
}

int verb_metrics(struct ctl *ctl, char **arguments)
{
	struct value machines = {};

	if (ctl->http)
		return serve(ctl);
	if (stats_read(ctl, NULL, &machines) < 0)
		return EXIT_FAILURE;
	if (ctl->json != JSON_OFF)
		ctl_print_json(ctl, &machines);
	else
		print_all(stdout, &machines);
	value_finish(&machines);
	return EXIT_SUCCESS;
}
