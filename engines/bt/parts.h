/* The translator's own structures; see README.md for how it works and the numbered
 * invariants that the comments here name. */
#ifndef ENGINES_BT_PARTS_H
#define ENGINES_BT_PARTS_H

#include "core/vm.h"
#include "core/x86/insn.h"
#include "engines/interp/interp.h"



struct plan;
struct shadow;

/* Slots: SLOTS in each set, one set for users and one for the supervisor. */
enum { SLOT_REGS = 48, SLOTS = 4 * SLOT_REGS, SLOT_SETS = 2, SIZES = 8 };

/* emul.word[]: what generated code reads and writes by GS besides the registers. */
enum word {
	W_STASH,   /* the six arithmetic flags: AH as LAHF has it, AL is OF */
	W_SITE,    /* which site or exit left the code; see ref() */
	W_GO,      /* where the code is entered */
	W_HOST_SP, /* the host's stack meanwhile */
	W_POLL,    /* not 0: look at events; any thread sets it */
	W_TABLE,   /* struct target * of the present privilege */
	W_TEMP,    /* inside one instruction */
	W_SELF,    /* the struct vcpu */
	W_VECTOR,  /* 1: the guest's vector registers are in the host's; 2: x87's, too */
	W_THEN,    /* where to go when they have been loaded */
	W_FLAGS,   /* the flags meanwhile, as in the stash */
	W_ARENA,   /* for slot.c's thunks: where sites are */
	W_CODE,    /* and where the code is */
	W_SLOT, W_DIFF, W_PAGE, /* inside them */
	W_SEEN,    /* emul.tlb_changes that each set of slots is of */
	W_VIEW = W_SEEN + SLOT_SETS, /* and the view */
	W_TSC = W_VIEW + SLOT_SETS, W_TICKS, W_RATE, /* the guest's TSC: W_TICKS + ((TSC - W_TSC) * W_RATE >> 32), or the core's
						      * affair while the TSC is less than W_TSC */
	W_LIMITS = 24, /* slots: see slot.c */
	W_TAGS = W_LIMITS + SLOT_SETS * SLOTS,
	WORDS = W_TAGS + 2 * SLOT_SETS * SLOTS,
};
_Static_assert((int)WORDS <= (int)EMUL_WORDS, "");

/* Scratch registers come in pairs, so that there are few kinds of exit. */
enum { PAIRS = 7, HOME = 0 /* the pair that is in memory at every border: rule 3 */ };
struct pair { u8 a, b; };
extern const struct pair pairs[PAIRS];

/* A jump from one block to another: rel32 at `patch` leads to `cold` until it is linked. */
struct out {
	struct block64 *from, *to;
	struct out *next;      /* of those that lead to `to` */
	u64 rip;               /* where to */
	u32 patch;             /* offsets in the code memory */
	u32 cold : 31;
	bool stashed : 1;      /* the flags are in the stash only */
};

/* A place in the code where the core executes the instruction: always, or when it
 * cannot be done here.  The second kind is rarely used and has it decoded again. */
struct site {
	u32 block;             /* ref() of it */
	u32 back;              /* offset in the code memory: a slot's thunk goes on there */
	u16 rest;              /* bytes from there to behind the instruction */
	u16 slot;              /* 8 times its number */
	s16 count;             /* misses until C looks at it */
	u8 off;                /* of the instruction in the block's bytes */
	bool decoded : 1;
	bool slotted : 1;      /* come to when a slot had not the page */
	struct insn insn[];    /* one, if decoded */
};

