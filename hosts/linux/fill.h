/* Bringing files into guest memory at boot. */
#ifndef HOSTS_LINUX_FILL_H
#define HOSTS_LINUX_FILL_H

#include "hosts/linux/linux.h"
#include "hosts/linux/unpack.h"

struct fill {
	struct host_ram *ram;
	const struct unpacked *kernel; /* may be a file, and sparse */
};

/* pc_config's fill(); arg is a struct fill, `to` lies in its RAM. */
void fill_ram(void *arg, void *to, const void *from, u64 n);

#endif
