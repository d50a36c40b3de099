/* By the memory that ACPI's MCFG names, else by the ports CF8 and CFC. */
#include "hosts/metal/drivers/slot.h"
#include "hosts/metal/acpi.h"
#include "hosts/metal/cpu.h"
#include "hosts/metal/frames.h"
#include "hosts/metal/paging.h"

enum { ADDRESS = 0xcf8, DATA = 0xcfc };
enum { ID = 0x00, COMMAND = 0x04, CLASS = 0x08, HEADER = 0x0c, BAR0 = 0x10, BUSES = 0x18, CAPABILITIES = 0x34 };
enum { COMMAND_IO = 1, COMMAND_MEMORY = 2, COMMAND_MASTER = 4, COMMAND_NO_WIRE = 1 << 10, STATUS_LIST = 1 << 20 };
enum { BAR_PORTS = 1, BAR_64 = 4, CAPABILITIES_MOST = 48 };
enum { MCFG_FIRST = 44, MCFG_ROW = 16, BUS_ROOM = 32 * 8 * 4096 };

/* ---- registers */

static u64 ecam;               /* of bus 0; 0: there is none */
static unsigned ecam_last;     /* bus */

static void find_ecam(void)
{
	const u8 *t = acpi_table("MCFG");
	u32 n = t ? ld32(t + 4) : 0;

	if (n < MCFG_FIRST + MCFG_ROW || ld16(t + MCFG_FIRST + 8) || t[MCFG_FIRST + 10])
		return; /* another segment, or not from bus 0 on */
	ecam = ld64(t + MCFG_FIRST);
	ecam_last = t[MCFG_FIRST + 11];
	if (ecam % BUS_ROOM || frame_owner(ecam) != OWNER_NONE) {
		ecam = 0;
		return;
	}
	paging_map(ecam, ecam, (u64)(ecam_last + 1) * BUS_ROOM, MAP_DEVICE);
}

static volatile u32 *memory(const struct slot *s, unsigned reg)
{
	if (!ecam || s->place >> 8 > ecam_last)
		return NULL;
	return (volatile u32 *)(ecam + ((u64)s->place << 12) + reg);
}

static void select(const struct slot *s, unsigned reg)
{
	out32(ADDRESS, 1u << 31 | (u32)s->place << 8 | reg);
}

u32 slot_read(const struct slot *s, unsigned reg)
{
	volatile u32 *at = memory(s, reg);

	if (at)
		return *at;
	select(s, reg);
	return in32(DATA);
}

void slot_write(const struct slot *s, unsigned reg, u32 v)
{
	volatile u32 *at = memory(s, reg);

	if (at) {
		*at = v;
		return;
	}
	select(s, reg);
	out32(DATA, v);
}

u8 slot_capability(const struct slot *s, u8 number, u8 after)
{
	u8 at = (u8)(slot_read(s, CAPABILITIES) & 0xfc);
	bool passed = !after;

	if (!(slot_read(s, COMMAND) & STATUS_LIST))
		return 0;
	for (unsigned i = 0; at >= 0x40 && i < CAPABILITIES_MOST; i++) {
		u32 head = slot_read(s, at);

		if (passed && (head & 0xff) == number)
			return at;
		passed = passed || at == after;
		at = (u8)(head >> 8 & 0xfc);
	}
	return 0;
}

/* ---- what there is */

static void look_at_bus(struct slot *list, unsigned *n, unsigned bus);

static bool look_at(struct slot *list, unsigned *n, u16 place)
{
	struct slot s = { .place = place };
	u32 id = slot_read(&s, ID), class, header;

	if ((id & 0xffff) == 0xffff)
		return false;
	class = slot_read(&s, CLASS);
	header = slot_read(&s, HEADER) >> 16 & 0xff;
	s = (struct slot){ place, (u16)id, (u16)(id >> 16), (u16)(class >> 16), (u8)(class >> 8) };
	if (*n < SLOTS)
		list[(*n)++] = s;
	if ((header & 0x7f) == 1) {
		unsigned behind = slot_read(&s, BUSES) >> 8 & 0xff;

		if (behind > place >> 8u) /* or a bridge could lead back */
			look_at_bus(list, n, behind);
	}
	return header & 0x80;
}

/* Functions 1 to 7 are there when function 0 says so. */
static void look_at_bus(struct slot *list, unsigned *n, unsigned bus)
{
	for (unsigned d = 0; d < 32; d++) {
		u16 place = (u16)(bus << 8 | d << 3);

		if (!look_at(list, n, place))
			continue;
		for (u16 f = 1; f < 8; f++)
			look_at(list, n, place | f);
	}
}

unsigned slots_find(struct slot list[SLOTS])
{
	unsigned n = 0;

	find_ecam();
	look_at_bus(list, &n, 0);
	return n;
}

/* ---- where it is */

/* Its bits that can be written tell its size; nothing may be decoded meanwhile. */
static u32 mask_of(const struct slot *s, unsigned reg)
{
	u32 was = slot_read(s, reg), command = slot_read(s, COMMAND) & 0xffff, mask;

	slot_write(s, COMMAND, command & ~(u32)(COMMAND_IO | COMMAND_MEMORY));
	slot_write(s, reg, ~0u);
	mask = slot_read(s, reg);
	slot_write(s, reg, was);
	slot_write(s, COMMAND, command);
	return mask;
}

static int map_bar(struct bar *b, u64 at, u64 len)
{
	u64 from = at & PTE_ADDR, to = (at + len + PAGE_SIZE - 1) & PTE_ADDR;

	if (!at || !len || len > GiB || to <= from || to >> 46)
		return E_NOENT;
	for (u64 a = from; a < to; a += PAGE_SIZE)
		if (frame_owner(a) != OWNER_NONE)
			return E_NOENT;
	paging_map(from, from, to - from, MAP_DEVICE);
	*b = (struct bar){ .at = (u8 *)at, .len = len };
	return 0;
}

int slot_bar(const struct slot *s, unsigned n, struct bar *b)
{
	unsigned reg = BAR0 + 4 * n;
	u32 low = slot_read(s, reg), mask;
	u64 at = low & ~15u, len;

	if (n > 5)
		return E_NOENT;
	mask = mask_of(s, reg);
	if (low & BAR_PORTS) {
		*b = (struct bar){ .port = (u16)(low & ~3u), .len = (u16)(~(mask & ~3u) + 1) };
		return b->port && b->len ? 0 : E_NOENT;
	}
	len = ~(mask & ~15u) + 1;
	if ((low & 6) == BAR_64 && n < 5) {
		at |= (u64)slot_read(s, reg + 4) << 32;
		len = ~((u64)mask_of(s, reg + 4) << 32 | (mask & ~15u)) + 1;
	}
	return mask ? map_bar(b, at, len) : E_NOENT;
}

void slot_enable(const struct slot *s)
{
	u32 command = slot_read(s, COMMAND) & 0xffff;

	slot_write(s, COMMAND, command | COMMAND_IO | COMMAND_MEMORY | COMMAND_MASTER | COMMAND_NO_WIRE);
}

void slot_quiet(const struct slot *s)
{
	slot_write(s, COMMAND, slot_read(s, COMMAND) & 0xffff & ~(u32)COMMAND_MASTER);
}
