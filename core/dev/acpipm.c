/* ACPI fixed hardware (ACPI 6.5, 4.8.3): PM1a events and control, the 32-bit PM
 * timer at 3.579545 MHz, 16 general-purpose events.  There is no SMI: the machine is
 * in ACPI mode from the start, as FADT.SMI_CMD = 0 says. */
#include "core/dev/acpipm.h"

#include "core/state.h"
#include "core/vm.h"

enum { HZ = 3579545 };
enum { PM1_TMR = 1 << 0, PM1_GBL = 1 << 5, PM1_PWRBTN = 1 << 8, PM1_RTC = 1 << 10,
       PM1_WAK = 1 << 15,
       PM1_STATUS = PM1_TMR | PM1_GBL | PM1_PWRBTN | PM1_RTC | PM1_WAK,
       PM1_ENABLE = PM1_TMR | PM1_GBL | PM1_PWRBTN | PM1_RTC };
enum { CNT_SCI_EN = 1, CNT_BM_RLD = 2, CNT_SLP_TYP = 7 << 10, CNT_SLP_EN = 1 << 13,
       CNT_WRITABLE = CNT_BM_RLD | CNT_SLP_TYP };

struct acpipm {
	struct device dev;
	struct region port;
	struct wire sci;
	struct timer timer;
	u16 status, enable, control;
	u16 gpe_status, gpe_enable;
	u64 start;          /* host_now() when the timer was 0 */
	u64 half;           /* how often its highest bit has changed, as far as we told */
};

/* ---- the timer */

static u64 ticks(const struct acpipm *p)
{
	u64 ns = host_now() - p->start;

	return ns / SEC * HZ + ns % SEC * HZ / SEC;
}

static u64 to_ns(u64 n) /* rounded up */
{
	return n / HZ * SEC + (n % HZ * SEC + HZ - 1) / HZ;
}

static void settle(struct acpipm *p)
{
	u64 half = ticks(p) >> 31;

	if (half != p->half)
		p->status |= PM1_TMR;
	p->half = half;
}

/* Once TMR_STS stands, another change tells nothing new. */
static void update(struct acpipm *p)
{
	settle(p);
	wire_set(&p->sci, p->status & p->enable || p->gpe_status & p->gpe_enable);
	if (p->enable & ~p->status & PM1_TMR)
		timer_set(&p->timer, p->start + to_ns((p->half + 1) << 31));
	else
		timer_cancel(&p->timer);
}

static void fire(struct timer *t)
{
	update(container_of(t, struct acpipm, timer));
}

/* ---- registers, as 32-bit words of the block */

static u32 word(struct acpipm *p, unsigned off)
{
	switch (off) {
	case ACPIPM_EVENT:
		settle(p);
		return p->status | (u32)p->enable << 16;
	case ACPIPM_CONTROL:
		return p->control | CNT_SCI_EN;
	case ACPIPM_TIMER:
		return (u32)ticks(p);
	case ACPIPM_GPE0:
		return p->gpe_status | (u32)p->gpe_enable << 16;
	}
	return 0;
}

static void write_control(struct acpipm *p, u16 v)
{
	p->control = v & CNT_WRITABLE;
	if (!(v & CNT_SLP_EN))
		return;
	if ((v & CNT_SLP_TYP) >> 10 == ACPIPM_SLP_S5)
		vm_stop(p->dev.vm, VM_OFF);
	else
		oops(&p->dev, "sleep state %u is not offered", (v & CNT_SLP_TYP) >> 10);
}

/* v and mask: the bytes written and which they are, in the word at off. */
static void write_word(struct acpipm *p, unsigned off, u32 v, u32 mask)
{
	u16 high = v >> 16, high_mask = mask >> 16;

	v &= mask;
	switch (off) {
	case ACPIPM_EVENT:
		settle(p);
		p->status &= ~v;
		p->enable = ((p->enable & ~high_mask) | (high & high_mask)) & PM1_ENABLE;
		break;
	case ACPIPM_CONTROL:
		if (mask & 0xffff)
			write_control(p, (p->control & ~mask) | v);
		break;
	case ACPIPM_GPE0:
		p->gpe_status &= ~v;
		p->gpe_enable = (p->gpe_enable & ~high_mask) | (high & high_mask);
	}
	update(p);
}

static void acpipm_io(struct device *dev, struct region *r, struct io *io)
{
	struct acpipm *p = container_of(dev, struct acpipm, dev);
	unsigned off = io->addr & ~3u, shift = (io->addr & 3) * 8;
	u32 mask = (u32)((1ull << io->size * 8) - 1) << shift;

	if (io->write)
		write_word(p, off, (u32)io->val << shift, mask);
	else
		io->val = word(p, off) >> shift;
}

/* ---- events from outside */

void acpipm_power_button(struct acpipm *p)
{
	host_lock(p->dev.lock);
	p->status |= PM1_PWRBTN;
	update(p);
	host_unlock(p->dev.lock);
}

void acpipm_gpe(struct acpipm *p, unsigned event)
{
	assert(event < 16);
	host_lock(p->dev.lock);
	p->gpe_status |= 1 << event;
	update(p);
	host_unlock(p->dev.lock);
}

static void acpipm_reset(struct device *dev)
{
	struct acpipm *p = container_of(dev, struct acpipm, dev);

	p->status = p->enable = p->control = p->gpe_status = p->gpe_enable = 0;
	p->start = host_now();
	p->half = 0;
	update(p);
}

static void acpipm_state(struct device *dev, struct state *st)
{
	struct acpipm *p = container_of(dev, struct acpipm, dev);
	u64 gone = host_now() - p->start;

	state_u16(st, &p->status);
	state_u16(st, &p->enable);
	state_u16(st, &p->control);
	state_u16(st, &p->gpe_status);
	state_u16(st, &p->gpe_enable);
	state_u64(st, &gone);
	state_u64(st, &p->half);
	if (!st->load)
		return;
	p->status &= PM1_STATUS;
	p->enable &= PM1_ENABLE;
	p->control &= CNT_WRITABLE;
	p->start = host_now() - gone;
	if (gone >> 62) {
		p->start = host_now();
		state_bad(st, "a timer that ran for a century");
	}
	update(p);
}

static const struct device_ops ops = {
	.io = acpipm_io,
	.reset = acpipm_reset,
	.state = acpipm_state,
};

struct acpipm *acpipm_new(struct vm *vm, u16 base, struct wire sci)
{
	struct acpipm *p = vm_alloc(vm, sizeof(*p));

	if (!p)
		return NULL;
	vm_add(vm, &p->dev, &ops, "acpipm");
	timer_init(&p->timer, vm, p->dev.lock, fire);
	p->sci = sci;
	p->port = (struct region){.base = base, .len = ACPIPM_SIZE, .width = 4, .dev = &p->dev};
	p->start = host_now();
	return bus_claim(&vm->port, &p->port) ? NULL : p;
}
