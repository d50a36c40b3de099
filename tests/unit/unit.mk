# The vector unit's bed has a memory of its own, in place of mem.c's.
BED := test_vec test_x87 test_xsave
$(BED:%=$B/tests/unit/%): UNIT_LDFLAGS := -Wl,-z,muldefs
