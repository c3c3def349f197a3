/* small.c - the routes that need no step of the model: its name, health, metrics, tokens. */
#include "serve/form.h"

#include "base/json.h"
#include "serve/health.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static void reply(struct call *c, int status, struct buf *body)
{
    call_reply(c, status, "application/json", buf_text(body), body->len);
    buf_release(body);
}

static struct wire_model row(const struct serve *s, const char *id)
{
    return (struct wire_model){ .id = id, .owner = "croft", .created = s->m->created,
                                .n_ctx = s->m->n_ctx };
}

void small_models(struct call *c, void *arg)
{
    struct serve *s = arg;
    struct wire_model *list;
    struct buf body = { 0 };
    int n;

    if (!ask_ready(s, c))
        return;
    n = 1 + s->o.n_alias;
    list = calloc((size_t)(n + s->m->n_named), sizeof(*list));
    if (!list) {
        call_fail(c, FAULT_memory);
        return;
    }
    list[0] = row(s, s->o.id);
    for (int i = 0; i < s->o.n_alias; i++)
        list[i + 1] = row(s, s->o.alias[i]);
    for (int i = 0; i < s->m->n_named; i++)
        list[n++] = row(s, s->m->named[i].name);
    wire_models_write(&body, list, (size_t)n);
    free(list);
    reply(c, 200, &body);
}

void small_model(struct call *c, void *arg)
{
    struct serve *s = arg;
    struct piece id = call_param(c, 0);
    const char *found = piece_is(id, s->o.id) ? s->o.id : NULL;
    struct wire_model m;
    struct wire_error why;
    struct buf body = { 0 };

    if (!ask_ready(s, c))
        return;
    for (int i = 0; i < s->o.n_alias && !found; i++)
        found = piece_is(id, s->o.alias[i]) ? s->o.alias[i] : NULL;
    if (!found && ask_adapter(s, id))
        found = ask_adapter(s, id)->name;
    if (!found) {
        wire_error_set(&why, WIRE_E_NO_MODEL, "model", "The model does not exist; there is '%s'.",
                       s->o.id);
        refuse(c, &why);
        return;
    }
    m = row(s, found);
    wire_model_write(&body, &m);
    reply(c, 200, &body);
}

/* --- health ---------------------------------------------------------------------------------- */

void small_live(struct call *c, void *arg)
{
    (void)arg;
    call_reply(c, 200, "application/json", "{\"status\":\"ok\"}", 15);
}

static struct seen look(struct serve *s, struct queue *waits)
{
    struct seen n;

    pthread_mutex_lock(&s->lock);
    n = s->seen;
    *waits = s->queue;
    pthread_mutex_unlock(&s->lock);
    return n;
}

void small_ready(struct call *c, void *arg)
{
    struct serve *s = arg;
    struct queue waits;
    struct seen n = look(s, &waits);
    const struct health h = { s->m != NULL, s->draining, waits.n_item, n.n_work, n.moved };
    const char *status = health_status(&h, serve_now(s));
    bool ok = !strcmp(status, "ok");
    struct buf body = { 0 };

    buf_printf(&body, "{\"status\":\"%s\"", status);
    if (!h.loaded)
        buf_printf(&body, ",\"progress\":%.3f", atomic_load(&s->loading) / 1000.0);
    buf_puts(&body, "}");
    if (!ok)
        call_header(c, "Retry-After", "2");
    reply(c, ok ? 200 : 503, &body);
}

/* --- metrics --------------------------------------------------------------------------------- */

static void metric(struct buf *b, const char *name, const char *type, const char *help, double v)
{
    buf_printf(b, "# HELP croft_%s %s\n# TYPE croft_%s %s\ncroft_%s %.17g\n", name, help, name,
               type, name, v);
}

static void put_requests(struct buf *b, const struct serve *s, const struct seen *n)
{
    buf_puts(b, "# HELP croft_requests_total Requests for answers, by how they ended.\n"
             "# TYPE croft_requests_total counter\n");
    buf_printf(b, "croft_requests_total{end=\"done\"} %" PRId64 "\n", n->n_done);
    buf_printf(b, "croft_requests_total{end=\"client_left\"} %" PRId64 "\n", n->n_cancelled);
    buf_printf(b, "croft_requests_total{end=\"deadline\"} %" PRId64 "\n", n->n_late);
    buf_printf(b, "croft_requests_total{end=\"failed\"} %" PRId64 "\n", n->n_failed - n->n_late);
    buf_printf(b, "croft_requests_total{end=\"queue_full\"} %" PRId64 "\n", s->n_refused_full);
    buf_printf(b, "croft_requests_total{end=\"refused\"} %" PRId64 "\n",
               s->n_refused - s->n_refused_full);
}

