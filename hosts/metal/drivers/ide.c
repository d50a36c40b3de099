/* Disks on IDE (ATA/ATAPI-6, T13 1410D) by programmed I/O: what is left of it is old or emulated,
 * and has a processor to spare.  A channel has two disks and one set of registers, so both
 * share its turn. */
#include "hosts/metal/drivers/drivers.h"
#include "hosts/metal/drivers/ata.h"
#include "hosts/metal/drivers/slot.h"
#include "hosts/metal/cpu.h"

enum { DATA = 0, COUNT = 2, LBA_LOW = 3, LBA_MID = 4, LBA_HIGH = 5, DEVICE = 6, COMMAND = 7, CONTROL = 0 };
enum { BSY = 0x80, DF = 0x20, DRQ = 8, ERR = 1, NOTHING = 0xff };
enum { DEVICE_LBA = 0xe0, DEVICE_SECOND = 0x10, CONTROL_QUIET = 2, NATIVE_FIRST = 1, NATIVE_SECOND = 4 };
enum { SECTOR = 512 };

struct channel {
	u16 port, control;
	struct turn turn;
};
struct ide {
	struct drive drive;
	struct channel *on;
	u8 second;             /* DEVICE_SECOND or 0 */
	bool wide;             /* 48-bit addresses */
	bool can_flush;
};

static struct ide *of(struct drive *d) { return container_of(d, struct ide, drive); }

static void read_data(const struct channel *c, void *to)
{
	u64 n = SECTOR / 2;

	__asm__ volatile("rep insw" : "+D"(to), "+c"(n) : "d"(c->port) : "memory");
}

static void write_data(const struct channel *c, const void *from)
{
	u64 n = SECTOR / 2;

	__asm__ volatile("rep outsw" : "+S"(from), "+c"(n) : "d"(c->port) : "memory");
}

static u8 status(const struct channel *c) { return in8(c->control); } /* and no interrupt is taken back */

static bool idle(void *arg)
{
	return !(status(arg) & BSY);
}

/* Not busy, and as asked: with data, or without an error. */
static int settle(struct channel *c, bool data)
{
	u8 s;

	for (unsigned i = 0; i < 4; i++)
		status(c); /* 400 ns, until it may be believed */
	if (!wait_until(idle, c, PATIENCE))
		return E_BUSY;
	s = status(c);
	return s & (ERR | DF) || (data && !(s & DRQ)) ? E_IO : 0;
}

static int choose(struct ide *d, u8 more)
{
	out8(d->on->port + DEVICE, (u8)(DEVICE_LBA | d->second | more));
	return settle(d->on, false) == E_BUSY ? E_BUSY : 0;
}

static void address(const struct ide *d, u64 at, u32 n)
{
	u16 p = d->on->port;

	if (d->wide) { /* the high halves go first */
		out8(p + COUNT, (u8)(n >> 8));
		out8(p + LBA_LOW, (u8)(at >> 24));
		out8(p + LBA_MID, (u8)(at >> 32));
		out8(p + LBA_HIGH, (u8)(at >> 40));
	}
	out8(p + COUNT, (u8)n);
	out8(p + LBA_LOW, (u8)at);
	out8(p + LBA_MID, (u8)(at >> 8));
	out8(p + LBA_HIGH, (u8)(at >> 16));
}

static int sectors(struct ide *d, bool write, u32 n)
{
	u8 *at = d->drive.buffer;
	int err = 0;

	for (; n && !err; n--, at += SECTOR) {
		if ((err = settle(d->on, true)))
			break;
		if (write)
			write_data(d->on, at);
		else
			read_data(d->on, at);
	}
	return err ? err : settle(d->on, false);
}

static u8 command_of(const struct ide *d, bool write)
{
	return write ? (d->wide ? ATA_WRITE_EXT : ATA_WRITE) : d->wide ? ATA_READ_EXT : ATA_READ;
}

