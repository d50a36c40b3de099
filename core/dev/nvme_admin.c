/* NVMe: the admin command set (NVMe 1.4, section 5). */
#include "core/dev/nvme.h"

enum {
	OP_DELETE_SQ = 0x00, OP_CREATE_SQ = 0x01, OP_GET_LOG = 0x02, OP_DELETE_CQ = 0x04,
	OP_CREATE_CQ = 0x05, OP_IDENTIFY = 0x06, OP_ABORT = 0x08, OP_SET_FEATURES = 0x09,
	OP_GET_FEATURES = 0x0a, OP_EVENT = 0x0c, OP_DOORBELLS = 0x7c,
};
enum {
	F_ARBITRATION = 1, F_POWER = 2, F_TEMPERATURE = 4, F_ERROR_RECOVERY = 5, F_CACHE = 6,
	F_QUEUES = 7, F_COALESCING = 8, F_VECTOR = 9, F_ATOMICITY = 10, F_EVENTS = 11,
};
enum { KELVIN_NOW = 310, KELVIN_WARN = 343, KELVIN_CRITICAL = 353 };
enum { PAGE = 4096 };

/* ---- queues */

static u16 create_cq(struct nvme *n, const struct nvme_cmd *c)
{
	enum { CONTIGUOUS = 1, INTERRUPTS = 2 };
	unsigned q = c->dw10 & 0xffff, vector = c->dw11 >> 16;
	u32 size = (c->dw10 >> 16) + 1;

	if (!q || q >= NVME_QUEUES || n->cq[q].size)
		return NVME_BAD_QID;
	if (size < 2 || size > NVME_ENTRIES)
		return NVME_BAD_QSIZE;
	if (!(c->dw11 & CONTIGUOUS) || (n->cc >> 20 & 15) != 4)
		return NVME_BAD_FIELD;
	if (c->prp1 & (PAGE - 1))
		return NVME_BAD_PRP;
	if (vector >= NVME_QUEUES || (vector && !msix_on(&n->fn)))
		return NVME_BAD_VECTOR;
	n->cq[q] = (struct nvme_cq){ .base = c->prp1, .size = size, .vector = (u16)vector,
				     .ien = c->dw11 & INTERRUPTS, .phase = true };
	nvme_shadow_arm(n);
	return NVME_OK;
}

static u16 create_sq(struct nvme *n, const struct nvme_cmd *c)
{
	enum { CONTIGUOUS = 1 };
	unsigned q = c->dw10 & 0xffff, cq = c->dw11 >> 16;
	u32 size = (c->dw10 >> 16) + 1;

	if (!cq || cq >= NVME_QUEUES || !n->cq[cq].size)
		return NVME_BAD_CQ;
	if (!q || q >= NVME_QUEUES || n->sq[q].size)
		return NVME_BAD_QID;
	if (size < 2 || size > NVME_ENTRIES)
		return NVME_BAD_QSIZE;
	if (!(c->dw11 & CONTIGUOUS) || (n->cc >> 16 & 15) != 6)
		return NVME_BAD_FIELD;
	if (c->prp1 & (PAGE - 1))
		return NVME_BAD_PRP;
	n->sq[q] = (struct nvme_sq){ .base = c->prp1, .size = size, .cq = (u16)cq };
	n->cq[cq].sqs++;
	nvme_shadow_arm(n);
	return NVME_OK;
}

/* Completes when the queue's last command has. */
static u16 delete_sq(struct nvme *n, struct nvme_req *r, const struct nvme_cmd *c)
{
	unsigned q = c->dw10 & 0xffff;

	if (!q || q >= NVME_QUEUES || !n->sq[q].size || n->sq[q].deleting)
		return NVME_BAD_QID;
	n->sq[q].deleting = r;
	nvme_delete_sq(n, q);
	return NVME_LATER;
}

static u16 delete_cq(struct nvme *n, const struct nvme_cmd *c)
{
	unsigned q = c->dw10 & 0xffff;

	if (!q || q >= NVME_QUEUES || !n->cq[q].size)
		return NVME_BAD_QID;
	if (n->cq[q].sqs)
		return NVME_BAD_DELETION;
	nvme_drop_held(n, &n->cq[q]);
	n->cq[q] = (struct nvme_cq){ 0 };
	nvme_shadow_arm(n);
	return NVME_OK;
}

/* ---- identify */

/* ASCII, padded with spaces. */
static void text(u8 *p, const char *s, size_t n)
{
	size_t len = strlen(s);

	memset(p, ' ', n);
	memcpy(p, s, len < n ? len : n);
}

