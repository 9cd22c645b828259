/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * kvm: the CPUID table of a vCPU: what the host's KVM supports, changed where it depends on the
 * vCPU's place in the machine. Intel SDM volume 2, CPUID; AMD APM volume 3, appendix E.
 */
#include "kvm/kvm-internal.h"

#include <cpuid.h>
#include <string.h>

#define LEAF_KVM_SIGNATURE 0x40000000u
#define LEAF_KVM_FEATURES 0x40000001u
#define LEAF_NAME 0x80000002u /* three leaves */
#define LEAF_L1 0x80000005u   /* AMD */

#define BIT(n) (UINT32_C(1) << (n))

/* Where one vCPU sits: how many bits of its APIC id name the thread and the core. */
struct place {
	uint32_t apic_id;
	uint32_t n_threads;    /* of a core */
	uint32_t n_per_socket; /* threads of a socket */
	uint32_t thread_bits;
	uint32_t socket_bits; /* thread and core together */
};

struct table {
	struct kvm_cpuid2 head;
	struct kvm_cpuid_entry2 entries[CPUID_MAX_ENTRIES];
};

/*
 * The processor's name, and what its first caches and TLBs are like: KVM leaves the name to its
 * caller, and before Linux 6.4 the other as well. A leaf that KVM has filled stays.
 */
void vmm_kvm_cpuid_complete(struct kvm_cpuid2 *cpuid)
{
	for (uint32_t i = 0; i < cpuid->nent; i++) {
		struct kvm_cpuid_entry2 *entry = &cpuid->entries[i];

		if (entry->function < LEAF_NAME || entry->function > LEAF_L1)
			continue;
		if ((entry->eax | entry->ebx | entry->ecx | entry->edx) == 0)
			__cpuid(entry->function, entry->eax, entry->ebx, entry->ecx, entry->edx);
	}
}

static uint32_t bits_for(uint32_t n)
{
	uint32_t bits = 0;

	while ((UINT32_C(1) << bits) < n)
		bits++;
	return bits;
}

static int place_of(uint32_t apic_id, const struct vmm_vcpu_config *config, struct place *ret_place)
{
	uint32_t n_vcpus = config->n_vcpus ? config->n_vcpus : 1;
	uint32_t n_threads = config->threads_per_core ? config->threads_per_core : 1;
	uint32_t n_cores = config->cores_per_socket;
	uint32_t n_per_socket;

	if (n_vcpus > VMM_VM_MAX_VCPUS || apic_id >= n_vcpus || n_threads > n_vcpus)
		return -EINVAL;
	if (n_cores == 0)
		n_cores = (n_vcpus + n_threads - 1) / n_threads;
	if (n_cores > n_vcpus)
		return -EINVAL;
	n_per_socket = n_threads * n_cores;

	/*
	 * APIC ids are the vCPU's numbers, without gaps. That fits the bit fields of an APIC id
	 * only where each field but the topmost is full.
	 */
	if (n_threads & (n_threads - 1))
		return -EINVAL;
	if (n_vcpus > n_per_socket && (n_per_socket & (n_per_socket - 1)))
		return -EINVAL;

	*ret_place = (struct place){
		.apic_id = apic_id,
		.n_threads = n_threads,
		.n_per_socket = n_per_socket,
		.thread_bits = bits_for(n_threads),
		.socket_bits = bits_for(n_per_socket),
	};
	return 0;
}

static struct kvm_cpuid_entry2 *find(struct table *table, uint32_t function)
{
	for (uint32_t i = 0; i < table->head.nent; i++)
		if (table->entries[i].function == function)
			return &table->entries[i];
	return NULL;
}

static void drop(struct table *table, uint32_t function)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < table->head.nent; i++)
		if (table->entries[i].function != function)
			table->entries[n++] = table->entries[i];
	table->head.nent = n;
}

/* Full tables lose the entry: no KVM comes near that. */
static void add(struct table *table, const struct kvm_cpuid_entry2 *entry)
{
	if (table->head.nent < CPUID_MAX_ENTRIES)
		table->entries[table->head.nent++] = *entry;
}

static void set_basic(struct kvm_cpuid_entry2 *entry, const struct place *place, bool tsc_deadline)
{
	uint32_t n_ids = UINT32_C(1) << place->socket_bits;

	entry->ebx &= 0xffff;
	entry->ebx |= place->apic_id << 24 | MIN(n_ids, UINT32_C(255)) << 16;
	entry->ecx |= BIT(31);
	if (tsc_deadline)
		entry->ecx |= BIT(24);
	else
		entry->ecx &= ~BIT(24);
	if (n_ids > 1)
		entry->edx |= BIT(28);
	else
		entry->edx &= ~BIT(28);
}

