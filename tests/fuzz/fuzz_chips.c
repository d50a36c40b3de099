/* A board of all the classic chips under random ports, registers, messages, lines,
 * terminals and times.  Each operation is one byte that says what, and the bytes it
 * needs; nothing may assert, hang, or touch memory that is not its own. */
#include "core/dev/acpipm.h"
#include "core/dev/debugcon.h"
#include "core/dev/i8042.h"
#include "core/dev/irqchips.h"
#include "core/dev/pit.h"
#include "core/dev/port92.h"
#include "core/dev/rtc.h"
#include "core/dev/testdev.h"
#include "core/dev/uart.h"
#include "core/state.h"
#include "tests/unit/fake.h"

#include <stdlib.h>
#include <string.h>

enum { CPUS = 3, LINES = 24 };

struct board {
	struct vm *vm;
	struct pic *pic;
	struct ioapic *ioapic;
	struct acpipm *pm;
	struct tty tty;
};
struct input {
	const u8 *p, *end;
};

static u64 next(struct input *in, unsigned n)
{
	u64 v = 0;

	for (unsigned i = 0; i < n && in->p < in->end; i++)
		v |= (u64)*in->p++ << i * 8;
	return v;
}

static void line_set(void *sink, unsigned pin, bool level)
{
	struct board *b = sink;

	if (pin < 16)
		pic_set(b->pic, pin, level);
	ioapic_set(b->ioapic, pin ? pin : 2, level);
}

static struct wire line(struct board *b, unsigned pin)
{
	return (struct wire){.set = line_set, .sink = b, .pin = pin};
}

static void tty_write(struct tty *t, const u8 *p, size_t n) { }
static void tty_ready(struct tty *t) { }
static const struct tty_ops tty_ops = {.write = tty_write, .ready = tty_ready};

static void make(struct board *b)
{
	struct wire lines[TESTDEV_LINES];

	*b = (struct board){.vm = fake_vm(CPUS, 0), .tty = {.ops = &tty_ops, .name = "fuzz"}};
	for (unsigned i = 0; i < TESTDEV_LINES; i++)
		lines[i] = line(b, i);
	lapic_init(b->vm);
	b->pic = pic_new(b->vm);
	b->ioapic = ioapic_new(b->vm);
	b->pm = acpipm_new(b->vm, 0x600, line(b, 9));
	pit_new(b->vm, line(b, 0));
	rtc_new(b->vm, line(b, 8));
	i8042_new(b->vm, line(b, 1), line(b, 12));
	uart_new(b->vm, "com1", 0x3f8, line(b, 4), &b->tty);
	port92_new(b->vm);
	debugcon_new(b->vm, &b->tty);
	testdev_new(b->vm, lines);
}

/* ---- what a guest and its host can do */

static void access_bus(struct board *b, struct input *in, bool mem, bool write)
{
	static const u16 port[] = {0x20, 0x21, 0xa0, 0xa1, 0x4d0, 0x40, 0x42, 0x43, 0x61, 0x70, 0x71,
				   0x60, 0x64, 0x3f8, 0x3f9, 0x3fa, 0x3fc, 0x600, 0x604, 0x608, 0x610,
				   0x92, 0xe0, 0xe9, 0xf4, 0x2000};
	static const u32 page[] = {0xfee00000, 0xfec00000, 0xff000000, 0xfee0f000};
	u8 where = (u8)next(in, 1);
	struct io io = {.size = 1 << (where >> 6), .write = write, .cpu = b->vm->vcpu[where >> 4 & 1]};

	if (mem)
		io.addr = page[where & 3] + next(in, 2);
	else
		io.addr = port[(where & 0x1f) % countof(port)] + (next(in, 1) & 7);
	if (write)
		io.val = next(in, io.size);
	bus_access(mem ? &b->vm->mem : &b->vm->port, &io);
}

static void msr(struct board *b, struct input *in, bool write)
{
	static const u32 other[] = {0x1b, 0x6e0, 0x830, 0x80b};
	u8 which = (u8)next(in, 1);
	struct vcpu *v = b->vm->vcpu[which % CPUS];
	u32 n = which & 0x80 ? other[which >> 5 & 3] : 0x800 + (u32)next(in, 1);
	u64 val;

	if (write)
		lapic_msr_write(v, n, next(in, 8));
	else
		lapic_msr_read(v, n, &val);
}

/* What vcpu_run() does around the engine. */
static void run(struct board *b, struct input *in)
{
	u8 how = (u8)next(in, 1);
	struct vcpu *v = b->vm->vcpu[how % CPUS];
	int vector;

	host_lock(&b->vm->irq_lock);
	vector = v->irq = lapic_pending_locked(v);
	host_unlock(&b->vm->irq_lock);
	if (how & 0x40)
		v->irq = -1;
	if (how & 0x20)
		lapic_set_cr8(v, how);
	host_lock(&b->vm->irq_lock);
	if (v->irq < 0 && vector >= 0)
		lapic_taken_locked(v, vector);
	v->init_pending = v->sipi_pending = v->nmi_pending = false;
	host_unlock(&b->vm->irq_lock);
	if (how & 0x10)
		lapic_reset(v);
}

static void save_and_load(struct board *b, struct input *in)
{
	static u8 buf[131072];
	unsigned nth = next(in, 1) % 12, spoil = next(in, 1) & 3;
	struct device *d = b->vm->devices;
	struct state st;

	while (nth-- && d->next)
		d = d->next;
	if (!d->ops->state)
		return;
	st = (struct state){.buf = buf, .n = sizeof(buf), .who = d->name};
	host_lock(d->lock);
	d->ops->state(d, &st);
	for (; spoil && st.pos; spoil--)
		buf[next(in, 2) % st.pos] = (u8)next(in, 1);
	st = (struct state){.buf = buf, .n = st.pos, .who = d->name, .load = true};
	d->ops->state(d, &st);
	host_unlock(d->lock);
	if (st.bad)
		vm_reset(b->vm);
}

static void step(struct board *b, struct input *in)
{
	u8 op = (u8)next(in, 1);
	u8 text[20];

	switch (op & 15) {
	case 0: case 1: access_bus(b, in, false, true); break;
	case 2: access_bus(b, in, false, false); break;
	case 3: case 4: access_bus(b, in, true, true); break;
	case 5: access_bus(b, in, true, false); break;
	case 6: msr(b, in, true); break;
	case 7: msr(b, in, false); break;
	case 8: case 9: run(b, in); break;
	case 10: fake_advance(b->vm, 1ull << (op >> 4) % 12 * 2); break;
	case 11: line_set(b, next(in, 1) % LINES, op & 16); break;
	case 12: b->vm->msi(b->vm, 0xfee00000 | next(in, 3), (u32)next(in, 2)); break;
	case 13:
		memset(text, op, sizeof(text));
		b->tty.input(b->tty.dev, text, next(in, 1) % sizeof(text));
		break;
	case 14:
		acpipm_gpe(b->pm, op >> 4);
		acpipm_power_button(b->pm);
		break;
	case 15: save_and_load(b, in); break;
	}
	b->vm->stop = VM_RUNS;
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t n)
{
	struct input in = {data, data + n};
	struct board b;

	fake_reset();
	make(&b);
	for (unsigned i = 0; i < 400 && in.p < in.end; i++)
		step(&b, &in);
	fake_vm_free(b.vm);
	return 0;
}
