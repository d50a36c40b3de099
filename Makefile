# lodge: one Makefile, no configure step.
#   make lodge   the program          make run     a Linux guest, to a shell
#   make check   fast tests, no root  make test    all tests
#   make bench   figures              make fuzz    the fuzzers, 30 s each
#   make install DESTDIR= PREFIX=     make clean
# CC=clang and SAN=1 (ASan and UBSan) or SAN=thread select another build; each
# has its own folder below build/.

CC ?= gcc
ifeq ($(origin CC),default)
CC := gcc
endif
SAN ?=
PREFIX ?= /usr/local
B := build/$(notdir $(CC))$(if $(SAN),-san$(filter thread,$(SAN)))

WARN := -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes \
	-Wpointer-arith -Wwrite-strings -Wvla -Wno-unused-parameter
OPT := -O2 -g
SANFLAGS := $(if $(SAN),$(if $(filter thread,$(SAN)),-fsanitize=thread,-fsanitize=address$(comma)undefined -fno-sanitize-recover=all))
comma := ,
SANFLAGS := $(if $(SAN),$(if $(filter thread,$(SAN)),-fsanitize=thread,-fsanitize=address$(comma)undefined -fno-sanitize-recover=all))
CFLAGS_ALL := -std=c17 $(OPT) $(WARN) -I. -fno-strict-aliasing -MMD -MP $(SANFLAGS) $(CFLAGS)
# core and engines see the compiler's own headers and nothing else
FREE := -ffreestanding -nostdinc -isystem $(shell $(CC) -print-file-name=include) -fno-stack-protector

PKGS := liburing slirp libfyaml jansson liblz4 liblzma libzstd zlib
PKG_CFLAGS = $(shell pkg-config --cflags $(PKGS))
PKG_LIBS = $(shell pkg-config --libs $(PKGS))

CORE_SRC := $(wildcard core/*.c core/x86/*.c core/dev/*.c)
ENGINE_SRC := $(wildcard engines/interp/*.c)
HOST_SRC := $(wildcard hosts/linux/*.c)
CORE_OBJ := $(CORE_SRC:%.c=$B/%.o)
ENGINE_OBJ := $(ENGINE_SRC:%.c=$B/%.o)
HOST_OBJ := $(HOST_SRC:%.c=$B/%.o)
UNIT_SRC := $(wildcard tests/unit/test_*.c)
UNIT_BIN := $(UNIT_SRC:%.c=$B/%)

.DEFAULT_GOAL := lodge
lodge: $B/lodge
	@cmp -s $< $@ || cp $< $@

$B/lodge: $(HOST_OBJ) $B/libengines.a $B/libcore.a
	$(CC) $(CFLAGS_ALL) -o $@ $^ $(PKG_LIBS) -lpthread

$B/libcore.a: $(CORE_OBJ)
$B/libengines.a: $(ENGINE_OBJ)
$B/libpending.a: $B/tests/unit/pending.o
$B/%.a:
	@rm -f $@
	ar rcs $@ $^

$B/core/%.o: core/%.c
	@mkdir -p $(@D)
	$(CC) $(CFLAGS_ALL) $(FREE) -c -o $@ $<
$B/engines/%.o: engines/%.c
	@mkdir -p $(@D)
	$(CC) $(CFLAGS_ALL) $(FREE) -c -o $@ $<
$B/hosts/%.o: hosts/%.c
	@mkdir -p $(@D)
	$(CC) $(CFLAGS_ALL) -D_GNU_SOURCE $(PKG_CFLAGS) -c -o $@ $<
$B/tests/%.o: tests/%.c
	@mkdir -p $(@D)
	$(CC) $(CFLAGS_ALL) -D_GNU_SOURCE -Wno-missing-prototypes -c -o $@ $<
$B/tests/unit/test_%: $B/tests/unit/test_%.o $B/tests/unit/fake.o $B/libengines.a $B/libcore.a $B/libpending.a
	$(CC) $(CFLAGS_ALL) -o $@ $(filter %.o,$^) -Wl,--start-group $(filter %.a,$^) -Wl,--end-group -lcmocka -lpthread

.PHONY: unit check clean lodge
unit: $(UNIT_BIN)
	@for t in $^; do $$t || exit 1; done
check: unit

clean:
	rm -rf build lodge

-include $(shell find build -name '*.d' 2>/dev/null)
