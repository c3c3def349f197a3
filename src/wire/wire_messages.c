/* wire_messages.c - the dialect of Anthropic's /v1/messages: replies, streams, errors. */
#include "wire/hear.h"
#include "wire/put.h"

#include "base/json.h"

#include <string.h>

static enum err check(struct wire_request *r, struct wire_error *why)
{
    (void)why;
    r->top_logprobs = 0;
    r->best_of = r->n;
    return OK;
}

static void put_usage(struct buf *out, const struct wire_usage *u)
{
    int64_t fresh = u->prompt_tok - u->cached_tok - u->kept_tok;

    buf_printf(out, "\"usage\":{\"input_tokens\":%lld,\"cache_creation_input_tokens\":%lld,"
               "\"cache_read_input_tokens\":%lld,\"output_tokens\":%lld}",
               (long long)(fresh > 0 ? fresh : 0), (long long)u->kept_tok,
               (long long)u->cached_tok, (long long)u->answer_tok);
}

static void put_head(struct wire_reply *w, struct buf *out)
{
    buf_puts(out, "{\"id\":\"msg_");
    buf_puts(out, w->about.id);
    buf_puts(out, "\",\"type\":\"message\",\"role\":\"assistant\",\"model\":");
    wire_put_text(out, w->about.model);
}

static void begin(struct wire_reply *w, struct buf *out, const struct wire_usage *u)
{
    struct wire_usage so_far = *u;

    so_far.answer_tok = 0;
    wire_put_event(out, "message_start");
    buf_puts(out, "{\"type\":\"message_start\",\"message\":");
    put_head(w, out);
    buf_puts(out, ",\"content\":[],\"stop_reason\":null,\"stop_sequence\":null,");
    put_usage(out, &so_far);
    buf_puts(out, "}}\n\n");
}

static void put_start(struct buf *out, const struct wire_choice *c, const struct wire_event *e)
{
    wire_put_event(out, "content_block_start");
    buf_printf(out, "{\"type\":\"content_block_start\",\"index\":%zu,\"content_block\":",
               c->n_block - 1);
    if (c->block == WIRE_BLOCK_CALL) {
        buf_puts(out, "{\"type\":\"tool_use\",\"id\":");
        wire_put_text(out, buf_text(&c->id));
        buf_puts(out, ",\"name\":");
        wire_put_text(out, buf_text(&c->name));
        buf_puts(out, ",\"input\":{}}");
    } else if (c->sealed == WIRE_SEAL_REDACTED) {
        buf_puts(out, "{\"type\":\"redacted_thinking\",\"data\":");
        wire_put_string(out, e->text, e->len);
        buf_puts(out, "}");
    } else {
        buf_puts(out, c->block == WIRE_BLOCK_TEXT
                 ? "{\"type\":\"text\",\"text\":\"\"}"
                 : "{\"type\":\"thinking\",\"thinking\":\"\",\"signature\":\"\"}");
    }
    buf_puts(out, "}\n\n");
}

static void open_block(struct wire_reply *w, struct buf *out, const struct wire_event *e)
{
    if (w->stream)
        put_start(out, &w->choice[0], e);
}

static void put_delta(struct buf *out, const struct wire_choice *c, const char *type,
                      const char *key, const struct buf *text)
{
    wire_put_event(out, "content_block_delta");
    buf_printf(out, "{\"type\":\"content_block_delta\",\"index\":%zu,\"delta\":{\"type\":\"%s\","
               "\"%s\":", c->n_block - 1, type, key);
    wire_put_string(out, buf_text(text), text->len);
    buf_puts(out, "}}\n\n");
}

static void piece(struct wire_reply *w, struct buf *out, size_t choice)
{
    struct wire_choice *c = &w->choice[choice];

    if (c->block == WIRE_BLOCK_THINK && c->think.len)
        put_delta(out, c, "thinking_delta", "thinking", &c->think);
    else if (c->block == WIRE_BLOCK_CALL && c->text.len)
        put_delta(out, c, "input_json_delta", "partial_json", &c->text);
    else if (c->block == WIRE_BLOCK_TEXT && c->text.len)
        put_delta(out, c, "text_delta", "text", &c->text);
    buf_cut(&c->text, 0);
    buf_cut(&c->think, 0);
}

