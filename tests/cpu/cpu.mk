# The emulator against the CPU this runs on.
#   make oracle                 builds it
#   make test-cpu               2,000,000 trials in 64-bit mode, then 32- and 16-bit mode; those
#                               of 64 and 32 bits through bt, each block of which is proved (verify.h);
#                               blocks of instructions, a twentieth as many, through both
#   make test-cpu N=1000000000  as many as time allows; SEED= for other ones
# Not with SAN=1: the sanitizer's shadow memory lies where trials reach.
.PHONY: oracle test-cpu
N ?= 2000000
SEED ?= 1
ZYDIS := $(if $(wildcard /usr/include/Zydis/Zydis.h),yes)
TRIAL_OBJ := $(addprefix $B/tests/cpu/,gen.o form.o tables.o real.o compare.o emulated.o stub.o)

# Programs in which each block that bt makes is proved: verify.h
VERIFIED := $(addprefix $B/tests/cpu/,verified.o verify.o)
WRAP := -Wl,--wrap=translate -Wl,--wrap=out_jump

oracle: $B/tests/cpu/oracle
$B/tests/cpu/%.o: tests/cpu/%.S tests/cpu/layout.h
	@mkdir -p $(@D)
	$(call say,AS)
	$Q$(CC) -I. -c -o $@ $<
# a signal may come with the vector's FS base still in place: no stack protector
$B/tests/cpu/%.o: tests/cpu/%.c
	@mkdir -p $(@D)
	$(call say,CC)
	$Q$(CC) $(ALL_CFLAGS) $(HOSTED) $(if $(ZYDIS),-DHAVE_ZYDIS) -fno-stack-protector \
		-Wno-missing-prototypes -c -o $@ $<
$B/tests/cpu/oracle: $(addprefix $B/tests/cpu/,oracle.o known.o)
$B/tests/cpu/blocks: $B/tests/cpu/blocks.o
$B/tests/cpu/oracle $B/tests/cpu/blocks: $(TRIAL_OBJ) $(if $(ZYDIS),$(VERIFIED)) $B/tests/unit/fake.o $(LIBS)
	$(call say,LD)
	$Q$(CC) $(ALL_CFLAGS) $(if $(ZYDIS),$(WRAP)) -o $@ $(filter %.o,$^) -Wl,--start-group $(filter %.a,$^) \
		-Wl,--end-group -lcmocka $(if $(ZYDIS),-lZydis) -lpthread

$B/tests/cpu/lengths: $B/tests/cpu/lengths.o $B/tests/unit/fake.o $(LIBS)
	$(call say,LD)
	$Q$(CC) $(ALL_CFLAGS) -o $@ $(filter %.o,$^) -Wl,--start-group $(filter %.a,$^) \
		-Wl,--end-group -lcmocka -lZydis -lpthread

$B/tests/cpu/bt-verified: $B/tests/unit/test_bt.o $(VERIFIED) $B/tests/unit/fake.o $(LIBS)
	$(call say,LD)
	$Q$(CC) $(ALL_CFLAGS) $(WRAP) -o $@ $(filter %.o,$^) -Wl,--start-group $(filter %.a,$^) \
		-Wl,--end-group -lcmocka -lZydis -lpthread
$B/tests/cpu/lodge-verified: $(HOST_OBJ) $(VERIFIED) $(LIBS)
	$(call say,LD)
	$Q$(CC) $(ALL_CFLAGS) $(WRAP) -o $@ $(filter %.o,$^) -Wl,--start-group $(filter %.a,$^) \
		-Wl,--end-group $(PKG_LIBS) -lZydis -lpthread
$B/tests/cpu/mutants: $B/tests/cpu/mutants.o $B/tests/cpu/verify.o $B/tests/unit/fake.o $(LIBS)
	$(call say,LD)
	$Q$(CC) $(ALL_CFLAGS) -o $@ $(filter %.o,$^) -Wl,--start-group $(filter %.a,$^) \
		-Wl,--end-group -lcmocka -lZydis -lpthread

test-cpu: $B/tests/cpu/oracle $B/tests/cpu/blocks $(if $(ZYDIS),$(addprefix $B/tests/cpu/,lengths mutants bt-verified))
	$(if $(ZYDIS),$B/tests/cpu/lengths,@echo libzydis is not here: lengths are not compared)
	$< --self -n 20000
	$< -n $(N) --seed $(SEED) --mode 64 --jobs 2
	$< -n $$(($(N) / 4)) --seed $(SEED) --mode 32 --jobs 2
	$< -n $$(($(N) / 8)) --seed $(SEED) --mode 16 --jobs 2
	ENGINE=bt $< -n $(N) --seed $(SEED) --mode 64 --jobs 2
	ENGINE=bt $< -n $$(($(N) / 4)) --seed $(SEED) --mode 32 --jobs 2
	ENGINE=bt $B/tests/cpu/blocks -n $$(($(N) / 20)) --seed $(SEED) --jobs 2
	ENGINE=interp $B/tests/cpu/blocks -n $$(($(N) / 100)) --seed $(SEED) --jobs 2
	$(if $(ZYDIS),$B/tests/cpu/mutants && $B/tests/cpu/bt-verified,@echo libzydis is not here: no block is proved)
