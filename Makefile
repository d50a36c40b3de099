# lodge: one Makefile, no configure step.
#   make lodge   the program             make run     a Linux guest, to a shell
#   make check   fast tests, no root     make test    all tests
#   make bench   figures                 make fuzz    the fuzzers, FUZZ_SECONDS=30 each
#   make test-beds  on AMD-V and VT-x, emulated
#   make lodge.elf  the hypervisor for bare machines; make test-metal
#   make install DESTDIR= PREFIX=        make clean
# CC=clang, SAN=1 (ASan and UBSan) and SAN=thread select other builds; each has
# its own folder below build/.  V=1 shows the commands.

ifeq ($(origin CC),default)
CC := gcc
endif
SAN ?=
V ?=
PREFIX ?= /usr/local
B := build/$(notdir $(CC))$(if $(SAN),-san$(filter thread,$(SAN)))
Q := $(if $(V),,@)
say = $(if $(V),,@echo "  $(1)	$(patsubst $B/%,%,$@)")
comma := ,

BUILD_PKGS := gcc libc6-dev make pkg-config liburing-dev libslirp-dev libyaml-dev libjansson-dev \
	liblz4-dev liblzma-dev libzstd-dev zlib1g-dev
RUN_PKGS := xz-utils libslirp0
BED_PKGS := qemu-system-x86 bochs bochs-term bochsbios vgabios grub-pc-bin grub-common xorriso mtools \
	xz-utils python3-pytest
IMAGE_PKGS := mmdebstrap e2fsprogs fakeroot uidmap
TEST_PKGS := clang libclang-rt-14-dev libcmocka-dev libzydis-dev python3-pexpect \
	acpica-tools cpio busybox-static iproute2 man-db $(BED_PKGS) $(IMAGE_PKGS)

WARN := -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes \
	-Wpointer-arith -Wwrite-strings -Wvla -Wno-unused-parameter
OPT ?= -O2 -g
# gcc's ThreadSanitizer knows no fences and says so; they order guest memory only
SANFLAGS := $(if $(filter thread,$(SAN)),-fsanitize=thread $(if $(findstring clang,$(CC)),,-Wno-tsan),$(if $(SAN),-fsanitize=address$(comma)undefined -fno-sanitize-recover=all))
ALL_CFLAGS := -std=c17 $(OPT) $(WARN) -I. -fno-strict-aliasing -MMD -MP $(SANFLAGS) $(CFLAGS)
# core and engines see the compiler's own headers and nothing else
FREE := -ffreestanding -nostdinc -isystem $(shell $(CC) -print-file-name=include) -fno-stack-protector
HOSTED := -D_GNU_SOURCE

# Those of which little is used are part of the program: a shared library costs some 100 KiB of
# memory and a part of the start.  libslirp is loaded when a user network is asked for.
PKGS := liburing yaml-0.1 jansson liblz4 liblzma libzstd zlib
PKG_CFLAGS = $(shell pkg-config --cflags $(PKGS))
PKG_LIBS = -Wl,-Bstatic $(shell pkg-config --libs $(PKGS)) -Wl,-Bdynamic