/* Clients want a signature with what was thought; ours says that there is none. */
static void put_signature(struct buf *out, const struct wire_choice *c)
{
    if (c->sealed == WIRE_SEAL_SIGNATURE)
        wire_put_string(out, buf_text(&c->seal), c->seal.len);
    else
        wire_put_text(out, WIRE_NO_SIGNATURE);
}

/* What the model wrote as arguments, where that is no object as a member of one. */
static void put_input(struct buf *out, const struct buf *text)
{
    json_t *v = NULL;
    enum err e = OK;

    if (!text->len) {
        buf_puts(out, "{}");
        return;
    }
    if (json_cost(text->data, text->len) <= WIRE_JSON_COST_MAX)
        e = json_parse_nul(&v, text->data, text->len, WIRE_REPLY_BYTES_MAX, "arguments");
    out->broken = out->broken || e == ERR_NOMEM;
    if (json_is_object(v)) {
        buf_add(out, text->data, text->len);
    } else {
        buf_puts(out, "{\"arguments\":");
        wire_put_string(out, text->data, text->len);
        buf_puts(out, "}");
    }
    json_decref(v);
}

static void put_block(struct buf *out, const struct wire_choice *c)
{
    wire_put_comma(out);
    if (c->block == WIRE_BLOCK_TEXT) {
        buf_puts(out, "{\"type\":\"text\",\"text\":");
        wire_put_string(out, buf_text(&c->text), c->text.len);
    } else if (c->block == WIRE_BLOCK_CALL) {
        buf_puts(out, "{\"type\":\"tool_use\",\"id\":");
        wire_put_text(out, buf_text(&c->id));
        buf_puts(out, ",\"name\":");
        wire_put_text(out, buf_text(&c->name));
        buf_puts(out, ",\"input\":");
        put_input(out, &c->text);
    } else if (c->sealed == WIRE_SEAL_REDACTED) {
        buf_puts(out, "{\"type\":\"redacted_thinking\",\"data\":");
        wire_put_string(out, buf_text(&c->seal), c->seal.len);
    } else {
        buf_puts(out, "{\"type\":\"thinking\",\"thinking\":");
        wire_put_string(out, buf_text(&c->think), c->think.len);
        buf_puts(out, ",\"signature\":");
        put_signature(out, c);
    }
    buf_puts(out, "}");
}

static void close_block(struct wire_reply *w, struct buf *out)
{
    struct wire_choice *c = &w->choice[0];

    if (!w->stream) {
        put_block(&c->list[0], c);
        return;
    }
    if (c->block == WIRE_BLOCK_THINK && c->sealed != WIRE_SEAL_REDACTED) {
        wire_put_event(out, "content_block_delta");
        buf_printf(out, "{\"type\":\"content_block_delta\",\"index\":%zu,\"delta\":{\"type\":"
                   "\"signature_delta\",\"signature\":", c->n_block - 1);
        put_signature(out, c);
        buf_puts(out, "}}\n\n");
    }
    wire_put_event(out, "content_block_stop");
    buf_printf(out, "{\"type\":\"content_block_stop\",\"index\":%zu}\n\n", c->n_block - 1);
}

static void end(struct wire_reply *w, struct buf *out, size_t choice)
{
    (void)w;                            /* it is said with the usage, by done() */
    (void)out;
    (void)choice;
}

static void put_stop(struct buf *out, const struct wire_choice *c)
{
    static const char *const words[] = {
        [WIRE_FINISH_STOP] = "end_turn", [WIRE_FINISH_LENGTH] = "max_tokens",
        [WIRE_FINISH_CALLS] = "tool_use", [WIRE_FINISH_MATCH] = "stop_sequence",
        [WIRE_FINISH_FILTER] = "refusal", [WIRE_FINISH_FULL] = "model_context_window_exceeded",
        [WIRE_FINISH_PAUSE] = "pause_turn" };

    buf_printf(out, "\"stop_reason\":\"%s\",\"stop_sequence\":", words[c->finish]);
    if (c->finish == WIRE_FINISH_MATCH)
        wire_put_string(out, buf_text(&c->match), c->match.len);
    else
        buf_puts(out, "null");
}

