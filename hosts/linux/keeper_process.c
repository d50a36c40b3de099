/* The keeper's process: what the VM's process becomes when the VM has ended and its network has not. */
#include "hosts/linux/keeper.h"
#include "hosts/linux/nic.h"
#include "hosts/linux/signals.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

/* While the VM still has its own name, and before anybody is told: who knows the token finds it. */
int stay_begin(struct stay *s, int fd, const char *vm, u32 seconds)
{
	*s = (struct stay){ .seconds = seconds, .fd = -1, .lock = -1 };
	host_random(s->token, sizeof(s->token));
	snprintf(s->name, sizeof(s->name), "%.60s.net", vm);
	s->fd = socket_listen(fd, s->name, &s->lock);
	if (s->fd >= 0)
		return 0;
	stay_end(s);
	return E_IO;
}

void stay_end(struct stay *s)
{
	if (s->fd >= 0 || s->lock >= 0)
		socket_close(s->name, s->fd, s->lock);
	*s = (struct stay){ .fd = -1, .lock = -1 };
}

int keeper_fork(void)
{
	fflush(NULL);
	pid_t pid = fork();
	if (pid < 0)
		return fail(E_NOMEM, "nobody keeps the network's connections: %s", strerror(errno));
	if (pid)
		return 0;
	setsid();
	prctl(PR_SET_NAME, "lodge keeper");
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	for (int fd = 0; fd <= 2; fd++)
		dup2(null, fd);
	close(null);
	return 1;
}

void keeper_run(struct nic *nic, struct stay *stay)
{
	static struct keeper k;
	k = (struct keeper){ .stay = *stay, .nic = nic, .hold = nic_user.hold, .ports = nic_user_ports };
	if (!loop_init(&k.loop)) {
		signals_init(&k.loop);
		nic_user_move(nic, &k.loop);
		keeper_init(&k);
		while (!k.end && !signals_quit())
			keeper_turn(&k);
		keeper_fini(&k);
		nic_user.close(nic);
		signals_fini();
	}
	loop_fini(&k.loop);
	stay_end(stay);
}
