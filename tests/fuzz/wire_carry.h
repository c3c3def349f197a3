/* wire_carry.h - what holds for any bytes that are carried from one dialect to another, as a
 * request or as an answer: the fuzz targets of the dialects share it. */
#ifndef FUZZ_WIRE_CARRY_H
#define FUZZ_WIRE_CARRY_H

#include "wire/carry.h"

#include "wire_body.h"

static const char *const wire_fuzz_names[] = { "chat", "messages", "responses" };

/* What was written for another dialect is JSON that its own reader takes, and says the same when it
 * is written once more. */
static inline void wire_fuzz_again(const char *name, const struct buf *out)
{
    const struct wire_dialect *d = wire_dialect_find(name);
    struct wire_target to = { d, "up", 100, true, true, false };
    struct wire_request r;
    struct wire_error why;
    struct wire_notes notes;
    struct buf again = { 0 };

    wire_check_json(out->data, out->len);
    enum err e = wire_read(&r, &why, d, out->data, out->len);
    ASSERT(e == OK || e == ERR_ARG);
    if (e != OK)                        /* a bound that the other dialect does not have */
        return;
    ASSERT(wire_write(&again, &notes, &why, &r, &to) == OK && !notes.n);
    wire_check_json(again.data, again.len);
    wire_request_release(&r);
    buf_release(&again);
}

static inline int wire_fuzz_carry(const char *dialect, const uint8_t *data, size_t size)
{
    struct wire_request r;
    struct wire_error why;
    char *body = malloc(size);

    ASSERT(body || !size);
    if (size)
        memcpy(body, data, size);
    enum err e = wire_read(&r, &why, wire_dialect_find(dialect), body, size);
    ASSERT(e == OK || e == ERR_ARG);
    for (size_t i = 0; i < 3 && e == OK; i++) {
        struct wire_target to = { wire_dialect_find(wire_fuzz_names[i]), "up", 0, size & 1,
                                  size & 2, i == 1 && size & 4 };
        struct wire_notes notes;
        struct buf out = { 0 };
        enum err code = wire_write(&out, &notes, &why, &r, &to);
        ASSERT(code == OK || (code == ERR_ARG && why.text[0] && notes.n <= WIRE_NOTE_MAX));
        if (code == OK)
            wire_fuzz_again(wire_fuzz_names[i], &out);
        buf_release(&out);
    }
    if (e == OK)
        wire_request_release(&r);
    free(body);
    return 0;
}

/* Events go on into a reply, which asserts their order. */
struct wire_fuzz_sink { struct wire_reply w; struct buf out; int n_last; };

static inline enum err wire_fuzz_emit(void *arg, const struct wire_event *e)
{
    struct wire_fuzz_sink *s = arg;

    ASSERT(!s->n_last);
    s->n_last += e->kind == WIRE_DONE || e->kind == WIRE_FAIL;
    return wire_reply_event(&s->w, &s->out, e);
}

/* Lines of the data are the events of a stream; all of it is a whole reply, and an error. */
static inline void wire_fuzz_answer(const char *upstream, const char *client, const char *text,
                                    size_t len, bool stream)
{
    static const struct wire_about about = { "1", "m", NULL, 1 };
    struct wire_request r = { .dialect = wire_dialect_find(client), .n = 1,
                              .best_of = 1, .stream = stream };
    struct wire_fuzz_sink s = { .n_last = 0 };
    struct wire_answer a = { .dialect = wire_dialect_find(upstream), .emit = wire_fuzz_emit,
                             .arg = &s };
    enum err e = OK;

    ASSERT(wire_reply_init(&s.w, &r, &about) == OK);
    for (size_t at = 0; stream && at < len && e == OK;) {
        const char *end = memchr(text + at, '\n', len - at);
        size_t n = end ? (size_t)(end - text) - at : len - at;
        e = wire_answer_event(&a, text + at, n);
        at += n + 1;
    }
    if (e == OK)
        e = stream ? wire_answer_end(&a) : wire_answer_whole(&a, text, len);
    ASSERT(e == OK && s.n_last == 1 && a.over);
    if (!stream)
        wire_check_json(buf_text(&s.out), s.out.len);
    wire_answer_release(&a);
    wire_reply_release(&s.w);
    buf_release(&s.out);
}

static inline int wire_fuzz_hear(const char *upstream, const uint8_t *data, size_t size)
{
    struct wire_error why;
    char *text = malloc(size);

    ASSERT(text || !size);
    if (size)
        memcpy(text, data, size);
    for (size_t i = 0; i < 3; i++) {
        wire_fuzz_answer(upstream, wire_fuzz_names[i], text, size, true);
        wire_fuzz_answer(upstream, wire_fuzz_names[i], text, size, false);
    }
    ASSERT(wire_error_read(&why, wire_dialect_find(upstream), 400 + (int)(size % 200), text,
                           size) == OK && why.text[0]);
    free(text);
    return 0;
}

#endif