/* Leaf 4 and AMD's 0x8000001d: which APIC ids share each cache. */
static void set_cache(struct kvm_cpuid_entry2 *entry, const struct place *place, bool is_leaf_4)
{
	uint32_t level = entry->eax >> 5 & 7;
	uint32_t sharing_bits = level >= 3 ? place->socket_bits : place->thread_bits;
	uint32_t n_cores = UINT32_C(1) << (place->socket_bits - place->thread_bits);

	if ((entry->eax & 0x1f) == 0)
		return;
	entry->eax &= is_leaf_4 ? 0x3fff : 0xfc003fff;
	entry->eax |= (BIT(sharing_bits) - 1) << 14;
	if (is_leaf_4)
		entry->eax |= (MIN(n_cores, UINT32_C(64)) - 1) << 26;
}

/* AMD: 0x80000008 ECX counts the threads of a socket, 0x8000001e names core and node. */
static void set_amd_size(struct kvm_cpuid_entry2 *entry, const struct place *place)
{
	entry->ecx &= ~UINT32_C(0xf0ff);
	entry->ecx |= (place->n_per_socket - 1) | place->socket_bits << 12;
}

static void set_amd_place(struct kvm_cpuid_entry2 *entry, const struct place *place)
{
	uint32_t core = (place->apic_id & (BIT(place->socket_bits) - 1)) >> place->thread_bits;

	entry->eax = place->apic_id;
	entry->ebx = (place->n_threads - 1) << 8 | core;
	entry->ecx = place->apic_id >> place->socket_bits;
	entry->edx = 0;
}

/* Leaves 0xb and 0x1f: thread, core, and an end; edx is the x2APIC id in each. */
static void add_topology(struct table *table, uint32_t function, const struct place *place)
{
	struct kvm_cpuid_entry2 entry = {
		.function = function,
		.flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX,
		.eax = place->thread_bits,
		.ebx = place->n_threads,
		.ecx = 1 << 8,
		.edx = place->apic_id,
	};

	add(table, &entry);
	entry.index = 1;
	entry.eax = place->socket_bits;
	entry.ebx = place->n_per_socket;
	entry.ecx = 2 << 8 | 1;
	add(table, &entry);
	entry.index = 2;
	entry.eax = 0;
	entry.ebx = 0;
	entry.ecx = 2;
	add(table, &entry);
}

static void add_kvm_signature(struct table *table)
{
	struct kvm_cpuid_entry2 entry = { .function = LEAF_KVM_SIGNATURE,
		.eax = LEAF_KVM_FEATURES };
	uint32_t words[3];

	if (find(table, LEAF_KVM_SIGNATURE))
		return;
	memcpy(words, "KVMKVMKVM\0\0\0", sizeof(words));
	entry.ebx = words[0];
	entry.ecx = words[1];
	entry.edx = words[2];
	add(table, &entry);
}

int vmm_kvm_cpuid_set(struct vmm_vcpu *vcpu, const struct vmm_vcpu_config *config)
{
	static const uint32_t topology_leaves[] = { 0xb, 0x1f };
	const struct vmm_kvm *kvm = vcpu->vm->kvm;
	CLEANUP(free_p) struct table *table = NULL;
	struct kvm_cpuid_entry2 *first;
	struct place place;
	uint32_t max_leaf;
	int r;

	r = place_of(vcpu->id, config, &place);
	if (r < 0)
		return r;
	table = calloc(1, sizeof(*table));
	if (!table)
		return -ENOMEM;
	table->head.nent = MIN(kvm->cpuid->nent, (uint32_t)CPUID_MAX_ENTRIES);
	memcpy(table->entries, kvm->cpuid->entries, table->head.nent * sizeof(table->entries[0]));

	first = find(table, 0);
	max_leaf = first ? first->eax : 0;
	for (size_t i = 0; i < ARRAY_SIZE(topology_leaves); i++) {
		bool had = find(table, topology_leaves[i]);

		drop(table, topology_leaves[i]);
		if (max_leaf >= topology_leaves[i] && (had || topology_leaves[i] == 0xb))
			add_topology(table, topology_leaves[i], &place);
	}
	add_kvm_signature(table);

	for (uint32_t i = 0; i < table->head.nent; i++) {
		struct kvm_cpuid_entry2 *entry = &table->entries[i];

		switch (entry->function) {
		case 0x1:
			set_basic(entry, &place, kvm->tsc_deadline);
			break;
		case 0x4:
			set_cache(entry, &place, true);
			break;
		case 0x80000008:
			set_amd_size(entry, &place);
			break;
		case 0x8000001d:
			set_cache(entry, &place, false);
			break;
		case 0x8000001e:
			set_amd_place(entry, &place);
			break;
		}
	}
	return kvm_ioctl(vcpu->fd, KVM_SET_CPUID2, table);
}
