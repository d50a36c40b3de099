/* The control socket's server, on the loop's thread; only the last step of a save, which
 * waits for the disk, and the first, where the engine lets the guest run meanwhile, have a thread
 * of their own. */
#include "hosts/linux/server.h"
#include "hosts/linux/clock.h"
#include "hosts/linux/signals.h"
#include "hosts/linux/sys.h"

#include "core/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void drop(struct client *c)
{
	struct server *s = c->server;
	if (c->console)
		out_detach(&s->m->console_out, &c->out);
	c->out.fd = -1; /* what it did not fetch is nobody's */
	out_fini(&c->out);
	loop_del(&s->m->loop, &c->fd);
	close(c->fd.fd);
	for (unsigned i = 0; i < SERVER_CLIENTS; i++)
		if (s->client[i] == c)
			s->client[i] = NULL;
	free(c);
}

/* The answer, or the client is gone. */
static bool answer(struct client *c, json_t *j)
{
	char *text = json_dumps(j, JSON_COMPACT);
	size_t n = text ? strlen(text) : 0;
	bool ok = n;
	if (ok) {
		text[n++] = '\n'; /* in place of the end */
		ok = send(c->fd.fd, text, n, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)n;
	}
	free(text);
	json_decref(j);
	if (!ok)
		drop(c);
	return ok;
}

static bool answer_result(struct client *c, int err, const struct said *said)
{
	return answer(c, err ? json_pack("{s:b, s:s}", "ok", 0, "error", said->text) :
			       json_pack("{s:b}", "ok", 1));
}

/* ---- requests: each answers; false: the client is gone */

static bool do_status(struct client *c, json_t *request)
{
	struct machine *m = c->server->m;
	return answer(c, json_pack("{s:b, s:s, s:s, s:s, s:I, s:i, s:i, s:s}", "ok", 1, "name",
				   c->server->name, "state", m->paused ? "paused" : "running", "engine",
				   m->vm.engine->name, "memory", (json_int_t)m->ram.n, "cpus",
				   (int)m->vm.nvcpu, "pid", (int)getpid(), "ring",
				   m->ring.fd >= 0 ? m->ring.path : ""));
}

static bool do_pause(struct client *c, json_t *request)
{
	machine_pause(c->server->m);
	return answer_result(c, 0, NULL);
}

/* What runs on is no longer what was saved. */
static bool refuse_leaving(struct client *c)
{
	return answer(c, json_pack("{s:b, s:s}", "ok", 0, "error", "it is being saved, and ends"));
}

static bool do_resume(struct client *c, json_t *request)
{
	if (c->server->leaving)
		return refuse_leaving(c);
	machine_resume(c->server->m);
	return answer_result(c, 0, NULL);
}

static bool do_stop(struct client *c, json_t *request)
{
	if (c->server->leaving)
		return refuse_leaving(c);
	machine_resume(c->server->m);
	pc_power_button(c->server->m->pc);
	return answer_result(c, 0, NULL);
}

static bool do_quit(struct client *c, json_t *request)
{
	machine_quit(c->server->m);
	return answer_result(c, 0, NULL);
}

/* ---- the console */

static void room(void *arg);

static bool do_console(struct client *c, json_t *request)
{
	struct machine *m = c->server->m;
	int fd = fcntl(c->fd.fd, F_DUPFD_CLOEXEC, 0); /* epoll takes each descriptor once */
	out_init(&c->out, &m->loop, fd, true);
	c->out.hasty = true;
	if (fd < 0 || loop_add(&m->loop, &c->out.wait, 0)) {
		drop(c);
		return false;
	}
	c->console = true;
	u64 at = out_attach(&m->console_out, &c->out);
	m->console.room = room;
	m->console.room_arg = c->server;
	return answer(c, json_pack("{s:b, s:I, s:s}", "ok", 1, "at", (json_int_t)at, "ring",
				   m->ring.fd >= 0 ? m->ring.path : ""));
}

/* What a console's client typed; what the guest does not take now waits, and so does
 * the client. */
static void type(struct client *c)
{
	struct machine *m = c->server->m;
	unsigned k = stream_put(&m->console, (u8 *)c->line, c->n);
	c->n -= k;
	memmove(c->line, c->line + k, c->n);
	loop_events(&m->loop, &c->fd, c->n ? 0 : EPOLLIN);
}

static void room(void *arg)
{
	struct server *s = arg;
	for (unsigned i = 0; i < SERVER_CLIENTS; i++)
		if (s->client[i] && s->client[i]->console && s->client[i]->n)
			type(s->client[i]);
}

/* ---- saving */

static void lines(struct client *);

/* One step of a save in a thread; the loop goes on where it ends. */
static void step(struct server *s, int (*what)(struct server *), struct loop_work *then)
{
	signals_block();
	host_log_capture(&s->said);
	s->result = what(s);
	host_log_capture(NULL);
	loop_defer(&s->m->loop, then);
}

