/* fw_cfg: named bytes that the board hands to firmware and kernels. */
#ifndef CORE_DEV_FWCFG_H
#define CORE_DEV_FWCFG_H

#include "core/device.h"

enum { /* keys of fixed items that a board may add */
	FWCFG_UUID = 0x02, FWCFG_RAM_SIZE = 0x03, FWCFG_NB_CPUS = 0x05, FWCFG_KERNEL_ADDR = 0x07,
	FWCFG_KERNEL_SIZE = 0x08, FWCFG_CMDLINE_SIZE = 0x14, FWCFG_CMDLINE_DATA = 0x15,
	FWCFG_INITRD_ADDR = 0x0a, FWCFG_INITRD_SIZE = 0x0b, FWCFG_BOOT_MENU = 0x0e,
	FWCFG_MAX_CPUS = 0x0f, FWCFG_KERNEL_DATA = 0x11, FWCFG_INITRD_DATA = 0x12,
	FWCFG_SETUP_SIZE = 0x17, FWCFG_SETUP_DATA = 0x18,
	FWCFG_ARCH = 0x8000, /* OR-ed to keys of the architecture's own */
};

struct fwcfg;
struct fwcfg *fwcfg_new(struct vm *);  /* NULL after the error was said */
/* The bytes stay the caller's and live as long as the VM.  Adding a key or a name
 * again replaces its bytes: at each boot, before the guest runs. */
int fwcfg_add(struct fwcfg *, u16 key, const void *data, u32 n);
int fwcfg_add_u32(struct fwcfg *, u16 key, u32 val);   /* keeps the value itself */
int fwcfg_add_file(struct fwcfg *, const char *name, const void *data, u32 n);

#endif