void small_metrics(struct call *c, void *arg)
{
    struct serve *s = arg;
    struct queue waits;
    struct seen n = look(s, &waits);
    struct buf b = { 0 };

    put_requests(&b, s, &n);
#define COUNT(name, help, v) metric(&b, name, "counter", help, (double)(v))
#define LEVEL(name, help, v) metric(&b, name, "gauge", help, (double)(v))
    COUNT("prompt_tokens_total", "Tokens of prompts.", n.n_prompt_tok);
    COUNT("cached_tokens_total", "Tokens of prompts that were computed before.", n.n_cached_tok);
    COUNT("answer_tokens_total", "Tokens of answers.", n.n_answer_tok);
    COUNT("steps_total", "Steps of the model.", n.counts.n_step);
    COUNT("rows_total", "Tokens computed.", n.counts.n_row);
    COUNT("shared_tokens_total", "Tokens not computed again.", n.counts.n_shared_tok);
    COUNT("preempted_total", "Sequences that gave their pages back.", n.counts.n_preempted);
    COUNT("guessed_tokens_total", "Tokens computed before they were drawn.", n.counts.n_guess);
    COUNT("guessed_right_total", "Of them, those that were drawn.", n.counts.n_right);
    COUNT("step_seconds_total", "Time in steps.", n.step_s);
    COUNT("first_token_seconds_total", "Time from requests to their first tokens.", n.first_s);
    COUNT("first_tokens_total", "Requests that got a first token.", n.n_first);
    LEVEL("queue_sequences", "Sequences that wait for the engine.", waits.n_item);
    LEVEL("queue_tokens", "Their tokens.", waits.n_tok);
    LEVEL("work_sequences", "Sequences in the engine.", n.n_work);
    LEVEL("running_sequences", "Those of them that hold pages.", n.load.n_running);
    LEVEL("kv_pages", "Pages of the KV cache.", n.load.n_page);
    LEVEL("kv_pages_used", "Pages held by sequences, or kept of whole ones.",
          n.load.n_page - n.load.n_page_unused);
    LEVEL("connections", "Open connections.", server_connections(s->server));
    LEVEL("ready", "1 when the model answers.", s->m && !s->draining);
    LEVEL("uptime_seconds", "Since the start.", serve_now(s) - s->started);
#undef COUNT
#undef LEVEL
    call_reply(c, 200, "text/plain; version=0.0.4; charset=utf-8", buf_text(&b), b.len);
    buf_release(&b);
}

/* --- tokens ---------------------------------------------------------------------------------- */

/* The body as an object; NULL and the call has its 400. */
static json_t *object(struct call *c)
{
    struct piece body = call_body(c);
    struct wire_error why;
    json_t *root = NULL;
    enum err e = OK;

    if (json_cost(body.at, body.len) > WIRE_JSON_COST_MAX)
        e = err_set(ERR_LIMIT, "SERVE-25", "the body has too many values");
    if (e == OK)
        e = json_parse_nul(&root, body.at, body.len, WIRE_BODY_BYTES_MAX, "body");
    if (e == OK && json_is_object(root))
        return root;
    json_decref(root);
    wire_error_set(&why, e == ERR_NOMEM ? WIRE_E_NO_MEMORY : WIRE_E_BAD_JSON, NULL,
                   "The body is not a JSON object that can be read%s%s.", e ? ": " : "",
                   e ? err_text() : "");
    refuse(c, &why);
    return NULL;
}

static void refuse_type(struct call *c, const char *param, const char *want)
{
    struct wire_error why;

    wire_error_set(&why, WIRE_E_TYPE, param, "Invalid type for '%s': expected %s.", param, want);
    refuse(c, &why);
}

static json_t *either(const json_t *o, const char *a, const char *b)
{
    json_t *v = json_object_get(o, a);

    return v ? v : json_object_get(o, b);
}

