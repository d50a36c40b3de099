/* The queue of frames.h. */
#include "hosts/linux/frames.h"

#include <string.h>

enum { AT_ONCE = 256 };  /* frames given in one call: others want the loop, too */

int frames_init(struct frames *f)
{
	pthread_mutex_init(&f->lock, NULL);
	f->buf = host_alloc(FRAMES_SIZE);
	f->frame = host_alloc(FRAME_MAX);
	return f->buf && f->frame ? 0 : fail(E_NOMEM, "net: out of memory");
}

void frames_fini(struct frames *f)
{
	host_free(f->buf, FRAMES_SIZE);
	host_free(f->frame, FRAME_MAX);
}

static void put(struct frames *f, const void *p, size_t n)
{
	size_t at = f->in % FRAMES_SIZE, k = FRAMES_SIZE - at < n ? FRAMES_SIZE - at : n;
	memcpy(f->buf + at, p, k);
	memcpy(f->buf, (const u8 *)p + k, n - k);
	f->in += n;
}

static void get(struct frames *f, u64 from, void *p, size_t n)
{
	size_t at = from % FRAMES_SIZE, k = FRAMES_SIZE - at < n ? FRAMES_SIZE - at : n;
	memcpy(p, f->buf + at, k);
	memcpy((u8 *)p + k, f->buf, n - k);
}

bool frames_put(struct frames *f, const struct span *s, unsigned n)
{
	u64 size = 0;
	for (unsigned i = 0; i < n; i++)
		size += s[i].n;
	u32 len = (u32)size;
	pthread_mutex_lock(&f->lock);
	bool fits = size && size <= FRAME_MAX && f->in - f->out + sizeof(len) + size <= FRAMES_SIZE;
	if (fits) {
		put(f, &len, sizeof(len));
		for (unsigned i = 0; i < n; i++)
			put(f, s[i].p, s[i].n);
	}
	f->dropped += !fits;
	pthread_mutex_unlock(&f->lock);
	return fits;
}

bool frames_empty(struct frames *f)
{
	pthread_mutex_lock(&f->lock);
	bool empty = f->in == f->out;
	pthread_mutex_unlock(&f->lock);
	return empty;
}

static u32 first(struct frames *f)
{
	u32 len = 0;
	pthread_mutex_lock(&f->lock);
	if (f->in != f->out) {
		get(f, f->out, &len, sizeof(len));
		get(f, f->out + sizeof(len), f->frame, len);
	}
	pthread_mutex_unlock(&f->lock);
	return len;
}

bool frames_take(struct frames *f, bool (*fn)(void *, const void *, size_t), void *arg)
{
	for (unsigned i = 0; i < AT_ONCE; i++) {
		u32 len = first(f);
		if (!len || !fn(arg, f->frame, len))
			return false;
		pthread_mutex_lock(&f->lock);
		f->out += sizeof(len) + len;
		pthread_mutex_unlock(&f->lock);
	}
	return !frames_empty(f);
}
