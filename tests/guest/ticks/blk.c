/* Virtio 1.2, 4.1 and 5.2: a queue of eight descriptors in the first pages behind 12 MiB. */
#include "tests/guest/ticks/blk.h"
#include "tests/guest/bare/bare.h"

enum { CF8 = 0xcf8, CFC = 0xcfc, ID = 0x10421af4, CAP_VENDOR = 9, SLOTS = 32, SIZE = 8 };
enum { STATUS = 20, QUEUE_SELECT = 22, QUEUE_SIZE = 24, QUEUE_VECTOR = 26, QUEUE_ENABLE = 28, QUEUE_DESC = 32,
       QUEUE_AVAIL = 40, QUEUE_USED = 48, DRIVER_SELECT = 8, DRIVER_FEATURE = 12 };
enum { NEXT = 1, WRITES = 2 };
#define HOME 0xc00000ull

struct desc { u64 addr; u32 len; u16 flags, next; };
static struct desc *const desc = (struct desc *)HOME;
static volatile u16 *const avail = (u16 *)(HOME + 0x1000), *const used = (u16 *)(HOME + 0x2000);
static struct { u32 type, zero; u64 sector; } head;
static volatile u8 status;
static u64 common, notify;

static u32 cfg(unsigned slot, unsigned at)
{
	u32 v = 1u << 31 | slot << 11 | at;

	__asm__ volatile("outl %0, %1" : : "a"(v), "Nd"((u16)CF8));
	__asm__ volatile("inl %1, %0" : "=a"(v) : "Nd"((u16)CFC));
	return v;
}

static void cfg_set(unsigned slot, unsigned at, u32 v)
{
	cfg(slot, at);
	__asm__ volatile("outl %0, %1" : : "a"(v), "Nd"((u16)CFC));
}

static void capabilities(unsigned slot)
{
	for (u32 at = cfg(slot, 0x34) & 0xfc, c; at; at = c >> 8 & 0xfc) {
		u64 place;

		c = cfg(slot, at);
		if ((c & 0xff) != CAP_VENDOR || (c >> 24 != 1 && c >> 24 != 2))
			continue;
		place = (cfg(slot, 0x10 + 4 * (cfg(slot, at + 4) & 7)) & ~15u) + cfg(slot, at + 8);
		if (c >> 24 == 1)
			common = place;
		else
			notify = place;
	}
}

static void wr64(unsigned reg, u64 v)
{
	mmio_write(common + reg, 4, (u32)v);
	mmio_write(common + reg + 4, 4, v >> 32);
}

void blk_start(void)
{
	for (unsigned slot = 1; slot < SLOTS && !common; slot++)
		if (cfg(slot, 0) == ID) {
			cfg_set(slot, 4, 0x406);
			capabilities(slot);
		}
	if (!common)
		bad("no disk");
	mmio_write(common + STATUS, 1, 0);
	mmio_write(common + STATUS, 1, 3);
	mmio_write(common + DRIVER_SELECT, 4, 1);
	mmio_write(common + DRIVER_FEATURE, 4, 1);
	mmio_write(common + STATUS, 1, 11);
	mmio_write(common + QUEUE_SELECT, 2, 0);
	mmio_write(common + QUEUE_SIZE, 2, SIZE);
	mmio_write(common + QUEUE_VECTOR, 2, 0xffff);
	wr64(QUEUE_DESC, HOME);
	wr64(QUEUE_AVAIL, HOME + 0x1000);
	wr64(QUEUE_USED, HOME + 0x2000);
	mmio_write(common + QUEUE_ENABLE, 2, 1);
	mmio_write(common + STATUS, 1, 15);
}

void blk_io(bool write, u64 sector, void *data, u32 n)
{
	u16 idx = avail[1];

	head.type = write;
	head.sector = sector;
	status = 0xff;
	desc[0] = (struct desc){ (u64)&head, sizeof(head), NEXT, 1 };
	desc[1] = (struct desc){ (u64)data, n, (u16)(NEXT | (write ? 0 : WRITES)), 2 };
	desc[2] = (struct desc){ (u64)&status, 1, WRITES, 0 };
	avail[2 + idx % SIZE] = 0;
	__atomic_store_n(&avail[1], (u16)(idx + 1), __ATOMIC_SEQ_CST);
	mmio_write(notify, 2, 0);
	while (__atomic_load_n(&used[1], __ATOMIC_SEQ_CST) != (u16)(idx + 1))
		pause();
	if (status)
		bad("the disk answers %u", status);
}