void small_tokenize(struct call *c, void *arg)
{
    const struct serve_model *m = ask_ready(arg, c);
    json_t *root = m ? object(c) : NULL, *text, *special;
    struct tok_list ids = { 0 };
    struct buf body = { 0 };
    struct wire_error why;
    enum err e = OK;

    if (!root)
        return;
    text = either(root, "content", "prompt");
    special = either(root, "add_special", "add_special_tokens");
    if (!json_is_string(text) || (special && !json_is_boolean(special))) {
        refuse_type(c, json_is_string(text) ? "add_special" : "content",
                    json_is_string(text) ? "a boolean" : "a string");
        json_decref(root);
        return;
    }
    const struct tokenizer_info *info = tokenizer_info(m->tok);
    if (json_is_true(special) && info->add_bos && info->bos >= 0)
        e = tok_list_add(&ids, info->bos);
    if (e == OK)
        e = tokenizer_encode_text(m->tok, json_string_value(text), json_string_length(text),
                                  TEXT_PLAIN, &ids);
    json_decref(root);
    if (e != OK) {
        refuse_why(&why, e, "content");
        refuse(c, &why);
    } else {
        buf_puts(&body, "{\"tokens\":[");
        for (size_t i = 0; i < ids.n; i++)
            buf_printf(&body, "%s%d", i ? "," : "", ids.id[i]);
        buf_printf(&body, "],\"count\":%zu,\"max_model_len\":%" PRId64 "}", ids.n, m->n_ctx);
        reply(c, 200, &body);
    }
    tok_list_release(&ids);
}

/* The object, which is dropped; NULL: no memory. */
static void reply_object(struct call *c, json_t *o)
{
    char *written = o ? json_string_new(o, JSON_COMPACT) : NULL;

    json_decref(o);
    if (written)
        call_reply(c, 200, "application/json", written, strlen(written));
    else
        call_fail(c, FAULT_memory);
    free(written);
}

/* {"content": text, "prompt": text}: the same for readers of both spellings. */
static void reply_texts(struct call *c, const char *a, const char *b, const struct buf *text)
{
    json_t *o = text->broken ? NULL : json_pack("{s:s%}", a, buf_text(text), text->len);

    if (o && b && json_object_set_new(o, b, json_stringn(buf_text(text), text->len))) {
        json_decref(o);
        o = NULL;
    }
    reply_object(c, o);
}

void small_detokenize(struct call *c, void *arg)
{
    const struct serve_model *m = ask_ready(arg, c);
    json_t *root = m ? object(c) : NULL, *list, *v;
    struct detok detok;
    struct buf text = { 0 };
    char bytes[DETOK_MAX];
    bool ok;
    size_t i;

    if (!root)
        return;
    list = json_object_get(root, "tokens");
    ok = json_is_array(list);
    detok_init(&detok, m->tok, true);
    json_array_foreach(list, i, v) {
        ok = ok && json_is_integer(v) && json_integer_value(v) >= 0 &&
             json_integer_value(v) < m->n_vocab;
        if (ok)
            buf_add(&text, bytes, detok_push(&detok, (int32_t)json_integer_value(v), bytes));
    }
    buf_add(&text, bytes, detok_end(&detok, bytes));
    json_decref(root);
    if (!ok)
        refuse_type(c, "tokens", "an array of ids of the vocabulary");
    else
        reply_texts(c, "content", "prompt", &text);
    buf_release(&text);
}

/* The messages as the model would be given them, as text. */
void small_template(struct call *c, void *arg)
{
    const struct serve_model *m = ask_ready(arg, c);
    struct piece body = call_body(c);
    struct chat_text text = { 0 };
    struct chat_think think;
    struct wire_request r;
    struct wire_error why;

    if (!m)
        return;
    if (wire_parse(&r, &why, wire_dialect_find("chat"), body.at, body.len)) {
        refuse(c, &why);
        return;
    }
    if (prompt_render(m, &r, &text, &think, &why))
        refuse(c, &why);
    else
        reply_texts(c, "prompt", NULL, &text.text);
    chat_text_release(&text);
    wire_request_release(&r);
}

/* --- what runs ------------------------------------------------------------------------------- */

