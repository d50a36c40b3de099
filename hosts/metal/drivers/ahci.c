/* Serial ATA, AHCI 1.3.1: a command slot of each port with a disk.  The links are as the firmware
 * left them; only what we look at is stopped and begun anew. */
#include "hosts/metal/drivers/ata.h"
#include "hosts/metal/drivers/drivers.h"
#include "hosts/metal/drivers/slot.h"
#include "hosts/metal/words.h"

enum { CAP = 0x00, GHC = 0x04, PI = 0x0c, PORTS = 0x100, PORT = 0x80, PORTS_MOST = 32 };
enum { CLB = 0x00, FB = 0x08, IS = 0x10, IE = 0x14, CMD = 0x18, TFD = 0x20, SIG = 0x24, SSTS = 0x28, SERR = 0x30, CI = 0x38 };
enum { CMD_ST = 1, CMD_FRE = 1 << 4, CMD_FR = 1 << 14, CMD_CR = 1 << 15, IS_TFES = 1 << 30, TFD_ERR = 1, TFD_DRQ = 8,
       TFD_BSY = 0x80, SSTS_LINK = 3, SIG_DISK = 0x101 };
#define CAP_64 (1u << 31)
#define GHC_AE (1u << 31)
/* of a port's page: the list of commands, what is received, the one command's table */
enum { LIST = 0, RECEIVED = 1024, TABLE = 2048, TABLE_PRD = TABLE + 0x80 };
enum { HEAD_FIS = 5, HEAD_WRITE = 1 << 6, HEAD_ONE_PRD = 1 << 16, FIS_COMMAND = 0x8027, DEVICE_LBA = 0x40,
       TRIM_MOST = 65535 };

struct ahci {
	struct drive drive;
	u8 *port;
	u8 *page;
	bool can_flush;
};
struct command { u8 op; bool write; u16 feature; u64 block; u32 count, bytes; };

static struct ahci *of(struct drive *d) { return container_of(d, struct ahci, drive); }
static u32 get(const u8 *regs, u32 reg) { return *(const volatile u32 *)(const void *)(regs + reg); }
static void set(u8 *regs, u32 reg, u32 v) { *(volatile u32 *)(void *)(regs + reg) = v; }
static void set64(u8 *regs, u32 reg, u64 v) { set(regs, reg, (u32)v); set(regs, reg + 4, (u32)(v >> 32)); }

/* ---- a port begins and stops (10.1.2) */

static bool list_stands(void *port) { return !(get(port, CMD) & CMD_CR); }
static bool nothing_comes(void *port) { return !(get(port, CMD) & CMD_FR); }
static bool free_of_task(void *port) { return !(get(port, TFD) & (TFD_BSY | TFD_DRQ)); }

static int stop(u8 *port)
{
	set(port, CMD, get(port, CMD) & ~(u32)CMD_ST);
	if (!wait_until(list_stands, port, SEC))
		return E_IO;
	set(port, CMD, get(port, CMD) & ~(u32)CMD_FRE);
	return wait_until(nothing_comes, port, SEC) ? 0 : E_IO;
}

static int begin(struct ahci *a)
{
	set64(a->port, CLB, (u64)a->page + LIST);
	set64(a->port, FB, (u64)a->page + RECEIVED);
	set(a->port, IE, 0);
	set(a->port, SERR, ~0u);
	set(a->port, IS, ~0u);
	set(a->port, CMD, get(a->port, CMD) | CMD_FRE);
	if (!wait_until(free_of_task, a->port, PATIENCE))
		return E_IO;
	set(a->port, CMD, get(a->port, CMD) | CMD_ST);
	return 0;
}

/* ---- one command */

static void put(struct ahci *a, const struct command *c)
{
	u8 *head = a->page + LIST, *fis = a->page + TABLE, *prd = a->page + TABLE_PRD;

	memset(fis, 0, 64);
	st16(fis, FIS_COMMAND);
	fis[2] = c->op;
	fis[3] = (u8)c->feature;
	st32(fis + 4, (u32)(c->block & 0xffffff) | (u32)DEVICE_LBA << 24);
	st32(fis + 8, (u32)(c->block >> 24 & 0xffffff));
	st16(fis + 12, (u16)c->count);
	st64(prd, (u64)a->drive.buffer);
	st32(prd + 8, 0);
	st32(prd + 12, c->bytes - 1);
	st32(head, HEAD_FIS | (c->write ? HEAD_WRITE : 0) | (c->bytes ? HEAD_ONE_PRD : 0));
	st32(head + 4, 0);
	st64(head + 8, (u64)a->page + TABLE);
}

