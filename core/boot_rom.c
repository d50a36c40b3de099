/* Firmware: a flat ROM that ends at 4 GiB; pc_init made it part of memory.  Its
 * last 256 KiB are copied below 1 MiB, where real mode finds them, into RAM, so
 * that firmware which unpacks itself there needs no shadow registers.  (A PC shows
 * 128 KiB there; a SeaBIOS of 256 KiB copies the rest with a chipset's registers, which
 * this machine does not have.)  The CPU stays as reset left it: real mode, CS base
 * 0xffff0000, IP 0xfff0.
 *
 * Such firmware describes the machine itself: it gets the memory map and the
 * vCPUs' number through fw_cfg, but no ACPI or SMBIOS tables (SeaBIOS would want
 * them as fw_cfg's etc/acpi/tables with its linker script, which is not made). */
#include "core/boot.h"
#include "core/map.h"

enum { ROM_UNIT = 64 * KiB, ROM_MAX = 16 * MiB, ROM_COPY = 256 * KiB };

int boot_rom_check(const struct pc_config *cfg)
{
	if (!cfg->firmware.p)
		return fail(E_INVAL, "nothing to boot: neither a kernel nor firmware was given");
	if (!cfg->firmware.n || cfg->firmware.n % ROM_UNIT || cfg->firmware.n > ROM_MAX)
		return fail(E_INVAL, "firmware: %zu bytes: must be a multiple of 64 KiB, at most "
			    "16 MiB", cfg->firmware.n);
	if (cfg->test_devices && MAP_4G - cfg->firmware.n < MAP_TESTDEV + 64 * KiB)
		return fail(E_BUSY, "firmware: 16 MiB of it leave no room for the test devices");
	return 0;
}

int boot_rom(struct boot *b)
{
	const struct span *f = &b->cfg->firmware;
	u64 n;
	int err = boot_rom_check(b->cfg);

	if (err)
		return err;
	n = min_u64(f->n, ROM_COPY);
	boot_put(b, MAP_HIGH - n, (const u8 *)f->p + f->n - n, n, n);
	return 0;
}
