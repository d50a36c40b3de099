/* Bells: an eventfd each, that an engine hands to the kernel and the loop waits for. */
#include "hosts/linux/bells.h"
#include "hosts/linux/machine.h"
#include "hosts/linux/sys.h"

#include "core/bell.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

_Static_assert(sizeof(struct loop_fd) <= sizeof(((struct bell *)0)->place), "it has room there");

static struct loop_fd *fd_of(struct bell *b)
{
	return (struct loop_fd *)b->place;
}

static void hear(struct bell *b)
{
	u64 n;
	if (read(fd_of(b)->fd, &n, sizeof(n)) == sizeof(n))
		bell_rang(b);
}

static void rang(struct loop_fd *f, unsigned events)
{
	hear(container_of((u64(*)[8])f, struct bell, place));
}

int host_bell(struct bell *b)
{
	struct machine *m = b->region->dev->vm->host_data;
	struct loop_fd *f = fd_of(b);
	int fd = sys->eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (fd < 0)
		return E_UNSUP;
	*f = (struct loop_fd){ .fd = fd, .ready = rang };
	if (!loop_add(&m->loop, f, EPOLLIN))
		return fd;
	close(fd);
	return E_UNSUP;
}

void host_bell_close(struct bell *b)
{
	struct machine *m = b->region->dev->vm->host_data;
	loop_del(&m->loop, fd_of(b));
	close(b->handle);
	b->handle = -1;
}

void bells_drain(struct vm *vm)
{
	for (struct bell *b = vm->bells; b; b = b->next)
		if (b->handle >= 0)
			hear(b);
}