static void controller(const struct nvme *n, u8 p[PAGE])
{
	enum { DSM = 1 << 2, ZEROES = 1 << 3 };

	st16(p, ld16(n->fn.cfg));
	st16(p + 2, ld16(n->fn.cfg + 0x2c));
	text(p + 4, n->disk->name, 20);
	text(p + 24, "lodge NVMe", 40);
	text(p + 64, "1", 8);
	p[77] = NVME_MDTS;
	st16(p + 78, 1);                 /* controller id */
	st32(p + 80, 0x00010400);
	p[111] = 1;                      /* an I/O controller */
	p[257] = 1;                      /* doorbells in memory */
	p[258] = 3;                      /* aborts at once, less one */
	p[259] = NVME_AERS - 1;
	p[260] = 1 << 1 | 1;             /* one firmware slot, read only */
	p[261] = 1 << 2;                 /* long log offsets */
	st16(p + 266, KELVIN_WARN);
	st16(p + 268, KELVIN_CRITICAL);
	p[512] = 0x66;                   /* 64-byte and 16-byte entries */
	p[513] = 0x44;
	st32(p + 516, 1);                /* namespaces */
	st16(p + 520, ZEROES | (n->disk->can_discard ? DSM : 0));
	p[525] = 7;                      /* a write cache; flush takes every namespace */
	fmt((char *)p + 768, 256, "nqn.2014-08.org.nvmexpress:lodge:%s", n->disk->name);
}

/* FNV-1a over the disk's name: stable, and two disks have two names. */
static void unique_id(const struct nvme *n, u8 id[16])
{
	for (unsigned half = 0; half < 2; half++) {
		u64 h = 14695981039346656037ull + half;

		for (const char *s = n->disk->name; *s; s++)
			h = (h ^ (u8)*s) * 1099511628211ull;
		st64(id + 8 * half, h);
	}
	id[6] = (u8)((id[6] & 0x0f) | 0x80);     /* a UUID of version 8 */
	id[8] = (u8)((id[8] & 0x3f) | 0x80);
}

static void namespace(const struct nvme *n, u8 p[PAGE])
{
	u64 blocks = nvme_blocks(n);

	st64(p, blocks);
	st64(p + 8, blocks);
	st64(p + 16, blocks);
	p[99] = n->disk->readonly;
	p[130] = (u8)__builtin_ctz(n->disk->block); /* format 0: size of a block */
}

static void descriptors(const struct nvme *n, u8 p[PAGE])
{
	p[0] = 3;                        /* a UUID */
	p[1] = 16;
	unique_id(n, p + 4);
}

static u16 identify(struct nvme *n, struct nvme_req *r, const struct nvme_cmd *c)
{
	enum { NAMESPACE, CONTROLLER, LIST, DESCRIPTORS };
	u8 p[PAGE] = { 0 };

	switch (c->dw10 & 0xff) {
	case NAMESPACE:
		if (c->nsid != 1 && c->nsid != ~0u)
			return NVME_BAD_NAMESPACE;
		namespace(n, p);
		break;
	case CONTROLLER:
		controller(n, p);
		break;
	case LIST:
		if (c->nsid >= 0xfffffffe)
			return NVME_BAD_NAMESPACE;
		if (c->nsid < 1)
			st32(p, 1);
		break;
	case DESCRIPTORS:
		if (c->nsid != 1)
			return NVME_BAD_NAMESPACE;
		descriptors(n, p);
		break;
	default:
		return NVME_BAD_FIELD;
	}
	return nvme_copy(n, r, c, p, PAGE, true);
}

/* ---- features */

u32 nvme_feature_default(unsigned id)
{
	switch (id) {
	case F_TEMPERATURE: return KELVIN_WARN;
	case F_CACHE: return 1;
	case F_QUEUES: return (NVME_QUEUES - 2) | (NVME_QUEUES - 2) << 16;
	}
	return 0;
}

static bool has_feature(u32 id)
{
	return (id >= F_ARBITRATION && id <= F_EVENTS) && id != 3;
}