src = $(wildcard $(addsuffix /*.c,$(1)))
obj = $(patsubst %,$B/%.o,$(basename $(1)))
CORE_OBJ := $(call obj,$(call src,core core/x86 core/dev))
ENGINE_OBJ := $(call obj,$(call src,engines engines/interp engines/kvm engines/bt engines/svm engines/vmx))
HOST_OBJ := $(call obj,$(call src,hosts/linux) $(wildcard hosts/linux/*.S))
UNIT_BIN := $(patsubst %.c,$B/%,$(wildcard tests/unit/test_*.c))
LIBS := $B/libengines.a $B/libcore.a

.DEFAULT_GOAL := lodge
.DELETE_ON_ERROR:
FUZZ_SECONDS ?= 30
export FUZZ_SECONDS
.PHONY: lodge run check unit layers headers tour host-tests test test-beds bench bench-kvm fuzz install clean need-build \
	need-test need-beds
.SECONDARY:

lodge: $B/lodge
	@cmp -s $< $@ || { cp $< $@.new && mv -f $@.new $@; } # it may be running

$B/lodge: $(HOST_OBJ) $B/libengines.a $B/libcore.a
	$(call say,LD)
	$Q$(CC) $(ALL_CFLAGS) -o $@ $^ $(PKG_LIBS) -lpthread

$B/libcore.a: $(CORE_OBJ)
$B/libengines.a: $(ENGINE_OBJ)
$B/%.a:
	$(call say,AR)
	$Qrm -f $@ && ar rcs $@ $^

$B/core/%.o: core/%.c
	@mkdir -p $(@D)
	$(call say,CC)
	$Q$(CC) $(ALL_CFLAGS) $(FREE) -c -o $@ $<
$B/engines/%.o: engines/%.c
	@mkdir -p $(@D)
	$(call say,CC)
	$Q$(CC) $(ALL_CFLAGS) $(FREE) -c -o $@ $<
# this engine is a client of the kernel, by the C library
$B/engines/kvm/%.o: engines/kvm/%.c
	@mkdir -p $(@D)
	$(call say,CC)
	$Q$(CC) $(ALL_CFLAGS) $(HOSTED) -Wno-gnu-variable-sized-type-not-at-end -c -o $@ $<
$B/hosts/%.o: hosts/%.c
	@mkdir -p $(@D)
	$(call say,CC)
	$Q$(CC) $(ALL_CFLAGS) $(HOSTED) $(PKG_CFLAGS) -c -o $@ $<
$B/hosts/%.o: hosts/%.S $(wildcard images/*)
	@mkdir -p $(@D)
	$(call say,AS)
	$Q$(CC) -I. -c -o $@ $<
$B/tests/%.o: tests/%.c
	@mkdir -p $(@D)
	$(call say,CC)
	$Q$(CC) $(ALL_CFLAGS) $(HOSTED) -Wno-missing-prototypes -c -o $@ $<
$B/tests/unit/test_%: $B/tests/unit/test_%.o $B/tests/unit/fake.o $(LIBS)
	$(call say,LD)
	$Q$(CC) $(ALL_CFLAGS) $(UNIT_LDFLAGS) -o $@ $(filter %.o,$^) -Wl,--start-group $(filter %.a,$^) \
		-Wl,--end-group -lcmocka -lpthread

need-build:
	@scripts/need $(BUILD_PKGS) $(RUN_PKGS)
need-test:
	@scripts/need $(BUILD_PKGS) $(RUN_PKGS) $(TEST_PKGS)

need-beds:
	@scripts/need $(BUILD_PKGS) $(BED_PKGS)

# The libraries must be there before the first file is compiled, so a second make.
run: need-build
	@$(MAKE) --no-print-directory lodge
	./lodge run

unit: $(UNIT_BIN)
	@for t in $^; do $$t > $$t.log 2>&1 || { cat $$t.log; exit 1; }; done
	@cat $(UNIT_BIN:%=%.log) | awk '/^\[  PASSED  \]/ {n += $$4} END {print n " unit tests passed"}'

layers: $B/libcore.a $B/libengines.a
	@scripts/layers $B

headers:
	@scripts/headers
tour:
	@scripts/tour

# Seconds, no root: what a change should pass before it is committed.
check: unit layers headers tour host-tests

# Everything.  Packages first, then a second make that sees them.
test: need-test need-beds
	@$(MAKE) --no-print-directory -j2 lodge
	@scripts/test-all

# On hardware virtualization, by emulators: docs/beds.md.
test-beds: need-beds
	@$(MAKE) --no-print-directory -j2 lodge
	@/usr/bin/python3 -m pytest -q -rsx tests/beds

bench: need-test
	@$(MAKE) --no-print-directory -j2 lodge
	@python3 bench/bench.py

# lodge on KVM beside QEMU on KVM, in instructions, by tests/beds/svm
bench-kvm: need-beds
	@$(MAKE) --no-print-directory -j2 lodge
	@/usr/bin/python3 bench/kvm.py

install: lodge lodge.elf
	install -D -m 755 lodge $(DESTDIR)$(PREFIX)/bin/lodge
	install -D -m 644 lodge.elf $(DESTDIR)$(PREFIX)/lib/lodge/lodge.elf
	install -D -m 644 docs/lodge.1 $(DESTDIR)$(PREFIX)/share/man/man1/lodge.1
	install -D -m 644 docs/lodge.bash $(DESTDIR)$(PREFIX)/share/bash-completion/completions/lodge

clean:
	rm -rf build lodge lodge.elf

include hosts/metal/metal.mk
-include tests/*/*.mk
-include $(shell find build -name '*.d' 2>/dev/null)
