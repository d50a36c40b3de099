/* What the assembler's part and C's agree on. */
#ifndef HOSTS_METAL_BOOT_H
#define HOSTS_METAL_BOOT_H

#define GDT_CODE 0x08
#define GDT_DATA 0x10
#define GDT_CODE32 0x18
#define GDT_TSS 0x20
#define GDT_USER_DATA 0x30
#define GDT_USER_CODE 0x38
#define VECTOR_CALL 0x80   /* from ring 3: a system call */
#define BOOT_STACK 0x8000
#define AP_BASE 0x8000     /* a page below 1 MiB where further processors begin */

#endif
