/* Message-signalled interrupts: MSI-X (PCI 3.0, 6.8.2) and MSI with 64-bit addresses and
 * per-vector masks (6.8.1).
 *
 * A vector that is sent while it is masked, or while the function may not master the bus,
 * is kept in the pending bits and goes out when the mask goes; one that is sent while the
 * capability is off is lost, as the device would use INTx then. */
#include "core/dev/pci.h"
#include "core/state.h"

enum { ENTRY = 16, ENTRY_DATA = 8, ENTRY_CTRL = 12, ENTRY_MASKED = 1 };
enum { MSIX_MASK = 0x4000, MSIX_ENABLE = 0x8000 };  /* message control, capability + 2 */
enum { MSI_ENABLE = 1, MSI_MULTI = 0x70, MSI_64 = 0x80, MSI_MASKS = 0x100 };
enum { MSI_CTRL = 2, MSI_ADDR = 4, MSI_DATA = 12, MSI_MASK = 16, MSI_PENDING = 20, MSI_LEN = 24 };

/* ---- MSI-X */

static u16 msix_ctrl(const struct pci_fn *f)
{
	return f->msix.cap ? ld16(&f->cfg[f->msix.cap + 2]) : 0;
}

bool msix_on(const struct pci_fn *f)
{
	return msix_ctrl(f) & MSIX_ENABLE;
}

static bool msix_open(const struct pci_fn *f)
{
	return (msix_ctrl(f) & (MSIX_ENABLE | MSIX_MASK)) == MSIX_ENABLE && pci_master(f);
}

static void msix_fire(struct pci_fn *f, unsigned v)
{
	const u8 *e = f->msix.entry + v * ENTRY;
	struct vm *vm = f->dev.vm;

	if (vm->msi)
		vm->msi(vm, ld64(e) & ~3ull, ld32(e + ENTRY_DATA));
}

static bool masked(const struct pci_fn *f, unsigned v)
{
	return f->msix.entry[v * ENTRY + ENTRY_CTRL] & ENTRY_MASKED;
}

void msix_send(struct pci_fn *f, unsigned v)
{
	if (v >= f->msix.n || !msix_on(f))
		return;
	if (masked(f, v) || !msix_open(f))
		f->msix.pending[v / 64] |= 1ull << v % 64;
	else
		msix_fire(f, v);
}

static void flush(struct pci_fn *f, unsigned v)
{
	u64 *word = &f->msix.pending[v / 64], bit = 1ull << v % 64;

	if (*word & bit && !masked(f, v) && msix_open(f)) {
		*word &= ~bit;
		msix_fire(f, v);
	}
}

/* Address and data as written; of the control word only the mask bit exists. */
static void table_io(struct pci_fn *f, u32 off, struct io *io)
{
	for (unsigned i = 0; i < io->size; i++, off++) {
		u8 *p = &f->msix.entry[off], reg = off % ENTRY;
		u8 mask = reg < ENTRY_CTRL ? 0xff : reg == ENTRY_CTRL ? ENTRY_MASKED : 0;

		if (io->write)
			*p = (u8)(io->val >> i * 8) & mask;
		else
			io->val = (io->val & ~(0xffull << i * 8)) | (u64)*p << i * 8;
	}
	if (io->write)
		flush(f, (off - 1) / ENTRY);
}

static void pba_io(struct pci_fn *f, u32 off, struct io *io)
{
	if (!io->write) {
		io->val = 0;
		memcpy(&io->val, (u8 *)f->msix.pending + off, io->size);
	}
}

static u32 pba_len(const struct msix *m)
{
	return (m->n + 63u) / 64 * 8;
}

/* The bus aligns accesses, and both tables begin and end at multiples of 8, so no access
 * reaches over an end. */
bool msix_io(struct pci_fn *f, struct region *r, struct io *io)
{
	const struct msix *m = &f->msix;

	if (!m->cap || r != &f->bar[m->bar])
		return false;
	if (io->addr - m->table < m->n * (u64)ENTRY && io->size <= 8)
		table_io(f, (u32)io->addr - m->table, io);
	else if (io->addr - m->pba < pba_len(m) && io->size <= 8)
		pba_io(f, (u32)io->addr - m->pba, io);
	else
		return false;
	return true;
}

int msix_init(struct pci_fn *f, unsigned bar, u32 table, u32 pba, unsigned n)
{
	struct msix *m = &f->msix;
	int cap = pci_cap(f, CAP_MSIX, 12);

	assert(n && n <= 2048 && bar < PCI_BARS && !(table & 7) && !(pba & 7));
	assert(table + (u64)n * ENTRY <= f->bar[bar].len && pba + (n + 63) / 64 * 8 <= f->bar[bar].len);
	if (cap < 0)
		return cap;
	m->entry = vm_alloc(f->dev.vm, n * ENTRY);
	m->pending = vm_alloc(f->dev.vm, (n + 63) / 64 * 8);
	if (!m->entry || !m->pending)
		return E_NOMEM;
	m->n = (u16)n, m->bar = (u8)bar, m->table = table, m->pba = pba;
	m->cap = (u16)cap;
	st16(&f->cfg[cap + 2], (u16)(n - 1));
	st16(&f->rw[cap + 2], MSIX_ENABLE | MSIX_MASK);
	st32(&f->cfg[cap + 4], table | bar);
	st32(&f->cfg[cap + 8], pba | bar);
	msix_reset(f);
	return 0;
}

