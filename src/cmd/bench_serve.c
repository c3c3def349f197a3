/* bench_serve.c - `croft bench serve URL`: from options to levels; what is asked of the server
 * before any of them. */
#include "cmd/bench_serve.h"

#include "cmd/cmd_table.h"

#include "base/buf.h"
#include "base/json.h"

#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

enum { REPLY_BYTES = 8 << 20, PROBE_SMALL = 16, PROBE_LARGE = 64, REQUESTS_MIN = 32,
       REQUESTS_EACH = 4, REQUESTS_OPEN = 100 };

/* ---- one request, and nothing beside it ---- */

struct once {
    struct load *l;
    struct client_req *r;
    struct loop_timer *tick;
    struct buf body;
    enum client_end end;
    int status;
    bool over;
    char reason[LOAD_TEXT];
};

static void once_body(void *arg, const char *bytes, size_t len)
{
    struct once *o = arg;

    buf_add(&o->body, bytes, len);
}

static void once_end(void *arg, enum client_end end)
{
    struct once *o = arg;

    o->end = end;
    o->over = true;
    o->status = client_status(o->r);
    snprintf(o->reason, sizeof(o->reason), "%s", client_reason(o->r));
    loop_stop(o->l->loop);
}

static void once_tick(void *arg)
{
    struct once *o = arg;

    if (term_interrupted() || loop_timer_set(o->tick, 0.1) != OK)
        client_cancel(o->r);
}

/* What a refusal is to the person who gave the URL. */
static enum err refused(struct once *o, const char *url)
{
    char text[LOAD_TEXT];

    load_error_text(text, buf_text(&o->body), o->body.len);
    if (o->status == 401 || o->status == 403)
        return err_set(ERR_ARG, "BSERVE-40", "%s: refused with status %d: %s; give a key with "
                       "--api-key or CROFT_API_KEY", url, o->status, text);
    return err_set(o->status == 429 || o->status == 503 ? ERR_BUSY : ERR_IO, "BSERVE-41",
                   "%s: answered with status %d: %s", url, o->status, text);
}

/* GET, or POST of a body; *reply is yours.  Errors: STOPPED, IO, ARG, BUSY, FORMAT, NOMEM. */
static enum err ask_once(json_t **reply, struct load *l, const char *path, const char *body)
{
    struct once o = { .l = l };
    struct client_field field[2];
    struct buf url = { 0 };
    struct client_ask a = load_ask(l, path, &url, field);
    enum err e = buf_ok(&url);

    *reply = NULL;
    a.body = body;
    a.body_len = body ? strlen(body) : 0;
    a.body_max = REPLY_BYTES;
    a.arg = &o;
    a.on_body = once_body;
    a.on_end = once_end;
    if (!e)
        e = loop_timer_new(&o.tick, l->loop, once_tick, &o);
    if (!e)
        e = loop_timer_set(o.tick, 0.1);
    if (!e)
        e = client_send(&o.r, l->client, &a);
    if (!e && (e = loop_run(l->loop)) && !o.over)
        client_cancel(o.r);
    if (!e && term_interrupted())
        e = err_set(ERR_STOPPED, "BSERVE-42", "interrupted");
    else if (!e && o.end != CLIENT_OK)
        e = err_set(ERR_IO, "BSERVE-43", "%s: %s; is the server there, and this its address?",
                    buf_text(&url), o.reason);
    else if (!e && o.status != 200)
        e = refused(&o, buf_text(&url));
    if (!e)
        e = json_parse(reply, buf_text(&o.body), o.body.len, REPLY_BYTES, buf_text(&url));
    loop_timer_free(o.tick);
    buf_release(&o.body);
    buf_release(&url);
    return e;
}

/* ---- what the server is and how it counts ---- */

static enum err find_model(struct load *l, const struct opt_set *o)
{
    const char *given = opt_text(o, OPT_load_model), *name;
    json_t *reply = NULL;
    enum err e = OK;

    if (!given || !*given) {
        e = ask_once(&reply, l, "/models", NULL);
        name = json_string_value(json_object_get(json_array_get(json_object_get(reply, "data"), 0),
                                                 "id"));
        if (!e && !name)
            e = err_set(ERR_FORMAT, "BSERVE-44", "%s/models names no model; give one with --model",
                        l->base);
        given = name;
    }
    if (!e && !(l->model = strdup(given)))
        e = err_set(ERR_NOMEM, "BSERVE-45", "no memory for a model's name");
    json_decref(reply);
    return e;
}

