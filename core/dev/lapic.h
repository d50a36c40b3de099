/* The local APICs from inside: what lapic.c (registers, priorities), lapic_msg.c
 * (who gets a message) and lapic_timer.c share.  Everybody else uses irqchips.h.
 * All of it is under vm->irq_lock. */
#ifndef CORE_DEV_LAPIC_H
#define CORE_DEV_LAPIC_H

#include "core/dev/irqchips.h"

enum lapic_lvt { LVT_TIMER, LVT_THERMAL, LVT_PERF, LVT_LINT0, LVT_LINT1, LVT_ERROR, LVT_N };

enum { /* delivery modes, as in the ICR, the LVT, an MSI and an I/O APIC's entry */
	DM_FIXED, DM_LOWEST, DM_SMI, DM_RESERVED, DM_NMI, DM_INIT, DM_SIPI, DM_EXTINT,
};
enum {
	LVT_VECTOR = 0xff,
	LVT_MODE = 7 << 8,
	LVT_PENDING = 1 << 12,
	LVT_LOW_ACTIVE = 1 << 13,
	LVT_REMOTE_IRR = 1 << 14,
	LVT_LEVEL = 1 << 15,
	LVT_MASKED = 1 << 16,
	LVT_PERIODIC = 1 << 17,
	LVT_DEADLINE = 1 << 18,
	LVT_TIMER_MODE = 3 << 17,
};
enum { SVR_ENABLE = 1 << 8, SVR_FOCUS = 1 << 9, SVR_NO_BROADCAST = 1 << 12 };
enum { ESR_SEND_VECTOR = 1 << 5, ESR_RECV_VECTOR = 1 << 6, ESR_REGISTER = 1 << 7 };
#define APIC_BASE_BSP (1ull << 8)
#define APIC_BASE_X2 (1ull << 10)
#define APIC_BASE_EN (1ull << 11)

struct lapics;

struct lapic {
	struct vcpu *cpu;
	struct lapics *all;
	u64 base;               /* IA32_APIC_BASE */
	u32 id;                 /* the xAPIC's, which a guest may write; x2APIC: cpu->id */
	u32 ldr, dfr, svr, tpr;
	u32 esr, errors;        /* as read; gathered since the last write of ESR */
	u64 icr;                /* destination in bits 63:32 in the form of the mode */
	u32 irr[8], isr[8], tmr[8];
	u32 lvt[LVT_N];
	/* What lapic_pending_locked() gave and nobody has taken yet, or -1.  A vector of
	 * this APIC leaves the IRR with the offer, so that one that comes after the guest
	 * took the first and before we hear of it is not lost. */
	int offered;
	bool offered_pic;       /* it is the PIC's */

	u32 init_count, divide;
	bool running;           /* the count has not ended */
	u64 start;              /* host_now() when the count was init_count */
	u64 deadline;           /* IA32_TSC_DEADLINE; 0: not armed */
	struct timer timer;
};

struct lapics {
	struct device dev;
	struct region window;   /* 0xfee00000, 1 MiB */
	struct region moved;    /* the page of the APIC that was moved elsewhere last */
	unsigned next;          /* lowest priority: where the search begins */
	bool lint0;             /* the PIC's INTR output */
	struct lapic apic[VCPU_MAX];
};

/* Who takes interrupts in place of the core's local APICs now, or NULL. */
static inline const struct apic_ops *lapic_elsewhere(const struct vm *vm)
{
	return vm->held ? NULL : vm->apics;
}

static inline bool lapic_on(const struct lapic *l) { return l->base & APIC_BASE_EN; }
static inline bool lapic_x2(const struct lapic *l) { return l->base & APIC_BASE_X2; }
static inline bool lapic_soft_on(const struct lapic *l)
{
	return lapic_on(l) && l->svr & SVR_ENABLE;
}

/* lapic.c */
void lapic_error(struct lapic *, u32 bits);
void lapic_accept(struct lapic *, u8 vector, bool level);  /* a fixed interrupt arrives */
void lapic_lvt(struct lapic *, enum lapic_lvt);            /* a local source fires */
u8 lapic_ppr(const struct lapic *);

/* lapic_msg.c */
void lapic_send_icr(struct lapic *, bool self);            /* ICR was written; self: SELF IPI */

/* lapic_timer.c */
void lapic_timer_init(struct lapic *);
void lapic_timer_stop(struct lapic *);
u32 lapic_timer_count(struct lapic *);
void lapic_timer_at(struct lapic *, u32 count);            /* init_count and divide are set; the
							    * count is there now, 0: it ended */
void lapic_timer_load(struct lapic *, u32 count);
void lapic_timer_divide(struct lapic *, u32 dcr);
void lapic_timer_lvt(struct lapic *, u32 lvt);             /* writes the entry, too */
u64 lapic_deadline(struct lapic *);
void lapic_set_deadline(struct lapic *, u64 tsc);
void lapic_timer_arm(struct lapic *);

#endif
