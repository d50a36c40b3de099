/* The fw_cfg device (QEMU's docs/specs/fw_cfg): selector at 0x510, data at 0x511, DMA
 * at 0x514.
 *
 * Items are the board's bytes and only read: a guest's write is refused.  A request's
 * control block is copied once out of guest memory and judged there. */
#include "core/dev/fwcfg.h"

#include "core/state.h"
#include "core/vm.h"

enum { SELECTOR = 0, DATA = 1, DMA_HIGH = 4, DMA_LOW = 8, PORTS = 12 };
enum { K_SIGNATURE = 0x00, K_ID = 0x01, K_DIRECTORY = 0x19, K_FILE = 0x20, K_NONE = 0xffff };
enum { DMA_ERROR = 1, DMA_READ = 2, DMA_SKIP = 4, DMA_SELECT = 8, DMA_WRITE = 16 };
enum { ITEMS = 96, FILES = 64, NAME = 56 };
/* A read may go past an item's end, and gives zeros there: so many at most. */
enum { PAST_END = 64 * KiB };
static const u8 dma_signature[8] = "QEMU CFG";

struct item {
	u16 key;
	u32 n;
	const void *data;
	u8 own[4];             /* where the value itself is kept */
};
struct file {                  /* as the directory has it, big-endian */
	u8 size[4], select[2], reserved[2];
	char name[NAME];
};
_Static_assert(sizeof(struct file) == 64, "the directory's entry");

struct fwcfg {
	struct device dev;
	struct region port;
	unsigned nitem;
	struct item item[ITEMS];
	struct {
		u8 count[4];
		struct file file[FILES];
	} dir;
	u16 key;               /* selected */
	u32 at;                /* offset of the next byte */
	u32 dma_high;
};

static u32 be32(const u8 *p) { return (u32)p[0] << 24 | p[1] << 16 | p[2] << 8 | p[3]; }
static void put_be16(u8 *p, u16 v) { p[0] = v >> 8; p[1] = (u8)v; }
static void put_be32(u8 *p, u32 v) { put_be16(p, v >> 16); put_be16(p + 2, (u16)v); }

/* ---- items */

static struct item *find(struct fwcfg *f, u16 key)
{
	for (unsigned i = 0; i < f->nitem; i++)
		if (f->item[i].key == key)
			return &f->item[i];
	return NULL;
}

int fwcfg_add(struct fwcfg *f, u16 key, const void *data, u32 n)
{
	struct item *i = find(f, key);

	if (!i && f->nitem == ITEMS)
		return fail(E_NOSPC, "fw_cfg: no room for item %#x: at most %d", key, ITEMS);
	if (!i)
		i = &f->item[f->nitem++];
	*i = (struct item){.key = key, .n = n, .data = data};
	return 0;
}

int fwcfg_add_u32(struct fwcfg *f, u16 key, u32 val)
{
	int err = fwcfg_add(f, key, NULL, sizeof(val));
	struct item *i = find(f, key);

	if (err)
		return err;
	st32(i->own, val);
	i->data = i->own;
	return 0;
}

int fwcfg_add_file(struct fwcfg *f, const char *name, const void *data, u32 n)
{
	unsigned count = be32(f->dir.count), i = 0;
	struct file *e;
	int err;

	if (!*name || strlen(name) >= NAME)
		return fail(E_INVAL, "fw_cfg: file name '%s' is not of 1 to %d bytes", name,
			    NAME - 1);
	while (i < count && strcmp(f->dir.file[i].name, name))
		i++;
	if (i == FILES)
		return fail(E_NOSPC, "fw_cfg: no room for file %s: at most %d", name, FILES);
	if ((err = fwcfg_add(f, K_FILE + i, data, n)))
		return err;
	e = &f->dir.file[i];
	put_be32(e->size, n);
	put_be16(e->select, K_FILE + i);
	memcpy(e->name, name, strlen(name));
	if (i == count)
		put_be32(f->dir.count, count + 1);
	return 0;
}

/* ---- reading */

static u32 left(struct fwcfg *f, const struct item *i)
{
	return i && f->at < i->n ? i->n - f->at : 0;
}

static u8 read_byte(struct fwcfg *f)
{
	struct item *i = find(f, f->key);

	return left(f, i) ? ((const u8 *)i->data)[f->at++] : 0;
}

static void select_item(struct fwcfg *f, u16 key)
{
	f->key = key & 0xbfff; /* bit 14 announces writing, which does nothing */
	f->at = 0;
}