/* Tokens of a prompt of so many words, 0 when the server does not say. */
static enum err weigh(int64_t *tok, struct load *l, int n_word)
{
    char *body = NULL;
    json_t *reply = NULL;
    enum err e = load_body_of_words(&body, l, n_word);

    if (!e)
        e = ask_once(&reply, l, l->chat ? "/chat/completions" : "/completions", body);
    *tok = json_integer_value(json_object_get(json_object_get(reply, "usage"), "prompt_tokens"));
    json_decref(reply);
    free(body);
    return e;
}

static enum err weigh_words(struct load *l)
{
    int64_t small = 0, large = 0;
    enum err e = weigh(&small, l, PROBE_SMALL);

    l->tok_per_word = 1;
    if (!e)
        e = weigh(&large, l, PROBE_LARGE);
    if (e)
        return e;
    if (small > 0 && large > small) {
        l->weighed = true;
        l->tok_per_word = (double)(large - small) / (PROBE_LARGE - PROBE_SMALL);
        l->tok_fixed = (double)small - PROBE_SMALL * l->tok_per_word;
    } else {
        term_note("the server does not say how many tokens a prompt has, so each word counts as "
                  "one");
    }
    return OK;
}

/* ---- options ---- */

/* "http://host:8080/" -> "http://host:8080/v1"; what ends in /v1 or below it ends there. */
static enum err read_url(struct load *l, const char *url)
{
    static const char *const tail[] = { "/chat/completions", "/completions" };
    struct buf base = { 0 };
    size_t n = strlen(url);

    while (n && url[n - 1] == '/')
        n--;
    for (size_t i = 0; i < sizeof(tail) / sizeof(*tail); i++) {
        size_t m = strlen(tail[i]);
        if (n > m && !strncmp(url + n - m, tail[i], m))
            n -= m;
    }
    buf_add(&base, url, n);
    if (n < 3 || strncmp(url + n - 3, "/v1", 3))
        buf_puts(&base, "/v1");
    l->base = base.broken ? NULL : base.data;
    if (!l->base) {
        buf_release(&base);
        return err_set(ERR_NOMEM, "BSERVE-46", "no memory for a URL");
    }
    return OK;
}

static enum err read_levels(struct load *l, const struct opt_set *o)
{
    struct bench_list list;
    double rate = opt_float(o, OPT_load_rate);
    enum err e;

    if (rate > 0 && opt_given(o, OPT_load_clients))
        return err_set(ERR_ARG, "BSERVE-47", "--clients and --rate exclude each other: clients "
                       "wait for their answers, arrivals do not");
    if (rate > 0) {
        l->level[0].rate = rate;
        l->n_level = 1;
        return OK;
    }
    e = bench_list_parse(&list, "clients", opt_text(o, OPT_load_clients), 1, LOAD_CLIENTS_MAX);
    for (int i = 0; i < list.n && !e; i++)
        l->level[l->n_level++].n_client = (int)list.v[i];
    return e;
}

static int64_t requests_of(const struct load *l, const struct load_level *level)
{
    int64_t n = (int64_t)level->n_client * REQUESTS_EACH;

    return l->n_request ? l->n_request : !level->n_client ? REQUESTS_OPEN
           : n > REQUESTS_MIN ? n : REQUESTS_MIN;
}

static enum err read_extra(struct load *l, const char *text)
{
    enum err e;

    if (!text || !*text)
        return OK;
    e = json_parse(&l->extra, text, strlen(text), strlen(text), "--extra-body");
    if (!e && !json_is_object(l->extra))
        e = err_set(ERR_ARG, "BSERVE-48", "--extra-body is a JSON object, such as "
                    "'{\"temperature\": 0}'");
    return e;
}

static enum err read_prompt_options(struct load *l, const struct opt_set *o)
{
    const char *path = opt_text(o, OPT_load_prompts);

    l->prompt_tok = opt_int(o, OPT_load_prompt_tokens);
    l->shared_tok = opt_int(o, OPT_load_shared_prefix);
    l->max_tok = opt_int(o, OPT_load_max_tokens);
    if (path && *path && (opt_given(o, OPT_load_prompt_tokens) ||
                          opt_given(o, OPT_load_shared_prefix)))
        return err_set(ERR_ARG, "BSERVE-49", "--prompts gives the prompts, so --prompt-tokens and "
                       "--shared-prefix have nothing to say; leave them out");
    if (l->shared_tok >= l->prompt_tok)
        return err_set(ERR_ARG, "BSERVE-50", "--shared-prefix %lld is a part of --prompt-tokens "
                       "%lld and must be smaller", (long long)l->shared_tok,
                       (long long)l->prompt_tok);
    return path && *path ? load_read_prompts(l, path) : OK;
}

