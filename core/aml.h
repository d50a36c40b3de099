/* Writes ACPI machine language (ACPI 6.4, ch. 20) into a buffer, in order: what
 * opens (a scope, a device, a package) is closed, innermost first. */
#ifndef CORE_AML_H
#define CORE_AML_H

#include "core/base.h"

enum { AML_DEPTH = 12 };
struct aml {
	u8 *p;
	size_t n, room;
	bool full;               /* did not fit: what follows is dropped */
	unsigned depth;
	size_t open[AML_DEPTH];  /* where the lengths to fill in are */
};

enum {
	AML_BUFFER = 0x11, AML_PACKAGE = 0x12, AML_SCOPE = 0x10, AML_IF = 0xa0, AML_METHOD = 0x14,
	AML_NAME = 0x08, AML_STORE = 0x70, AML_NOTIFY = 0x86, AML_RETURN = 0xa4,
	AML_ARG0 = 0x68, AML_DEVICE = 0x5b82,
};

void aml_init(struct aml *, void *p, size_t room);
void aml_bytes(struct aml *, const void *, size_t n);
void aml_op(struct aml *, unsigned op);            /* one byte, or two (0x5bxx) */
void aml_int(struct aml *, u64);
void aml_string(struct aml *, const char *);
void aml_path(struct aml *, const char *);         /* "\\_SB_.PCI0": segments of 4 letters */
void aml_eisaid(struct aml *, const char *);       /* "PNP0A08" */

void aml_open(struct aml *, unsigned op);          /* whatever has a PkgLength */
void aml_open_name(struct aml *, unsigned op, const char *path);
void aml_open_method(struct aml *, const char *path, unsigned args);
void aml_open_package(struct aml *, u8 elements);
void aml_close(struct aml *);

void aml_name(struct aml *, const char *path);     /* Name(path, what follows) */
void aml_name_int(struct aml *, const char *path, u64);
void aml_hid(struct aml *, const char *path, const char *eisaid);

/* Resource templates: Name(_CRS, ResourceTemplate() { ... }). */
void aml_open_crs(struct aml *);
void aml_close_crs(struct aml *);
void aml_crs_io(struct aml *, u16 base, u8 len);
void aml_crs_irq(struct aml *, unsigned irq);
void aml_crs_fixed(struct aml *, u32 base, u32 len);
enum aml_window { AML_WIN_MEM, AML_WIN_IO, AML_WIN_BUS };
void aml_crs_window(struct aml *, enum aml_window, u64 base, u64 len); /* a bridge's, passed down */

#endif
