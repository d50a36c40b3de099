/* PCI host bridge, root bus and configuration space (PCI Local Bus 3.0; ECAM as in
 * PCI Express Base 7.2.2).
 *
 * Configuration space is bytes under masks, so an access of any size is a loop over
 * bytes.  Three things follow a write: BARs move, masked MSIs may go out, INTx may be
 * switched off; and the device may want to know (fn->config). */
#include "core/dev/pci.h"
#include "core/bell.h"
#include "core/state.h"

enum { CF8 = 0xcf8, ECAM_SIZE = 1 << 20, CAP_FIRST = 0x40, CFG_OLD = 0x100 };
enum { CF8_ENABLE = 1u << 31 };
enum { RST_SYS = 2, RST_CPU = 4 };   /* reset control register, port 0xcf9 */
enum { WIRES = 4 };

struct pci {
	struct device dev;
	struct region ports, ecam;
	struct pci_fn bridge;
	struct pci_fn *slot[PCI_SLOTS];
	struct wire intx[WIRES];
	u8 line[WIRES];
	u32 asserted[WIRES];     /* by slot: who pulls the wire */
	u32 address;             /* 0xcf8 */
	u8 rst;                  /* 0xcf9 */
};

/* ---- BARs */

static struct bus *bar_bus(const struct pci_fn *f, unsigned bar)
{
	return f->bar_kind[bar] == PCI_IO ? &f->dev.vm->port : &f->dev.vm->mem;
}

static u64 bar_base(const struct pci_fn *f, unsigned bar)
{
	const u8 *p = &f->cfg[PCI_BAR0 + bar * 4];

	switch (f->bar_kind[bar]) {
	case PCI_IO:
		return ld32(p) & ~3u;
	case PCI_MEM64:
		return ld64(p) & ~15ull;
	default:
		return ld32(p) & ~15u;
	}
}

/* A BAR at 0 is not assigned, one that leaves the bus is being sized: not decoded. */
static void map_bars(struct pci_fn *f)
{
	bool moved = false;

	for (unsigned i = 0; i < PCI_BARS; i++) {
		u8 need = f->bar_kind[i] == PCI_IO ? CMD_IO : CMD_MEM;
		u64 base = bar_base(f, i);

		if (f->bar_kind[i] != PCI_NONE)
			moved |= bus_move(bar_bus(f, i), &f->bar[i], base,
					  base && (f->cfg[PCI_COMMAND] & need));
	}
	if (moved)
		bells_follow(f->dev.vm);
}

int pci_bar(struct pci_fn *f, unsigned bar, enum pci_bar_kind kind, u64 len, u8 width)
{
	unsigned last = bar + (kind == PCI_MEM64);
	u8 *p = &f->cfg[PCI_BAR0 + bar * 4], *mask = &f->rw[PCI_BAR0 + bar * 4];

	assert(last < PCI_BARS && f->bar_kind[bar] == PCI_NONE);
	assert(len >= 16 && !(len & (len - 1)) && (kind == PCI_MEM64 || len <= 1u << 31));
	f->bar_kind[bar] = (u8)kind;
	st32(p, kind == PCI_IO ? 1 : kind == PCI_MEM64 ? 4 : 0);
	if (kind == PCI_MEM64)
		st64(mask, ~(len - 1));
	else
		st32(mask, (u32) ~(len - 1));
	f->bar[bar] = (struct region){.len = len, .width = width, .off = true, .movable = true,
				      .dev = &f->dev};
	return bus_claim(bar_bus(f, bar), &f->bar[bar]);
}

/* ---- capabilities */

int pci_cap(struct pci_fn *f, u8 id, u8 len)
{
	unsigned at = f->cap_free;

	assert(len >= 2);
	if (at + len > CFG_OLD)
		return fail(E_NOSPC, "%s: no room for PCI capability %#x", f->dev.name, id);
	f->cfg[at] = id;
	f->cfg[f->cap_last ? f->cap_last + 1 : PCI_CAP_PTR] = (u8)at;
	f->cfg[PCI_STATUS] |= STATUS_CAPS;
	f->cap_last = (u8)at;
	f->cap_free = (u16)((at + len + 3) & ~3u);
	return (int)at;
}

/* ---- INTx */

static void drive(struct pci_fn *f)
{
	struct pci *pci = f->pci;
	unsigned pin = f->cfg[PCI_INT_PIN], w;
	bool level = f->intx && !(ld16(&f->cfg[PCI_COMMAND]) & CMD_INTX_OFF), was;

	if (!pin)
		return;
	w = (f->slot + pin - 1) % WIRES;
	was = pci->asserted[w];
	if (level)
		pci->asserted[w] |= 1u << f->slot;
	else
		pci->asserted[w] &= ~(1u << f->slot);
	if (was != (pci->asserted[w] != 0))
		wire_set(&pci->intx[w], !was);
}

