# Tests of the Linux place, on real files and descriptors, without root.
HOST_TEST_BIN := $(patsubst %.c,$B/%,$(wildcard tests/host/test_*.c))

$B/libhost.a: $(filter-out %/main.o,$(HOST_OBJ))
# the machine's board and the engines are linked as far as a test needs them
$B/tests/host/test_%: $B/tests/host/test_%.o $B/libhost.a $(LIBS)
	$(call say,LD)
	$Q$(CC) $(ALL_CFLAGS) -o $@ $(filter %.o,$^) -Wl,--start-group $(filter %.a,$^) \
		-Wl,--end-group $(PKG_LIBS) -lcmocka -lpthread -lutil

# parts of the other place that need none
$B/tests/host/test_switch_rules: $B/hosts/metal/switch_rules.o
$B/tests/host/test_metal_parts: $(patsubst %,$B/hosts/metal/%.o,switch_port switch_rules disk_queue disk_ram)

.PHONY: host-tests
host-tests: $(HOST_TEST_BIN)
	@for t in $^; do timeout 300 $$t > $$t.log 2>&1 || { cat $$t.log; exit 1; }; done
	@cat $(HOST_TEST_BIN:%=%.log) | awk '/^\[  PASSED  \]/ {n += $$4} END {print n " host tests passed"}'
check: host-tests