static bool zeros(struct vm *vm, u64 to, u32 n)
{
	static const u8 zero[1024];

	for (u32 done = 0, part; done < n; done += part) {
		part = n - done < sizeof(zero) ? n - done : sizeof(zero);
		if (!ram_write(vm, to + done, zero, part))
			return false;
	}
	return true;
}

static bool dma_read(struct fwcfg *f, u64 to, u32 n)
{
	struct item *i = find(f, f->key);
	u32 have = left(f, i), part = n < have ? n : have;

	if (n - part > PAST_END || to + n < to)
		return false;
	if (part && !ram_write(f->dev.vm, to, (const u8 *)i->data + f->at, part))
		return false;
	f->at += part;
	return zeros(f->dev.vm, to + part, n - part);
}

static void skip(struct fwcfg *f, u32 n)
{
	u32 have = left(f, find(f, f->key));

	f->at += n < have ? n : have;
}

/* ---- DMA: control, length, address, all big-endian */

static void dma(struct fwcfg *f, u64 block)
{
	u8 b[16], result[4];
	u32 control, n;
	u64 addr;
	bool ok = true;

	if (!ram_read(f->dev.vm, block, b, sizeof(b))) {
		oops(&f->dev, "no control block at %#llx", (unsigned long long)block);
		return;
	}
	control = be32(b);
	n = be32(b + 4);
	addr = (u64)be32(b + 8) << 32 | be32(b + 12);
	if (control & DMA_SELECT)
		select_item(f, control >> 16);
	if (control & DMA_READ)
		ok = dma_read(f, addr, n);
	else if (control & DMA_WRITE)
		ok = false;
	else if (control & DMA_SKIP)
		skip(f, n);
	if (!ok)
		oops(&f->dev, "request %#x of %u bytes at %#llx refused", control, n,
		     (unsigned long long)addr);
	put_be32(result, ok ? 0 : DMA_ERROR);
	ram_write(f->dev.vm, block, result, sizeof(result));
}

static void write_dma(struct fwcfg *f, unsigned off, u32 v)
{
	u32 val = __builtin_bswap32(v);
	u64 block = (u64)f->dma_high << 32 | val;

	if (off == DMA_HIGH) {
		f->dma_high = val;
		return;
	}
	f->dma_high = 0;
	dma(f, block);
}

static void fwcfg_write(struct fwcfg *f, struct io *io)
{
	if (io->addr == SELECTOR && io->size == 2)
		select_item(f, (u16)io->val);
	else if ((io->addr == DMA_HIGH || io->addr == DMA_LOW) && io->size == 4)
		write_dma(f, (unsigned)io->addr, (u32)io->val);
	else
		oops(&f->dev, "write of %u bytes at %u ignored", io->size, (unsigned)io->addr);
}

static void fwcfg_read(struct fwcfg *f, struct io *io)
{
	io->val = 0;
	if (io->addr == DATA)
		io->val = read_byte(f);
	else if (io->addr >= DMA_HIGH)
		memcpy(&io->val, dma_signature + (io->addr - DMA_HIGH), io->size);
}

static void fwcfg_io(struct device *dev, struct region *r, struct io *io)
{
	struct fwcfg *f = container_of(dev, struct fwcfg, dev);

	if (io->write)
		fwcfg_write(f, io);
	else
		fwcfg_read(f, io);
}

static void fwcfg_reset(struct device *dev)
{
	struct fwcfg *f = container_of(dev, struct fwcfg, dev);

	select_item(f, 0);
	f->dma_high = 0;
}

static void fwcfg_state(struct device *dev, struct state *st)
{
	struct fwcfg *f = container_of(dev, struct fwcfg, dev);

	state_u16(st, &f->key);
	state_u32(st, &f->at); /* any value: left() compares */
	state_u32(st, &f->dma_high);
}

static const struct device_ops ops = {
	.io = fwcfg_io,
	.reset = fwcfg_reset,
	.state = fwcfg_state,
};

struct fwcfg *fwcfg_new(struct vm *vm)
{
	struct fwcfg *f = vm_alloc(vm, sizeof(*f));

	if (!f)
		return NULL;
	vm_add(vm, &f->dev, &ops, "fwcfg");
	f->port = (struct region){.base = 0x510, .len = PORTS, .width = 4, .dev = &f->dev};
	if (bus_claim(&vm->port, &f->port) || fwcfg_add(f, K_SIGNATURE, "QEMU", 4) ||
	    fwcfg_add_u32(f, K_ID, 3) || /* the traditional interface and DMA */
	    fwcfg_add(f, K_DIRECTORY, &f->dir, sizeof(f->dir)))
		return NULL;
	return f;
}
