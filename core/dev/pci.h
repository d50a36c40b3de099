/* PCI: one host bridge, one root bus of 32 slots with one function each (PCI 3.0,
 * configuration by CF8/CFC and by ECAM), and the interrupts of a function: INTx, MSI,
 * MSI-X.
 *
 * A function's configuration space is data: bytes, and for each byte which bits the
 * guest may write and which it clears by writing ones.  A device embeds struct pci_fn,
 * calls vm_add() for fn.dev, pci_add(), then pci_bar(), pci_cap(), msix_init(); it calls
 * pci_reset() and pci_state() from its own ops.  All functions share vm->lock. */
#ifndef CORE_DEV_PCI_H
#define CORE_DEV_PCI_H

#include "core/vm.h"

struct pci;
struct pci_fn;

enum { PCI_SLOTS = 32, PCI_BARS = 6, PCI_CFG = 4096 };
enum pci_bar_kind { PCI_NONE, PCI_IO, PCI_MEM32, PCI_MEM64 }; /* MEM64 takes BAR n and n + 1 */
enum {
	PCI_COMMAND = 0x04, PCI_STATUS = 0x06, PCI_BAR0 = 0x10, PCI_CAP_PTR = 0x34,
	PCI_INT_LINE = 0x3c, PCI_INT_PIN = 0x3d,
};
enum { CMD_IO = 1, CMD_MEM = 2, CMD_MASTER = 4, CMD_INTX_OFF = 0x400 };
enum { STATUS_INTX = 8, STATUS_CAPS = 0x10 };
enum { CAP_MSI = 0x05, CAP_VENDOR = 0x09, CAP_MSIX = 0x11 };

struct pci_id {
	u16 vendor, device, sub_vendor, sub_device;
	u32 class;               /* class, subclass, interface: 0x010802 */
	u8 revision;
	bool no_intx;            /* interrupt pin register 0 */
};

struct msix {
	u16 cap, n;              /* place of the capability (0: none), vectors */
	u8 bar;
	u32 table, pba;          /* offsets in the BAR */
	u8 *entry;               /* n * 16 bytes as the guest sees them */
	u64 *pending;            /* the PBA */
};
struct msi {
	u16 cap, n;
};

struct pci_fn {
	struct device dev;       /* ops->io gets the BARs' accesses: region is &bar[i] */
	struct pci *pci;
	u8 slot;
	u8 cap_last;             /* where the next capability hangs; 0: none yet */
	u16 cap_free;
	bool intx;               /* what the device asks for, before CMD_INTX_OFF */
	u8 cfg[PCI_CFG];
	u8 rw[PCI_CFG];          /* bits the guest may write */
	u8 w1c[PCI_CFG];         /* bits it clears by writing ones */
	struct region bar[PCI_BARS]; /* len 0: not there */
	u8 bar_kind[PCI_BARS];
	struct msix msix;
	struct msi msi;
	/* May be NULL.  The guest accesses [off, off + n) of the configuration space: before
	 * a read is answered, after a write was stored. */
	void (*config)(struct pci_fn *, unsigned off, unsigned n, bool write);
};

struct pci_window {
	u64 base, len;
};

/* The bridge claims ports 0xcf8-0xcff (with the reset control register at 0xcf9) and 1 MiB
 * at ecam (bus 0 only).  intx: the wires of INTA-INTD as slot 0 sees them; slot s, pin p
 * ends at intx[(s + p) % 4].  line: what firmware would write into the interrupt line
 * registers, by wire.  NULL after the error was said. */
struct pci *pci_new(struct vm *, gpa ecam, const struct wire intx[4], const u8 line[4]);

/* What firmware does: gives every BAR an address (memory BARs in mem, and 64-bit ones that
 * do not fit there in mem64), writes the interrupt lines, switches decoding on.  To be
 * called after every reset. */
int pci_assign(struct pci *, struct pci_window io, struct pci_window mem,
	       struct pci_window mem64);
struct pci_fn *pci_slot(struct pci *, unsigned slot);  /* NULL: empty */

/* ---- for devices, while the machine is made */
int pci_add(struct pci *, struct pci_fn *, int slot, const struct pci_id *); /* -1: first free */
int pci_bar(struct pci_fn *, unsigned bar, enum pci_bar_kind, u64 len, u8 width);
/* len with the two bytes of the list; returns the offset, or E_NOSPC */
int pci_cap(struct pci_fn *, u8 id, u8 len);
/* Table and PBA at these offsets of the BAR; n vectors, 1..2048. */
int msix_init(struct pci_fn *, unsigned bar, u32 table, u32 pba, unsigned n);
int msi_init(struct pci_fn *, unsigned n);              /* n a power of two up to 32 */

/* ---- for devices, while it runs; under the device's lock */
void pci_reset(struct pci_fn *);
void pci_state(struct pci_fn *, struct state *);
void pci_intx(struct pci_fn *, bool level);
static inline bool pci_master(const struct pci_fn *f) /* no DMA and no MSI without it */
{
	return f->cfg[PCI_COMMAND] & CMD_MASTER;
}
/* First line of ops->io: true if the access was the MSI-X table's or PBA's and is done. */
bool msix_io(struct pci_fn *, struct region *, struct io *);
bool msix_on(const struct pci_fn *);
void msix_send(struct pci_fn *, unsigned vector);       /* kept while masked */
bool msi_on(const struct pci_fn *);
void msi_send(struct pci_fn *, unsigned vector);

/* ---- between pci.c and msix.c */
void msix_update(struct pci_fn *);                      /* masks or enables may have changed */
void msix_reset(struct pci_fn *);
void msix_state(struct pci_fn *, struct state *);

#endif
