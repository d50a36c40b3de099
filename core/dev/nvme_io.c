/* NVMe: PRP lists (NVMe 1.4, 4.3) and the NVM command set (section 6). */
#include "core/dev/nvme.h"

enum { OP_FLUSH = 0, OP_WRITE = 1, OP_READ = 2, OP_ZEROES = 8, OP_DEALLOCATE = 9 };
enum { FUSED = 3, PSDT = 3 << 6 };      /* cmd.flags */
enum { CHAINS = 4 };                    /* lists that one command may link */
#define DW12_FUA (1u << 30)
#define DW12_DEAC (1u << 25)

/* ---- buffers */

struct walk {
	struct nvme *n;
	struct nvme_req *r;
	bool write;              /* the device writes memory */
	unsigned spans;
};

/* One page, or its part; joins the span before it where memory allows. */
static u16 add(struct walk *w, gpa at, u64 len)
{
	u8 *p = ram_ptr(w->n->fn.dev.vm, at, len, w->write);
	struct span *last = w->spans ? &w->r->span[w->spans - 1] : NULL;

	if (!p)
		return NVME_DATA_ERROR;
	if (last && (u8 *)last->p + last->n == p) {
		last->n += len;
		return NVME_OK;
	}
	assert(w->spans < NVME_PAGES); /* len was judged against MDTS */
	w->r->span[w->spans++] = (struct span){ p, len };
	return NVME_OK;
}

/* The list at `list` holds pages for len bytes; the last entry of a full page
 * points to the next list if more than it could hold is left. */
static u16 walk_list(struct walk *w, gpa list, u64 len)
{
	unsigned chains = 0;

	if (list & 7)
		return NVME_BAD_PRP;
	while (len) {
		bool last = (list & (PAGE_SIZE - 1)) == PAGE_SIZE - 8;
		u64 part = min_u64(len, PAGE_SIZE), prp;
		u16 err;

		if (!ram_read(w->n->fn.dev.vm, list, &prp, 8))
			return NVME_DATA_ERROR;
		if (prp & (PAGE_SIZE - 1))
			return NVME_BAD_PRP;
		if (last && len > PAGE_SIZE) {
			if (++chains > CHAINS)
				return NVME_BAD_PRP;
			list = prp;
			continue;
		}
		err = add(w, prp, part);
		if (err)
			return err;
		len -= part;
		list += 8;
	}
	return NVME_OK;
}

u16 nvme_map(struct nvme *n, struct nvme_req *r, const struct nvme_cmd *c, u64 len, bool write)
{
	struct walk w = { n, r, write, 0 };
	u64 first = min_u64(len, PAGE_SIZE - (c->prp1 & (PAGE_SIZE - 1)));
	u16 err;

	if (c->flags & PSDT)
		return NVME_BAD_FIELD;   /* no SGLs */
	if (len > (u64)PAGE_SIZE << NVME_MDTS)
		return NVME_BAD_FIELD;
	if (c->prp1 & 3)
		return NVME_BAD_PRP;
	err = add(&w, c->prp1, first);
	len -= first;
	if (!err && len) {
		if (len > PAGE_SIZE)
			err = walk_list(&w, c->prp2, len);
		else
			err = c->prp2 & (PAGE_SIZE - 1) ? NVME_BAD_PRP : add(&w, c->prp2, len);
	}
	r->io.span = r->span;
	r->io.nspan = w.spans;
	return err;
}

u16 nvme_copy(struct nvme *n, struct nvme_req *r, const struct nvme_cmd *c, void *p, u64 len,
	      bool to_guest)
{
	u16 err = nvme_map(n, r, c, len, to_guest);
	u8 *b = p;

	for (unsigned i = 0; i < r->io.nspan && !err; i++) {
		const struct span *s = &r->span[i];

		memcpy(to_guest ? s->p : b, to_guest ? b : s->p, s->n);
		if (to_guest)
			ram_written_host(n->fn.dev.vm, s->p, s->n);
		b += s->n;
	}
	return err;
}

/* ---- commands */

static u16 in_range(const struct nvme *n, u64 lba, u64 count)
{
	u64 blocks = nvme_blocks(n);

	return lba > blocks || count > blocks - lba ? NVME_LBA_RANGE : NVME_OK;
}

static void set_range(struct nvme *n, struct nvme_req *r, enum disk_op op, u64 lba, u64 count)
{
	unsigned unit = n->disk->block / 512;

	r->io.op = op;
	r->io.unmap = false;
	r->io.sector = lba * unit;
	r->io.nsector = count * unit;
	r->io.span = NULL;
	r->io.nspan = 0;
}