static u16 get_features(struct nvme *n, struct nvme_req *r, const struct nvme_cmd *c)
{
	enum { CURRENT, DEFAULT, SAVED, CAPABILITIES };
	u32 id = c->dw10 & 0xff, select = c->dw10 >> 8 & 7;

	if (!has_feature(id) || select > CAPABILITIES)
		return NVME_BAD_FIELD;
	if (id == F_VECTOR && (c->dw11 & 0xffff) >= NVME_QUEUES)
		return NVME_BAD_FIELD;
	r->result = select == CURRENT ? n->feature[id] : nvme_feature_default(id);
	if (select == CAPABILITIES)
		r->result = 1 << 2;      /* changeable, for the controller */
	if (id == F_VECTOR && select == CURRENT)
		r->result = c->dw11 & 0xffff;
	if (id == F_TEMPERATURE && c->dw11 & 0x3f0000 && select == CURRENT)
		r->result = 0;           /* sensors that are not there */
	return NVME_OK;
}

static u16 set_features(struct nvme *n, struct nvme_req *r, const struct nvme_cmd *c)
{
	u32 id = c->dw10 & 0xff;

	if (!has_feature(id))
		return NVME_BAD_FIELD;
	if (c->dw10 >> 31)
		return NVME_NOT_SAVEABLE;
	if (id == F_QUEUES) {
		if ((c->dw11 & 0xffff) == 0xffff || c->dw11 >> 16 == 0xffff)
			return NVME_BAD_FIELD;
		r->result = nvme_feature_default(id);
		return NVME_OK;
	}
	if (id == F_POWER && c->dw11 & 0x1f)
		return NVME_BAD_FIELD;   /* there is one power state */
	if (id == F_TEMPERATURE && c->dw11 & 0x3f0000)
		return NVME_OK;
	n->feature[id] = c->dw11;
	return NVME_OK;
}

/* ---- logs */

static void smart(const struct nvme *n, u8 p[PAGE])
{
	st16(p + 1, KELVIN_NOW);
	p[3] = 100;                      /* spare, its threshold */
	p[4] = 10;
	st64(p + 32, (n->units_read + 999) / 1000);
	st64(p + 48, (n->units_written + 999) / 1000);
	st64(p + 64, n->reads);
	st64(p + 80, n->writes);
}

static u16 get_log(struct nvme *n, struct nvme_req *r, const struct nvme_cmd *c)
{
	enum { ERRORS = 1, SMART = 2, FIRMWARE = 3 };
	u64 len = ((u64)(c->dw11 & 0xffff) << 16 | c->dw10 >> 16) * 4 + 4;
	u64 off = c->dw12 | (u64)c->dw13 << 32;
	u8 p[2 * PAGE] = { 0 };
	u32 size = 512;

	switch (c->dw10 & 0xff) {
	case ERRORS:
		size = 64;               /* one entry: nothing happened */
		break;
	case SMART:
		if (c->nsid != ~0u && c->nsid > 1)
			return NVME_BAD_FIELD;
		smart(n, p);
		break;
	case FIRMWARE:
		p[0] = 1;
		text(p + 8, "1", 8);
		break;
	default:
		return NVME_BAD_LOG;
	}
	if (off % 4 || off > size)
		return NVME_BAD_FIELD;
	return nvme_copy(n, r, c, p + off, min_u64(len, PAGE), true);
}

/* ---- */

/* Held for ever: there is no event that a disk of ours would report.  The number is
 * kept, the request is not. */
static u16 event(struct nvme *n, struct nvme_req *r)
{
	if (n->naer == NVME_AERS)
		return NVME_TOO_MANY_AERS;
	n->aer[n->naer++] = r->cid;
	r->next = n->free;
	n->free = r;
	return NVME_LATER;
}

static u16 abort_command(struct nvme_req *r)
{
	r->result = 1;                   /* was not aborted: it will end by itself */
	return NVME_OK;
}

u16 nvme_admin(struct nvme *n, struct nvme_req *r, const struct nvme_cmd *c)
{
	if (c->flags & 0xc3)
		return NVME_BAD_FIELD;   /* neither fused commands nor SGLs */
	switch (c->opcode) {
	case OP_DELETE_SQ: return delete_sq(n, r, c);
	case OP_CREATE_SQ: return create_sq(n, c);
	case OP_GET_LOG: return get_log(n, r, c);
	case OP_DELETE_CQ: return delete_cq(n, c);
	case OP_CREATE_CQ: return create_cq(n, c);
	case OP_IDENTIFY: return identify(n, r, c);
	case OP_ABORT: return abort_command(r);
	case OP_SET_FEATURES: return set_features(n, r, c);
	case OP_GET_FEATURES: return get_features(n, r, c);
	case OP_EVENT: return event(n, r);
	case OP_DOORBELLS: return nvme_shadow_config(n, c);
	}
	return NVME_BAD_OPCODE;          /* Format NVM among them */
}
