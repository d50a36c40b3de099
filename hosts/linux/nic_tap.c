/* A NIC on a tap interface of the host, with checksum and segmentation offload.
 *
 * Each frame on the descriptor stands behind a struct virtio_net_hdr, whose
 * layout is that of struct nic_hdr (linux/virtio_net.h, linux/if_tun.h). */
#include "hosts/linux/frames.h"
#include "hosts/linux/nic.h"
#include "hosts/linux/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

enum { SPANS = 64, AT_ONCE = 64 };

_Static_assert(sizeof(struct nic_hdr) == sizeof(struct virtio_net_hdr) &&
	       offsetof(struct nic_hdr, csum_offset) == offsetof(struct virtio_net_hdr, csum_offset),
	       "nic_hdr is virtio_net_hdr");

struct tap_nic {
	struct nic nic;
	char name[IFNAMSIZ];
	struct loop *loop;
	struct loop_fd fd;
	struct loop_work work;
	bool held;
	size_t kept;             /* buf holds a frame that the guest had no room for */
	u8 buf[sizeof(struct nic_hdr) + FRAME_MAX];
};

static void nic_send(struct nic *nic, const struct nic_hdr *h, const struct span *s, unsigned n)
{
	struct tap_nic *t = container_of(nic, struct tap_nic, nic);
	struct iovec v[SPANS + 1] = { { (void *)h, sizeof(*h) } };
	if (n > SPANS)
		return;
	for (unsigned i = 0; i < n; i++)
		v[i + 1] = (struct iovec){ s[i].p, s[i].n };
	if (writev(t->fd.fd, v, (int)n + 1) < 0)
		return; /* a full or unplugged wire drops */
}

static bool give(struct tap_nic *t, size_t n)
{
	struct nic_hdr h;
	if (n <= sizeof(h) || !t->nic.recv)
		return true;
	memcpy(&h, t->buf, sizeof(h));
	return t->nic.recv(t->nic.dev, &h, t->buf + sizeof(h), n - sizeof(h));
}

static void readable(struct loop_fd *f, unsigned events)
{
	struct tap_nic *t = container_of(f, struct tap_nic, fd);
	for (unsigned i = 0; !t->kept && i < AT_ONCE; i++) {
		ssize_t n = read(f->fd, t->buf, sizeof(t->buf));
		if (n <= 0)
			return;
		if (!give(t, (size_t)n))
			t->kept = (size_t)n;
	}
	if (t->kept)
		loop_events(t->loop, f, 0);
}

static void resume(struct loop_work *w)
{
	struct tap_nic *t = container_of(w, struct tap_nic, work);
	if (t->held)
		return;
	if (t->kept && give(t, t->kept))
		t->kept = 0;
	if (!t->kept)
		loop_events(t->loop, &t->fd, POLLIN);
}

static void ready(struct nic *nic)
{
	struct tap_nic *t = container_of(nic, struct tap_nic, nic);
	loop_defer(t->loop, &t->work);
}

static void hold(struct nic *nic, bool on)
{
	struct tap_nic *t = container_of(nic, struct tap_nic, nic);
	t->held = on;
	if (on)
		loop_events(t->loop, &t->fd, 0);
	else
		loop_defer(t->loop, &t->work);
}

static const struct nic_ops ops = { .send = nic_send, .ready = ready };

static int cannot(const char *tap)
{
	if (errno == ENOENT || errno == ENODEV)
		return fail(E_UNSUP, "net tap:%s: the host has no /dev/net/tun; as root: modprobe tun",
			    tap);
	if (errno == EBUSY)
		return fail(E_BUSY, "net tap:%s: another program uses this interface", tap);
	return fail(E_PERM, "net tap:%s: %s; as root: ip tuntap add dev %s mode tap user %s && "
		    "ip link set %s up", tap, strerror(errno), tap,
		    getlogin() ? getlogin() : "$USER", tap);
}

/* Root would get a new interface for a mistyped name: only those that are there.  Not by /sys, which
 * shows the network namespace of who mounted it. */
static bool is_there(const char *tap)
{
	return if_nametoindex(tap) != 0;
}

static int init(struct tap_nic *t, const char *tap)
{
	struct ifreq r = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };
	int header = sizeof(struct nic_hdr);
	unsigned long offload = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6;
	if (strlen(tap) >= IFNAMSIZ)
		return fail(E_INVAL, "net tap:%s: an interface's name has at most %d characters",
			    tap, IFNAMSIZ - 1);
	if (!is_there(tap))
		return fail(E_NOENT, "net tap:%s: there is no such interface; as root: ip tuntap add dev %s "
			    "mode tap user $USER && ip link set %s up", tap, tap, tap);
	snprintf(t->name, sizeof(t->name), "%s", tap);
	memcpy(r.ifr_name, t->name, sizeof(t->name));
	t->fd.fd = sys->open("/dev/net/tun", O_RDWR | O_NONBLOCK, 0);
	if (t->fd.fd < 0 || sys->ioctl(t->fd.fd, TUNSETIFF, &r) ||
	    sys->ioctl(t->fd.fd, TUNSETVNETHDRSZ, &header))
		return cannot(tap);
	t->nic.offload = !sys->ioctl(t->fd.fd, TUNSETOFFLOAD, (void *)offload);
	return loop_add(t->loop, &t->fd, POLLIN);
}

static u16 mtu(const char *tap)
{
	struct ifreq r = { 0 };
	int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	snprintf(r.ifr_name, sizeof(r.ifr_name), "%s", tap);
	bool ok = s >= 0 && !ioctl(s, SIOCGIFMTU, &r) && r.ifr_mtu >= 68 && r.ifr_mtu <= 65535;
	if (s >= 0)
		close(s);
	return ok ? (u16)r.ifr_mtu : 1500;
}

static void shut(struct nic *nic)
{
	struct tap_nic *t = container_of(nic, struct tap_nic, nic);
	loop_del(t->loop, &t->fd);
	loop_cancel(t->loop, &t->work);
	if (t->fd.fd >= 0)
		close(t->fd.fd);
	host_free(t, sizeof(*t));
}

static struct nic *open_tap(struct loop *l, const struct options *o)
{
	struct tap_nic *t = host_alloc(sizeof(*t));
	if (!t) {
		fail(E_NOMEM, "net tap:%s: out of memory", o->tap);
		return NULL;
	}
	t->nic = (struct nic){ .ops = &ops, .name = t->name };
	t->loop = l;
	t->fd = (struct loop_fd){ .fd = -1, .ready = readable };
	t->work.run = resume;
	nic_mac(t->nic.mac, o->name);
	if (init(t, o->tap)) {
		shut(&t->nic);
		return NULL;
	}
	t->nic.mtu = mtu(t->name);
	return &t->nic;
}

const struct nic_way nic_tap = { .open = open_tap, .close = shut, .hold = hold };
