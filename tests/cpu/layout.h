/* Where everything lies in the address space of a vector, natively and in the
 * emulator's VM; and the state block the stub (stub.S) loads and stores.  All
 * below 4 GiB, so that 32-bit code reaches it. */
#ifndef TESTS_CPU_LAYOUT_H
#define TESTS_CPU_LAYOUT_H

#define DATA_BASE 0x10000000 /* segment-sized window; pages 0 1 f read-write, 3 read-only, */
#define DATA_SPAN 0x10000    /* others not there */
#define CODE_BASE 0x20000000 /* two pages, read and execute; nothing on either side */
#define CODE_SPAN 0x2000
#define CODE_LAND 0x1800     /* in it: where indirect branches like to go */
#define STUB_BASE 0x5a5c7000 /* native only: one page of stub.S */
#define STATE_IN  0x5a5c9000 /* native only: struct cpu to load, */
#define STATE_OUT 0x5a5ca000 /*  struct cpu as it came out, */
#define STATE_TOP 0x5a5cb000 /*  end of what vectors must not touch */

/* offsets in struct cpu */
#define CPU_R       0
#define CPU_RIP     128
#define CPU_RFLAGS  136
#define CPU_FSBASE  144
#define CPU_GSBASE  152
#define CPU_SEL     160 /* ES CS SS DS FS GS */
#define CPU_FAR     176 /* far pointer rip:cs */
#define CPU_LEGACY  184 /* 16- or 32-bit code: load all selectors, jump far */
#define CPU_HOSTRSP 192
#define CPU_HOSTFS  200
#define CPU_RUNNING 208
#define CPU_FRESH   216 /* the exit stub was reached: the out state is whole */
#define CPU_LAST    224 /* stub_near or stub_far, by LEGACY */
#define CPU_ALARMS  232
#define CPU_XSAVE   256

/* Linux's own selectors, and ours in the LDT */
#define SEL_CS32   0x23
#define SEL_DS     0x2b
#define SEL_CS64   0x33
#define SEL_CODE16 0x07 /* base CODE_BASE, limit CODE_SPAN - 1 */
#define SEL_DATA16 0x0f /* base DATA_BASE, limit 0xffff, 16-bit */
#define SEL_SMALL  0x17 /* base DATA_BASE + 0x100, limit 0xfff, byte granular, 32-bit */
#define SEL_BIG    0x1f /* base DATA_BASE - 0x1000, limit 4G, 32-bit */
#define SEL_DOWN   0x27 /* expand-down: base DATA_BASE, offsets above 0x7ff, 32-bit */
#define SEL_ABSENT 0x37 /* not present */
#define SEL_RODATA 0x3f /* read-only, flat */
#define SEL_XCODE  0x47 /* execute-only code, 32-bit, flat */
#define SEL_LDT_N  9    /* entries */
#define SEL_LIMIT  0x2f /* base 0, limit DATA_BASE + 0xfff: page granular */

#endif
