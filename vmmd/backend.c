/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* backend: see backend.h. */
#include "backend.h"

#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "control.h"
#include "resources.h"

/* A question while a child looks after it. */
struct question {
	struct manager *manager; /* borrowed */
	char name[VMM_NAME_SIZE];
	pid_t leader; /* of the worker that has asked */
	struct vmm_control_backend_request request;
};

static void answer(struct machine *machine, uint64_t id, int fd)
{
	struct vmm_control_backend_answer answer = { .id = id };

	/* Where that fails, the worker asks again after a while. */
	if (machine->control)
		control_request(machine->control,
			fd >= 0 ? VMM_CONTROL_CONNECT_BACKEND : VMM_CONTROL_REFUSE_BACKEND, &answer,
			sizeof(answer), fd, NULL, NULL);
}

static void opened(void *userdata, struct resources_result *result)
{
	struct question *question = userdata;
	struct machine *machine = manager_find(question->manager, question->name);
	struct log_about about = { .name = question->name, .pid = question->leader };

	if (machine) {
		machine->backend.is_busy = false;
		if (result->error < 0 && log_limit_ok(&machine->backend.limit))
			log_line(LOG_INFO, &about, "no back end for \"%s\": %s",
				question->request.device, result->text);
		/* Not for another worker that has come meanwhile. */
		if (machine->leader == question->leader)
			answer(machine, question->request.id,
				result->error < 0 || result->n_fds != 1 ? -EBADF : result->fds[0]);
	}
	free(question);
}

static int look_after(struct machine *machine, const struct vmm_control_backend_request *request)
{
	uint64_t now_nsec = vmm_base_now_nsec();
	struct resources_request *resources;
	struct question *question;
	int r;

	if (!machine->config)
		return -ENOENT;
	if (machine->backend.is_busy || now_nsec < machine->backend.next_nsec)
		return -EBUSY;
	question = malloc(sizeof(*question));
	if (!question)
		return -ENOMEM;
	*question = (struct question){
		.manager = machine->manager,
		.leader = machine->leader,
		.request = *request,
	};
	memcpy(question->name, machine->name, sizeof(question->name));
	machine->backend.next_nsec = now_nsec + BACKEND_NSEC;
	r = resources_open_backend(machine, (enum vmm_device_kind)request->kind,
		question->request.device, opened, question, &resources);
	if (r < 0) {
		free(question);
		return r;
	}
	machine->backend.is_busy = true;
	return 0;
}

void backend_is_asked_for(
	struct machine *machine, const struct vmm_control_backend_request *request)
{
	if (look_after(machine, request) < 0)
		answer(machine, request->id, -EBADF);
}
