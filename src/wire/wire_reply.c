/* wire_reply.c - events of an answer to the bytes of its reply, streamed or whole.
 *
 * States of a reply:  init -> BEGIN -> (TEXT, THINK, SEAL, CALL, ARGS)* -> END of each choice ->
 * DONE; FAIL from anywhere.  In a dialect of blocks one is open at a time: what is of another kind,
 * or begins a part of its own, closes it and opens the next.  Here is what all dialects share:
 * order, half characters, what a whole reply keeps, its limit.  The dialect's functions write. */
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

static void clear(const struct wire_reply *w, struct wire_choice *c)
{
    buf_cut(&c->text, 0);
    buf_cut(&c->think, 0);
    for (size_t i = 0; i < 4 && !w->dialect->open; i++)
        buf_cut(&c->list[i], 0);
    c->n_list = 0;
}

static void choice_release(struct wire_choice *c)
{
    buf_release(&c->text);
    buf_release(&c->think);
    for (size_t k = 0; k < 4; k++)
        buf_release(&c->list[k]);
    buf_release(&c->seal);
    buf_release(&c->id);
    buf_release(&c->name);
    buf_release(&c->match);
}

enum err wire_reply_pick(struct wire_reply *w, const size_t *choice, size_t n)
{
    struct wire_choice *kept = calloc(n, sizeof(*kept));

    ASSERT(!w->stream && !w->done && n);
    if (!kept)
        return err_set(ERR_NOMEM, "WIRE-14", "out of memory for the best %zu of a reply", n);
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
    size_t n = c->text.len + c->think.len + c->seal.len;

    for (size_t i = 0; i < 4; i++)
        n += c->list[i].len;
    return n;
}

/* Close the block that is open. */
static void close_block(struct wire_reply *w, struct wire_choice *c, struct buf *out)
{
    if (c->block == WIRE_BLOCK_NONE)
        return;
    end_text(&c->text, &c->text_half);
    end_text(&c->think, &c->think_half);
    if (w->stream && (c->text.len || c->think.len))
        w->dialect->piece(w, out, 0);
    w->dialect->close(w, out);
    c->block = WIRE_BLOCK_NONE;
    buf_cut(&c->text, 0);
    buf_cut(&c->think, 0);
    buf_cut(&c->seal, 0);
    c->sealed = WIRE_SEAL_NONE;
}

static void set(struct buf *b, const char *text)
{
    buf_cut(b, 0);
    buf_puts(b, text ? text : "");
}

/* The block an event belongs to: the open one, or one that begins. */
static void find_block(struct wire_reply *w, struct wire_choice *c, struct buf *out,
                       const struct wire_event *e)
{
    enum wire_block block = e->kind == WIRE_TEXT ? WIRE_BLOCK_TEXT
                            : e->kind == WIRE_THINK || e->kind == WIRE_SEAL ? WIRE_BLOCK_THINK
                            : WIRE_BLOCK_CALL;
    bool whole = e->kind == WIRE_THINK && c->sealed;    /* no text follows its seal */

    if (e->kind == WIRE_END || e->kind == WIRE_CALL || e->apart || c->block != block || whole ||
        (e->kind == WIRE_TEXT && e->refusal != c->refusal))
        close_block(w, c, out);
    if (e->kind == WIRE_END || c->block != WIRE_BLOCK_NONE)
        return;
    ASSERT(e->kind != WIRE_ARGS);
    c->block = block;
    c->n_block++;
    c->refusal = e->kind == WIRE_TEXT && e->refusal;
    if (block == WIRE_BLOCK_CALL) {
        set(&c->id, e->id);
        set(&c->name, e->name);
        c->n_call++;
    } else if (e->kind == WIRE_SEAL) {
        c->sealed = e->seal;
    }
    w->dialect->open(w, out, e);
}

static void take_seal(struct wire_reply *w, struct wire_choice *c, struct buf *out,
                      const struct wire_event *e)
{
    if (!(w->dialect->seals >> e->seal & 1))
        return;
    find_block(w, c, out, e);
    c->sealed = e->seal;
    set(&c->id, e->id);
    buf_add(&c->seal, e->text, e->len);
}

static void take_call(struct wire_reply *w, struct wire_choice *c, struct buf *out,
                      const struct wire_event *e)
{
    if (!w->dialect->call)
        return;
    if (e->kind == WIRE_ARGS)
        take_text(&c->list[2], &c->text_half, e->text, e->len);
    else
        end_text(&c->text, &c->text_half);
    w->dialect->call(w, out, e);
}

static void take(struct wire_reply *w, struct wire_choice *c, struct buf *out,
                 const struct wire_event *e)
{
    size_t before = held(c);
    bool blocks = w->dialect->open;

    ASSERT(w->begun && !w->done && !c->ended);
    if (e->kind == WIRE_SEAL) {
        take_seal(w, c, out, e);
    } else if (!blocks && (e->kind == WIRE_CALL || e->kind == WIRE_ARGS)) {
        take_call(w, c, out, e);
    } else if (e->kind == WIRE_THINK && w->dialect->thinks) {
        if (blocks)
            find_block(w, c, out, e);
        end_text(&c->text, &c->text_half);
        take_text(&c->think, &c->think_half, e->text, e->len);
    } else {
        if (blocks)
            find_block(w, c, out, e);
        end_text(&c->think, &c->think_half);
        take_text(e->refusal && w->dialect->refuses ? &c->list[3] : &c->text, &c->text_half,
                  e->text, e->kind == WIRE_END || e->kind == WIRE_CALL ? 0 : e->len);
    }
    for (size_t i = 0; e->kind == WIRE_TEXT && i < e->n_logprob && w->logprobs; i++)
        w->dialect->logprob(c, &e->logprob[i]);
    if (e->kind == WIRE_END) {
        end_text(&c->text, &c->text_half);
        c->ended = true;
        c->finish = e->finish;
        if (e->finish == WIRE_FINISH_MATCH)
            buf_add(&c->match, e->text, e->len);
    }
    c->thought = c->thought || c->think.len;
    w->bytes += held(c);
    w->bytes -= before;
}

static enum err check(const struct wire_reply *w, const struct wire_choice *c,
                      const struct buf *out)
{
    bool broken = out->broken;

    for (size_t i = 0; c && i < 4; i++)
        broken = broken || c->list[i].broken;
    if (broken || (c && (c->text.broken || c->think.broken || c->seal.broken || c->id.broken ||
                         c->name.broken || c->match.broken)))
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
    take(w, c, out, e);
    if ((code = check(w, c, out)) != OK || !w->stream)
        return code;
    if (c->text.len || c->think.len || c->n_list || (w->dialect->refuses && c->list[3].len))
        w->dialect->piece(w, out, e->choice);
    if (c->ended)
        w->dialect->end(w, out, e->choice);
    clear(w, c);
    w->bytes = w->dialect->open ? held(c) : 0;
    return check(w, NULL, out);
}

static void fail(struct wire_reply *w, struct buf *out, const struct wire_event *e)
{
    if (w->stream && w->begun)
        w->dialect->fail(w, out, e->error);
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
            w->dialect->begin(w, out, &e->usage);
        break;
    case WIRE_TEXT:
    case WIRE_THINK:
    case WIRE_SEAL:
    case WIRE_CALL:
    case WIRE_ARGS:
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
