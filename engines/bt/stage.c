#include "engines/bt/stage.h"
#include "core/x86/mem.h"

int stage_init(struct stage *s)
{
	for (unsigned n = 0; n < IMAGES; n++)
		if (!(s->image[n] = host_alloc(STAGED * PAGE_SIZE)))
			return fail(E_NOMEM, "shadow: no memory for copies of pages");
	return 0;
}

void stage_fini(struct stage *s)
{
	for (unsigned n = 0; n < IMAGES; n++)
		host_free(s->image[n], STAGED * PAGE_SIZE);
}

void stage_empty(struct stage *s)
{
	s->n = 0;
	s->again = s->full = false;
}

static struct staged staged(const struct vm *vm, gpa at)
{
	const struct ram_page *p = ram_page(vm, at);

	return (struct staged){at, __atomic_load_n(&p->code, __ATOMIC_SEQ_CST),
			       __atomic_load_n(&p->lines, __ATOMIC_SEQ_CST)};
}

u8 *stage_page(struct stage *s, struct vm *vm, gpa at, const u8 *host)
{
	unsigned k;

	for (k = s->n; k--;)
		if (s->page[k].at == at)
			return s->image[NOW] + k * PAGE_SIZE;
	if (s->n == STAGED) {
		s->full = true;
		return s->image[NOW];
	}
	k = s->n++;
	s->page[k] = staged(vm, at);
	memcpy(s->image[BEGIN] + k * PAGE_SIZE, host, PAGE_SIZE);
	for (unsigned n = 0; n < IMAGES; n++)
		if (n == NOW || (n != BEGIN && s->again))
			memcpy(s->image[n] + k * PAGE_SIZE, s->image[BEGIN] + k * PAGE_SIZE, PAGE_SIZE);
	return s->image[NOW] + k * PAGE_SIZE;
}

void stage_keep(struct stage *s, enum image to)
{
	memcpy(s->image[to], s->image[NOW], s->n * PAGE_SIZE);
}

/* Counts and lines as they were; code_epoch says it where code had gone altogether. */
static void recode(struct vcpu *v, const struct staged *was)
{
	struct ram_page *p = ram_page(v->vm, was->at);
	u64 gone = was->lines & ~__atomic_load_n(&p->lines, __ATOMIC_SEQ_CST);

	for (unsigned k = 0; gone >> k && k < 64; k++)
		if (gone >> k & 1)
			mem_code_range(v, was->at + 64 * k, 64);
	if (!__atomic_load_n(&p->code, __ATOMIC_SEQ_CST))
		mem_code_range(v, was->at, 1);
	__atomic_store_n(&p->code, was->code, __ATOMIC_SEQ_CST);
}

void stage_code(const struct stage *s, struct vcpu *v)
{
	for (unsigned k = 0; k < s->n; k++)
		if (s->page[k].code)
			recode(v, &s->page[k]);
}

void stage_again(struct stage *s, struct vcpu *v)
{
	memcpy(s->image[NOW], s->image[BEGIN], s->n * PAGE_SIZE);
	s->again = true;
	stage_code(s, v);
}

s64 stage_differ(const struct stage *s, enum image a, enum image b)
{
	const u8 *p = s->image[a], *q = s->image[b];

	for (u64 k = 0; k < s->n; k++, p += PAGE_SIZE, q += PAGE_SIZE)
		for (unsigned n = 0; memcmp(p, q, PAGE_SIZE); n++)
			if (p[n] != q[n])
				return (s64)(k * PAGE_SIZE + n);
	return -1;
}
