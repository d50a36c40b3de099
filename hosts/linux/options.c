/* The words of a run, turned into values and judged. */
#include "hosts/linux/options.h"
#include "hosts/linux/linux.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void options_default(struct options *o)
{
	const char *engine = getenv("LODGE_ENGINE");
	*o = (struct options){
		.name = "vm",
		.engine = engine && *engine ? engine : "auto",
		.memory = GiB,
		.cpus = 1,
		.net = NET_USER,
	};
}

int option_size(const char *what, const char *text, u64 *bytes)
{
	static const char suffix[] = "KMGT";
	char *end;
	errno = 0;
	unsigned long long n = strtoull(text, &end, 10);
	unsigned shift = 20;
	if (end != text && *end) {
		const char *s = strchr(suffix, *end & ~0x20);
		shift = s ? 10 * (unsigned)(s - suffix + 1) : 0;
		end++;
		if (!strcmp(end, "iB") || !strcmp(end, "B"))
			end = strchr(end, 0);
	}
	if (end == text || text[0] == '-' || *end || !shift)
		return fail(E_INVAL, "%s %s: not a size; write it like 512M or 2G", what, text);
	if (errno || n > ~0ull >> shift)
		return fail(E_INVAL, "%s %s: too large", what, text);
	*bytes = (u64)n << shift;
	return 0;
}

int option_number(const char *what, const char *text, u64 min, u64 max, u64 *n)
{
	char *end;
	errno = 0;
	unsigned long long v = strtoull(text, &end, 10);
	if (end == text || *end || text[0] == '-' || errno || v < min || v > max)
		return fail(E_INVAL, "%s %s: not a number from %llu to %llu", what, text,
			    (unsigned long long)min, (unsigned long long)max);
	*n = v;
	return 0;
}

int option_cpu(const char *text, enum cpu_model *model)
{
	static const char *const name[] = {
		[CPU_AUTO] = "auto", [CPU_BASELINE] = "baseline", [CPU_HOST] = "host",
	};
	for (unsigned i = 0; i < countof(name); i++)
		if (!strcmp(text, name[i])) {
			*model = (enum cpu_model)i;
			return 0;
		}
	return fail(E_INVAL, "cpu %s: there are auto, baseline and host", text);
}

int option_sandbox(const char *text, enum sandbox *s)
{
	static const char *const name[] = {
		[SANDBOX_AUTO] = "auto", [SANDBOX_ON] = "on", [SANDBOX_OFF] = "off",
	};
	for (unsigned i = 0; i < countof(name); i++)
		if (!strcmp(text, name[i])) {
			*s = (enum sandbox)i;
			return 0;
		}
	return fail(E_INVAL, "sandbox %s: there are auto, on and off", text);
}

/* One piece of the list, "2" or "2-5"; the text behind it, or NULL. */
static const char *pin_piece(const char *s, unsigned long *from, unsigned long *to)
{
	char *end;
	if (*s < '0' || *s > '9')
		return NULL;
	*from = *to = strtoul(s, &end, 10);
	if (*end == '-' && end[1] >= '0' && end[1] <= '9')
		*to = strtoul(end + 1, &end, 10);
	if (*to < *from || *to >= 1024 || (*end && *end != ','))
		return NULL;
	return *end ? end + 1 : end;
}

int option_pin(const char *list, unsigned n, unsigned *cpu)
{
	unsigned long from, to, all = 0;
	const char *s;
	for (s = list; s && *s; all += to - from + 1)
		if (!(s = pin_piece(s, &from, &to)))
			break;
	if (!s || !all)
		return fail(E_INVAL, "pin %s: not a list of CPUs like 0,2-3", list);
	n %= (unsigned)all;
	for (s = list; *s; n -= (unsigned)(to - from + 1)) {
		s = pin_piece(s, &from, &to);
		if (n > to - from)
			continue;
		if (cpu)
			*cpu = (unsigned)from + n;
		return 0;
	}
	return E_INVAL;
}

static int disk_word(struct opt_disk *d, const char *w)
{
	if (!strcmp(w, "ro"))
		d->readonly = true;
	else if (!strcmp(w, "if=nvme"))
		d->nvme = true;
	else if (!strcmp(w, "if=virtio"))
		d->nvme = false;
	else
		return fail(E_INVAL, "disk %s: unknown word '%s'; there are ro, if=virtio "
			    "and if=nvme", d->file, w);
	return 0;
}