static u16 flush(struct nvme *n, struct nvme_req *r)
{
	set_range(n, r, DISK_FLUSH, 0, 0);
	nvme_submit(n, r);
	return NVME_LATER;
}

static bool wants_flush(const struct nvme *n, const struct nvme_cmd *c)
{
	return c->dw12 & DW12_FUA || !(n->feature[6] & 1);
}

static u16 transfer(struct nvme *n, struct nvme_req *r, const struct nvme_cmd *c, bool write)
{
	u64 lba = c->dw10 | (u64)c->dw11 << 32, count = (c->dw12 & 0xffff) + 1ull;
	u64 len = count * n->disk->block;
	u16 err = in_range(n, lba, count);

	if (err)
		return err;
	if (write && n->disk->readonly)
		return NVME_WRITE_PROTECTED;
	set_range(n, r, write ? DISK_WRITE : DISK_READ, lba, count);
	err = nvme_map(n, r, c, len, !write);
	if (err)
		return err;
	r->then_flush = write && wants_flush(n, c);
	*(write ? &n->units_written : &n->units_read) += len / 512;
	++*(write ? &n->writes : &n->reads);
	nvme_submit(n, r);
	return NVME_LATER;
}

static u16 zeroes(struct nvme *n, struct nvme_req *r, const struct nvme_cmd *c)
{
	u64 lba = c->dw10 | (u64)c->dw11 << 32, count = (c->dw12 & 0xffff) + 1ull;
	u16 err = in_range(n, lba, count);

	if (err)
		return err;
	if (n->disk->readonly)
		return NVME_WRITE_PROTECTED;
	set_range(n, r, DISK_ZEROES, lba, count);
	r->io.unmap = c->dw12 & DW12_DEAC;
	r->then_flush = wants_flush(n, c);
	nvme_submit(n, r);
	return NVME_LATER;
}

/* The next range that is not empty; all were judged before the first began. */
static bool next_range(struct nvme *n, struct nvme_req *r)
{
	while (r->range < r->ranges) {
		const u8 *e = r->bytes + 16 * r->range++;

		if (!ld32(e + 4))
			continue;
		set_range(n, r, DISK_DISCARD, ld64(e + 8), ld32(e + 4));
		r->io.unmap = true;
		nvme_submit(n, r);
		return true;
	}
	return false;
}

static u16 deallocate(struct nvme *n, struct nvme_req *r, const struct nvme_cmd *c)
{
	enum { ATTRIBUTE_DEALLOCATE = 1 << 2 };
	unsigned ranges = (c->dw10 & 0xff) + 1;
	u8 list[16 * 256];
	u16 err;

	if (n->disk->readonly)
		return NVME_WRITE_PROTECTED;
	err = nvme_copy(n, r, c, list, 16 * ranges, false);
	if (err)
		return err;
	for (unsigned i = 0; i < ranges && !err; i++)
		err = in_range(n, ld64(list + 16 * i + 8), ld32(list + 16 * i + 4));
	if (err || !(c->dw11 & ATTRIBUTE_DEALLOCATE))
		return err;
	memcpy(r->bytes, list, 16 * ranges); /* over the spans, which are done with */
	r->range = 0;
	r->ranges = (u16)ranges;
	return next_range(n, r) ? NVME_LATER : NVME_OK;
}

static u16 verdict(const struct disk_req *io)
{
	if (!io->err)
		return NVME_OK;
	if (io->err == E_NOSPC)
		return NVME_CAPACITY;
	return io->op == DISK_READ ? NVME_READ_ERROR : NVME_WRITE_FAULT;
}

void nvme_again(struct nvme_req *r)
{
	struct nvme *n = r->n;

	if (!r->io.err && next_range(n, r))
		return;
	if (!r->io.err && r->then_flush) {
		r->then_flush = false;
		flush(n, r);
		return;
	}
	nvme_complete(n, r, verdict(&r->io));
}

u16 nvme_io(struct nvme *n, struct nvme_req *r, const struct nvme_cmd *c)
{
	if (c->flags & FUSED)
		return NVME_BAD_FIELD;
	if (c->nsid != 1 && !(c->opcode == OP_FLUSH && c->nsid == ~0u))
		return NVME_BAD_NAMESPACE;
	switch (c->opcode) {
	case OP_FLUSH:
		return flush(n, r);
	case OP_WRITE:
	case OP_READ:
		return transfer(n, r, c, c->opcode == OP_WRITE);
	case OP_ZEROES:
		return zeroes(n, r, c);
	case OP_DEALLOCATE:
		return n->disk->can_discard ? deallocate(n, r, c) : NVME_BAD_OPCODE;
	}
	return NVME_BAD_OPCODE;
}
