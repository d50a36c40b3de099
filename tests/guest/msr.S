/* Registers outside the machine's policy raise #GP on every engine, also those that what is
 * below an engine would answer by itself; those inside say what the policy says. */
#include "guest.h"

	.macro NONE index, what
	TRY
	mov $\index, %ecx
	rdmsr
	CAUGHT 13, 0, "rdmsr of \what"
	TRY
	mov $\index, %ecx
	xor %eax, %eax
	xor %edx, %edx
	wrmsr
	CAUGHT 13, 0, "wrmsr of \what"
	.endm

main:
	NONE 0x12345678, "none"
	NONE 0x186, "PERFEVTSEL0"
	NONE 0x400, "MC0_CTL"
	NONE 0xda0, "XSS"
	NONE 0x40000000, "HV_X64_MSR_GUEST_OS_ID"
	NONE 0x4b564d02, "MSR_KVM_ASYNC_PF_EN, which no CPUID bit offers"
	NONE 0x4b564d03, "MSR_KVM_STEAL_TIME"
	NONE 0x4b564d04, "MSR_KVM_EOI_EN"

	mov $0x179, %ecx /* no banks of machine checks */
	rdmsr
	EQUAL $0, %eax, "IA32_MCG_CAP"
	mov $0xfe, %ecx
	rdmsr
	EQUAL $0x508, %eax, "IA32_MTRRCAP"
	mov $0x277, %ecx
	mov $0x00070106, %eax
	mov $0x00070406, %edx
	wrmsr
	xor %eax, %eax
	rdmsr
	EQUAL $0x00070106, %eax, "IA32_PAT"
	EQUAL $0x00070406, %edx, "high half of IA32_PAT"
	jmp pass
