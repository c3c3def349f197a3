/* wire_responses.c - the dialect of OpenAI's /v1/responses: replies, streams of numbered events.
 *
 * Of the choice's list[]: 0 are the items so far, 1 is the text of the open one in a stream. */
#include "wire/hear.h"
#include "wire/put.h"

#include <string.h>

enum { ITEMS, SO_FAR };

static enum err check(struct wire_request *r, struct wire_error *why)
{
    (void)why;
    r->top_logprobs = 0;
    r->best_of = r->n;
    return OK;
}

static void begin_event(struct wire_reply *w, struct buf *out, const char *type)
{
    wire_put_event(out, type);
    buf_printf(out, "{\"type\":\"%s\",\"sequence_number\":%lld", type, (long long)w->n_event++);
}

static void end_event(struct buf *out)
{
    buf_puts(out, "}\n\n");
}

static void put_usage(struct buf *out, const struct wire_usage *u)
{
    buf_printf(out, "{\"input_tokens\":%lld,\"input_tokens_details\":{\"cached_tokens\":%lld,"
               "\"cache_write_tokens\":%lld},\"output_tokens\":%lld,\"output_tokens_details\":"
               "{\"reasoning_tokens\":%lld},\"total_tokens\":%lld}", (long long)u->prompt_tok,
               (long long)u->cached_tok, (long long)u->kept_tok, (long long)u->answer_tok,
               (long long)u->think_tok, (long long)(u->prompt_tok + u->answer_tok));
}

/* OpenAI's document knows few codes here. */
static void put_error(struct buf *out, const struct wire_error *why)
{
    const char *code = why->code == WIRE_E_RATE_REQUESTS || why->code == WIRE_E_RATE_TOKENS
                       ? "rate_limit_exceeded"
                       : why->code == WIRE_E_CONTEXT         ? "context_length_exceeded"
                       : why->code == WIRE_E_QUOTA           ? "insufficient_quota"
                       : wire_error_status(why->code) == 400 ? "invalid_prompt" : "server_error";

    buf_printf(out, "{\"code\":\"%s\",\"message\":", code);
    wire_put_error_text(out, why, WIRE_WORDS_OPENAI);
    buf_puts(out, "}");
}

static void put_response(struct wire_reply *w, struct buf *out, const char *status,
                         const char *incomplete, const struct wire_error *why,
                         const struct wire_usage *u)
{
    const struct buf *items = &w->choice[0].list[ITEMS];

    buf_printf(out, "{\"id\":\"resp_%s\",\"object\":\"response\",\"created_at\":%lld,\"status\":"
               "\"%s\",\"background\":false,\"error\":", w->about.id, (long long)w->about.created,
               status);
    if (why)
        put_error(out, why);
    else
        buf_puts(out, "null");
    buf_puts(out, ",\"incomplete_details\":");
    if (incomplete)
        buf_printf(out, "{\"reason\":\"%s\"}", incomplete);
    else
        buf_puts(out, "null");
    buf_puts(out, ",\"instructions\":null,\"max_output_tokens\":null,\"model\":");
    wire_put_text(out, w->about.model);
    buf_puts(out, ",\"output\":[");
    buf_add(out, buf_text(items), items->len);
    buf_puts(out, "],\"parallel_tool_calls\":true,\"previous_response_id\":null,\"reasoning\":"
             "{\"effort\":null,\"summary\":null},\"store\":false,\"temperature\":1.0,\"text\":"
             "{\"format\":{\"type\":\"text\"}},\"tool_choice\":\"auto\",\"tools\":[],\"top_p\":1.0,"
             "\"truncation\":\"disabled\",\"usage\":");
    if (u)
        put_usage(out, u);
    else
        buf_puts(out, "null");
    buf_puts(out, ",\"user\":null,\"metadata\":{}}");
    out->broken = out->broken || items->broken;
}

static void begin(struct wire_reply *w, struct buf *out, const struct wire_usage *u)
{
    static const char *const types[] = { "response.created", "response.in_progress" };

    (void)u;
    for (int i = 0; i < 2; i++) {
        begin_event(w, out, types[i]);
        buf_puts(out, ",\"response\":");
        put_response(w, out, "in_progress", NULL, NULL, NULL);
        end_event(out);
    }
}

