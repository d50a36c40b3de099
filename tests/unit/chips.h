/* What the tests of the chips share: saving, spoiling and loading a device. */
#ifndef TESTS_UNIT_CHIPS_H
#define TESTS_UNIT_CHIPS_H

#include "core/state.h"
#include "tests/unit/fake.h"

#include <stdlib.h>
#include <string.h>

static inline struct device *chip_find(struct vm *vm, const char *name)
{
	for (struct device *d = vm->devices; d; d = d->next)
		if (!strcmp(d->name, name))
			return d;
	assert_string_equal(name, "a device of this machine");
	return NULL;
}

static inline size_t chip_save(struct device *d, u8 *buf, size_t n)
{
	struct state st = {.buf = buf, .n = n, .who = d->name};

	host_lock(d->lock);
	d->ops->state(d, &st);
	host_unlock(d->lock);
	assert_false(st.bad);
	return st.pos;
}

static inline bool chip_load(struct device *d, u8 *buf, size_t n)
{
	struct state st = {.load = true, .buf = buf, .n = n, .who = d->name};

	host_lock(d->lock);
	d->ops->state(d, &st);
	host_unlock(d->lock);
	return !st.bad;
}

static inline void chip_reset(struct device *d)
{
	host_lock(d->lock);
	d->ops->reset(d);
	host_unlock(d->lock);
}

/* Save, reset, load, save: the second record is the first. */
static inline void chip_round_trip(struct vm *vm, const char *name)
{
	static u8 one[65536], two[65536];
	struct device *d = chip_find(vm, name);
	size_t n = chip_save(d, one, sizeof(one));

	chip_reset(d);
	assert_true(chip_load(d, one, n));
	assert_int_equal(chip_save(d, two, sizeof(two)), n);
	assert_memory_equal(one, two, n);
	assert_false(chip_load(d, one, n - 1)); /* cut short */
	assert_true(chip_load(d, one, n));
}

/* Loading any bytes ends well or is refused. */
static inline void chip_spoil(struct vm *vm, const char *name)
{
	static u8 buf[65536];
	struct device *d = chip_find(vm, name);
	size_t n = chip_save(d, buf, sizeof(buf));

	for (unsigned k = 0; k < 2000; k++) {
		chip_save(d, buf, sizeof(buf));
		for (unsigned i = 0; i < 1 + k % 7; i++)
			buf[rand() % n] = (u8)rand();
		if (!chip_load(d, buf, n))
			chip_reset(d);
		fake_advance(vm, 1000);
	}
	chip_reset(d);
}

#endif
