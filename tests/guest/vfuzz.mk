# vfuzz: the hostile guest, a 64-bit ELF file that starts by PVH.  It stands on its own: no
# header but the compiler's, no library, no vector registers.
VFUZZ_SRC := $(wildcard tests/guest/vfuzz/*.c) tests/guest/vfuzz/start.S
VFUZZ_OBJ := $(patsubst tests/guest/%,build/guest/%.o,$(VFUZZ_SRC))
VFUZZ_CFLAGS := -std=c17 -O2 -g $(WARN) -m64 -ffreestanding -nostdinc -I. \
	-isystem $(shell $(CC) -print-file-name=include) -mno-red-zone -mgeneral-regs-only \
	-fno-pic -fno-stack-protector -fcf-protection=none -fno-asynchronous-unwind-tables -MMD -MP

build/guest/vfuzz/%.o: tests/guest/vfuzz/%
	@mkdir -p $(@D)
	$(if $(V),,@echo "  CC	$@")
	$Q$(CC) $(VFUZZ_CFLAGS) -c -o $@ $<
build/guest/vfuzz.elf: $(VFUZZ_OBJ) tests/guest/vfuzz/vfuzz.ld
	$(if $(V),,@echo "  LD	$@")
	$Q$(CC) -m64 -nostdlib -static -no-pie -Wl,--build-id=none -Wl,-z,noexecstack \
		-Wl,-T,tests/guest/vfuzz/vfuzz.ld -o $@ $(VFUZZ_OBJ)
