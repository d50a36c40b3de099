# The bare-metal image: core, the engines of the bare processor and hosts/metal, compiled anew
# without vector registers (they are the guests') and without a red zone (interrupts come on
# the same stack).  QEMU and GRUB want it as a 32-bit ELF.
M := build/metal-$(notdir $(CC))
METAL_CFLAGS := -std=c17 $(OPT) $(WARN) -I. -fno-strict-aliasing -MMD -MP $(FREE) -m64 -mno-red-zone \
	-mgeneral-regs-only -fno-pic -fno-pie -mcmodel=small -fcf-protection=none -fno-asynchronous-unwind-tables \
	$(CFLAGS)
metal_obj = $(patsubst %,$M/%.o,$(basename $(1)))
METAL_OBJ := $(call metal_obj,$(call src,core core/x86 core/dev engines engines/svm engines/vmx hosts/metal hosts/metal/drivers) \
	$(wildcard engines/svm/*.S engines/vmx/*.S hosts/metal/*.S))
# The attendants' part (hosts/metal/ring3): the core once more without what ring 0 keeps, closed in itself;
# its names and sections get a prefix, so that neither part can use the other's by mistake.
RING3_NOT := core/hypercall.c core/pack.c core/partition.c core/place.c $(addprefix core/dev/,lapic.c lapic_msg.c lapic_timer.c ioapic.c pic.c)
RING3_OBJ := $(call metal_obj,$(filter-out $(RING3_NOT),$(call src,core core/x86 core/dev hosts/metal/ring3)) \
	hosts/metal/string.c hosts/metal/ring3/entry.S)

.PHONY: lodge.elf test-metal bench-metal mutate-metal need-metal
lodge.elf: $M/lodge.elf
	@cmp -s $< $@ || { cp $< $@.new && mv -f $@.new $@; }

$M/lodge.elf: $M/lodge64.elf
	$(if $(V),,@echo "  OBJCOPY	$@")
	$Qobjcopy -g -O elf32-i386 $< $@
$M/ring3.o: $(RING3_OBJ)
	$(if $(V),,@echo "  LD	$@")
	$Qld -r --no-undefined -o $@.tmp $^
	$Qobjcopy --prefix-symbols=ring3_ --prefix-alloc-sections=.ring3 $@.tmp $@
$M/lodge64.elf: hosts/metal/lodge.ld $(METAL_OBJ) $M/ring3.o
	$(if $(V),,@echo "  LD	$@")
	$Q$(CC) -m64 -nostdlib -static -Wl,--build-id=none -Wl,-z,noexecstack -Wl,-z,max-page-size=4096 \
		-Wl,--gc-sections -Wl,-T,$< -o $@ $(filter %.o,$^)
$M/%.o: %.c
	@mkdir -p $(@D)
	$(if $(V),,@echo "  CC	$@")
	$Q$(CC) $(METAL_CFLAGS) -c -o $@ $<
$M/%.o: %.S
	@mkdir -p $(@D)
	$(if $(V),,@echo "  AS	$@")
	$Q$(CC) -I. -m64 -c -o $@ $<

METAL_PKGS := $(BED_PKGS) grub-efi-amd64-bin ovmf python3-pexpect
need-metal:
	@scripts/need $(BUILD_PKGS) $(METAL_PKGS)
test-metal: need-metal
	@$(MAKE) --no-print-directory -j2 lodge lodge.elf
	@/usr/bin/python3 -m pytest -q -rsx tests/metal
bench-metal: need-metal
	@$(MAKE) --no-print-directory -j2 lodge lodge.elf
	@/usr/bin/python3 bench/metal.py
# Each guard is taken out in turn, and a test must notice: tests/mutate
mutate-metal: need-metal
	@$(MAKE) --no-print-directory -j2 lodge lodge.elf unit host-tests
	@tests/mutate/mutate.py -n $(or $(MUTANTS),0)
