/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* vhost-user-backend: the front end's memory, which mem maps and checks. */
#include "vhost-user-backend/backend-internal.h"

int backend_add_region(
	struct vmm_vhost_user_backend *backend, const struct vmm_vhost_user_region *region, int fd)
{
	struct vmm_mem_config config = {
		.gpa = region->gpa,
		.size_bytes = region->size_bytes,
		.backing = VMM_MEM_FILE,
		.fd = fd,
		.fd_offset = region->mmap_offset,
	};
	uint64_t end;
	int r;

	if (backend->n_regions == VMM_VHOST_USER_BACKEND_SLOTS)
		return -ENOSPC;
	if (__builtin_add_overflow(region->user_address, region->size_bytes, &end))
		return -EINVAL;
	r = vmm_mem_add(backend->mem, &config);
	if (r < 0)
		return r;
	backend->regions[backend->n_regions++] = *region;
	return 0;
}

int backend_remove_region(
	struct vmm_vhost_user_backend *backend, const struct vmm_vhost_user_region *region)
{
	for (unsigned int i = 0; i < backend->n_regions; i++) {
		struct vmm_vhost_user_region *known = &backend->regions[i];

		if (known->gpa != region->gpa || known->size_bytes != region->size_bytes ||
			known->user_address != region->user_address)
			continue;
		vmm_mem_remove(backend->mem, known->gpa);
		*known = backend->regions[--backend->n_regions];
		return 0;
	}
	return -ENOENT;
}

void backend_remove_all(struct vmm_vhost_user_backend *backend)
{
	while (backend->n_regions > 0)
		vmm_mem_remove(backend->mem, backend->regions[--backend->n_regions].gpa);
}

bool backend_find(
	const struct vmm_vhost_user_backend *backend, uint64_t user_address, uint64_t *ret_gpa)
{
	for (unsigned int i = 0; i < backend->n_regions; i++) {
		const struct vmm_vhost_user_region *region = &backend->regions[i];

		if (user_address >= region->user_address &&
			user_address - region->user_address < region->size_bytes) {
			*ret_gpa = region->gpa + (user_address - region->user_address);
			return true;
		}
	}
	return false;
}