int option_disk(struct options *o, char *text)
{
	if (o->ndisk == PC_DISKS)
		return fail(E_NOSPC, "disk %s: more than %d disks", text, PC_DISKS);
	struct opt_disk *d = &o->disk[o->ndisk];
	char *rest = text, *w;
	*d = (struct opt_disk){ .file = strsep(&rest, ",") };
	if (!d->file[0])
		return fail(E_INVAL, "disk: no file was named; write it like disk.img or disk.img,ro");
	while ((w = strsep(&rest, ","))) {
		int err = disk_word(d, w);
		if (err)
			return err;
	}
	o->ndisk++;
	return 0;
}

static bool mac_of(const char *text, u8 mac[6])
{
	unsigned b[6];
	int n = 0;
	if (sscanf(text, "%2x:%2x:%2x:%2x:%2x:%2x%n", &b[0], &b[1], &b[2], &b[3], &b[4], &b[5], &n) != 6 || text[n])
		return false;
	for (unsigned i = 0; i < 6; i++)
		mac[i] = (u8)b[i];
	return !(mac[0] & 1) && (b[0] | b[1] | b[2] | b[3] | b[4] | b[5]);
}

static int switch_word(struct opt_switch *s, const char *w)
{
	if (!strncmp(w, "mac=", 4)) {
		s->has_mac = mac_of(w + 4, s->mac);
		return s->has_mac ? 0 : fail(E_INVAL, "net %s: not the address of one NIC, like mac=52:54:00:12:34:56", w);
	}
	if (!strncmp(w, "ip=", 3))
		return inet_pton(AF_INET, w + 3, s->ip) == 1 ? 0 : fail(E_INVAL, "net %s: not an address like ip=10.0.0.1", w);
	if (!strcmp(w, "uplink"))
		w = "uplink=nic0";
	if (!strncmp(w, "uplink=", 7) && w[7] && strlen(w + 7) < sizeof(s->uplink)) {
		strcpy(s->uplink, w + 7);
		return 0;
	}
	return fail(E_INVAL, "net switch: unknown word '%s'; there are mac=, ip= and uplink", w);
}

/* What stands behind "switch". */
static int option_switch(struct opt_switch *s, const char *text)
{
	char words[160], *rest = words, *w;
	int err = 0;
	*s = (struct opt_switch){ .name = "lan" };
	if (strlen(text) >= sizeof(words))
		return fail(E_INVAL, "net switch%s: too long", text);
	strcpy(words, text);
	w = strsep(&rest, ",");
	if (*w && (!w[1] || strlen(w + 1) >= sizeof(s->name)))
		return fail(E_INVAL, "net switch%s: a switch's name has 1 to %zu characters", w, sizeof(s->name) - 1);
	if (*w)
		strcpy(s->name, w + 1);
	while (!err && (w = strsep(&rest, ",")))
		err = switch_word(s, w);
	return err;
}

int option_net(struct options *o, const char *text)
{
	if (!strcmp(text, "user")) {
		o->net = NET_USER;
	} else if (!strcmp(text, "none")) {
		o->net = NET_NONE;
	} else if (!strncmp(text, "tap:", 4) && text[4]) {
		o->net = NET_TAP;
		o->tap = text + 4;
	} else if (!strncmp(text, "switch", 6) && strchr(":,", text[6])) { /* or nothing behind it */
		o->net = NET_SWITCH;
		return option_switch(&o->sw, text + 6);
	} else {
		return fail(E_INVAL, "net %s: there are user, tap:NAME, switch[:NAME] and none", text);
	}
	return 0;
}

static bool port(const char *text, size_t n, u16 *out)
{
	unsigned v = 0;
	for (size_t i = 0; i < n; i++) {
		if (text[i] < '0' || text[i] > '9' || v > 65535)
			return false;
		v = v * 10 + (unsigned)(text[i] - '0');
	}
	*out = (u16)v;
	return n && v && v <= 65535;
}

/* [ADDR:] in front; an IPv6 address stands in brackets. */
static bool address(const char *text, size_t n, char *out, size_t room)
{
	u8 bin[16];
	bool six = n > 1 && text[0] == '[' && text[n - 1] == ']';
	if (six) {
		text++;
		n -= 2;
	}
	if (n >= room)
		return false;
	memcpy(out, text, n);
	out[n] = 0;
	return inet_pton(six ? AF_INET6 : AF_INET, out, bin) == 1;
}

