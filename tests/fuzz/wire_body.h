/* wire_body.h - what holds for any bytes given as the body of a request: the fuzz targets of the
 * dialects share it. */
#ifndef FUZZ_WIRE_BODY_H
#define FUZZ_WIRE_BODY_H

#include "wire/wire.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static inline void wire_check_json(const char *text, size_t len)
{
    json_t *value = json_loadb(text, len, JSON_ALLOW_NUL, NULL);

    ASSERT(value);
    json_decref(value);
}

static inline void wire_check_error(const struct wire_dialect *d, const struct wire_error *why)
{
    struct buf out = { 0 };

    ASSERT(why->text[0] && wire_error_status(why->code) >= 400);
    wire_error_write(&out, d, why);
    wire_check_json(buf_text(&out), out.len);
    buf_release(&out);
}

/* Every text ends with a NUL behind its length: the sanitizer reads it all. */
static inline size_t wire_read_text(struct wire_text t)
{
    size_t n = 0;

    for (size_t i = 0; t.at && i <= t.len; i++)
        n += t.at[i] == '\0';
    ASSERT(!t.at || n >= 1);
    return n;
}

static inline void wire_check_request(const struct wire_request *r)
{
    ASSERT(r->n >= 1 && r->best_of >= r->n && r->top_logprobs >= 0);
    ASSERT(r->n_message + r->n_prompt + r->n_volatile > 0 ||
           r->dialect == wire_dialect_find("messages"));
    ASSERT( r->n_bias <= WIRE_BIAS_MAX);
    ASSERT((r->n_prompt ? (int64_t)r->n_prompt : 1) * r->n <= WIRE_CHOICE_MAX);
    for (size_t i = 0; i < r->n_message; i++)
        for (size_t k = 0; k < r->message[i].n_part; k++) {
            const struct wire_part *p = &r->message[i].part[k];
            ASSERT(p->text.at && (p->text.len || p->sealed || p->kind == WIRE_PART_CALL));
            wire_read_text(p->text);
            wire_read_text(p->name);
            wire_read_text(p->id);
        }
    for (size_t i = 0; i < r->n_prompt; i++) {
        ASSERT(!r->prompt[i].id == !!r->prompt[i].text.at);
        for (size_t k = 0; k < r->prompt[i].n_id; k++)
            ASSERT(r->prompt[i].id[k] >= 0);
        wire_read_text(r->prompt[i].text);
    }
    for (size_t i = 0; i < r->n_stop; i++)
        ASSERT(r->stop[i].len && wire_read_text(r->stop[i]) == 1);
}

/* Answer with the body itself, cut in two: it is UTF-8 now and then. */
static inline void wire_check_reply(const struct wire_request *r, const char *text, size_t len)
{
    struct wire_about about = { "1", "m", NULL, 1 };
    struct wire_logprob token = { { text, len < 9 ? len : 9, -0.5f }, NULL, 0 };
    struct wire_event e = { .kind = WIRE_BEGIN, .logprob = &token, .n_logprob = 1 };
    struct wire_reply w;
    struct buf out = { 0 };

    ASSERT(wire_reply_init(&w, r, &about) == OK);
    ASSERT(wire_reply_event(&w, &out, &e) == OK);
    for (e.choice = 0; e.choice < w.n_choice; e.choice++) {
        e.kind = WIRE_TEXT;
        e.text = text;
        e.len = len / 2;
        ASSERT(wire_reply_event(&w, &out, &e) == OK);
        e.kind = WIRE_THINK;
        e.text = text + e.len;
        e.len = len - e.len;
        ASSERT(wire_reply_event(&w, &out, &e) == OK);
        e.kind = WIRE_END;
        ASSERT(wire_reply_event(&w, &out, &e) == OK);
    }
    e.kind = WIRE_DONE;
    ASSERT(wire_reply_event(&w, &out, &e) == OK);
    for (char *line = r->stream ? out.data : NULL; line; line = strchr(line + 1, '\n'))
        if (!strncmp(line, "\ndata: {", 8))
            wire_check_json(line + 7, strcspn(line + 7, "\n"));
    if (!r->stream)
        wire_check_json(buf_text(&out), out.len);
    buf_release(&out);
    wire_reply_release(&w);
}

static inline int wire_fuzz(const char *dialect, const uint8_t *data, size_t size)
{
    const struct wire_dialect *d = wire_dialect_find(dialect);
    struct wire_request r;
    struct wire_error why;
    char *body = malloc(size);          /* of its size to the byte, so that no read goes beyond */

    ASSERT(body || !size);
    if (size)
        memcpy(body, data, size);
    enum err e = wire_parse(&r, &why, d, body, size);
    ASSERT(e == OK || e == ERR_ARG);
    if (e != OK)
        wire_check_error(d, &why);
    else {
        wire_check_request(&r);
        if (wire_dialect_task(d) != WIRE_TASK_EMBED)
            wire_check_reply(&r, body, size < 400 ? size : 400);
        wire_request_release(&r);
    }
    free(body);
    return 0;
}

#endif