static void put_id(struct wire_reply *w, struct buf *out)
{
    static const char *const kinds[] = { [WIRE_BLOCK_TEXT] = "msg", [WIRE_BLOCK_THINK] = "rs",
                                         [WIRE_BLOCK_CALL] = "fc" };

    buf_printf(out, "\"%s_%s_%zu\"", kinds[w->choice[0].block], w->about.id,
               w->choice[0].n_block - 1);
}

/* An event about the open item, up to what it says. */
static void item_event(struct wire_reply *w, struct buf *out, const char *type, bool has_part)
{
    begin_event(w, out, type);
    buf_puts(out, ",\"item_id\":");
    put_id(w, out);
    buf_printf(out, ",\"output_index\":%zu", w->choice[0].n_block - 1);
    if (has_part)
        buf_puts(out, w->choice[0].block == WIRE_BLOCK_THINK ? ",\"summary_index\":0"
                                                             : ",\"content_index\":0");
}

static void put_part(struct buf *out, const struct wire_choice *c, const struct buf *text)
{
    buf_puts(out, c->block == WIRE_BLOCK_THINK ? "{\"type\":\"summary_text\",\"text\":"
                  : c->refusal ? "{\"type\":\"refusal\",\"refusal\":"
                  : "{\"type\":\"output_text\",\"annotations\":[],\"logprobs\":[],\"text\":");
    wire_put_string(out, buf_text(text), text->len);
    buf_puts(out, "}");
}

/* The item as it is now; `text` NULL: it only begins. */
static void put_item(struct wire_reply *w, struct buf *out, const struct buf *text)
{
    const struct wire_choice *c = &w->choice[0];
    const char *status = text ? "completed" : "in_progress";

    buf_puts(out, "{\"id\":");
    put_id(w, out);
    if (c->block == WIRE_BLOCK_CALL) {
        buf_printf(out, ",\"type\":\"function_call\",\"status\":\"%s\",\"call_id\":", status);
        wire_put_text(out, buf_text(&c->id));
        buf_puts(out, ",\"name\":");
        wire_put_text(out, buf_text(&c->name));
        buf_puts(out, ",\"arguments\":");
        wire_put_string(out, text ? buf_text(text) : "", text ? text->len : 0);
    } else if (c->block == WIRE_BLOCK_THINK) {
        buf_puts(out, ",\"type\":\"reasoning\",\"summary\":[");
        if (text && text->len)
            put_part(out, c, text);
        buf_puts(out, "]");
        if (text && c->sealed == WIRE_SEAL_ENCRYPTED) {
            buf_puts(out, ",\"encrypted_content\":");
            wire_put_string(out, buf_text(&c->seal), c->seal.len);
        }
    } else {
        buf_printf(out, ",\"type\":\"message\",\"status\":\"%s\",\"role\":\"assistant\","
                   "\"content\":[", status);
        if (text)
            put_part(out, c, text);
        buf_puts(out, "]");
    }
    buf_puts(out, "}");
}

static const char *part_type(const struct wire_choice *c, bool done)
{
    if (c->block == WIRE_BLOCK_THINK)
        return done ? "response.reasoning_summary_part.done"
                    : "response.reasoning_summary_part.added";
    return done ? "response.content_part.done" : "response.content_part.added";
}

static void open_block(struct wire_reply *w, struct buf *out, const struct wire_event *e)
{
    const struct wire_choice *c = &w->choice[0];
    struct buf none = { 0 };

    if (!w->stream)
        return;
    begin_event(w, out, "response.output_item.added");
    buf_printf(out, ",\"output_index\":%zu,\"item\":", c->n_block - 1);
    put_item(w, out, NULL);
    end_event(out);
    if (c->block == WIRE_BLOCK_CALL || e->kind == WIRE_SEAL)
        return;
    item_event(w, out, part_type(c, false), true);
    buf_puts(out, ",\"part\":");
    put_part(out, c, &none);
    end_event(out);
}

static const char *text_type(const struct wire_choice *c, bool done)
{
    static const char *const types[][2] = {
        { "response.output_text.delta", "response.output_text.done" },
        { "response.refusal.delta", "response.refusal.done" },
        { "response.reasoning_summary_text.delta", "response.reasoning_summary_text.done" },
        { "response.function_call_arguments.delta", "response.function_call_arguments.done" } };

    return types[c->block == WIRE_BLOCK_CALL ? 3 : c->block == WIRE_BLOCK_THINK ? 2
                 : c->refusal][done];
}