static bool forward(const char *text, struct opt_forward *f)
{
	size_t n = strlen(text);
	if (n > 4 && (!strcmp(text + n - 4, "/udp") || !strcmp(text + n - 4, "/tcp"))) {
		f->udp = text[n - 3] == 'u';
		n -= 4;
	}
	const char *guest = memrchr(text, ':', n);
	if (!guest || !port(guest + 1, n - (size_t)(guest + 1 - text), &f->guest))
		return false;
	const char *host = memrchr(text, ':', (size_t)(guest - text));
	if (host && !address(text, (size_t)(host - text), f->addr, sizeof(f->addr)))
		return false;
	host = host ? host + 1 : text;
	return port(host, (size_t)(guest - host), &f->host);
}

int option_time(const char *what, const char *text, u64 max, u64 *seconds)
{
	static const struct { char unit; u32 is; } units[] = {
		{ 0, 1 }, { 's', 1 }, { 'm', 60 }, { 'h', 3600 }, { 'd', 86400 },
	};
	char *end;
	errno = 0;
	u64 n = strtoull(text, &end, 10);
	for (unsigned i = 0; text[0] >= '0' && text[0] <= '9' && !errno && i < countof(units); i++)
		if (*end == units[i].unit && (!*end || !end[1]) && n <= max / units[i].is) {
			*seconds = n * units[i].is;
			return 0;
		}
	return fail(E_INVAL, "%s %s: write it like 90s, 10m or 2h; at most %llu h", what, text,
		    (unsigned long long)max / 3600);
}

int option_forward(struct options *o, const char *text)
{
	struct opt_forward f = { 0 };
	if (!forward(text, &f))
		return fail(E_INVAL, "port %s: write it like 8080:80, 0.0.0.0:8080:80 or 5353:53/udp",
			    text);
	if (o->nforward == OPT_FORWARDS)
		return fail(E_NOSPC, "port %s: more than %d ports", text, OPT_FORWARDS);
	o->forward[o->nforward++] = f;
	return 0;
}

int option_tty(const char *what, const char *text, struct opt_tty *t)
{
	if (!strcmp(text, "stdio"))
		*t = (struct opt_tty){ .kind = STREAM_STDIO };
	else if (!strcmp(text, "none"))
		*t = (struct opt_tty){ .kind = STREAM_NONE };
	else if (!strncmp(text, "file:", 5) && text[5])
		*t = (struct opt_tty){ .kind = STREAM_FILE, .path = text + 5 };
	else
		return fail(E_INVAL, "%s %s: there are stdio, file:PATH and none", what, text);
	return 0;
}

int option_trace(struct options *o, char *text)
{
	char *w;
	while ((w = strsep(&text, ","))) {
		if (o->ntrace == OPT_TRACE)
			return fail(E_NOSPC, "trace: more than %d names", OPT_TRACE);
		if (*w)
			o->trace[o->ntrace++] = w;
	}
	return 0;
}

static int judge_name(const char *name)
{
	size_t n = strlen(name);
	for (const char *p = name; *p; p++)
		if (*p == '/' || (u8)*p < ' ' || *p == 0x7f)
			n = 0;
	if (!n || n > 63 || name[0] == '.')
		return fail(E_INVAL, "name %s: a name has 1 to 63 characters, no / and no dot in front",
			    name);
	return 0;
}

int options_judge(const struct options *o)
{
	int err = judge_name(o->name);
	if (err)
		return err;
	if (o->memory < MiB || o->memory > TiB)
		return fail(E_INVAL, "memory %s: it may be from 1 MiB to 1 TiB",
			    size_text(o->memory).s);
	if (o->memory % PAGE_SIZE)
		return fail(E_INVAL, "memory %s: not a multiple of 4 KiB", size_text(o->memory).s);
	if (!o->kernel && !o->firmware)
		return fail(E_INVAL, "nothing to boot: name a kernel with --kernel or firmware "
			    "with --firmware");
	if (o->initrd && !o->kernel)
		return fail(E_INVAL, "initrd %s: it needs a --kernel", o->initrd);
	if (o->nmodule && !o->kernel)
		return fail(E_INVAL, "module %s: it needs a --kernel", o->module[0]);
	if (o->shadow && (o->cpus > 1 || (strcmp(o->engine, "bt") && strcmp(o->engine, "auto"))))
		return fail(E_INVAL, "--shadow: it is for one virtual CPU on bt; leave out %s",
			    o->cpus > 1 ? "--cpus" : "--engine");
	if (o->nforward && o->net != NET_USER)
		return fail(E_INVAL, "ports can be published with --net user only");
	return 0;
}
