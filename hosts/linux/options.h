/* All that a user may choose of a run, filled by whoever parses: the command
 * line, a YAML file, a test.  Strings and arrays are the filler's and outlive the
 * machine. */
#ifndef HOSTS_LINUX_OPTIONS_H
#define HOSTS_LINUX_OPTIONS_H

#include "core/pc.h"
#include "core/x86/cpuid.h"
#include "core/record.h"
#include "hosts/linux/sandbox.h"

enum { OPT_FORWARDS = 64, OPT_TRACE = 32 };

struct opt_disk {
	const char *file;
	bool readonly, nvme;
};
struct opt_forward {             /* [ADDR:]HOST:GUEST[/udp] */
	char addr[48];           /* IPv4 or IPv6 as text; "" is 127.0.0.1 */
	u16 host, guest;
	bool udp;
};
enum opt_net { NET_NONE, NET_USER, NET_TAP, NET_SWITCH };
struct opt_switch {              /* what a NIC is on it: only this is let through */
	char name[32];
	bool has_mac;
	u8 mac[6], ip[4];        /* ip all 0: any */
	char uplink[16];         /* a bare machine's network card, or "" */
};
/* by default the console is stdio, and the debug console too with test_devices */
enum opt_stream { STREAM_DEFAULT, STREAM_NONE, STREAM_STDIO, STREAM_FILE };
struct opt_tty {
	enum opt_stream kind;
	const char *path;        /* STREAM_FILE */
};

/* A VM that was saved, as it is opened again. */
struct saved {
	struct record_facts facts;
	const void *record;
	size_t nrecord;
	int ram;                 /* descriptor of the file that holds the guest's memory */
	const u8 *network;       /* nic_user_save()'s, nnetwork bytes; 0: none */
	size_t nnetwork;
	char keeper[80];         /* who keeps the connections of its user network (keeper.h); "": nobody */
	u8 token[16];            /* what the keeper wants to hear */
	bool own_initrd;         /* the initial RAM disk lies in the saved VM's folder */
	bool paused;             /* and is to stay so */
};

struct options {
	const char *name;        /* of the VM */
	const char *engine;      /* "auto", or one's name */
	const char *kernel, *initrd, *append, *firmware; /* files; NULL: none */
	unsigned nmodule;
	const char *module[PC_MODULES]; /* "FILE ARGS" */
	u64 memory;              /* bytes */
	bool overcommit;
	unsigned cpus;
	enum cpu_model cpu;
	u32 tsc_khz;             /* the guest's TSC; 0: the engine's choice */
	bool hugepages;
	enum sandbox sandbox;
	const char *pin;         /* CPUs of the host for the vCPUs' threads in turn; NULL: any */
	unsigned ndisk;
	struct opt_disk disk[PC_DISKS];
	enum opt_net net;
	const char *tap;         /* NET_TAP: the interface */
	struct opt_switch sw;    /* NET_SWITCH */
	unsigned nforward;
	struct opt_forward forward[OPT_FORWARDS];
	struct opt_tty console, debugcon;
	bool no_reboot, test_devices;
	u32 shadow;              /* bt beside interp, each block compared so often; 0: no */
	unsigned ntrace;
	const char *trace[OPT_TRACE]; /* device names, "exits", "all" */
	unsigned verbose;        /* 1: info lines */

	/* for commands that are more than a plain machine; not on run's command line */
	struct tty *com2;        /* the second serial port; NULL: not connected */
	bool command;            /* the guest runs one, and tells by com2 how it ended */
	unsigned nport;          /* virtio console ports of the caller's own making */
	struct tty *port[PC_PORTS];
	const char *port_name[PC_PORTS];
	unsigned noem;
	const char *oem[PC_OEM]; /* SMBIOS type 11 strings */
	void (*console_tap)(void *, const u8 *, size_t n); /* sees what the console says; any thread */
	void *tap_arg;
	const struct saved *saved; /* the guest goes on from here instead of booting */
};

void options_default(struct options *);

/* Words to values; E_INVAL after the error was said.  The text may be kept. */
int option_size(const char *what, const char *text, u64 *bytes);     /* K M G T suffix; none: M */
int option_number(const char *what, const char *text, u64 min, u64 max, u64 *n);
/* Seconds, or with s, m, h or d behind */
int option_time(const char *what, const char *text, u64 max, u64 *seconds);
int option_disk(struct options *, char *text);       /* FILE[,ro][,if=nvme|virtio]; cut up */
/* user, tap:NAME, switch[:NAME][,mac=MAC][,ip=ADDR][,uplink[=NIC]], none */
int option_net(struct options *, const char *text);
int option_forward(struct options *, const char *text);
int option_tty(const char *what, const char *text, struct opt_tty *); /* stdio, file:PATH, none */
int option_cpu(const char *text, enum cpu_model *);  /* auto, baseline, host */
int option_sandbox(const char *text, enum sandbox *);
/* The n-th CPU of a list like 0,2-3, which begins anew where it ends; *cpu may be NULL. */
int option_pin(const char *list, unsigned n, unsigned *cpu);
int option_trace(struct options *, char *text);      /* comma-separated; cut up */
int options_judge(const struct options *);           /* what no single word can tell */

#endif
