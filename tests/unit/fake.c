/* See fake.h. */
#include "tests/unit/fake.h"

#include "core/bell.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <asm/prctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

u64 fake_now, fake_wallclock, fake_alarm;
char fake_log[16384];
unsigned fake_log_lines, fake_alloc_fail, fake_allocs, fake_live, fake_windows;
struct fake_step *fake_script;
unsigned fake_script_n, fake_script_at, fake_kicks;
struct fake_bell fake_bell[FAKE_BELLS];
unsigned fake_nbell;
static int bell_handles;

void fake_reset(void)
{
	fake_now = SEC;
	fake_wallclock = 1700000000ull * SEC;
	fake_alarm = ~0ull;
	fake_alloc_fail = fake_allocs = 0;
	fake_script = NULL;
	fake_script_n = fake_script_at = fake_kicks = fake_nbell = 0;
	fake_log_clear();
}

void fake_log_clear(void)
{
	fake_log[0] = 0;
	fake_log_lines = 0;
}

void fake_advance(struct vm *vm, u64 ns)
{
	u64 end = fake_now + ns;

	while (fake_alarm <= end) {
		if (fake_alarm > fake_now)
			fake_now = fake_alarm;
		fake_alarm = ~0ull;
		vm_tick(vm);
	}
	fake_now = end;
}

/* ---- host.h */

void host_yield(struct vcpu *v)
{
}

int host_steal(const struct vcpu *v, u64 *ns)
{
	*ns = 12345;
	return 0;
}

int host_events(struct vm *vm, u64 bits)
{
	return E_UNSUP;
}

void *host_alloc(size_t n)
{
	void *p;

	fake_allocs++;
	if (fake_alloc_fail && !--fake_alloc_fail)
		return NULL;
	p = aligned_alloc(64, (n + 63) & ~(size_t)63);
	if (p) {
		memset(p, 0, n);
		fake_live++;
	}
	return p;
}

void host_free(void *p, size_t n)
{
	if (p)
		fake_live--;
	free(p);
}

