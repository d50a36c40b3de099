/* SMBIOS 3.0 (DMTF DSP0134): the entry point at 0xf0000, the structures behind it.
 * Type 11 carries the configuration's OEM strings, systemd credentials for one. */
#include "core/acpi.h"
#include "core/map.h"

enum { ENTRY_LEN = 24, FIRST = 32, FORMATTED = 0x30 };
enum { H_ARRAY = 0x1000 };

struct tables {
	u8 *p;
	size_t n, room;
	bool full;
	u16 handle;
};

static void put(struct tables *t, const void *p, size_t n)
{
	if (t->full || n > t->room - t->n) {
		t->full = true;
		return;
	}
	memcpy(t->p + t->n, p, n);
	t->n += n;
}

/* A structure: header and formatted bytes d[0..len), then the strings and their end. */
static void structure(struct tables *t, u8 type, u8 *d, u8 len, u16 handle,
		      const char *const *strings, unsigned n)
{
	d[0] = type;
	d[1] = len;
	st16(d + 2, handle);
	put(t, d, len);
	for (unsigned i = 0; i < n; i++)   /* an empty string would be the end */
		put(t, *strings[i] ? strings[i] : " ", *strings[i] ? strlen(strings[i]) + 1 : 2);
	put(t, "\0", n ? 1 : 2);
}

static void bios(struct tables *t)
{
	static const char *const s[] = { "lodge", "1", "01/01/2026" };
	u8 d[FORMATTED] = { 0 };

	d[4] = 1, d[5] = 2, d[8] = 3;
	st16(d + 6, 0xe000);
	st64(d + 10, 1 << 3);            /* characteristics: not given */
	d[18] = 1;                       /* ACPI */
	d[19] = 1 << 4;                  /* a virtual machine */
	d[20] = d[21] = d[22] = d[23] = 0xff;
	structure(t, 0, d, 0x18, t->handle++, s, countof(s));
}

static void machine(struct tables *t, const u8 uuid[16])
{
	static const char *const s[] = { "lodge", "lodge PC", "1" };
	u8 d[FORMATTED] = { 0 };

	d[4] = 1, d[5] = 2, d[6] = 3;
	memcpy(d + 8, uuid, 16);
	d[24] = 6;                       /* woken by the power switch */
	structure(t, 1, d, 0x1b, t->handle++, s, countof(s));
}

static void chassis(struct tables *t)
{
	static const char *const s[] = { "lodge" };
	u8 d[FORMATTED] = { 0 };

	d[4] = 1, d[5] = 1;              /* kind: other */
	d[9] = d[10] = d[11] = 3;        /* boot-up, power, thermal: safe */
	d[12] = 2;
	structure(t, 3, d, 0x16, t->handle++, s, countof(s));
}

static void processor(struct tables *t, unsigned cpus)
{
	static const char *const s[] = { "CPU 0", "lodge" };
	u8 d[FORMATTED] = { 0 };

	d[4] = 1, d[5] = 3, d[6] = 2, d[7] = 2;
	d[24] = 0x41;                    /* populated, enabled */
	d[25] = 1;
	st16(d + 26, 0xffff), st16(d + 28, 0xffff), st16(d + 30, 0xffff); /* no cache handles */
	d[35] = d[36] = d[37] = cpus < 255 ? (u8)cpus : 255;
	st16(d + 38, 1 << 2 | 1 << 7);   /* 64-bit, enhanced virtualization no, multi-core */
	st16(d + 40, 2);
	st16(d + 42, (u16)cpus), st16(d + 44, (u16)cpus), st16(d + 46, (u16)cpus);
	structure(t, 4, d, 0x30, t->handle++, s, countof(s));
}

static void memory(struct tables *t, u64 ram)
{
	static const char *const s[] = { "DIMM 0", "lodge" };
	u8 d[FORMATTED] = { 0 }, a[FORMATTED] = { 0 };

	a[4] = 1, a[5] = 3, a[6] = 6;    /* on the board, system memory, multi-bit ECC */
	st32(a + 7, 0x80000000);
	st16(a + 11, 0xfffe);
	st16(a + 13, 1);
	st64(a + 15, ram);
	structure(t, 16, a, 0x17, H_ARRAY, NULL, 0);

	st16(d + 4, H_ARRAY), st16(d + 6, 0xfffe);
	st16(d + 8, 0xffff), st16(d + 10, 0xffff);
	st16(d + 12, ram / MiB < 0x7fff ? (u16)(ram / MiB) : 0x7fff);
	d[14] = 9, d[16] = 1, d[17] = 0, d[18] = 7;
	st16(d + 19, 1 << 2);
	d[23] = 2;
	st32(d + 28, (u32)(ram / MiB));
	structure(t, 17, d, 0x28, t->handle++, s, countof(s));
}

static void mapped(struct tables *t, u64 base, u64 len)
{
	u8 d[FORMATTED] = { 0 };

	st32(d + 4, 0xffffffff), st32(d + 8, 0xffffffff);
	st16(d + 12, H_ARRAY);
	d[14] = 1;
	st64(d + 15, base);
	st64(d + 23, base + len - 1);
	structure(t, 19, d, 0x1f, t->handle++, NULL, 0);
}

static void oem(struct tables *t, const struct pc_config *cfg)
{
	u8 d[FORMATTED] = { 0 };
	unsigned n = cfg->noem < PC_OEM ? cfg->noem : PC_OEM;

	d[4] = (u8)n;
	if (n)
		structure(t, 11, d, 5, t->handle++, cfg->oem, n);
}

static void end(struct tables *t)
{
	u8 d[FORMATTED] = { 0 };

	structure(t, 32, d, 11, t->handle++, NULL, 0);  /* booted without errors */
	memset(d, 0, sizeof(d));
	structure(t, 127, d, 4, t->handle++, NULL, 0);
}

static void entry(u8 *p, size_t len)
{
	u8 sum = 0;

	memset(p, 0, FIRST);
	memcpy(p, "_SM3_", 5);
	p[6] = ENTRY_LEN;
	p[7] = 3;                        /* version 3.0, revision 1 of this structure */
	p[10] = 1;
	st32(p + 12, (u32)len);
	st64(p + 16, MAP_SMBIOS + FIRST);
	for (unsigned i = 0; i < ENTRY_LEN; i++)
		sum = (u8)(sum + p[i]);
	p[5] = (u8)-sum;
}

int smbios_put(struct vm *vm, const struct pc_config *cfg)
{
	u64 low = ram_top_low(cfg->ram, MAP_HOLE), room = MAP_HIGH - MAP_SMBIOS;
	u8 *p = ram_ptr(vm, MAP_SMBIOS, room, true);
	struct tables t = { .p = p, .n = FIRST, .room = room };

	assert(p);
	bios(&t);
	machine(&t, cfg->uuid);
	chassis(&t);
	processor(&t, vm->nvcpu);
	oem(&t, cfg);
	memory(&t, cfg->ram);
	mapped(&t, 0, low);
	if (cfg->ram > low)
		mapped(&t, MAP_4G, cfg->ram - low);
	end(&t);
	if (t.full)
		return fail(E_NOSPC, "smbios: the OEM strings do not fit into %llu KiB",
			    (unsigned long long)(room / KiB));
	entry(p, t.n - FIRST);
	ram_written(vm, MAP_SMBIOS, room);
	return 0;
}