static void done(struct wire_reply *w, struct buf *out, const struct wire_usage *u)
{
    const struct wire_choice *c = &w->choice[0];

    if (w->stream) {
        wire_put_event(out, "message_delta");
        buf_puts(out, "{\"type\":\"message_delta\",\"delta\":{");
        put_stop(out, c);
        buf_puts(out, "},");
        put_usage(out, u);
        buf_puts(out, "}\n\n");
        wire_put_event(out, "message_stop");
        buf_puts(out, "{\"type\":\"message_stop\"}\n\n");
        return;
    }
    put_head(w, out);
    buf_puts(out, ",\"content\":[");
    buf_add(out, buf_text(&c->list[0]), c->list[0].len);
    buf_puts(out, "],");
    put_stop(out, c);
    buf_puts(out, ",");
    put_usage(out, u);
    buf_puts(out, "}");
    out->broken = out->broken || c->list[0].broken;
}

void wire_count_write(struct buf *out, int64_t n)
{
    buf_printf(out, "{\"input_tokens\":%lld}", (long long)n);
}

enum err wire_count_read(int64_t *n, const char *body, size_t len)
{
    json_t *v = NULL;
    enum err e = OK;

    *n = -1;
    if (json_cost(body, len) <= WIRE_JSON_COST_MAX)
        e = json_parse_nul(&v, body, len, WIRE_BODY_BYTES_MAX, "count");
    *n = wire_int_of(v, "input_tokens", -1);
    json_decref(v);
    return e == ERR_NOMEM ? e : OK;
}

static const char *type_of(enum wire_code code)
{
    switch (wire_error_status_in(&wire_dialect_messages, code)) {
    case 401: return "authentication_error";
    case 402: return "billing_error";
    case 403: return "permission_error";
    case 404: return "not_found_error";
    case 413: return "request_too_large";
    case 429: return "rate_limit_error";
    case 503:
    case 529: return "overloaded_error";
    case 504: return "timeout_error";
    case 500:
    case 502: return "api_error";
    default:  return "invalid_request_error";
    }
}

static void error(struct buf *out, const struct wire_error *why)
{
    const char *detail = why->code == WIRE_E_NO_THREAD     ? "thread_unsupported_request"
                         : why->code == WIRE_E_THREAD_GONE ? "thread_not_found" : NULL;

    buf_printf(out, "{\"type\":\"error\",\"error\":{\"type\":\"%s\",\"message\":",
               type_of(why->code));
    wire_put_error_text(out, why, WIRE_WORDS_ANTHROPIC);
    if (detail)
        buf_printf(out, ",\"details\":{\"error_code\":\"%s\"}", detail);
    buf_puts(out, "}}");
}

static void fail(struct wire_reply *w, struct buf *out, const struct wire_error *why)
{
    (void)w;
    wire_put_event(out, "error");
    error(out, why);
    buf_puts(out, "\n\n");
}

const struct wire_dialect wire_dialect_messages = {
    .thinks = true, .seals = 1u << WIRE_SEAL_SIGNATURE | 1u << WIRE_SEAL_REDACTED,
    .beat = "event: ping\ndata: {\"type\":\"ping\"}\n\n", .beat_whole = "\n", .check = check,
    .piece = piece, .end = end, .begin = begin, .done = done, .open = open_block,
    .close = close_block, .error = error, .fail = fail,
    .take_messages = wire_messages_take, .take_tools = wire_messages_take_tools,
    .take_choice = wire_messages_take_choice, .take_format = wire_messages_take_format,
    .write = wire_messages_write, .hear = wire_messages_hear,
    .hear_whole = wire_messages_hear_whole,
};
