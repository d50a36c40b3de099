/* A driver and a device on two threads, that sleep whenever the ring's event words say that the
 * other will wake them: a wake-up that is lost leaves both asleep.  The two eventfds stand for a
 * queue's bell and for its interrupt, used as hosts/linux/bells.c and a vCPU use them. */
#include "tests/unit/ring.h"

#include "core/dev/virtq.h"
#include "core/device.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

enum { SIZE = 16, REQUESTS = 60000, AT_ONCE = 3, BASE = 0x1000, DATA = 0x4000, PATIENCE = 120000 };

static struct {
	struct vm *vm;
	struct device dev;
	struct virtq q;
	struct ring ring;
	int bell, irq;
	unsigned bells, irqs;
	u64 rnd[2];
	unsigned late;           /* requests that the device keeps for the next turn, as a disk does */
} s;

static unsigned some(unsigned who, unsigned n)
{
	u64 *r = &s.rnd[who];

	*r ^= *r << 13, *r ^= *r >> 7, *r ^= *r << 17;
	return (unsigned)(*r >> 32) % n;
}

static void dawdle(unsigned who)
{
	for (volatile unsigned i = some(who, 8) ? 0 : some(who, 3000); i; i--)
		;
}

static void signal_fd(int fd)
{
	assert_int_equal(write(fd, &(u64){1}, 8), 8);
}

/* Sleeps until it was signalled; false: nobody did. */
static bool wait_fd(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	u64 n;

	return poll(&p, 1, PATIENCE) == 1 && read(fd, &n, 8) == 8;
}

static u16 get(u64 at) { return __atomic_load_n((u16 *)(void *)(s.ring.ram + at), __ATOMIC_ACQUIRE); }
static void put(u64 at, u16 v) { __atomic_store_n((u16 *)(void *)(s.ring.ram + at), v, __ATOMIC_RELEASE); }

/* ---- the device */

static void turn(u16 *kept, unsigned *nkept)
{
	struct virtq_chain c;
	unsigned n;

	for (unsigned i = 0; i < *nkept; i++)
		virtq_push(&s.q, kept[i], 0);
	*nkept = 0;
	for (n = 0; n < AT_ONCE && virtq_pop(&s.q, &c); n++) {
		dawdle(0);
		if (some(0, 4) < s.late)
			kept[(*nkept)++] = c.head;
		else
			virtq_push(&s.q, c.head, 0);
	}
	if (virtq_wants_irq(&s.q)) {
		s.irqs++;
		signal_fd(s.irq);
	}
	if (n == AT_ONCE || *nkept) /* virtio's timer, the disk's completions */
		signal_fd(s.bell);
}

static void *device(void *end)
{
	u16 kept[AT_ONCE];
	unsigned nkept = 0;

	while (!__atomic_load_n((bool *)end, __ATOMIC_ACQUIRE) && wait_fd(s.bell))
		turn(kept, &nkept);
	return NULL;
}

/* ---- the driver */

static void add(unsigned n)
{
	struct ring *r = &s.ring;
	u16 old = r->idx, event;

	for (unsigned i = 0; i < n; i++) {
		ring_desc(r, r->idx % SIZE, DATA, 16, 0, 0);
		st16(r->ram + r->avail + 4 + r->idx % SIZE * 2u, r->idx % SIZE);
		put(r->avail + 2, ++r->idx);
	}
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	event = get(r->used + 4 + SIZE * 8u);
	if ((u16)(r->idx - event - 1) < (u16)(r->idx - old)) {
		s.bells++;
		signal_fd(s.bell);
	}
}

/* Takes what is used; with nothing there asks for an interrupt, looks again, and sleeps. */
static bool take(void)
{
	struct ring *r = &s.ring;

	if (get(r->used + 2) == r->seen) {
		put(r->avail + 4 + SIZE * 2u, r->seen);
		__atomic_thread_fence(__ATOMIC_SEQ_CST);
		while (get(r->used + 2) == r->seen)
			if (!wait_fd(s.irq))
				return false;
	}
	r->seen = get(r->used + 2);
	return true;
}

