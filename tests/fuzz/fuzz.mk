# The fuzzers: every tests/fuzz/fuzz_X.c, linked with the core and the unit tests' place,
# becomes build/fuzz/fuzz_X.  Seeds are in tests/fuzz/corpus/X; what a run adds goes to
# build/fuzz/corpus/X.  As many run at a time as there are CPUs.  One alone: make fuzz FUZZ="chips" FUZZ_SECONDS=600
FUZZ_SECONDS ?= 30
FUZZ ?= $(patsubst tests/fuzz/fuzz_%.c,%,$(wildcard tests/fuzz/fuzz_*.c))
FUZZ_CC ?= clang
F := build/fuzz
FUZZ_CFLAGS := -std=c17 -O1 -g -I. -fno-strict-aliasing -MMD -MP -fno-omit-frame-pointer \
	-fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all
FUZZ_FREE = -ffreestanding -nostdinc -isystem $(shell $(FUZZ_CC) -print-file-name=include)
FUZZ_OBJ := $(patsubst %.c,$F/%.o,$(wildcard core/*.c core/x86/*.c core/dev/*.c engines/interp/*.c))
fuzz_say = $(if $(V),,@echo "  $(1)	$@")

$F/core/%.o: core/%.c
	@mkdir -p $(@D)
	$(call fuzz_say,CC)
	$Q$(FUZZ_CC) $(FUZZ_CFLAGS) $(FUZZ_FREE) -c -o $@ $<
$F/engines/%.o: engines/%.c
	@mkdir -p $(@D)
	$(call fuzz_say,CC)
	$Q$(FUZZ_CC) $(FUZZ_CFLAGS) $(FUZZ_FREE) -c -o $@ $<
$F/hosts/%.o: hosts/%.c
	@mkdir -p $(@D)
	$(call fuzz_say,CC)
	$Q$(FUZZ_CC) $(FUZZ_CFLAGS) -D_GNU_SOURCE $(PKG_CFLAGS) -c -o $@ $<
$F/tests/%.o: tests/%.c
	@mkdir -p $(@D)
	$(call fuzz_say,CC)
	$Q$(FUZZ_CC) $(FUZZ_CFLAGS) -D_GNU_SOURCE -c -o $@ $<
$F/libcore.a: $(FUZZ_OBJ)
	@rm -f $@
	@ar rcs $@ $^
	@rm -f $@
	@ar rcs $@ $^
$F/fuzz_%: $F/tests/fuzz/fuzz_%.o $F/tests/unit/fake.o $F/libcore.a
	$(call fuzz_say,LD)
	$Q$(FUZZ_CC) $(FUZZ_CFLAGS) -fsanitize=fuzzer -o $@ $(filter %.o,$^) \
		-Wl,--start-group $(filter %.a,$^) -Wl,--end-group $(FUZZ_LIBS) -lcmocka -lpthread
$F/fuzz_yaml: $(patsubst %,$F/hosts/linux/%.o,define file options)
$F/fuzz_yaml: FUZZ_LIBS = -lyaml
$F/fuzz_multiboot: $F/hosts/metal/multiboot.o $F/hosts/metal/multiboot2.o
$F/fuzz_flows: $F/hosts/linux/flows.o
$F/fuzz_machine: $(patsubst %,$F/hosts/linux/%.o,describe options)
$F/fuzz_machine: FUZZ_LIBS = -ljansson
$F/fuzz_keeper: $(patsubst %,$F/hosts/linux/%.o,keeper link loop sys options)
$F/fuzz_keeper: FUZZ_LIBS = -ljansson -luring

.SECONDARY: $(patsubst %,$F/tests/fuzz/fuzz_%.o,$(FUZZ)) $F/tests/unit/fake.o
.PHONY: fuzz fuzz-build fuzz-run
fuzz-build: $(FUZZ:%=$F/fuzz_%)
fuzz-run:
	@printf '%s\n' $(FUZZ) | xargs -P "$$(nproc)" -n 1 tests/fuzz/run $F $(FUZZ_SECONDS)
fuzz:
	@$(MAKE) --no-print-directory -j2 fuzz-build
	@$(MAKE) --no-print-directory fuzz-run