/* An error stays one; a device that is busy for good is given up. */
static int judge(struct ide *d, int err)
{
	if (err == E_BUSY)
		drive_die(&d->drive, "does not answer");
	return err ? E_IO : 0;
}

static int move(struct drive *drive, bool write, u64 block, u32 n)
{
	struct ide *d = of(drive);
	int err;

	turn_take(&d->on->turn);
	err = choose(d, d->wide ? 0 : (u8)(block >> 24 & 15));
	if (!err) {
		address(d, block, n);
		out8(d->on->port + COMMAND, command_of(d, write));
		err = sectors(d, write, n);
	}
	turn_give(&d->on->turn);
	return judge(d, err);
}

static int flush(struct drive *drive)
{
	struct ide *d = of(drive);
	int err;

	if (!d->can_flush)
		return 0;
	turn_take(&d->on->turn);
	err = choose(d, 0);
	if (!err) {
		out8(d->on->port + COMMAND, d->wide ? ATA_FLUSH_EXT : ATA_FLUSH);
		err = settle(d->on, false);
	}
	turn_give(&d->on->turn);
	return judge(d, err);
}

/* ---- what is there */

/* A device that is none answers with nothing, or is no disk of ours (a CD drive's command fails). */
static bool identify(struct ide *d)
{
	struct ata_facts facts;

	out8(d->on->port + DEVICE, (u8)(DEVICE_LBA | d->second));
	if (status(d->on) == NOTHING || settle(d->on, false) == E_BUSY)
		return false;
	address(d, 0, 0);
	out8(d->on->port + COMMAND, ATA_IDENTIFY);
	if (!status(d->on) || settle(d->on, true))
		return false;
	read_data(d->on, d->drive.buffer);
	if (!ata_read(&facts, d->drive.buffer) || facts.block != SECTOR)
		return false;
	d->wide = facts.wide;
	d->can_flush = facts.can_flush;
	d->drive.blocks = facts.blocks;
	d->drive.block = SECTOR;
	d->drive.most = DRIVE_BUFFER; /* 128 sectors: a count of 8 bits is enough */
	return facts.blocks;
}

static int look(struct channel *c, u8 second)
{
	static const struct drive_ops ops = { move, flush, NULL };
	struct ide *d = host_alloc(sizeof(*d));
	u8 *buffer = host_alloc(DRIVE_BUFFER);

	if (!d || !buffer)
		return fail(E_NOMEM, "disks on IDE: memory: none left");
	*d = (struct ide){ .drive = { .ops = &ops, .buffer = buffer }, .on = c, .second = second };
	if (identify(d))
		return drive_add(&d->drive, "ide");
	host_free(buffer, DRIVE_BUFFER);
	host_free(d, sizeof(*d));
	return 0;
}

static int channel(u16 port, u16 control)
{
	struct channel *c = host_alloc(sizeof(*c));
	int err;

	if (!c)
		return fail(E_NOMEM, "disks on IDE: memory: none left");
	*c = (struct channel){ .port = port, .control = control };
	out8(control, CONTROL_QUIET);
	err = look(c, 0);
	return err ? err : look(c, DEVICE_SECOND);
}

/* PCI IDE Controller Specification 1.0: at the old ports, unless a channel says otherwise. */
int ide_start(const struct slot *s)
{
	static const struct { u8 native; u16 port, control; } old[2] = { { NATIVE_FIRST, 0x1f0, 0x3f6 },
									 { NATIVE_SECOND, 0x170, 0x376 } };
	int err = 0;

	slot_enable(s);
	for (unsigned i = 0; i < 2 && !err; i++) {
		struct bar command, control;

		if (!(s->interface & old[i].native))
			err = channel(old[i].port, old[i].control);
		else if (!slot_bar(s, 2 * i, &command) && command.port && !slot_bar(s, 2 * i + 1, &control) && control.port)
			err = channel(command.port, control.port + 2);
	}
	slot_quiet(s); /* nobody asks it to reach memory */
	return err;
}
