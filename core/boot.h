/* From a file to the first instruction.
 *
 * A struct boot lives for one pc_boot().  A loader checks every offset of the
 * file (a span that nobody vouches for), claims where the kernel wants to be,
 * copies it there, takes room for what it must be told (boot_alloc), and sets
 * the first vCPU's registers.  Messages begin with the kernel's name. */
#ifndef CORE_BOOT_H
#define CORE_BOOT_H

#include "core/pc.h"

enum { E820_RAM = 1, E820_RESERVED = 2 };
struct e820 {
	u64 base, len;
	u32 type;
};

enum { BOOT_CLAIMS = 128, BOOT_E820 = 8 };
struct boot {
	struct vm *vm;
	const struct pc_config *cfg;
	gpa rsdp;                        /* 0: none */
	unsigned ne820, nclaim;
	struct e820 e820[BOOT_E820];
	struct claim {
		gpa base, end;
	} claim[BOOT_CLAIMS];
};

/* ---- boot.c: memory and registers, for the loaders */
unsigned boot_e820(u64 ram, struct e820 map[BOOT_E820]);  /* returns how many */
void boot_init(struct boot *, struct vm *, const struct pc_config *);
/* Says who stays where; E_NOSPC unless all of it is RAM the guest may use. */
int boot_claim(struct boot *, gpa base, u64 len, const char *what);
/* Room in usable RAM as high as possible below `below`, claimed; 0 if there is none. */
gpa boot_alloc(struct boot *, u64 len, u64 align, gpa below);
/* The same for small things, below 640 KiB if there is room; says the error. */
gpa boot_alloc_low(struct boot *, u64 len, u64 align, const char *what);
/* Copies a file's n bytes and zeroes up to len; the range was claimed. */
void boot_put(struct boot *, gpa, const void *, u64 n, u64 len);
gpa boot_put_string(struct boot *, const char *a, const char *b, const char *what);
/* Room for a big file (initrd, module), page-aligned below `below`; copied. */
int boot_put_file(struct boot *, const struct span *, gpa below, const char *what, gpa *at);

/* The first vCPU, about to run: flat 32-bit protected mode, or long mode with
 * the first 4 GiB mapped one to one.  CS 0x10, the rest 0x18, interrupts off. */
int boot_cpu_protected(struct boot *, u32 eip);
int boot_cpu_long(struct boot *, u64 rip);

/* ---- the loaders; E_NOENT and no message: not mine */
int boot_linux(struct boot *);
int boot_multiboot(struct boot *);
int boot_elf(struct boot *);
int boot_rom(struct boot *);
int boot_rom_check(const struct pc_config *);
/* Kernel, by whichever loader knows it; or firmware. */
int boot_load(struct boot *);

/* ---- boot_elf.c: ELF files, both classes */
struct elf {
	const u8 *p;
	size_t n;
	bool wide;                       /* ELFCLASS64 */
	u64 entry, phoff;
	unsigned phnum, phsize;
};
struct elf_phdr {
	u32 type;
	u64 off, vaddr, paddr, filesz, memsz, align;
};
enum { PT_LOAD = 1, PT_NOTE = 4 };
bool elf_is(struct span);
int elf_open(struct elf *, struct span, const char *name);
void elf_phdr(const struct elf *, unsigned i, struct elf_phdr *);
int elf_load(struct boot *, const struct elf *);  /* every PT_LOAD to its p_paddr */
u64 elf_entry(const struct elf *);                /* physical, also where e_entry is virtual */

/* ---- boot_linux.c: the zero page, also for a bare vmlinux (setup NULL) */
int linux_enter(struct boot *, const u8 *setup, size_t n, u64 entry, bool wide);

#endif
