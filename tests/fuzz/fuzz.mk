# The fuzzers: every tests/fuzz/fuzz_X.c, linked with the core and the unit tests' place,
# becomes build/fuzz/fuzz_X.  Seeds are in tests/fuzz/corpus/X; what a run adds goes to
# build/fuzz/corpus/X.  One alone: make fuzz FUZZ="chips" FUZZ_SECONDS=600
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
$F/tests/%.o: tests/%.c
	@mkdir -p $(@D)
	$(call fuzz_say,CC)
	$Q$(FUZZ_CC) $(FUZZ_CFLAGS) -D_GNU_SOURCE -c -o $@ $<
$F/libcore.a: $(FUZZ_OBJ)
	@rm -f $@
	@ar rcs $@ $^
$F/libpending.a: $(patsubst %.c,$F/%.o,$(wildcard tests/unit/pending.c))
	@rm -f $@
	@ar rcs $@ $^
$F/fuzz_%: $F/tests/fuzz/fuzz_%.o $F/tests/unit/fake.o $F/libcore.a $F/libpending.a
	$(call fuzz_say,LD)
	$Q$(FUZZ_CC) $(FUZZ_CFLAGS) -fsanitize=fuzzer -o $@ $(filter %.o,$^) \
		-Wl,--start-group $(filter %.a,$^) -Wl,--end-group -lcmocka -lpthread

.SECONDARY: $(patsubst %,$F/tests/fuzz/fuzz_%.o,$(FUZZ)) $F/tests/unit/fake.o
.PHONY: fuzz fuzz-build
fuzz-build: $(FUZZ:%=$F/fuzz_%)
fuzz: fuzz-build
	@set -e; for f in $(FUZZ); do \
		mkdir -p $F/corpus/$$f tests/fuzz/corpus/$$f; \
		echo "fuzz $$f for $(FUZZ_SECONDS) s"; \
		$F/fuzz_$$f -max_total_time=$(FUZZ_SECONDS) -timeout=10 -rss_limit_mb=1024 \
			-artifact_prefix=$F/$$f- $F/corpus/$$f tests/fuzz/corpus/$$f \
			> $F/$$f.log 2>&1 || { tail -60 $F/$$f.log; exit 1; }; \
		tail -1 $F/$$f.log; \
	done