/* ---- MSI */

static u8 *msi_reg(struct pci_fn *f, unsigned reg)
{
	return &f->cfg[f->msi.cap + reg];
}

bool msi_on(const struct pci_fn *f)
{
	return f->msi.cap && f->cfg[f->msi.cap + MSI_CTRL] & MSI_ENABLE;
}

/* Vectors the guest granted: the message number fills the low bits of the data. */
static unsigned granted(struct pci_fn *f)
{
	unsigned n = 1u << ((*msi_reg(f, MSI_CTRL) & MSI_MULTI) >> 4);

	return n < f->msi.n ? n : f->msi.n;
}

void msi_send(struct pci_fn *f, unsigned v)
{
	struct vm *vm = f->dev.vm;
	unsigned n;

	if (!msi_on(f) || v >= f->msi.n)
		return;
	n = granted(f);
	v &= n - 1;
	if (ld32(msi_reg(f, MSI_MASK)) >> v & 1 || !pci_master(f)) {
		st32(msi_reg(f, MSI_PENDING), ld32(msi_reg(f, MSI_PENDING)) | 1u << v);
		return;
	}
	if (vm->msi)
		vm->msi(vm, ld64(msi_reg(f, MSI_ADDR)),
			(ld16(msi_reg(f, MSI_DATA)) & ~(n - 1)) | v);
}

int msi_init(struct pci_fn *f, unsigned n)
{
	int cap = pci_cap(f, CAP_MSI, MSI_LEN);

	assert(n && n <= 32 && !(n & (n - 1)));
	if (cap < 0)
		return cap;
	f->msi.cap = (u16)cap;
	f->msi.n = (u16)n;
	st16(msi_reg(f, MSI_CTRL), (u16)(MSI_64 | MSI_MASKS | __builtin_ctz(n) << 1));
	f->rw[cap + MSI_CTRL] = MSI_ENABLE | MSI_MULTI;
	st64(&f->rw[cap + MSI_ADDR], ~3ull);
	st16(&f->rw[cap + MSI_DATA], 0xffff);
	st32(&f->rw[cap + MSI_MASK], n == 32 ? ~0u : (1u << n) - 1);
	return 0;
}

static void msi_flush(struct pci_fn *f)
{
	u32 mask = ld32(msi_reg(f, MSI_MASK)), bits = ld32(msi_reg(f, MSI_PENDING)) & ~mask;

	st32(msi_reg(f, MSI_PENDING), ld32(msi_reg(f, MSI_PENDING)) & mask);
	for (; bits; bits &= bits - 1)
		msi_send(f, (unsigned)__builtin_ctz(bits));
}

/* ---- both */

void msix_update(struct pci_fn *f)
{
	if (msix_open(f))
		for (unsigned w = 0; w < pba_len(&f->msix) / 8; w++)
			for (u64 bits = f->msix.pending[w]; bits; bits &= bits - 1)
				flush(f, w * 64 + (unsigned)__builtin_ctzll(bits));
	if (msi_on(f) && pci_master(f))
		msi_flush(f);
}

void msix_reset(struct pci_fn *f)
{
	if (f->msi.cap)
		st32(msi_reg(f, MSI_PENDING), 0);
	if (!f->msix.cap)
		return;
	memset(f->msix.entry, 0, f->msix.n * (size_t)ENTRY);
	for (unsigned v = 0; v < f->msix.n; v++)
		f->msix.entry[v * ENTRY + ENTRY_CTRL] = ENTRY_MASKED;
	memset(f->msix.pending, 0, pba_len(&f->msix));
}

void msix_state(struct pci_fn *f, struct state *s)
{
	if (f->msi.cap) {
		u32 waiting = ld32(msi_reg(f, MSI_PENDING));

		state_u32(s, &waiting);
		st32(msi_reg(f, MSI_PENDING), waiting & ld32(&f->rw[f->msi.cap + MSI_MASK]));
	}
	if (!f->msix.cap)
		return;
	state_bytes(s, f->msix.entry, f->msix.n * (size_t)ENTRY);
	state_bytes(s, f->msix.pending, pba_len(&f->msix));
	for (unsigned v = 0; v < f->msix.n; v++)
		st32(&f->msix.entry[v * ENTRY + ENTRY_CTRL],
		     f->msix.entry[v * ENTRY + ENTRY_CTRL] & ENTRY_MASKED);
	if (f->msix.n % 64)
		f->msix.pending[f->msix.n / 64] &= (1ull << f->msix.n % 64) - 1;
}
