/* Loads a guest's devices, as /init's child or in L1:
 *   load disk DEVICE COUNT DEPTH      4 KiB writes past the cache, DEPTH of them in flight
 *   load send ADDRESS COUNT           UDP packets of 1500 bytes with their IP header
 *   load receive COUNT                takes such packets, tells how many came
 * Says "LOAD BEGIN" before and "LOAD END" after. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { BLOCK = 4096, PAYLOAD = 1500 - 20 - 8, PORT = 9, SPAN = 4096 };

static void die(const char *what)
{
	perror(what);
	exit(1);
}

/* ---- disk */

static struct iocb cb[256];

static void write_one(aio_context_t c, int fd, void *data, unsigned slot, unsigned n)
{
	struct iocb *b = &cb[slot], *list[1] = { b };
	*b = (struct iocb){ .aio_lio_opcode = IOCB_CMD_PWRITE, .aio_fildes = (unsigned)fd, .aio_data = slot,
			    .aio_buf = (__u64)(unsigned long)data, .aio_nbytes = BLOCK,
			    .aio_offset = (long long)(n * 7919u % SPAN) * BLOCK };
	if (syscall(SYS_io_submit, c, 1, list) != 1)
		die("io_submit");
}

static void disk(const char *device, unsigned count, unsigned depth)
{
	aio_context_t c = 0;
	struct io_event e[256];
	void *data = aligned_alloc(BLOCK, BLOCK);
	int fd = open(device, O_WRONLY | O_DIRECT);
	unsigned begun = 0, done = 0;
	if (fd < 0 || !data || depth > 256 || syscall(SYS_io_setup, depth, &c))
		die(device);
	memset(data, 0x5a, BLOCK);
	while (begun < depth)
		write_one(c, fd, data, begun, begun), begun++;
	while (done < count) {
		long n = syscall(SYS_io_getevents, c, 1, depth, e, NULL);
		if (n < 1)
			die("io_getevents");
		for (long i = 0; i < n; i++, done++) {
			if (e[i].res != BLOCK)
				die("write");
			if (begun < count)
				write_one(c, fd, data, (unsigned)e[i].data, begun++);
		}
	}
}

/* ---- network */

static void send_all(const char *address, unsigned count)
{
	static char data[PAYLOAD];
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(PORT) };
	int s = socket(AF_INET, SOCK_DGRAM, 0);
	inet_pton(AF_INET, address, &a.sin_addr);
	if (s < 0 || connect(s, (void *)&a, sizeof(a)))
		die(address);
	for (unsigned i = 0; i < count; i++)
		if (send(s, data, sizeof(data), 0) < 0)
			i--;    /* the queue is full */
}

static void receive(unsigned count)
{
	static char data[PAYLOAD];
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(PORT) };
	struct timeval wait = { .tv_sec = 2 };
	int s = socket(AF_INET, SOCK_DGRAM, 0), room = 4 << 20;
	unsigned got = 0;
	setsockopt(s, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room));
	if (s < 0 || bind(s, (void *)&a, sizeof(a)))
		die("receive");
	while (got < count && recv(s, data, sizeof(data), 0) == PAYLOAD)
		if (!got++)
			setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
	printf("LOAD GOT %u\n", got);
}

int main(int argc, char **argv)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc < 3)
		return 2;
	puts("LOAD BEGIN");
	if (!strcmp(argv[1], "disk"))
		disk(argv[2], (unsigned)atoi(argv[3]), (unsigned)atoi(argv[4]));
	else if (!strcmp(argv[1], "send"))
		send_all(argv[2], (unsigned)atoi(argv[3]));
	else
		receive((unsigned)atoi(argv[2]));
	puts("LOAD END");
	return 0;
}