static bool drive(void)
{
	unsigned sent = 0;

	while (sent < REQUESTS || s.ring.seen != s.ring.idx) {
		unsigned room = SIZE - (u16)(s.ring.idx - s.ring.seen);
		unsigned n = room && sent < REQUESTS ? 1 + some(1, room) : 0;

		add(n);
		sent += n;
		dawdle(1);
		if (s.ring.seen != s.ring.idx && !take())
			return false;
	}
	return true;
}

/* ---- one moment of it, for sure: the driver adds a request between the device's look at the ring and
 * its word that it wants to hear of more.  The driver has read the old word and rings no bell, so the
 * device must look again.  The page with the word is write-protected: the fault is the moment. */

static void set_up(void)
{
	s.vm = fake_vm(1, MiB);
	s.dev = (struct device){.vm = s.vm, .name = "device"};
	ring_init(&s.ring, fake_ram(s.vm), BASE, SIZE);
	virtq_init(&s.q, &s.dev, SIZE, NULL);
	s.q.desc = s.ring.desc, s.q.avail = s.ring.avail, s.q.used = s.ring.used;
	s.q.event_idx = true;
	assert_true(virtq_enable(&s.q));
}

static void *page_of_the_word(void)
{
	u64 page = (u64)sysconf(_SC_PAGESIZE);

	return (void *)((u64)(uintptr_t)(s.ring.ram + s.ring.used + 4 + SIZE * 8u) & ~(page - 1));
}

static void protect(int how)
{
	if (mprotect(page_of_the_word(), (size_t)sysconf(_SC_PAGESIZE), how))
		_exit(1);
}

static void at_the_moment(int sig)
{
	struct ring *r = &s.ring;

	protect(PROT_READ | PROT_WRITE);
	ring_desc(r, 0, DATA, 16, 0, 0);
	st16(r->ram + r->avail + 4, 0);
	put(r->avail + 2, ++r->idx);
	s.bells++;
}

static void test_a_request_between_look_and_word(void **x)
{
	struct sigaction a = {.sa_handler = at_the_moment}, old;
	struct virtq_chain c;
	bool seen;

	set_up();
	s.bells = 0;
	sigaction(SIGSEGV, &a, &old);
	protect(PROT_READ);
	seen = virtq_pop(&s.q, &c);
	protect(PROT_READ | PROT_WRITE);
	sigaction(SIGSEGV, &old, NULL);
	assert_int_equal(s.bells, 1);
	assert_true(seen);
	fake_vm_free(s.vm);
}

/* ---- all of it, for long */

static void no_wakeup_is_lost(unsigned late)
{
	bool end = false, done;
	pthread_t t;

	set_up();
	s.late = late;
	s.bells = s.irqs = 0;
	s.rnd[0] = 88172645463325252ull, s.rnd[1] = 1234567;
	s.bell = eventfd(0, EFD_NONBLOCK), s.irq = eventfd(0, EFD_NONBLOCK);
	assert_int_equal(pthread_create(&t, NULL, device, &end), 0);
	done = drive();
	__atomic_store_n(&end, true, __ATOMIC_RELEASE);
	signal_fd(s.bell);
	pthread_join(t, NULL);
	assert_true(done);
	assert_true(s.bells && s.irqs); /* they did sleep */
	close(s.bell), close(s.irq);
	fake_vm_free(s.vm);
}

static void test_requests_that_end_at_once(void **x) { no_wakeup_is_lost(0); }
static void test_requests_that_end_later(void **x) { no_wakeup_is_lost(2); }

int main(void)
{
	const struct CMUnitTest t[] = {
		cmocka_unit_test(test_a_request_between_look_and_word),
		cmocka_unit_test(test_requests_that_end_at_once),
		cmocka_unit_test(test_requests_that_end_later),
	};
	return cmocka_run_group_tests_name("notify", t, NULL, NULL);
}
