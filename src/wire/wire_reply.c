/* wire_reply.c - events of an answer to the bytes of its reply, streamed or whole.
 *
 * States of a reply:  init -> BEGIN -> (TEXT, THINK)* -> END of each choice -> DONE; FAIL from
 * anywhere.  Here is what all dialects share: order, half characters, what a whole reply keeps, its
 * limit.  The dialect's functions write. */
#include "wire/form.h"

#include <stdlib.h>
#include <string.h>

enum err wire_reply_init(struct wire_reply *w, const struct wire_request *r,
                         const struct wire_about *about)
{
    size_t n = (r->n_prompt ? r->n_prompt : 1) * (size_t)r->best_of;

    ASSERT(r->dialect->piece && n && n <= WIRE_CHOICE_MAX);
    *w = (struct wire_reply){ .dialect = r->dialect, .about = *about, .stream = r->stream,
                              .include_usage = r->include_usage, .logprobs = r->logprobs };
    if (!(w->choice = calloc(n, sizeof(*w->choice))))
        return err_set(ERR_NOMEM, "WIRE-04", "out of memory for a reply of %zu choices; close "
                       "other programs", n);
    w->n_choice = n;
    return OK;
}

static void clear(struct wire_choice *c)
{
    buf_cut(&c->text, 0);
    buf_cut(&c->think, 0);
    for (size_t i = 0; i < 4; i++)
        buf_cut(&c->list[i], 0);
    c->n_list = 0;
}

static void choice_release(struct wire_choice *c)
{
    buf_release(&c->text);
    buf_release(&c->think);
    for (size_t k = 0; k < 4; k++)
        buf_release(&c->list[k]);
}

enum err wire_reply_pick(struct wire_reply *w, const size_t *choice, size_t n)
{
    struct wire_choice *kept = calloc(n, sizeof(*kept));

    ASSERT(!w->stream && !w->done && n);
    if (!kept)
        return err_set(ERR_NOMEM, "WIRE-07", "out of memory for the best %zu of a reply", n);
    for (size_t i = 0; i < n; i++) {
        ASSERT(choice[i] < w->n_choice);
        kept[i] = w->choice[choice[i]];
        w->choice[choice[i]] = (struct wire_choice){ 0 };
    }
    for (size_t i = 0; i < w->n_choice; i++)
        choice_release(&w->choice[i]);
    free(w->choice);
    w->choice = kept;
    w->n_choice = n;
    return OK;
}

void wire_reply_release(struct wire_reply *w)
{
    for (size_t i = 0; i < w->n_choice; i++)
        choice_release(&w->choice[i]);
    free(w->choice);
    *w = (struct wire_reply){ 0 };
}

/* Append text to `to`; the start of a character at its end waits in `half`. */
static void take_text(struct buf *to, struct wire_half *half, const char *text, size_t len)
{
    enum wire_utf8 state = WIRE_UTF8_WHOLE;

    while (half->len && len) {
        half->bytes[half->len] = *text;
        size_t n = wire_utf8_next(&state, half->bytes, half->len + 1);
        if (n <= half->len) {           /* this byte does not go on with it */
            buf_puts(to, "\xef\xbf\xbd");
            half->len = 0;
            break;
        }
        text++;
        len--;
        half->len++;
        if (state == WIRE_UTF8_WHOLE) {
            buf_add(to, half->bytes, half->len);
            half->len = 0;
        }
    }
    size_t last = len;                  /* where the character at the end begins */
    for (size_t back = 1; back <= 3 && back <= len; back++)
        if (((unsigned char)text[len - back] & 0xc0) != 0x80) {
            wire_utf8_next(&state, text + len - back, back);
            last = state == WIRE_UTF8_CUT ? len - back : len;
            break;
        }
    buf_add(to, text, last);
    if (len > last) {
        memcpy(half->bytes, text + last, len - last);
        half->len = len - last;
    }
}

/* Nothing more comes: what waits is no character. */
static void end_text(struct buf *to, struct wire_half *half)
{
    if (half->len)
        buf_puts(to, "\xef\xbf\xbd");
    half->len = 0;
}

static size_t held(const struct wire_choice *c)
{
    size_t n = c->text.len + c->think.len;

    for (size_t i = 0; i < 4; i++)
        n += c->list[i].len;
    return n;
}

static void take(struct wire_reply *w, struct wire_choice *c, const struct wire_event *e)
{
    size_t before = held(c);

    ASSERT(w->begun && !w->done && !c->ended);
    if (e->kind == WIRE_THINK && w->dialect->thinks) {
        end_text(&c->text, &c->text_half);
        take_text(&c->think, &c->think_half, e->text, e->len);
    } else {
        end_text(&c->think, &c->think_half);
        take_text(&c->text, &c->text_half, e->text, e->kind == WIRE_END ? 0 : e->len);
    }
    for (size_t i = 0; e->kind == WIRE_TEXT && i < e->n_logprob && w->logprobs; i++)
        w->dialect->logprob(c, &e->logprob[i]);
    if (e->kind == WIRE_END) {
        end_text(&c->text, &c->text_half);
        c->ended = true;
        c->finish = e->finish;
    }
    c->thought = c->thought || c->think.len;
    w->bytes += held(c) - before;
}

static enum err check(const struct wire_reply *w, const struct wire_choice *c,
                      const struct buf *out)
{
    bool broken = out->broken;

    for (size_t i = 0; c && i < 4; i++)
        broken = broken || c->list[i].broken;
    if (broken || (c && (c->text.broken || c->think.broken)))
        return err_set(ERR_NOMEM, "WIRE-05", "out of memory while writing a reply; close other "
                       "programs");
    if (w->bytes > WIRE_REPLY_BYTES_MAX)
        return err_set(ERR_LIMIT, "WIRE-06", "a reply of more than %d bytes is not kept; let it be "
                       "streamed", (int)WIRE_REPLY_BYTES_MAX);
    return OK;
}

static enum err piece(struct wire_reply *w, struct buf *out, const struct wire_event *e)
{
    struct wire_choice *c = &w->choice[e->choice];
    enum err code;

    ASSERT(e->choice < w->n_choice);
    take(w, c, e);
    if ((code = check(w, c, out)) != OK || !w->stream)
        return code;
    if (c->text.len || c->think.len || c->n_list)
        w->dialect->piece(w, out, e->choice);
    if (c->ended)
        w->dialect->end(w, out, e->choice);
    clear(c);
    w->bytes = 0;
    return check(w, NULL, out);
}

static void fail(struct wire_reply *w, struct buf *out, const struct wire_event *e)
{
    if (w->stream && w->begun)
        w->dialect->fail(out, e->error);
    else
        w->dialect->error(out, e->error);
    w->done = true;
    w->bytes = 0;
}

enum err wire_reply_event(struct wire_reply *w, struct buf *out, const struct wire_event *e)
{
    ASSERT(!w->done);
    switch (e->kind) {
    case WIRE_BEGIN:
        ASSERT(!w->begun);
        w->begun = true;
        if (w->stream)
            w->dialect->begin(w, out);
        break;
    case WIRE_TEXT:
    case WIRE_THINK:
    case WIRE_END:
        return piece(w, out, e);
    case WIRE_DONE:
        for (size_t i = 0; i < w->n_choice; i++)
            ASSERT(w->choice[i].ended);
        w->dialect->done(w, out, &e->usage);
        w->done = true;
        break;
    case WIRE_FAIL:
        fail(w, out, e);
        break;
    }
    return check(w, NULL, out);
}