static void piece(struct wire_reply *w, struct buf *out, size_t choice)
{
    struct wire_choice *c = &w->choice[choice];
    struct buf *text = c->block == WIRE_BLOCK_THINK ? &c->think : &c->text;

    if (text->len) {
        item_event(w, out, text_type(c, false), c->block != WIRE_BLOCK_CALL);
        buf_puts(out, ",\"delta\":");
        wire_put_string(out, text->data, text->len);
        buf_puts(out, c->block == WIRE_BLOCK_TEXT && !c->refusal ? ",\"logprobs\":[]" : "");
        end_event(out);
        buf_add(&c->list[SO_FAR], text->data, text->len);
    }
    buf_cut(&c->text, 0);
    buf_cut(&c->think, 0);
}

static void end_parts(struct wire_reply *w, struct buf *out, const struct buf *text)
{
    const struct wire_choice *c = &w->choice[0];
    bool call = c->block == WIRE_BLOCK_CALL;

    if (c->block == WIRE_BLOCK_THINK && !text->len)
        return;
    item_event(w, out, text_type(c, true), !call);
    buf_puts(out, call ? ",\"arguments\":" : c->refusal && c->block == WIRE_BLOCK_TEXT
                  ? ",\"refusal\":" : ",\"text\":");
    wire_put_string(out, buf_text(text), text->len);
    if (call) {
        buf_puts(out, ",\"name\":");
        wire_put_text(out, buf_text(&c->name));
    }
    buf_puts(out, c->block == WIRE_BLOCK_TEXT && !c->refusal ? ",\"logprobs\":[]" : "");
    end_event(out);
    if (call)
        return;
    item_event(w, out, part_type(c, true), true);
    buf_puts(out, ",\"part\":");
    put_part(out, c, text);
    end_event(out);
}

static void close_block(struct wire_reply *w, struct buf *out)
{
    struct wire_choice *c = &w->choice[0];
    const struct buf *text = w->stream ? &c->list[SO_FAR]
                             : c->block == WIRE_BLOCK_THINK ? &c->think : &c->text;

    if (w->stream) {
        end_parts(w, out, text);
        begin_event(w, out, "response.output_item.done");
        buf_printf(out, ",\"output_index\":%zu,\"item\":", c->n_block - 1);
        put_item(w, out, text);
        end_event(out);
    }
    wire_put_comma(&c->list[ITEMS]);
    put_item(w, &c->list[ITEMS], text);
    buf_cut(&c->list[SO_FAR], 0);
}

static void end(struct wire_reply *w, struct buf *out, size_t choice)
{
    (void)w;                            /* it is said with the usage, by done() */
    (void)out;
    (void)choice;
}

static void done(struct wire_reply *w, struct buf *out, const struct wire_usage *u)
{
    enum wire_finish f = w->choice[0].finish;
    const char *reason = f == WIRE_FINISH_LENGTH || f == WIRE_FINISH_FULL ? "max_output_tokens"
                         : f == WIRE_FINISH_FILTER ? "content_filter" : NULL;

    if (w->stream) {
        begin_event(w, out, reason ? "response.incomplete" : "response.completed");
        buf_puts(out, ",\"response\":");
    }
    put_response(w, out, reason ? "incomplete" : "completed", reason, NULL, u);
    if (w->stream)
        end_event(out);
}

static void fail(struct wire_reply *w, struct buf *out, const struct wire_error *why)
{
    begin_event(w, out, "response.failed");
    buf_puts(out, ",\"response\":");
    put_response(w, out, "failed", NULL, why, NULL);
    end_event(out);
}

const struct wire_dialect wire_dialect_responses = {
    .thinks = true, .seals = 1u << WIRE_SEAL_ENCRYPTED,
    .beat = "event: keepalive\ndata: {\"type\":\"keepalive\",\"sequence_number\":0}\n\n",
    .beat_whole = "\n", .check = check,
    .piece = piece, .end = end, .begin = begin, .done = done, .open = open_block,
    .close = close_block, .error = wire_openai_error, .fail = fail,
    .take_messages = wire_responses_take, .take_tools = wire_responses_take_tools,
    .take_choice = wire_responses_take_choice, .take_format = wire_responses_take_format,
    .write = wire_responses_write, .hear = wire_responses_hear,
    .hear_whole = wire_responses_hear_whole,
};
