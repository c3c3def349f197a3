/* think.c - thinking and answer told apart in a stream of text: see chat.h.
 *
 * States: `part` is what text belongs to; `started` is true once the opening delimiter can no
 * longer come.  held[0 .. n_held-1] is always a proper beginning of the delimiter watched for.
 *
 *   ANSWER, not started --open--> THINK, started --close--> ANSWER, started
 *   THINK, not started  --open--> THINK, started       (a model that repeats its prompt's tag)
 *   either, not started --any text--> the same part, started; white space changes nothing
 */
#include "text/chat.h"

#include <string.h>

void think_split_init(struct think_split *s, struct chat_think think)
{
    *s = (struct think_split){ .think = think };
    s->part = think.starts_open ? CHAT_PART_THINK : CHAT_PART_ANSWER;
    if (think.open)
        ASSERT(strlen(think.open) < sizeof(s->held) && strlen(think.close) < sizeof(s->held));
}

/* The delimiter that would change the state now, or NULL. */
static const char *watched(const struct think_split *s)
{
    if (!s->think.open)
        return NULL;
    if (!s->started)
        return s->think.open;
    return s->part == CHAT_PART_THINK ? s->think.close : NULL;
}

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* Settle as much of what is held as can be. */
static void settle(struct think_split *s, think_emit_fn *emit, void *arg)
{
    while (s->n_held) {
        const char *delim = watched(s);

        if (!delim) {
            emit(arg, s->part, s->held, s->n_held);
            s->n_held = 0;
        } else if (memcmp(s->held, delim, s->n_held) == 0) {
            if (delim[s->n_held])
                return;
            s->part = delim == s->think.open ? CHAT_PART_THINK : CHAT_PART_ANSWER;
            s->started = true;
            s->n_held = 0;
        } else if (!s->started && !is_space(s->held[0])) {
            s->started = true;
        } else {
            emit(arg, s->part, s->held, 1);
            memmove(s->held, s->held + 1, --s->n_held);
        }
    }
}

void think_split_push(struct think_split *s, const char *text, size_t len, think_emit_fn *emit,
                      void *arg)
{
    for (size_t i = 0; i < len; i++) {
        const char *delim = watched(s);

        /* Whole stretches in which no delimiter begins go through in one piece. */
        if (!s->n_held && (!delim || s->started)) {
            const char *next = delim ? memchr(text + i, delim[0], len - i) : NULL;
            size_t n = next ? (size_t)(next - text) - i : len - i;

            if (n) {
                emit(arg, s->part, text + i, n);
                i += n - 1;
                continue;
            }
        }
        s->held[s->n_held++] = text[i];
        settle(s, emit, arg);
    }
}

void think_split_end(struct think_split *s, think_emit_fn *emit, void *arg)
{
    if (s->n_held)
        emit(arg, s->part, s->held, s->n_held);
    s->n_held = 0;
}
