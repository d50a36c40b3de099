/* The oracle: single instructions, natively and in the emulator, must do the same.
 *
 *   oracle -n 1000000 --map all            a million trials, opcode by opcode
 *   oracle --map 0f --op af -v             one opcode; the first difference in full
 *   oracle --bytes 480fafc3 -n 1000 -v     one instruction with many operands
 *   oracle --self                          native against native: checks this program
 *
 * Each trial follows from --seed and its number, so that --seed S --start I -n 1
 * (with the same --map, --op, --mode, --bytes) repeats it. */
#include "tests/cpu/trial.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { REASONS = 192 };
struct tally {
	u64 run, differ, skip, untried;
	u64 op[M_MAPS + 1][256][3];      /* run, differ, skipped */
	struct {
		char why[96];
		u64 n;
	} reason[REASONS];
	unsigned nreason;
};

static struct gen_opt gen = {.seed = 1, .map = "all", .op = -1, .mode = 64};
static u64 count = 100000, start;
static unsigned jobs = 1, shown = 1;
static bool self, verbose, per_op;
static u8 pattern[NPAGES][PAGE_SIZE];
static const char *const map_name[] = {"1b", "0f", "0f38", "0f3a", "vex.0f", "vex.0f38", "vex.0f3a", "vex.?"};

static void reason_count(struct tally *y, const char *why, u64 n)
{
	unsigned i;
	for (i = 0; i < y->nreason && strcmp(y->reason[i].why, why); i++)
		;
	if (i == REASONS)
		return;
	if (i == y->nreason)
		snprintf(y->reason[y->nreason++].why, sizeof y->reason[0].why, "%s", why);
	y->reason[i].n += n;
}

/* ---- report */

static void describe(const struct trial *t, const struct diff *d)
{
	const struct form *f = &t->form;
	printf("differ: %s %02x%s /%d  ", map_name[f->map], f->op, f->vex ? " vex" : "", f->reg & 7);
	for (int i = 0; i < t->n; i++)
		printf("%02x", t->bytes[i]);
	disassemble(t, t->in.rip, t->bytes, t->n);
	printf("\n  repeat: oracle --mode %d --map %s", t->mode, gen.map);
	if (gen.op >= 0)
		printf(" --op %x", gen.op);
	if (gen.nbytes) {
		printf(" --bytes ");
		for (unsigned i = 0; i < gen.nbytes; i++)
			printf("%02x", gen.bytes[i]);
	}
	printf(" --seed %lu --start %lu -n 1 -v\n", gen.seed, t->index);
	printf("  %-10s %16s %16s\n%s", "", "native", "emulated", d->text);
}

static void state(const struct trial *t)
{
	const struct cpu *c = &t->in;
	printf(" before: rip %lx flags %lx mxcsr %x fcw %x fsw %x ftw %x ea %lx fs %lx gs %lx\n", c->rip, c->rflags,
	       ld32(c->xsave + 24), ld16(c->xsave), ld16(c->xsave + 2), c->xsave[4], t->has_ea ? t->ea : 0,
	       c->fsbase, c->gsbase);
	printf("  es %x cs %x ss %x ds %x fs %x gs %x\n", c->sel[0], c->sel[1], c->sel[2], c->sel[3], c->sel[4], c->sel[5]);
	for (int i = 0; i < 16; i++)
		printf("  %s%-2d %016lx%s", "r", i, c->r[i], i % 4 == 3 ? "\n" : "");
	for (int i = 0; i < 8; i++)
		printf("  st%d %04x:%016lx%s", i, ld16(c->xsave + XSAVE_ST + 16 * i + 8), ld64(c->xsave + XSAVE_ST + 16 * i),
		       i % 4 == 3 ? "\n" : "");
	for (int i = 0; i < 16; i++)
		printf("  ymm%-2d %016lx %016lx %016lx %016lx\n", i, ld64(c->xsave + XSAVE_YMM + 16 * i + 8),
		       ld64(c->xsave + XSAVE_YMM + 16 * i), ld64(c->xsave + XSAVE_XMM + 16 * i + 8),
		       ld64(c->xsave + XSAVE_XMM + 16 * i));
	for (int i = 0; i < t->npoke; i++) {
		printf("  [%lx]", t->poke[i].at);
		for (int k = 0; k < 32; k++)
			printf("%s%02x", k % 8 ? "" : " ", t->poke[i].b[k]);
		printf("\n");
	}
}

/* ---- running */

static void one(struct tally *y, u64 index)
{
	static struct outcome a, b;
	static struct diff d;
	struct trial t;
	if (!gen_trial(&t, &gen, index)) {
		fprintf(stderr, "oracle: no such opcode\n");
		exit(2);
	}
	u64 *op = y->op[t.form.map][t.form.op];
	const char *why = skip_before(&t);
	if (!why) {
		memcpy(a.mem, pattern, sizeof pattern);
		trial_memory(&t, a.mem);
		memcpy(b.mem, a.mem, sizeof a.mem);
		if (!self)
			emulated_run(&t, &b);
		if (!self && b.vec == VEC_UD && count >= 1000 && index % 7) {
			y->untried++; /* one in seven will do, as #UD takes long */
			return;
		} else {
			real_run(&t, &a);
			if (self)
				real_run(&t, &b);
			why = skip_after(&t, &a, &b);
			excuse_fault_state(&t, &a, &b);
		}
	}
	if (why) {
		op[2]++;
		y->skip++;
		reason_count(y, why, 1);
		return;
	}
	op[0]++;
	y->run++;
	if (!compare(&t, &a, &b, undefined_flags(&t, &a), &d))
		return;
	op[1]++;
	y->differ++;
	if (y->differ <= shown || op[1] == 1) {
		describe(&t, &d);
		if (verbose && y->differ <= shown)
			state(&t);
		fflush(stdout);
	}
}

