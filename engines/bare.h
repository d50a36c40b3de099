/* What the engines that run on the bare processor (svm, vmx) ask of the place beyond
 * core/host.h, and what of theirs the place has to call. */
#ifndef ENGINES_BARE_H
#define ENGINES_BARE_H

#include "core/engine.h"

struct vm;
struct vcpu;

/* n pages in a row, zeroed, not the guest's; NULL when there are none. */
void *bare_pages(unsigned n);
void bare_pages_free(void *, unsigned n);   /* may be NULL */
u64 bare_phys(const void *);                /* of memory from bare_pages(), host_alloc() or guest RAM */

/* Do all frames of [phys, phys + len) belong to this VM as its memory?  What is not so is
 * never mapped for a guest. */
bool bare_owned(const struct vm *, u64 phys, u64 len);

/* CR3 of the threads that run the VM's vCPUs. */
u64 bare_tables(const struct vm *);

/* This CPU's pages for the engine, BARE_CPU_PAGES of them; the caller cannot be moved to
 * another CPU meanwhile (interrupts are off, or GIF is 0). */
enum { BARE_CPU_PAGES = 3 };
void *bare_cpu(void);
u32 bare_tsc_khz(void);

/* Where a VM's nested tables are, for whoever looks at them. */
struct bare_audit {
	u64 root;
	u64 present;             /* an entry with one of these bits leads somewhere */
};

struct bare_engine {
	const struct engine *engine;
	/* What each CPU does once before the first vCPU runs there; interrupts are off.  0, or E_*
	 * after the error was said. */
	int (*cpu_init)(void *pages);
	/* Its thread has run the vCPU for the last time here: another CPU may, or it is taken apart. */
	void (*leave)(struct vcpu *);
	/* Do the VM's control blocks and permission maps let through no more than they may?  Else
	 * E_PERM and a word of what.  Any thread, while the VM runs; it is not taken apart. */
	int (*audit)(const struct vm *, struct bare_audit *, char *why, size_t n);
};

#endif
