/* The decoder against libzydis: lengths, and what is defined, over structured and
 * random byte strings in the three modes.
 *
 *   lengths [-n COUNT] [--seed N] [-v]
 *
 * Only what both call defined is compared by length; what one of them alone calls
 * defined must be in the table of exceptions. */
#include "core/x86/insn.h"
#include <Zydis/Zydis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

extern exec_fn op_ud;

static u64 seed = 1;
static u64 r64(void)
{
	u64 z = seed += 0x9e3779b97f4a7c15ull;
	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}

/* What libzydis knows and this machine does not offer. */
static bool not_offered(const ZydisDecodedInstruction *z)
{
	static const char *const sets[] = {
		"AMX", "AVX512", "CET", "CLZERO", "ENQCMD", "FMA4", "HRESET", "KEYLOCKER",
		"KNC", "PT", "MCOMMIT", "MONITORX", "MOVDIR", "MPX", "PADLOCK", "PCONFIG", "PKU", "PTWRITE",
		"RDPRU", "RTM", "SERIALIZE", "SGX", "SMX", "SNP", "SSE4A", "SVM", "TBM", "TDX", "TSX_LDTRK",
		"UINTR", "VMFUNC", "VTX", "WAITPKG", "XOP", "AVX_VNNI", "AMD3DNOW", "CLDEMOTE", "INVLPGB",
		"RAO", "AVX_IFMA", "AVX_NE", "MSRLIST", "WRMSRNS", "XSAVES", "WBNOINVD",
		"LWP", "AMD_INVLPGB", "MONITOR", "PREFETCHWT1", "PREFETCH_NOP", "CMPCCXADD",
	};
	const char *set = ZydisISASetGetString(z->meta.isa_set);
	const char *ext = ZydisISAExtGetString(z->meta.isa_ext);
	for (unsigned i = 0; i < countof(sets); i++)
		if ((set && strstr(set, sets[i])) || (ext && strstr(ext, sets[i])))
			return true;
	return z->encoding == ZYDIS_INSTRUCTION_ENCODING_EVEX ||
	       z->encoding == ZYDIS_INSTRUCTION_ENCODING_MVEX ||
	       z->encoding == ZYDIS_INSTRUCTION_ENCODING_XOP ||
	       z->encoding == ZYDIS_INSTRUCTION_ENCODING_3DNOW;
}

/* Defined to the decoder, but the handler raises #UD for some operands. */
static bool judged_when_run(const struct insn *i)
{
	static const struct {
		u8 map, first, last;
	} later[] = {
		{MAP_1B, 0x8c, 0x8e},   /* segment registers that are none */
		{MAP_0F, 0x00, 0x01},   /* groups 6 and 7 */
		{MAP_0F, 0x1a, 0x1b},   /* hints here, MPX to libzydis */
		{MAP_0F, 0x20, 0x23},   /* control and debug registers that are none */
		{MAP_0F38, 0x90, 0x93}, /* gathers: registers must differ */
		{MAP_0F38, 0xf3, 0xf3}, /* BLSR, BLSMSK, BLSI by ModRM.reg */
	};
	for (unsigned k = 0; k < countof(later); k++)
		if (i->map == later[k].map && i->op >= later[k].first && i->op <= later[k].last)
			return true;
	return false;
}

static unsigned bytes(u8 *b, enum mode mode, u64 i)
{
	static const u8 pre[] = {0x66, 0x66, 0xf3, 0xf2, 0x67, 0x2e, 0x64, 0x36, 0xf0, 0x65};
	unsigned n = 0, map = i % 8;
	for (int k = 0; k < 24; k += 8)
		st64(b + k, r64());
	if (map == 7)
		return 16;
	for (unsigned k = r64() % 4; k > 1; k--)
		b[n++] = pre[r64() % countof(pre)];
	if (mode == MODE_64 && r64() % 2)
		b[n++] = 0x40 | r64() % 16;
	if (map == 1 || map == 2 || map == 3)
		b[n++] = 0x0f;
	if (map == 2 || map == 3)
		b[n++] = map == 2 ? 0x38 : 0x3a;
	if (map >= 4 && map < 7) {
		b[n++] = map == 4 ? 0xc5 : 0xc4;
		if (map > 4)
			b[n++] = (mode == MODE_64 ? r64() & 0xe0 : 0xe0) | (1 + r64() % 3);
		else if (mode != MODE_64)
			b[n] |= 0xc0;
		if (r64() % 2)
			b[n] |= 0x78;
		n++;
	}
	b[n] = i / 8;
	return 16;
}

int main(int argc, char **argv)
{
	static const ZydisMachineMode zmode[] = {ZYDIS_MACHINE_MODE_LEGACY_16, ZYDIS_MACHINE_MODE_LEGACY_32,
						 ZYDIS_MACHINE_MODE_LONG_64};
	static const ZydisStackWidth width[] = {ZYDIS_STACK_WIDTH_16, ZYDIS_STACK_WIDTH_32, ZYDIS_STACK_WIDTH_64};
	u64 count = 3000000, same = 0, bad = 0, excepted = 0, told[3][256] = {0};
	bool verbose = false;
	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "-v"))
			verbose = true;
		else if (i + 1 < argc && !strcmp(argv[i], "-n"))
			count = strtoull(argv[++i], NULL, 0);
		else if (i + 1 < argc && !strcmp(argv[i], "--seed"))
			seed = strtoull(argv[++i], NULL, 0);
	}
	for (u64 i = 0; i < count; i++) {
		enum mode mode = i % 3;
		u8 b[32] = {0};
		struct insn in;
		ZydisDecoder d;
		ZydisDecodedInstruction z;
		bytes(b, mode, i / 3);
		memset(b + 15, 0, 17);
		ZydisDecoderInit(&d, zmode[mode], width[mode]);
		bool zok = ZYAN_SUCCESS(ZydisDecoderDecodeInstruction(&d, NULL, b, 15, &z)) &&
			   z.mnemonic != ZYDIS_MNEMONIC_UD0 && z.mnemonic != ZYDIS_MNEMONIC_UD1 &&
			   z.mnemonic != ZYDIS_MNEMONIC_UD2 &&
			   z.mnemonic != ZYDIS_MNEMONIC_RSM; /* #UD outside SMM */
		memset(&in, 0, sizeof in);
		bool eok = !decode(&in, mode, b, 15) && in.exec != op_ud;
		/* a decoder that reads too far must not be helped by what is there */
		if (zok && eok && in.len == z.length) {
			struct insn again;
			if (decode(&again, mode, b, z.length) || (z.length > 1 && !decode(&again, mode, b, z.length - 1)))
				zok = false;
		}
		if (zok == eok && (!zok || in.len == z.length)) {
			same++;
			continue;
		}
		if (zok && not_offered(&z)) {
			excepted++;
			continue;
		}
		if (eok && !zok && judged_when_run(&in)) {
			excepted++;
			continue;
		}
		bad++;
		u64 *t = &told[mode][in.op];
		if ((*t)++ && !verbose)
			continue;
		printf("mode %d: ", 16 << mode);
		for (int k = 0; k < 15; k++)
			printf("%02x", b[k]);
		printf(": decoder %s %d, zydis %s %d %s (%s)\n", eok ? "defined" : "undefined", in.len,
		       zok ? "defined" : "undefined", zok ? z.length : 0, zok ? ZydisMnemonicGetString(z.mnemonic) : "",
		       zok ? ZydisISASetGetString(z.meta.isa_set) : "");
	}
	printf("%lu excepted\n%lu passed, %lu failed\n", excepted, same, bad);
	return bad != 0;
}
