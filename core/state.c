/* Saving and loading by one walk. */
#include "core/state.h"
#include "core/log.h"

void state_bytes(struct state *s, void *p, size_t n)
{
	if (s->bad)
		return;
	if (n > s->n - s->pos) {
		state_bad(s, s->load ? "record is too short" : "record has no room");
		return;
	}
	if (s->load)
		memcpy(p, s->buf + s->pos, n);
	else
		memcpy(s->buf + s->pos, p, n);
	s->pos += n;
}

void state_bad(struct state *s, const char *why)
{
	if (!s->bad)
		log_line(LOG_ERROR, "%s: state refused: %s", s->who ? s->who : "state", why);
	s->bad = true;
}

void state_u8(struct state *s, u8 *v) { state_bytes(s, v, 1); }
void state_u16(struct state *s, u16 *v) { state_bytes(s, v, 2); }
void state_u32(struct state *s, u32 *v) { state_bytes(s, v, 4); }
void state_u64(struct state *s, u64 *v) { state_bytes(s, v, 8); }

void state_bool(struct state *s, bool *v)
{
	u8 b = *v;

	state_u8(s, &b);
	if (b > 1)
		state_bad(s, "a flag is neither 0 nor 1");
	else
		*v = b;
}