struct block64 {
	u64 rip;
	const u8 *host;        /* of its first byte; NULL: dead */
	struct block64 *next;  /* in its hash chain */
	struct block64 *page_next, **page_at; /* in one of its page's lists */
	struct code_page *page;
	struct out *in;        /* who jumps here */
	struct out out[2];
	u32 gen;
	u32 enter;             /* from C and by the table: flags in the stash */
	u32 load;              /* from a block that left the vector registers where they were */
	u32 poll, body;        /* from a block: looking at events, or not */
	u32 end;               /* of its code */
	u16 len, n;            /* bytes, instructions */
	u8 key, pair;          /* key: KEY_ANY if no vector instruction is in it */
	u8 vector;             /* what W_VECTOR must be in it, at least */
	bool live;             /* it reads flags of before */
	bool super;            /* runs at CPL 0 to 2, and uses the supervisor's slots */
	u8 mode;               /* flat_mode() where it runs */
	u8 bytes[];
};

/* A page of RAM with blocks. */
struct code_page {
	struct ram_page *page;
	struct block64 *blocks;
	struct block64 *stale; /* nobody goes to them until block_get() found their bytes good */
	u32 gen;               /* up to which blocks have been looked at */
};

/* Indirect jumps: by the low bits of the linear address. */
struct target {
	u64 rip;
	const u8 *code;
};

enum {
	CODE_BYTES = 32 * MiB, ARENA_BYTES = 64 * MiB, HASH = 1 << 15,
	USER_TARGETS = 1 << 14, SUPER_TARGETS = 1 << 16, /* a kernel has so much more code at work */
	CODE_PAGES = 1 << 14, ACROSS = 1 << 8, FAR = 1 << 15,
	TABLES = 1 + TLB_CONTEXTS, /* the supervisor's; a user's, one for each address space */
	BLOCK_MOST = 64,           /* instructions */
	BLOCK_READ = 256,          /* bytes looked at for one */
	EMIT_MOST = 32 * KiB,      /* bytes of code one block can come to */
};

static inline u32 targets(bool super) { return super ? SUPER_TARGETS : USER_TARGETS; }

struct bt {
	struct interp interp;      /* for what is not 64-bit code; also has the kick */
	u8 *rw, *rx;               /* code memory, to write and to run */
	u32 used, thunks_end;      /* of it */
	u32 save[PAIRS];           /* thunks: site of a block with this pair */
	u32 link_stashed;          /* thunk: unlinked exit, the flags stashed */
	u32 link, miss, enter;     /* thunks: unlinked exit, target not in the table, from C */
	u32 refill[PAIRS][SIZES][2]; /* thunks: a slot that had not the page, by size, for writing */
	u32 load[3];               /* thunks: registers for W_VECTOR 1, 2, then to W_THEN */
	u8 *arena;
	u32 arena_used;
	u32 mappings, user_mappings[TLB_CONTEXTS], code_written; /* as last seen */
	enum done done;            /* why the code was left */
	u64 tsc_offset;            /* that W_TICKS is made with */
	bool bmi2;                 /* the host has it, and the guest */
	u8 key;                    /* what vector_key() said last */
	u8 strikes[1 << 9];        /* by site (hashed): how often its count ran out since `counted` */
	u16 reached[1 << 9];       /* and how many pages in a window it got at most */
	u64 counted;
	u16 missing[1 << 14];      /* instructions (hashed) whose slots missed too often: slot.c */
	bool slotless;             /* for tests: no instruction uses slots */
	bool single, stop;         /* bt_one(): blocks of one instruction; it has begun */
	u32 npages;
	struct code_page *pages;
	u16 *page_index;           /* hash: ram_page to index + 1 */
	struct block64 *hash[HASH];
	struct windows *windows;   /* window.c's own, or NULL */
	struct target *table[TABLES];
	u32 nfilled[TABLES];
	u16 *filled[TABLES];       /* indices of those in use */
	u8 table_mode[TABLES];     /* flat_mode() of the blocks there */
	u32 nfar, far[FAR];        /* ref()s of links between pages, some of them gone by now */
	u64 across[ACROSS];        /* instructions, by rip (hashed), that were found to lie across two pages */
	/* NULL, or: the block may not go on with this one, unless it is its first */
	bool (*cut)(struct shadow *, const struct plan *, bool first);
	struct shadow *shadow;     /* shadow.c's own */
	u64 drops, made, links, slow, resolves, dead; /* counters */
};