static int copy_step(struct server *s)
{
	return saving_copy(&s->save, s->m);
}

static int keep_step(struct server *s)
{
	int err = saving_keep(&s->save);
	saving_fini(&s->save); /* who is told that it is saved finds nothing beside it */
	return err;
}

static void *copy(void *arg)
{
	struct server *s = arg;
	step(s, copy_step, &s->copied);
	return NULL;
}

static void *keep(void *arg)
{
	struct server *s = arg;
	step(s, keep_step, &s->done);
	return NULL;
}

static int begin_step(struct server *s, void *(*what)(void *))
{
	return sys->thread(&s->thread, NULL, what, s) ?
	       fail(E_NOMEM, "save %s: cannot start a thread", s->save.dir) : 0;
}

static void end_save(struct server *s)
{
	saving_fini(&s->save);
	if (!s->m->leaves)
		stay_end(&s->stay);
	s->busy = false;
	for (unsigned i = 0; i < SERVER_CLIENTS; i++) {
		struct client *c = s->client[i];
		if (!c || !c->saving)
			continue;
		c->saving = false;
		if (s->result ? answer_result(c, s->result, &s->said) :
		    answer(c, json_pack("{s:b, s:I, s:I}", "ok", 1, "pause_us",
					(json_int_t)(s->save.pause_ns / 1000), "bytes",
					(json_int_t)s->save.bytes)))
			lines(c);
	}
}

static void saved(struct loop_work *w)
{
	struct server *s = container_of(w, struct server, done);
	pthread_join(s->thread, NULL);
	if (s->leaving && !s->result) {
		s->m->leaves = true;
		machine_quit(s->m);
	} else if (s->leaving && !s->was) {
		machine_resume(s->m);
	}
	s->leaving = false;
	end_save(s);
}

/* The pause, and then the last step begins. */
static int take(struct server *s)
{
	s->was = s->m->paused;
	u64 start = clock_host();
	machine_pause(s->m);
	int err = saving_take(&s->save, s->m);
	ram_track(&s->m->vm, false);
	if (!err && s->stop && !(err = begin_step(s, keep)))
		s->leaving = true;
	else if (!s->was)
		machine_resume(s->m);
	s->save.pause_ns = clock_host() - start;
	return err || s->leaving ? err : begin_step(s, keep);
}

static void copied(struct loop_work *w)
{
	struct server *s = container_of(w, struct server, copied);
	pthread_join(s->thread, NULL);
	host_log_capture(s->result ? NULL : &s->said);
	if (!s->result)
		s->result = take(s);
	else
		ram_track(&s->m->vm, false);
	host_log_capture(NULL);
	if (s->result)
		end_save(s);
}

static int take_spare(struct server *s)
{
	int fd = -1;
	for (unsigned i = 0; i < SERVER_STAYS && fd < 0; i++) {
		fd = s->spare[i];
		s->spare[i] = -1;
	}
	return fd;
}

/* A network that is kept already stays with its keeper, under a new token. */
static void begin_stay(struct server *s, json_t *request)
{
	json_t *keep = json_object_get(request, "keep");
	u32 seconds = (u32)min_u64((u64)json_integer_value(keep), KEEP_MOST);
	s->stay = (struct stay){ .fd = -1, .lock = -1, .seconds = seconds };
	s->stop = json_is_true(json_object_get(request, "stop"));
	s->save.stay = &s->stay;
	if (!s->stop || !seconds || !s->m->nic)
		return;
	if (s->m->nic_way == &nic_user) {
		stay_begin(&s->stay, take_spare(s), s->name, seconds);
	} else if (s->m->nic_way == &nic_kept) {
		snprintf(s->stay.name, sizeof(s->stay.name), "%s", nic_kept_name(s->m->nic));
		host_random(s->stay.token, sizeof(s->stay.token));
	}
}

static int begin_save(struct server *s, json_t *request)
{
	const char *dir = json_string_value(json_object_get(request, "dir"));
	if (s->busy)
		return fail(E_BUSY, "save: another one is under way");
	if (!dir || dir[0] != '/')
		return fail(E_INVAL, "save: \"dir\" must be a whole path");
	int err = saving_begin(&s->save, dir, json_is_true(json_object_get(request, "disks")));
	if (!err)
		begin_stay(s, request);
	if (!err)
		err = s->m->paused || ram_track(&s->m->vm, true) ? take(s) : begin_step(s, copy);
	if (err) {
		saving_fini(&s->save);
		stay_end(&s->stay);
	} else {
		s->busy = true;
	}
	return err;
}

static bool do_save(struct client *c, json_t *request)
{
	struct said said;
	host_log_capture(&said);
	int err = begin_save(c->server, request);
	host_log_capture(NULL);
	if (err)
		return answer_result(c, err, &said);
	c->saving = true;
	return true;
}

/* ---- lines */