/* A token's text, or null. */
static json_t *mark_json(const struct tokenizer *t, int32_t id)
{
    char bytes[TOKEN_BYTES_MAX];
    size_t len = id >= 0 ? tokenizer_bytes(t, id, true, bytes, sizeof(bytes)) : 0;
    json_t *v = len ? json_stringn(bytes, len) : NULL;

    return v ? v : json_null();
}

static json_t *id_json(int32_t id)
{
    return id >= 0 ? json_integer(id) : json_null();
}

static json_t *ends_json(const struct tokenizer *t)
{
    json_t *list = json_array();

    for (int32_t id = 0; id < tokenizer_info(t)->n_vocab; id++)
        if (tokenizer_is_end(t, id))
            json_array_append_new(list, json_integer(id));
    return list;
}

static json_t *fim_json(const struct tokenizer *t)
{
    struct prompt_fim f;

    return prompt_fim(t, &f) ? json_pack("{s:i, s:i, s:i}", "prefix", f.prefix, "suffix", f.suffix,
                                         "middle", f.middle) : json_null();
}

/* Texts under the names of tokenizer_config.json, ids beside them. */
void small_tokenizer(struct call *c, void *arg)
{
    const struct serve_model *m = ask_ready(arg, c);
    const struct tokenizer_info *i = m ? tokenizer_info(m->tok) : NULL;
    const struct tokenizer *t = m ? m->tok : NULL;

    if (!m)
        return;
    reply_object(c, json_pack(
        "{s:s, s:s, s:i, s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:b, s:b, s:o, s:o}",
        "model", i->model, "pre_tokenizer", i->pre, "vocab_size", i->n_vocab, "model_max_length",
        (json_int_t)m->n_ctx, "bos_token", mark_json(t, i->bos), "eos_token", mark_json(t, i->eos),
        "unk_token", mark_json(t, i->unk), "pad_token", mark_json(t, i->pad), "bos_token_id",
        id_json(i->bos), "eos_token_id", id_json(i->eos), "unk_token_id", id_json(i->unk),
        "pad_token_id", id_json(i->pad), "add_bos_token", i->add_bos, "add_eos_token", i->add_eos,
        "end_token_ids", ends_json(t), "fim", fim_json(t)));
}

static json_t *slot_json(const struct slot *s, int id, int64_t n_ctx)
{
    if (!s->busy)
        return json_pack("{s:i, s:I, s:b}", "id", id, "n_ctx", (json_int_t)n_ctx, "is_processing",
                         0);
    return json_pack("{s:i, s:I, s:b, s:I, s:I, s:I, s:I}", "id", id, "n_ctx", (json_int_t)n_ctx,
                     "is_processing", 1, "id_task", (json_int_t)s->number, "n_prompt_tokens",
                     (json_int_t)s->n_prompt, "n_decoded", (json_int_t)s->n_drawn, "n_predict",
                     (json_int_t)s->n_max);
}

/* What is in work, without its text. */
void small_slots(struct call *c, void *arg)
{
    struct serve *s = arg;
    const struct serve_model *m = ask_ready(s, c);
    json_t *list = m ? json_array() : NULL;

    if (!m)
        return;
    pthread_mutex_lock(&s->lock);
    for (int i = 0; i < s->o.n_seq_max; i++)
        json_array_append_new(list, slot_json(&s->slot[i], i, m->n_ctx));
    pthread_mutex_unlock(&s->lock);
    reply_object(c, list);
}

static const char *const pools[] = {
    [SERVE_POOL_LAST] = "last", [SERVE_POOL_MEAN] = "mean", [SERVE_POOL_CLS] = "cls",
};

void small_props(struct call *c, void *arg)
{
    struct serve *s = arg;
    const struct serve_model *m = ask_ready(s, c);

    if (!m)
        return;
    reply_object(c, json_pack(
        "{s:s, s:s, s:i, s:{s:I}, s:s, s:b, s:s}", "model_alias", s->o.id, "build_info",
        s->o.fingerprint, "total_slots", (int)s->o.n_seq_max, "default_generation_settings",
        "n_ctx", (json_int_t)m->n_ctx, "chat_format",
        chat_format_name(m->chat ? chat_info(m->chat)->format : CHAT_NONE), "thinks",
        m->chat && chat_think(m->chat, true).can, "pooling", pools[m->pool]));
}