static void worker(struct tally *y, unsigned job)
{
	real_init(false);
	if (!self)
		emulated_init(false);
	if (self && !job)
		y->differ += known_check();
	gen_pattern(pattern);
	for (u64 i = start + job; i < start + count; i += jobs)
		one(y, i);
}

static void summary(const struct tally *y, double seconds)
{
	for (int m = 0; m <= M_MAPS; m++)
		for (int o = 0; o < 256; o++)
			if (y->op[m][o][1] || (per_op && (y->op[m][o][0] || y->op[m][o][2])))
				printf("%-9s %02x  %8lu run %8lu differ %8lu skipped\n", map_name[m], o,
				       y->op[m][o][0], y->op[m][o][1], y->op[m][o][2]);
	for (unsigned i = 0; i < y->nreason; i++)
		if (per_op || verbose)
			printf("skipped %8lu: %s\n", y->reason[i].n, y->reason[i].why);
	printf("%.0f trials/s; %lu of the instructions that are undefined to the emulator were not tried\n",
	       (y->run + y->skip + y->untried) / seconds, y->untried);
	printf("%lu left out, for reasons that --ops tells\n", y->skip);
	printf("%lu passed, %lu failed\n", y->run - y->differ, y->differ);
}

static void add(struct tally *to, const struct tally *y)
{
	to->run += y->run;
	to->differ += y->differ;
	to->skip += y->skip;
	to->untried += y->untried;
	const u64 *p = &y->op[0][0][0];
	for (unsigned i = 0; i < sizeof y->op / 8; i++)
		(&to->op[0][0][0])[i] += p[i];
	for (unsigned i = 0; i < y->nreason; i++)
		reason_count(to, y->reason[i].why, y->reason[i].n);
}

static int usage(void)
{
	fprintf(stderr, "usage: oracle [-n COUNT] [--seed N] [--start N] [--map 1b|0f|0f38|0f3a|vex|x87|all] [--op HEX]\n"
			"              [--mode 64|32|16] [--bytes HEX] [--jobs N] [--show N] [--ops] [--self] [-v]\n");
	return 2;
}
static unsigned unhex(const char *s, u8 *p, unsigned max)
{
	unsigned n = 0;
	for (unsigned x; n < max && sscanf(s, "%2x", &x) == 1; s += 2) {
		p[n++] = x;
		if (!s[1] || !s[2])
			break;
	}
	return n;
}

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		const char *o = argv[i], *a = i + 1 < argc ? argv[i + 1] : NULL;
		if (!strcmp(o, "-v")) { verbose = true; continue; }
		if (!strcmp(o, "--self")) { self = true; continue; }
		if (!strcmp(o, "--ops")) { per_op = true; continue; }
		if (!a)
			return usage();
		i++;
		if (!strcmp(o, "-n")) count = strtoull(a, NULL, 0);
		else if (!strcmp(o, "--seed")) gen.seed = strtoull(a, NULL, 0);
		else if (!strcmp(o, "--start")) start = strtoull(a, NULL, 0);
		else if (!strcmp(o, "--map")) gen.map = a;
		else if (!strcmp(o, "--op")) gen.op = strtol(a, NULL, 16);
		else if (!strcmp(o, "--mode")) gen.mode = atoi(a);
		else if (!strcmp(o, "--jobs")) jobs = atoi(a);
		else if (!strcmp(o, "--show")) shown = atoi(a);
		else if (!strcmp(o, "--bytes")) gen.nbytes = unhex(a, gen.bytes, BYTES);
		else return usage();
	}
	if (gen.mode != 64 && gen.mode != 32 && gen.mode != 16)
		return usage();
	struct tally *y = mmap(NULL, sizeof *y * (jobs + 1), PROT_READ | PROT_WRITE,
			       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct timespec t0, t1;
	clock_gettime(CLOCK_MONOTONIC, &t0);
	bool died = false;
	if (jobs <= 1) {
		worker(&y[1], 0);
	} else {
		for (unsigned j = 0; j < jobs; j++)
			if (!fork()) {
				worker(&y[1 + j], j);
				_exit(0);
			}
		for (int s; wait(&s) > 0;)
			died |= s != 0;
	}
	clock_gettime(CLOCK_MONOTONIC, &t1);
	for (unsigned j = 1; j <= (jobs ? jobs : 1); j++)
		add(&y[0], &y[j]);
	summary(&y[0], t1.tv_sec - t0.tv_sec + (t1.tv_nsec - t0.tv_nsec) / 1e9);
	if (died)
		printf("a worker died\n");
	return died || y[0].differ ? 1 : 0;
}