static bool done(void *port)
{
	return !(get(port, CI) & 1) || get(port, IS) & IS_TFES;
}

static int dead(struct ahci *a)
{
	stop(a->port);
	drive_die(&a->drive, "does not answer");
	return E_IO;
}

static int ask(struct ahci *a, struct command c)
{
	put(a, &c);
	set(a->port, IS, ~0u);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	set(a->port, CI, 1);
	if (!wait_until(done, a->port, PATIENCE))
		return dead(a);
	if (!(get(a->port, IS) & IS_TFES) && !(get(a->port, TFD) & TFD_ERR))
		return 0;
	return stop(a->port) || begin(a) ? dead(a) : E_IO; /* 6.2.2.1 */
}

static int move(struct drive *d, bool write, u64 block, u32 n)
{
	return ask(of(d), (struct command){ .op = write ? ATA_WRITE_DMA_EXT : ATA_READ_DMA_EXT, .write = write, .block = block,
					    .count = n, .bytes = n * d->block });
}

static int flush(struct drive *d)
{
	return of(d)->can_flush ? ask(of(d), (struct command){ .op = ATA_FLUSH_EXT }) : 0;
}

static int discard(struct drive *d, u64 block, u32 n)
{
	memset(d->buffer, 0, 512);
	st64(d->buffer, block | (u64)n << 48);
	return ask(of(d), (struct command){ .op = ATA_TRIM, .feature = 1, .write = true, .count = 1, .bytes = 512 });
}

/* ---- what is there */

/* 48-bit addresses are as old as Serial ATA. */
static int identify(struct ahci *a)
{
	struct ata_facts f;

	if (ask(a, (struct command){ .op = ATA_IDENTIFY, .bytes = 512 }) || !ata_read(&f, a->drive.buffer) || !f.wide || !f.blocks)
		return E_UNSUP;
	a->can_flush = f.can_flush;
	a->drive.block = f.block;
	a->drive.blocks = f.blocks;
	a->drive.most = DRIVE_BUFFER;
	a->drive.discard_most = f.can_trim ? TRIM_MOST : 0;
	return 0;
}

static int memory(struct ahci *a, bool wide)
{
	a->drive.buffer = host_alloc(DRIVE_BUFFER);
	a->page = host_alloc(PAGE_SIZE);
	if (!a->drive.buffer || !a->page)
		return E_NOMEM;
	return !wide && ((u64)a->drive.buffer | (u64)a->page) >> 32 ? E_UNSUP : 0;
}

static int disk(u8 *port, bool wide)
{
	static const struct drive_ops ops = { move, flush, discard };
	struct ahci *a = host_alloc(sizeof(*a));
	int err = a ? memory(a, wide) : E_NOMEM;

	if (err)
		return err;
	a->drive.ops = &ops;
	a->port = port;
	fmt(a->drive.name, sizeof(a->drive.name), "sata");
	if ((err = stop(port)) || (err = begin(a)) || (err = identify(a))) {
		stop(port);
		return err;
	}
	return drive_add(&a->drive, "sata");
}

/* One disk that does not work keeps no other from it. */
int ahci_start(const struct slot *s)
{
	struct bar b;
	u32 ports;

	if (slot_bar(s, 5, &b) || !b.at || b.len < PORTS + PORT)
		return E_NOENT;
	slot_enable(s);
	set(b.at, GHC, GHC_AE);
	ports = get(b.at, PI);
	for (unsigned i = 0; i < PORTS_MOST && PORTS + (u64)(i + 1) * PORT <= b.len; i++) {
		u8 *port = b.at + PORTS + (size_t)i * PORT;

		if (ports >> i & 1 && (get(port, SSTS) & 15) == SSTS_LINK && get(port, SIG) == SIG_DISK &&
		    disk(port, get(b.at, CAP) & CAP_64))
			say("lodge: disk at port %u of a SATA controller: cannot be used", i);
	}
	return 0;
}