static inline struct bt *bt_of(const struct vcpu *v) { return v->engine_data; }
struct code;
static inline u32 ref(const struct bt *t, const void *p) /* 0: none */
{
	return p ? (u32)((const u8 *)p - t->arena) : 0;
}

/* vector.c: which vector instructions can be translated in the present state */
enum { KEY_SSE = 1, KEY_AVX = 2, KEY_X87 = 8, KEY_ANY = 4 };
u8 vector_key(const struct vcpu *);

/* flat.c: what code can be translated in the present state: 64-bit, or 32-bit in flat segments,
 * and then whether FS and GS are like these, but for their bases */
enum { FLAT_64 = 0, FLAT_32 = 1, FLAT_FS = 2, FLAT_GS = 4, FLAT_NONE = 8 };
u8 flat_mode_32(const struct vcpu *);
static inline u8 flat_mode(const struct vcpu *v) { return likely(v->emul.long64) ? FLAT_64 : flat_mode_32(v); }
static inline enum mode block_mode(const struct block64 *b) { return b->mode ? MODE_32 : MODE_64; }

/* thunk.c */
void thunks_make(struct vcpu *);
/* Runs code from W_GO on until it is left. */
void code_run(struct vcpu *, struct bt *);

/* translate.c: makes b's code out of its bytes.  What it takes from the arena is
 * enough for BLOCK_MOST instructions. */
void translate(struct vcpu *, struct block64 *, unsigned room, u8 hint);
void out_jump(struct bt *, struct out *, u8 from_pair);

/* slot.c */
void slots_make(struct code *); /* thunks */
void slots_look(struct vcpu *);     /* before translated code is entered */
bool slot_missing(const struct bt *, const struct block64 *, unsigned off);
/* Site s was come to: true: its instruction is to use a slot no more. */
bool slot_missed(struct vcpu *, struct site *, const struct block64 *);
static inline u32 site_resume(const struct site *s) { return s->back + s->rest; }

/* No slot holds anything. */
void slots_empty(struct vcpu *);

/* window.c */
struct stretch {
	u64 a, host;           /* linear and host address of its first page */
	unsigned pages;
};
int windows_init(struct bt *, unsigned nvcpu);
void windows_fini(struct bt *);
void windows_forget(struct bt *); /* the host may have put other memory where guest memory was */
/* The pages around a that the TLB has, for reading or for writing, side by side; false: none.  grow: those
 * that are not may be put there. */
bool window_around(struct vcpu *, u64 a, bool write, bool grow, struct stretch *);

/* blocks.c */
void block_forget(struct bt *, struct block64 *); /* it is made anew when it is come to again */
int blocks_init(struct bt *);
void blocks_fini(struct bt *);
void blocks_drop(struct vcpu *);
/* The block at rip, to be run now, or NULL; hint: the pair it should have. */
struct block64 *block_get(struct vcpu *, u8 hint);
void block_link(struct bt *, struct out *, struct block64 *);
const u8 *target_get(const struct bt *, unsigned table, u64 rip); /* NULL: none */
void target_set(struct bt *, unsigned table, const struct block64 *);
void targets_clear(struct bt *, unsigned table);
void targets_clear_all(struct bt *);
void links_cut(struct bt *); /* those between pages */
void blocks_written(struct vcpu *);
void blocks_rekey(struct bt *);     /* nobody goes to blocks with vector instructions any more */
void *arena_take(struct bt *, size_t n);

/* bt.c: what is to be done before block_get() */
void bt_look(struct vcpu *);
/* Runs b to its end or less, and nothing behind it.  Faults are not delivered: as emul_exec(). */
enum done bt_alone(struct vcpu *, const struct block64 *b);

/* Called by thunks; where to go on, or NULL: leave */
const u8 *bt_site(struct vcpu *);
const u8 *bt_link(struct vcpu *);
const u8 *bt_miss(struct vcpu *);

#endif
