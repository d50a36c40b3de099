/* Our own GDT, for user code and a TSS with stacks that are always there. */
#include "tests/guest/attack/attack.h"

static u8 gdt[GDT_SIZE];
static u8 tss[104];

struct pointer {
	u16 limit;
	u64 base;
} __attribute__((packed));

void gate(unsigned vector, u64 to, u64 bits)
{
	st64(idt + vector * 16, (to & 0xffff) | CODE64 << 16 | bits << 32 | (to >> 16 & 0xffff) << 48);
	st64(idt + vector * 16 + 8, to >> 32);
}

static void gdt_init(void)
{
	static const u64 fixed[] = { 0, 0x00af9b000000ffff, 0x00cf93000000ffff, 0x00cf9b000000ffff, 0x00cff3000000ffff,
				     0x00affb000000ffff };
	u64 base = (u64)tss;
	struct pointer p = { sizeof(gdt) - 1, (u64)gdt };

	memcpy(gdt, fixed, sizeof(fixed));
	st64(gdt + TSS, 103 | (base & 0xffffff) << 16 | 0x89ull << 40 | (base >> 24 & 0xff) << 56);
	st64(gdt + TSS + 8, base >> 32);
	st64(tss + 4, (u64)ist_trap);
	st64(tss + 36, (u64)ist_trap);
	st64(tss + 44, (u64)ist_irq);
	__asm__ volatile("lgdt %0; ltr %w1" : : "m"(p), "r"(TSS) : "memory");
}

void traps_init(void)
{
	gdt_init();
	for (unsigned i = 0; i < 256; i++)
		gate(i, (u64)stub_vectors + i * 16, i < 32 ? 0x8e01 : 0x8e02);
}