static const struct {
	const char *name;
	bool (*run)(struct client *, json_t *);
} requests[] = {
	{ "status", do_status }, { "pause", do_pause }, { "resume", do_resume }, { "save", do_save },
	{ "stop", do_stop }, { "quit", do_quit }, { "console", do_console },
};

static bool refuse(struct client *c, const char *why)
{
	return answer(c, json_pack("{s:b, s:s}", "ok", 0, "error", why));
}

static bool obey(struct client *c, const char *line, size_t n)
{
	json_t *j = json_loadb(line, n, JSON_REJECT_DUPLICATES, NULL);
	const char *what = json_string_value(json_object_get(j, "do"));
	bool there = true, known = false;
	for (unsigned i = 0; what && i < countof(requests); i++)
		if (!strcmp(what, requests[i].name)) {
			known = true;
			there = requests[i].run(c, j);
			break;
		}
	if (!known)
		there = refuse(c, what ? "there is no such request" : "a request is an object with \"do\"");
	json_decref(j);
	return there;
}

/* Lines, one after the other, until one takes time or makes a console of it. */
static void lines(struct client *c)
{
	char *end;
	while (!c->console && !c->saving && (end = memchr(c->line, '\n', c->n))) {
		size_t n = (size_t)(end - c->line);
		if (!obey(c, c->line, n))
			return;
		c->n -= (unsigned)n + 1;
		memmove(c->line, end + 1, c->n);
	}
	if (c->console)
		type(c);
	else if (c->n == sizeof(c->line) && refuse(c, "a request is one line of at most 4095 bytes"))
		drop(c);
}

static void readable(struct loop_fd *f, unsigned events)
{
	struct client *c = container_of(f, struct client, fd);
	if (c->n == sizeof(c->line)) { /* it goes on while its save is under way */
		drop(c);
		return;
	}
	ssize_t n = recv(f->fd, c->line + c->n, sizeof(c->line) - c->n, MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		drop(c);
		return;
	}
	c->n += (unsigned)n;
	lines(c);
}

/* ---- clients */

static void add(struct server *s, unsigned i, int fd)
{
	struct client *c = calloc(1, sizeof(*c));
	if (!c) {
		close(fd);
		return;
	}
	c->server = s;
	c->fd = (struct loop_fd){ .fd = fd, .ready = readable };
	s->client[i] = c;
	if (loop_add(&s->m->loop, &c->fd, EPOLLIN))
		drop(c);
}

/* With all places taken the newest is turned away at once. */
static void knock(struct loop_fd *f, unsigned events)
{
	struct server *s = container_of(f, struct server, listen);
	int fd = accept4(f->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd < 0)
		return;
	for (unsigned i = 0; i < SERVER_CLIENTS; i++)
		if (!s->client[i]) {
			add(s, i, fd);
			return;
		}
	close(fd);
}

void server_init(struct server *s, struct machine *m)
{
	*s = (struct server){ .m = m, .copied.run = copied, .done.run = saved, .save = { .at = -1, .ram = -1 },
			      .stay = { .fd = -1, .lock = -1 } };
	snprintf(s->name, sizeof(s->name), "%s", m->opt->name);
	s->listen = (struct loop_fd){ .fd = socket_listen(socket_make(), s->name, &s->lock), .ready = knock };
	for (unsigned i = 0; i < SERVER_STAYS; i++)
		s->spare[i] = m->nic_way == &nic_user ? socket_make() : -1;
	if (s->listen.fd < 0)
		log_line(LOG_INFO, "%s: no control socket: lodge ls and the like will not find this VM; set "
			 "XDG_RUNTIME_DIR or HOME to a folder of yours", m->opt->name);
	else
		loop_add(&m->loop, &s->listen, EPOLLIN);
}

/* The guest has ended.  A save in its last step is whole; another one is none. */
static void abandon(struct server *s)
{
	pthread_join(s->thread, NULL);
	loop_cancel(&s->m->loop, &s->copied);
	loop_cancel(&s->m->loop, &s->done);
	if (!s->result && !s->save.taken) {
		host_log_capture(&s->said);
		s->result = fail(E_BUSY, "save %s: the guest is ending", s->save.dir);
		host_log_capture(NULL);
	}
	end_save(s);
}

void server_fini(struct server *s)
{
	if (!s->m)
		return;
	if (s->busy)
		abandon(s);
	for (unsigned i = 0; i < SERVER_CLIENTS; i++)
		if (s->client[i]) {
			int fd = fcntl(s->client[i]->fd.fd, F_DUPFD_CLOEXEC, 0);
			if (fd >= 0)
				s->last[s->nlast++] = fd;
			drop(s->client[i]);
		}
	s->m->console.room = NULL;
	if (s->listen.fd >= 0)
		loop_del(&s->m->loop, &s->listen);
	socket_close(s->name, s->listen.fd, s->lock);
	for (int fd; (fd = take_spare(s)) >= 0;)
		close(fd);
	s->m = NULL;
}

void server_hang_up(struct server *s)
{
	while (s->nlast)
		close(s->last[--s->nlast]);
}