int host_code_alloc(size_t n, u8 **rw, u8 **rx)
{
	int fd = memfd_create("code", 0);

	if (fd < 0 || ftruncate(fd, (off_t)n))
		return E_UNSUP;
	*rw = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	*rx = mmap(NULL, n, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
	close(fd);
	return *rw == MAP_FAILED || *rx == MAP_FAILED ? E_UNSUP : 0;
}

void host_code_free(size_t n, u8 *rw, u8 *rx)
{
	if (rw)
		munmap(rw, n);
	if (rx)
		munmap(rx, n);
}

u8 *host_window_alloc(size_t n)
{
	void *p = mmap(NULL, n, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	return p == MAP_FAILED ? NULL : p;
}

void host_window_free(u8 *p, size_t n)
{
	if (p)
		munmap(p, n);
}

bool host_window_map(u8 *at, const void *ram, size_t n)
{
	fake_windows++;
	return mremap((void *)(uintptr_t)ram, 0, n, MREMAP_MAYMOVE | MREMAP_FIXED, at) == at;
}

void host_code_base(void *p) { syscall(SYS_arch_prctl, ARCH_SET_GS, p); }

u64 host_now(void) { return fake_now; }
bool host_line(struct host_line *l) { return false; }
u64 host_wallclock(void) { return fake_wallclock + fake_now; }
void host_alarm(struct vm *vm, u64 when) { fake_alarm = when; }

void host_lock_init(struct lock *l) { l->word[0] = 0; }

void host_lock(struct lock *l)
{
	if (l->word[0])
		host_panic("lock taken twice");
	l->word[0] = 1;
}

void host_unlock(struct lock *l)
{
	if (!l->word[0])
		host_panic("unlock of a free lock");
	l->word[0] = 0;
}

void host_sleep(struct vcpu *v) { vm_stop(v->vm, VM_QUIT); } /* nobody would wake it */
void host_wake(struct vcpu *v) { }
void host_stopped(struct vm *vm) { }

void host_log(enum log_level level, const char *line)
{
	size_t have = strlen(fake_log), n = strlen(line);

	fake_log_lines++;
	if (have + n + 2 > sizeof(fake_log))
		have = 0;
	if (n + 2 < sizeof(fake_log)) {
		memcpy(fake_log + have, line, n);
		strcpy(fake_log + have + n, "\n");
	}
	if (getenv("FAKE_LOG"))
		fprintf(stderr, "%s\n", line);
}

_Noreturn void host_panic(const char *why)
{
	fprintf(stderr, "panic: %s\n", why);
	abort();
}

void host_random(void *p, size_t n)
{
	static u64 x = 88172645463325252ull; /* tests repeat */

	for (u8 *b = p; n--; b++) {
		x ^= x << 13, x ^= x >> 7, x ^= x << 17;
		*b = (u8)x;
	}
}

int host_bell(struct bell *b) { return bell_handles++; }
void host_bell_close(struct bell *b) { b->handle = -1; }

/* ---- the scripted engine */

static int probe(char *why, size_t n) { return 0; }
static int e_vm_init(struct vm *vm) { return 0; }
static void e_vm_fini(struct vm *vm) { }
static int e_apics(struct vm *vm) { return 0; }
static int e_vm_ram(struct vm *vm, const struct ram_block *b) { return 0; }
static int e_vcpu_init(struct vcpu *v)
{
	v->valid = X86_ALL | X86_EMUL;
	return 0;
}
static void e_vcpu_fini(struct vcpu *v) { }
static void kick(struct vcpu *v) { fake_kicks++; }
static void e_sync(struct vcpu *v, unsigned what) { }

static struct fake_bell *bell_at(u64 at)
{
	for (unsigned i = 0; i < fake_nbell; i++)
		if (fake_bell[i].at == at)
			return &fake_bell[i];
	return NULL;
}

static int e_bell(struct vm *vm, u64 at, int handle, bool on)
{
	struct fake_bell *f = bell_at(at);

	if (!on) {
		assert_non_null(f);
		assert_int_equal(f->handle, handle);
		*f = fake_bell[--fake_nbell];
	} else if (f || fake_nbell == FAKE_BELLS) {
		return E_BUSY;
	} else {
		fake_bell[fake_nbell++] = (struct fake_bell){at, handle};
	}
	return 0;
}

bool fake_ring(struct vm *vm, u64 at)
{
	struct fake_bell *f = bell_at(at);

	for (struct bell *b = vm->bells; f && b; b = b->next)
		if (b->handle == f->handle)
			bell_rang(b);
	return f;
}

static void run(struct vcpu *v, struct exit *x)
{
	struct fake_step *s;

	if (fake_script_at) {
		fake_script[fake_script_at - 1].got = x->io.val;
		fake_script[fake_script_at - 1].size = x->io.size;
	}
	if (fake_script_at == fake_script_n) {
		x->why = EXIT_KICK;
		vm_stop(v->vm, VM_QUIT);
		return;
	}
	s = &fake_script[fake_script_at++];
	s->irq = v->irq;
	if (s->take_irq) {
		v->irq = -1;
		v->nmi = false;
	}
	*x = s->x;
}

const struct engine fake_engine = {
	.name = "fake", .probe = probe, .vm_init = e_vm_init, .vm_fini = e_vm_fini,
	.vm_ram = e_vm_ram, .apics = e_apics, .vcpu_init = e_vcpu_init, .vcpu_fini = e_vcpu_fini,
	.run = run, .kick = kick, .sync = e_sync,
	.bell = e_bell,
};

/* ---- a VM */

struct fake_machine {
	struct vm vm;
	struct vcpu *cpu;
	u8 *ram;
	size_t ram_size;
};

struct vm *fake_vm(unsigned ncpu, size_t ram)
{
	struct fake_machine *m = calloc(1, sizeof(*m));

	if (!fake_now)
		fake_reset();
	assert_non_null(m);
	assert_int_equal(vm_init(&m->vm, "test", &fake_engine), 0);
	if (ram) {
		m->ram = mmap(NULL, ram, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
		assert_true(m->ram != MAP_FAILED);
		m->ram_size = ram;
		assert_int_equal(ram_add(&m->vm, 0, ram, m->ram, false), 0);
	}
	if (ncpu) {
		m->cpu = aligned_alloc(64, sizeof(*m->cpu) * ncpu);
		assert_non_null(m->cpu);
		memset(m->cpu, 0, sizeof(*m->cpu) * ncpu);
	}
	for (unsigned i = 0; i < ncpu; i++)
		assert_int_equal(vcpu_init(&m->cpu[i], &m->vm), 0);
	return &m->vm;
}

void fake_vm_free(struct vm *vm)
{
	struct fake_machine *m = container_of(vm, struct fake_machine, vm);

	vm_fini(vm);
	if (m->ram)
		munmap(m->ram, m->ram_size);
	free(m->cpu);
	free(m);
}

u8 *fake_ram(struct vm *vm)
{
	return container_of(vm, struct fake_machine, vm)->ram;
}

static u64 access_bus(struct vm *vm, struct bus *b, u64 addr, unsigned size, bool write, u64 val)
{
	struct io io = {.addr = addr, .size = (u8)size, .write = write, .val = val,
			.cpu = vm->nvcpu ? vm->vcpu[0] : NULL};

	bus_access(b, &io);
	return io.val;
}

u64 fake_in(struct vm *vm, u16 port, unsigned size)
{
	return access_bus(vm, &vm->port, port, size, false, 0);
}
void fake_out(struct vm *vm, u16 port, unsigned size, u64 val)
{
	access_bus(vm, &vm->port, port, size, true, val);
}
u64 fake_read(struct vm *vm, u64 addr, unsigned size)
{
	return access_bus(vm, &vm->mem, addr, size, false, 0);
}
void fake_write(struct vm *vm, u64 addr, unsigned size, u64 val)
{
	access_bus(vm, &vm->mem, addr, size, true, val);
}

static void wire_note(void *sink, unsigned pin, bool level)
{
	struct fake_wire *w = sink;

	w->edges += level && !w->level;
	w->level = level;
}

struct wire fake_wire(struct fake_wire *w)
{
	return (struct wire){.set = wire_note, .sink = w};
}
