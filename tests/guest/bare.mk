# Guests in C that stand on their own: 64-bit ELF files that start by PVH, no header but the
# compiler's, no library, no vector registers.  tests/guest/bare is what they share;
# build/guest/NAME.elf is made of tests/guest/NAME.
BARE_CFLAGS := -std=c17 -O2 -g $(WARN) -m64 -ffreestanding -nostdinc -I. \
	-isystem $(shell $(CC) -print-file-name=include) -mno-red-zone -mgeneral-regs-only \
	-fno-pic -fno-stack-protector -fcf-protection=none -fno-asynchronous-unwind-tables -MMD -MP
bare_obj = $(patsubst %,build/guest/%.o,$(notdir $(wildcard tests/guest/bare/*.[cS]))) \
	$(patsubst tests/guest/%,build/guest/%.o,$(wildcard tests/guest/$(1)/*.[cS]))

build/guest/%.o: tests/guest/%
	@mkdir -p $(@D)
	$(if $(V),,@echo "  CC	$@")
	$Q$(CC) $(BARE_CFLAGS) -c -o $@ $<
build/guest/%.o: tests/guest/bare/%
	@mkdir -p $(@D)
	$(if $(V),,@echo "  CC	$@")
	$Q$(CC) $(BARE_CFLAGS) -c -o $@ $<
build/guest/vfuzz.elf: $(call bare_obj,vfuzz)
build/guest/board.elf: $(call bare_obj,board)
build/guest/exits.elf: $(call bare_obj,exits)
build/guest/calls.elf: $(call bare_obj,calls)
build/guest/sched.elf: $(call bare_obj,sched)
build/guest/attack.elf: $(call bare_obj,attack)
build/guest/victim.elf: $(call bare_obj,victim)
build/guest/ticks.elf: $(call bare_obj,ticks)
build/guest/fault.elf: $(call bare_obj,fault)
build/guest/%.elf: tests/guest/bare/bare.ld
	$(if $(V),,@echo "  LD	$@")
	$Q$(CC) -m64 -nostdlib -static -Wl,--build-id=none -Wl,-z,noexecstack \
		-Wl,-T,$< -o $@ $(filter %.o,$^)