void pci_intx(struct pci_fn *f, bool level)
{
	if (level == f->intx)
		return;
	f->intx = level;
	f->cfg[PCI_STATUS] = (u8)((f->cfg[PCI_STATUS] & ~STATUS_INTX) | (level ? STATUS_INTX : 0));
	drive(f);
}

/* ---- accesses to configuration space */

static struct pci_fn *find(const struct pci *pci, unsigned devfn)
{
	return devfn & 7 ? NULL : pci->slot[devfn >> 3];
}

static void follow(struct pci_fn *f)
{
	map_bars(f);
	drive(f);
	msix_update(f);
}

static void cfg_write(struct pci_fn *f, unsigned off, unsigned n, u64 val)
{
	for (unsigned i = off; i < off + n; i++, val >>= 8) {
		u8 v = (u8)val;

		f->cfg[i] = (u8)((f->cfg[i] & ~f->rw[i]) | (v & f->rw[i]));
		f->cfg[i] &= (u8) ~(v & f->w1c[i]);
	}
	follow(f);
	if (f->config)
		f->config(f, off, n, true);
}

static u64 cfg_read(struct pci_fn *f, unsigned off, unsigned n)
{
	u64 val = 0;

	if (f->config)
		f->config(f, off, n, false);
	for (unsigned i = 0; i < n; i++)
		val |= (u64)f->cfg[off + i] << i * 8;
	return val;
}

static void cfg_io(struct pci *pci, unsigned devfn, unsigned off, struct io *io)
{
	struct pci_fn *f = find(pci, devfn);

	if (!f || off + io->size > PCI_CFG)
		return;
	if (io->write)
		cfg_write(f, off, io->size, io->val);
	else
		io->val = cfg_read(f, off, io->size);
}

/* The south bridge's reset control register hides between the bridge's ports. */
static void rst_io(struct pci *pci, struct io *io)
{
	if (!io->write) {
		io->val = pci->rst;
		return;
	}
	if (io->val & RST_CPU && !(pci->rst & RST_CPU))
		vm_stop(pci->dev.vm, VM_RESET);
	pci->rst = io->val & (RST_SYS | RST_CPU);
}

static void ports_io(struct pci *pci, struct io *io)
{
	if (io->addr >= 4) {
		if (pci->address & CF8_ENABLE && !(pci->address >> 16 & 0xff))
			cfg_io(pci, pci->address >> 8 & 0xff,
			       (pci->address & 0xfc) + (unsigned)io->addr - 4, io);
	} else if (io->size == 4) {
		if (io->write)
			pci->address = (u32)io->val & 0x80fffffc;
		else
			io->val = pci->address;
	} else if (io->addr == 1 && io->size == 1) {
		rst_io(pci, io);
	}
}

static void host_io(struct device *d, struct region *r, struct io *io)
{
	struct pci *pci = container_of(d, struct pci, dev);

	if (r == &pci->ports)
		ports_io(pci, io);
	else
		cfg_io(pci, (unsigned)(io->addr >> 12), io->addr & (PCI_CFG - 1), io);
}

/* ---- what firmware does */

/* Natural alignment from the bottom of the window; false when it does not fit. */
static bool take(struct pci_window *w, u64 len, u64 *base)
{
	u64 at = (w->base + len - 1) & ~(len - 1), end;

	if (at < w->base || __builtin_add_overflow(at, len, &end) || end > w->base + w->len)
		return false;
	*base = at;
	w->len -= end - w->base;
	w->base = end;
	return true;
}

static int assign_bar(struct pci_fn *f, unsigned i, struct pci_window *io, struct pci_window *mem,
		      struct pci_window *mem64)
{
	u8 *p = &f->cfg[PCI_BAR0 + i * 4], kind = f->bar_kind[i];
	u64 base = 0, len = f->bar[i].len;
	bool ok = kind == PCI_IO ? take(io, len, &base) :
		  take(mem, len, &base) || (kind == PCI_MEM64 && take(mem64, len, &base));

	if (!ok)
		return fail(E_NOSPC, "%s: no PCI window for BAR %u of %#llx bytes", f->dev.name, i,
			    (unsigned long long)len);
	if (kind == PCI_MEM64)
		st64(p, base | 4);
	else
		st32(p, (u32)base | (kind == PCI_IO));
	return 0;
}

int pci_assign(struct pci *pci, struct pci_window io, struct pci_window mem,
	       struct pci_window mem64)
{
	for (unsigned s = 0; s < PCI_SLOTS; s++) {
		struct pci_fn *f = pci->slot[s];
		int err = 0;

		if (!f)
			continue;
		for (unsigned i = 0; i < PCI_BARS && !err; i++)
			if (f->bar_kind[i] != PCI_NONE)
				err = assign_bar(f, i, &io, &mem, &mem64);
		if (err)
			return err;
		if (f->cfg[PCI_INT_PIN])
			f->cfg[PCI_INT_LINE] = pci->line[(s + f->cfg[PCI_INT_PIN] - 1u) % WIRES];
		f->cfg[PCI_COMMAND] |= f->rw[PCI_COMMAND] & (CMD_IO | CMD_MEM);
		follow(f);
	}
	return 0;
}