static enum err read_auth(struct load *l, const char *key)
{
    struct buf auth = { 0 };

    if (!key || !*key)
        return OK;
    if (strpbrk(key, "\r\n"))
        return err_set(ERR_ARG, "BSERVE-51", "the key of --api-key has a line end in it");
    buf_printf(&auth, "Bearer %s", key);
    l->auth = auth.broken ? NULL : auth.data;
    return l->auth ? OK : err_set(ERR_NOMEM, "BSERVE-52", "no memory for a key");
}

static enum err read_options(struct load *l, const struct opt_set *o)
{
    enum err e = read_url(l, opt_operand(o, 1));

    l->chat = !strcmp(opt_text(o, OPT_load_api), "chat");
    l->n_request = opt_int(o, OPT_load_requests);
    l->duration = opt_float(o, OPT_load_duration);
    l->seed = (uint64_t)opt_int(o, OPT_load_seed);
    l->timeout_ms = (int)opt_int(o, OPT_load_timeout) * 1000;
    l->ca_file = opt_text(o, OPT_load_ca_file);
    l->proxy = opt_text(o, OPT_load_proxy);
    if (!e && l->n_request && l->duration > 0)
        e = err_set(ERR_ARG, "BSERVE-53", "--requests and --duration exclude each other; give one");
    if (!e)
        e = read_levels(l, o);
    if (!e)
        e = read_auth(l, opt_text(o, OPT_load_api_key));
    if (!e)
        e = read_extra(l, opt_text(o, OPT_load_extra_body));
    return e ? e : read_prompt_options(l, o);
}

/* ---- the whole ---- */

/* A connection takes a descriptor, and the system gives few until it is asked. */
static void raise_descriptors(void)
{
    struct rlimit r;

    if (getrlimit(RLIMIT_NOFILE, &r) == 0 && r.rlim_cur < r.rlim_max) {
        r.rlim_cur = r.rlim_max;
        setrlimit(RLIMIT_NOFILE, &r);
    }
}

static enum err run_levels(struct load *l)
{
    double total = 0;
    bool by_number = l->duration <= 0;
    int64_t n = l->n_request;
    enum err e = OK;

    for (int i = 0; i < l->n_level; i++)
        total += by_number ? (double)requests_of(l, &l->level[i]) : l->duration;
    progress_begin(&l->progress, "load", by_number ? "req" : "s", (int64_t)total);
    for (int i = 0; i < l->n_level && !e && !l->interrupted; i++) {
        l->n_request = by_number ? requests_of(l, &l->level[i]) : 0;
        l->n_done = i + 1;
        e = load_run(l, &l->level[i]);
        l->n_request = n;
    }
    progress_end(&l->progress);
    return e;
}

/* Nothing was measured where nothing was answered. */
static enum err check_answers(const struct load *l)
{
    for (int i = 0; i < l->n_done; i++) {
        const struct load_level *v = &l->level[i];
        if (v->full)
            term_warn("a level ended early: %d times were measured, the most that are kept",
                      SAMPLES_MAX);
        if (v->n_failed && !v->n_ok)
            return err_set(ERR_IO, "BSERVE-54", "none of %lld requests was answered; the first "
                           "failed with %s: %s", (long long)v->n_failed, v->error[0].name,
                           v->first_error);
    }
    if (l->interrupted)
        return err_set(ERR_STOPPED, "BSERVE-55", "interrupted");
    return OK;
}

static void load_release(struct load *l)
{
    client_free(l->client);
    loop_free(l->loop);
    for (int i = 0; i < l->n_level; i++) {
        samples_release(&l->level[i].first);
        samples_release(&l->level[i].gap);
        samples_release(&l->level[i].whole);
    }
    json_decref(l->extra);
    json_decref(l->prompts);
    free(l->base);
    free(l->model);
    free(l->auth);
    free(l);
}

enum err bench_serve(struct opt_set *o)
{
    struct load *l = calloc(1, sizeof(*l));
    enum err e;

    if (!l)
        return err_set(ERR_NOMEM, "BSERVE-56", "no memory for a load");
    e = read_options(l, o);
    raise_descriptors();
    term_catch_interrupt();
    if (!e)
        e = loop_new(&l->loop);
    if (!e)
        e = client_new(&l->client, l->loop, LOAD_CLIENTS_MAX);
    if (!e)
        e = find_model(l, o);
    if (!e && !l->prompts)
        e = weigh_words(l);
    if (!e)
        e = run_levels(l);
    if (!e)
        e = load_report(l, opt_flag(o, OPT_json));
    if (!e)
        e = check_answers(l);
    load_release(l);
    return e;
}
