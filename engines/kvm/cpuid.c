/* CPUID: the core says what a guest is told (core/x86/cpuid.c), and this kernel what it
 * can keep; the guest gets what both have. */
#include "engines/kvm/impl.h"

#include "core/host.h"

#include <string.h>

enum { LEAVES = 128 };
struct leaves {
	struct kvm_cpuid2 head;
	struct kvm_cpuid_entry2 e[LEAVES];
};

static const struct kvm_cpuid_entry2 *find(const struct leaves *l, u32 leaf, u32 sub)
{
	for (u32 i = 0; i < l->head.nent; i++)
		if (l->e[i].function == leaf &&
		    (!(l->e[i].flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX) || l->e[i].index == sub))
			return &l->e[i];
	return NULL;
}

/* Where the words of the policy come from. */
static const struct {
	u32 leaf, sub, reg;
} word[CPUID_WORDS] = {
	[CPUID_1_ECX] = {1, 0, 2}, [CPUID_1_EDX] = {1, 0, 3}, [CPUID_7_EBX] = {7, 0, 1},
	[CPUID_7_ECX] = {7, 0, 2}, [CPUID_7_EDX] = {7, 0, 3}, [CPUID_D1_EAX] = {0xd, 1, 0},
	[CPUID_81_ECX] = {0x80000001, 0, 2}, [CPUID_81_EDX] = {0x80000001, 0, 3},
	[CPUID_88_EBX] = {0x80000008, 0, 1}, [CPUID_821_EAX] = {0x80000021, 0, 0},
	[CPUID_KVM_EAX] = {0x40000001, 0, 0},
};

/* What KVM does not list though it is there: it depends on the local APIC, or on the
 * guest's own CR4. */
static const u32 unlisted[CPUID_WORDS] = {
	[CPUID_1_ECX] = 1u << 21 | 1u << 24 | 1u << 27 | 1u << 31, /* x2APIC, deadline, OSXSAVE, guest */
	[CPUID_1_EDX] = 1u << 9 | 1u << 28,                        /* APIC, HTT */
	[CPUID_7_EBX] = 1u << 1 | 1u << 6 | 1u << 13,              /* TSC_ADJUST, x87 habits */
	[CPUID_7_EDX] = 1u << 10,                                  /* MD_CLEAR: nothing to be done */
	[CPUID_821_EAX] = ~0u,
};

static const u32 services = (1u << (FEAT_KVM_ASYNC_PF & 31)) | (1u << (FEAT_KVM_STEAL & 31)) |
			    (1u << (FEAT_KVM_EOI & 31)) | (1u << (FEAT_KVM_UNHALT & 31)) |
			    (1u << (FEAT_KVM_FLUSH & 31)) | (1u << (FEAT_KVM_IPI & 31)) |
			    (1u << (FEAT_KVM_POLL & 31)) | (1u << (FEAT_KVM_YIELD & 31)) |
			    (1u << (FEAT_KVM_ASYNC_PF_INT & 31));

void kvm_cpuid_limit(struct kvm_vm *k)
{
	struct leaves l = {.head.nent = LEAVES};

	if (kvm_call(k->kvm, KVM_GET_SUPPORTED_CPUID, &l) < 0)
		l.head.nent = 0;
	for (unsigned i = 0; i < CPUID_WORDS; i++) {
		const struct kvm_cpuid_entry2 *e = find(&l, word[i].leaf, word[i].sub);
		const u32 r[4] = {e ? e->eax : 0, e ? e->ebx : 0, e ? e->ecx : 0, e ? e->edx : 0};

		k->features[i] = r[word[i].reg] | unlisted[i];
	}
	k->services[CPUID_KVM_EAX] = k->features[CPUID_KVM_EAX] & services;
}

int kvm_cpuid_put(struct vcpu *v)
{
	const struct cpuid_policy *p = v->emul.cpuid;
	struct leaves l = {0};

	_Static_assert(CPUID_LEAVES + 2 <= LEAVES, "they fit");
	for (unsigned i = 0; i < p->n; i++) {
		struct kvm_cpuid_entry2 *e = &l.e[l.head.nent++];
		u32 out[4], sub = p->leaf[i].sub == ~0u ? 0 : p->leaf[i].sub;

		cpuid_query(v, p->leaf[i].leaf, sub, out);
		*e = (struct kvm_cpuid_entry2){
			.function = p->leaf[i].leaf, .index = sub,
			.flags = p->leaf[i].sub == ~0u ? 0 : KVM_CPUID_FLAG_SIGNIFCANT_INDEX,
			.eax = out[0], .ebx = out[1], .ecx = out[2], .edx = out[3],
		};
	}
	for (u32 sub = 0; sub < 2; sub++) { /* topology: not in the policy's table */
		struct kvm_cpuid_entry2 *e = &l.e[l.head.nent++];
		u32 out[4];

		cpuid_query(v, 0xb, sub, out);
		*e = (struct kvm_cpuid_entry2){
			.function = 0xb, .index = sub, .flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX,
			.eax = out[0], .ebx = out[1], .ecx = out[2], .edx = out[3],
		};
	}
	int r = kvm_must(kvm_cpu(v)->fd, KVM_SET_CPUID2, &l, "cannot set CPUID");
	return r < 0 ? r : 0;
}