/* ---- functions */

static void cmd_mask(struct pci_fn *f)
{
	u16 m = CMD_IO | CMD_MEM | CMD_MASTER | CMD_INTX_OFF;

	st16(&f->rw[PCI_COMMAND], m);
	f->rw[PCI_INT_LINE] = 0xff;
	f->rw[0x0c] = 0xff; /* cache line size: drivers write it, nobody reads it */
}

int pci_add(struct pci *pci, struct pci_fn *f, int slot, const struct pci_id *id)
{
	if (slot < 0)
		for (slot = 0; slot < PCI_SLOTS && pci->slot[slot]; slot++)
			;
	if (slot >= PCI_SLOTS)
		return fail(E_NOSPC, "%s: all %d PCI slots are taken", f->dev.name, PCI_SLOTS);
	if (pci->slot[slot])
		return fail(E_BUSY, "%s: PCI slot %d has %s", f->dev.name, slot,
			    pci->slot[slot]->dev.name);
	f->pci = pci;
	f->slot = (u8)slot;
	f->cap_free = CAP_FIRST;
	st16(&f->cfg[0], id->vendor);
	st16(&f->cfg[2], id->device);
	st32(&f->cfg[8], id->class << 8 | id->revision);
	st16(&f->cfg[0x2c], id->sub_vendor);
	st16(&f->cfg[0x2e], id->sub_device);
	f->cfg[PCI_INT_PIN] = !id->no_intx;
	cmd_mask(f);
	pci->slot[slot] = f;
	return 0;
}

struct pci_fn *pci_slot(struct pci *pci, unsigned slot)
{
	return slot < PCI_SLOTS ? pci->slot[slot] : NULL;
}

void pci_reset(struct pci_fn *f)
{
	for (unsigned i = 0; i < PCI_CFG; i++)
		f->cfg[i] &= (u8) ~(f->rw[i] | f->w1c[i]);
	msix_reset(f);
	pci_intx(f, false);
	follow(f);
}

/* Loading takes only what a guest could have written. */
void pci_state(struct pci_fn *f, struct state *s)
{
	bool intx = f->intx;

	for (unsigned i = 0; i < PCI_CFG; i++) {
		u8 m = f->rw[i] | f->w1c[i], v = f->cfg[i] & m;

		if (!m)
			continue;
		state_u8(s, &v);
		f->cfg[i] = (u8)((f->cfg[i] & ~m) | (v & m));
	}
	state_bool(s, &intx);
	msix_state(f, s);
	if (!s->load || s->bad)
		return;
	pci_intx(f, intx);
	follow(f);
}

/* ---- the bridge */

static void host_reset(struct device *d)
{
	struct pci *pci = container_of(d, struct pci, dev);

	pci->address = 0;
	pci->rst = 0;
	pci_reset(&pci->bridge);
}

static void host_state(struct device *d, struct state *s)
{
	struct pci *pci = container_of(d, struct pci, dev);

	state_u32(s, &pci->address);
	state_u8(s, &pci->rst);
	pci->address &= 0x80fffffc;
	pci->rst &= RST_SYS | RST_CPU;
	pci_state(&pci->bridge, s);
}

static const struct device_ops host_ops = {.io = host_io, .reset = host_reset, .state = host_state};

/* The generic bridge that no driver has a quirk for. */
static const struct pci_id bridge_id = {.vendor = 0x1b36, .device = 0x0008, .class = 0x060000,
					.no_intx = true, .sub_vendor = 0x1af4,
					.sub_device = 0x1100};

struct pci *pci_new(struct vm *vm, gpa ecam, const struct wire intx[4], const u8 line[4])
{
	struct pci *pci = vm_alloc(vm, sizeof(*pci));

	if (!pci)
		return NULL;
	vm_add(vm, &pci->dev, &host_ops, "pci");
	pci->ports = (struct region){.base = CF8, .len = 8, .width = 4, .dev = &pci->dev};
	pci->ecam = (struct region){.base = ecam, .len = ECAM_SIZE, .width = 4, .dev = &pci->dev};
	memcpy(pci->intx, intx, sizeof(pci->intx));
	memcpy(pci->line, line, sizeof(pci->line));
	if (bus_claim(&vm->port, &pci->ports) || bus_claim(&vm->mem, &pci->ecam))
		return NULL;
	pci->bridge.dev = (struct device){.name = "pci-bridge", .vm = vm, .lock = &vm->lock};
	return pci_add(pci, &pci->bridge, 0, &bridge_id) ? NULL : pci;
}
