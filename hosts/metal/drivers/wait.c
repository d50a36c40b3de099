#include "hosts/metal/drivers/wait.h"
#include "hosts/metal/cpu.h"

enum { LOOKS = 200, NAP = 10000, NAP_MOST = 1000000 };

bool wait_until(bool (*ready)(void *), void *arg, u64 ns)
{
	u64 till = host_now() + ns, nap = NAP;

	for (unsigned i = 0; i < LOOKS; i++) {
		if (ready(arg))
			return true;
		relax();
	}
	while (host_now() < till) {
		thread_sleep(host_now() + nap);
		if (ready(arg))
			return true;
		nap = min_u64(2 * nap, NAP_MOST);
	}
	return false;
}

/* A thread's class is looked at by its own CPU alone. */
void turn_take(struct turn *t)
{
	u32 mine = __atomic_fetch_add(&t->next, 1, __ATOMIC_RELAXED);

	while (__atomic_load_n(&t->now, __ATOMIC_ACQUIRE) != mine)
		thread_sleep(host_now() + NAP);
	t->was = current()->class;
	current()->class = CLASS_SERVICE;
}

void turn_give(struct turn *t)
{
	current()->class = t->was;
	__atomic_store_n(&t->now, t->now + 1, __ATOMIC_RELEASE);
}
