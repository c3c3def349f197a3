/* ask.c - a request for an answer: read, understood, and admitted or refused.
 *
 * On the loop's thread; long bodies are read on the reader's (reader.c).  Everything that can
 * refuse does so here, before the first byte of a reply; what comes later can only fail by a
 * deadline or for want of memory. */
#include "serve/form.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

enum { COMPLETION_TOK = 16, RETRY_S_MAX = 60 };     /* max_tokens of /completions: OpenAI's */
enum { READ_HERE_MAX = 64 << 10 };      /* bytes of a body that take a few milliseconds */

/* --- the job --------------------------------------------------------------------------------- */

void job_free(struct job *j)
{
    if (j->prev_all)
        j->prev_all->next_all = j->next_all;
    else if (j->s->all == j)
        j->s->all = j->next_all;
    if (j->next_all)
        j->next_all->prev_all = j->prev_all;
    for (size_t i = 0; j->seq && i < j->n_seq; i++) {
        flow_release(&j->seq[i].flow);
        tok_list_release(&j->seq[i].drawn);
        free(j->seq[i].sum);
    }
    for (size_t i = 0; j->asked && i < j->n_asked; i++) {
        tok_list_release(&j->asked[i].ids);
        free(j->asked[i].kind);
    }
    wire_reply_release(&j->reply);
    if (j->parsed)
        wire_request_release(&j->r);
    buf_release(&j->body);
    buf_release(&j->note);
    buf_release(&j->made);
    buf_release(&j->out);
    buf_release(&j->rest);
    if (j->receipt)
        buf_release(&j->receipt->body);
    free(j->receipt);
    free(j->bias);
    free(j->asked);
    free(j->seq);
    free(j);
}

const struct serve_model *ask_ready(struct serve *s, struct call *c)
{
    struct wire_error why;

    if (s->m)
        return s->m;
    wire_error_set(&why, WIRE_E_NOT_READY, NULL, "The model is still being loaded, %d %% of it is "
                   "there; try again.", atomic_load(&s->loading) / 10);
    why.retry_after_s = 2;
    refuse(c, &why);
    return NULL;
}

bool ask_wants(const struct call *c, const char *field)
{
    struct piece p = head_find(call_head(c), field);

    return p.at && p.len && !piece_is(p, "0") && !piece_is_nocase(p, "false") &&
           !piece_is_nocase(p, "no");
}

/* --- the model's name ------------------------------------------------------------------------ */

static bool is_ours(const struct serve *s, const char *name)
{
    bool ours = !name || !strcmp(name, s->o.id);

    for (int i = 0; i < s->o.n_alias && !ours; i++)
        ours = !strcmp(name, s->o.alias[i]);
    return ours;
}

const struct serve_adapter *ask_adapter(const struct serve *s, struct piece name)
{
    for (int i = 0; i < s->m->n_named; i++)
        if (piece_is(name, s->m->named[i].name))
            return &s->m->named[i];
    return NULL;
}

const char *ask_name(const struct job *j)
{
    return j->adapter ? j->adapter->name : j->s->o.id;
}

/* The model of a request by name: the model, an adapter of it, or the model with a note.  False:
 * j->why. */
static bool find_model(struct job *j)
{
    const char *name = j->r.model.at;
    struct serve *s = j->s;
    char shown[65];
    size_t n = 0;

    if (is_ours(s, name) || (j->adapter = ask_adapter(s, (struct piece){ name, strlen(name) })))
        return true;
    for (; name[n] && n < sizeof(shown) - 1; n++)
        shown[n] = name[n] > ' ' && name[n] < 0x7f && name[n] != '"' ? name[n] : '?';
    shown[n] = '\0';
    if (s->o.strict_models) {
        wire_error_set(&j->why, WIRE_E_NO_MODEL, "model", "The model '%s' does not exist; there is "
                       "'%s'.", shown, s->o.id);
        return false;
    }
    buf_printf(&j->note, "model %s is not here; %s answers", shown, s->o.id);
    return true;
}

/* --- what is asked --------------------------------------------------------------------------- */

static float number(double given, double otherwise)
{
    return (float)(isnan(given) ? otherwise : given);
}

static enum err take_bias(struct job *j)
{
    const struct wire_request *r = &j->r;

    j->bias = calloc(r->n_bias + 1, sizeof(*j->bias));
    if (!j->bias)
        return err_set(ERR_NOMEM, "SERVE-10", "no memory for logit_bias");
    for (size_t i = 0; i < r->n_bias; i++) {
        if (r->bias[i].id < 0 || r->bias[i].id >= j->s->m->n_vocab) {
            wire_error_set(&j->why, WIRE_E_VALUE, "logit_bias", "Invalid 'logit_bias': the "
                           "vocabulary has no token %d; it has %d.", r->bias[i].id,
                           j->s->m->n_vocab);
            return err_set(ERR_ARG, "SERVE-11", "no such token");
        }
        j->bias[i] = (struct sampler_bias){ r->bias[i].id, (float)r->bias[i].bias };
    }
    return OK;
}

static enum err take_sampling(struct job *j)
{
    const struct wire_request *r = &j->r;
    uint64_t seed = (uint64_t)r->seed;
    enum err e = take_bias(j);

    if (e == OK && r->seed == WIRE_ABSENT && getrandom(&seed, sizeof(seed), 0) != sizeof(seed))
        e = err_set(ERR_IO, "SERVE-12", "the system gives no random numbers");
    if (r->seed == WIRE_ABSENT)
        seed >>= 11;                    /* any reader of JSON has 53 bits of it */
    j->sampling = (struct sampler_options){
        .temperature = number(r->temperature, 1), .top_p = number(r->top_p, 1),
        .min_p = number(r->min_p, 0), .repeat_penalty = 1, .repeat_last_n = -1,
        .top_k = r->top_k > 0 ? (int32_t)r->top_k : 0,
        .presence_penalty = number(r->presence_penalty, 0),
        .frequency_penalty = number(r->frequency_penalty, 0),
        .bias = j->bias, .n_bias = (int32_t)r->n_bias, .seed = seed,
    };
    return e;
}

/* What no line of field.def can refuse. */
static enum err check(struct job *j)
{
    const struct wire_request *r = &j->r;

    if (r->suffix.at && !prompt_fim(j->s->m->tok, &(struct prompt_fim){ 0 }))
        wire_error_set(&j->why, WIRE_E_UNSUPPORTED, "suffix", "Unsupported parameter: 'suffix'; "
                       "the model's vocabulary has no tokens to fill in between.");
    else if (r->suffix.at && r->echo)
        wire_error_set(&j->why, WIRE_E_UNSUPPORTED_VALUE, "echo", "Unsupported value: 'echo' with "
                       "'suffix'.");
    else
        for (size_t i = 0; i < r->n_stop; i++)
            if (strlen(r->stop[i].at) != r->stop[i].len)
                wire_error_set(&j->why, WIRE_E_VALUE, "stop", "Invalid 'stop': a stop string "
                               "holds U+0000.");
    return *j->why.text ? err_set(ERR_ARG, "SERVE-13", "refused") : OK;
}

static enum err take_prompts(struct job *j, bool chat)
{
    const struct wire_request *r = &j->r;
    const struct tokenizer_info *info = tokenizer_info(j->s->m->tok);
    const char *name = chat ? "messages" : j->embeds ? "input" : "prompt";
    char param[32];
    enum err e = OK;

    j->n_asked = chat ? 1 : r->n_prompt;
    if (!(j->asked = calloc(j->n_asked, sizeof(*j->asked))))
        return err_set(ERR_NOMEM, "SERVE-14", "no memory for %zu prompts", j->n_asked);
    for (size_t i = 0; i < j->n_asked && e == OK; i++) {
        struct asked *a = &j->asked[i];
        snprintf(param, sizeof(param), j->n_asked > 1 ? "%s[%zu]" : "%s", name, i);
        e = chat ? prompt_chat_ids(j->s->m, r, a, &j->think, &j->why)
                 : prompt_ids(j->s->m, &r->prompt[i], &r->suffix, param, a, &j->why);
        if (e == OK && j->embeds && !r->prompt[i].id && info->add_eos && info->eos >= 0)
            e = tok_list_add(&a->ids, info->eos);
        if (e == OK && (int64_t)a->ids.n + !j->embeds > j->s->m->n_ctx) {
            wire_error_context(&j->why, param, j->s->m->n_ctx,
                               (int64_t)a->ids.n);
            return err_set(ERR_ARG, "SERVE-15", "the prompt is longer than the context");
        }
        j->n_prompt_tok += e == OK ? (int64_t)a->ids.n : 0;
    }
    return e;
}

/* max_tokens, cut to the room there is and said. */
static void take_max(struct job *j, bool chat)
{
    int64_t longest = 0, room;

    for (size_t i = 0; i < j->n_asked; i++)
        longest = (int64_t)j->asked[i].ids.n > longest ? (int64_t)j->asked[i].ids.n : longest;
    room = j->s->m->n_ctx - longest;
    j->n_max = j->r.max_tok != WIRE_ABSENT ? j->r.max_tok : chat ? room : COMPLETION_TOK;
    if (j->n_max <= room)
        return;
    if (j->r.max_tok != WIRE_ABSENT)
        buf_printf(&j->note, "%smax_tokens cut from %" PRId64 " to %" PRId64 ", what the context "
                   "has room for", j->note.len ? "; " : "", j->n_max, room);
    j->n_max = room;
}

static enum err emit(void *arg, enum wire_event_kind kind, const char *text, size_t len,
                     const struct wire_logprob *logprob, size_t n_logprob)
{
    struct seq *q = arg;

    return wire_reply_event(&q->job->reply, &q->job->made,
                            &(struct wire_event){ .kind = kind, .choice = q->choice, .text = text,
                                                  .len = len, .logprob = logprob,
                                                  .n_logprob = n_logprob });
}

static enum err make_seqs(struct job *j, bool chat)
{
    const struct wire_request *r = &j->r;
    size_t each = (size_t)r->best_of;
    const char *stop[16];
    struct flow_options o = {
        .tok = j->s->m->tok, .n_vocab = j->s->m->n_vocab, .stop = stop, .n_stop = (int)r->n_stop,
        .n_top = r->logprobs ? (int)r->top_logprobs : -1, .think = j->think, .goes_on = !chat,
        .emit = emit,
    };
    enum err e = OK;

    ASSERT(r->n_stop <= sizeof(stop) / sizeof(*stop));
    for (size_t i = 0; i < r->n_stop; i++)
        stop[i] = r->stop[i].at;
    j->n_seq = j->n_asked * each;
    if (!(j->seq = calloc(j->n_seq, sizeof(*j->seq))))
        return err_set(ERR_NOMEM, "SERVE-16", "no memory for %zu answers", j->n_seq);
    for (size_t i = 0; i < j->n_seq && e == OK; i++) {
        struct seq *q = &j->seq[i];
        *q = (struct seq){ .job = j, .choice = i, .asked = &j->asked[i / each],
                           .seed = j->sampling.seed + i % each };
        q->item.n_tok = (int64_t)q->asked->ids.n;
        o.arg = q;
        e = flow_init(&q->flow, &o);
    }
    return e;
}

/* --- admission ------------------------------------------------------------------------------- */

/* Seconds until what waits now is probably read. */
static uint32_t retry_after(const struct serve *s)
{
    const struct seen *n = &s->seen;
    double per_row = n->counts.n_row ? n->step_s / (double)n->counts.n_row : 0.001;
    double seconds = 1 + per_row * (double)s->queue.n_tok;

    return seconds < RETRY_S_MAX ? (uint32_t)seconds : RETRY_S_MAX;
}

static enum err full(struct serve *s, struct job *j)
{
    enum err e = OK;

    pthread_mutex_lock(&s->lock);
    if (!queue_room(&s->queue, (int64_t)j->n_seq, j->n_prompt_tok * j->r.best_of)) {
        wire_error_set(&j->why, WIRE_E_QUEUE_FULL, NULL, NULL);
        j->why.retry_after_s = retry_after(s);
        e = err_set(ERR_BUSY, "SERVE-17", "the queue is full");
    }
    pthread_mutex_unlock(&s->lock);
    s->n_refused_full += e != OK;
    return e;
}

static enum err enter(struct serve *s, struct job *j)
{
    enum gate_verdict v = gate_enter(&s->gate, call_key(j->call), j->n_prompt_tok, j->begun,
                                     &j->pass);

    if (v == GATE_OK)
        return OK;
    if (v == GATE_NO_MEMORY)
        return err_set(ERR_NOMEM, "SERVE-18", "no memory for another key");
    wire_error_set(&j->why, v == GATE_TOKENS ? WIRE_E_RATE_TOKENS : WIRE_E_RATE_REQUESTS, NULL,
                   v == GATE_TOKENS ? "The key's tokens per minute are used up; try again." :
                   v == GATE_REQUESTS ? "The key's requests per minute are used up; try again." :
                   "The key has as many requests in progress as it may; try again.");
    j->why.retry_after_s = (uint32_t)ceil(j->pass.wait_s);
    return err_set(ERR_BUSY, "SERVE-19", "over a limit of its key");
}

/* --- the whole way --------------------------------------------------------------------------- */

static void say_notes(const struct job *j)
{
    struct buf names = { 0 };

    if (j->note.len && !j->note.broken) {
        call_header(j->call, "x-croft-note", buf_text(&j->note));
        term_verbose("request %s: %s", call_id(j->call), buf_text(&j->note));
    }
    for (size_t i = 0; i < j->r.n_unknown && i < WIRE_UNKNOWN_MAX; i++)
        buf_printf(&names, "%s%s", i ? ", " : "", j->r.unknown[i]);
    if (j->r.n_unknown)
        term_verbose("request %s: ignored %zu unknown fields: %s", call_id(j->call),
                     j->r.n_unknown, buf_text(&names));
    buf_release(&names);
}

enum err job_make(struct job *j)
{
    bool chat = wire_dialect_task(j->r.dialect) == WIRE_TASK_CHAT;
    enum err e;

    j->embeds = wire_dialect_task(j->r.dialect) == WIRE_TASK_EMBED;
    e = j->embeds ? embed_check(j) : check(j);
    if (e == OK && !j->embeds)
        e = take_sampling(j);
    if (e == OK)
        e = take_prompts(j, chat);
    if (e != OK || j->embeds)
        return e == OK ? embed_seqs(j) : e;
    take_max(j, chat);
    return make_seqs(j, chat);
}

void ask_read(struct job *j, const char *body, size_t len)
{
    enum err e = wire_parse(&j->r, &j->why, j->dialect, body, len);

    j->parsed = e == OK;
    if (e == OK && !find_model(j))
        e = err_set(ERR_ARG, "SERVE-20", "no such model");
    j->read = e == OK ? job_make(j) : e;
}

static enum err admit(struct job *j)
{
    enum err e = j->read;

    if (e == OK) {
        say_notes(j);
        e = full(j->s, j);
    }
    if (e == OK && !j->embeds)
        e = receipt_want(j);
    return e == OK ? enter(j->s, j) : e;
}

static void gone(void *arg, enum call_gone why)
{
    struct job *j = arg;

    (void)why;
    j->call = NULL;
    if (j->resting)
        job_free(j);
    else
        worker_drop(j->s, j);
}

static void begin(struct job *j)
{
    struct wire_event e = { .kind = WIRE_BEGIN };

    call_watch(j->call, &(struct call_watch){ gone, serve_room, j });
    for (size_t i = 0; i < j->n_seq; i++)
        j->seq[i].item.party = j->pass.party;
    if (!j->embeds && wire_reply_event(&j->reply, &j->made, &e) == OK && j->r.stream) {
        call_stream(j->call, 200, "text/event-stream", wire_heartbeat(j->r.dialect, true));
        call_write(j->call, buf_text(&j->made), j->made.len);
        buf_cut(&j->made, 0);
        j->streaming = true;
    }
    worker_give(j->s, j);
}

/* A number of its own for each reply of each run. */
static bool name_reply(struct job *j)
{
    uint64_t random[2];

    if (getrandom(random, sizeof(random), 0) != sizeof(random))
        return false;
    snprintf(j->id, sizeof(j->id), "%016" PRIx64 "%016" PRIx64, random[0], random[1]);
    return true;
}

static void refuse_job(struct job *j, enum err e)
{
    if (!*j->why.text)
        wire_error_set(&j->why, e == ERR_NOMEM ? WIRE_E_NO_MEMORY : WIRE_E_SERVER, NULL, NULL);
    j->s->n_refused++;
    refuse(j->call, &j->why);
    job_free(j);
}

void ask_go_on(struct job *j)
{
    struct serve *s = j->s;
    struct wire_about about = { .id = j->id, .model = ask_name(j), .fingerprint = s->o.fingerprint,
                                .created = (int64_t)time(NULL) };
    enum err e;

    if (!j->call) {
        job_free(j);
        return;
    }
    e = admit(j);
    if (e == OK && !name_reply(j))
        e = err_set(ERR_IO, "SERVE-21", "the system gives no random numbers");
    if (e == OK && !j->embeds && (e = wire_reply_init(&j->reply, &j->r, &about)))
        gate_leave(&s->gate, &j->pass, 0);
    if (e != OK) {
        refuse_job(j, e);
        return;
    }
    if (j->receipt)
        call_header(j->call, "x-croft-receipt", j->id);
    j->debug = ask_wants(j->call, "x-croft-debug");
    j->next_all = s->all;
    if (s->all)
        s->all->prev_all = j;
    s->all = j;
    begin(j);
}

/* While it is read. */
static void left(void *arg, enum call_gone why)
{
    struct job *j = arg;

    (void)why;
    j->call = NULL;
}

static void ask(struct call *c, struct serve *s, const struct wire_dialect *d)
{
    struct job *j = calloc(1, sizeof(*j));
    struct piece body = call_body(c);
    enum err e;

    s->n_asked++;
    if (!j) {
        call_fail(c, FAULT_memory);
        return;
    }
    j->s = s;
    j->call = c;
    j->dialect = d;
    j->begun = serve_now(s);
    j->due = j->begun + s->o.deadline_s;
    if (body.len <= READ_HERE_MAX) {
        ask_read(j, body.at, body.len);
        ask_go_on(j);
        return;
    }
    call_watch(c, &(struct call_watch){ left, NULL, j });
    if ((e = reader_put(j)))
        refuse_job(j, e);
}

void ask_chat(struct call *c, void *arg)
{
    if (ask_ready(arg, c))
        ask(c, arg, wire_dialect_find("chat"));
}

void ask_completion(struct call *c, void *arg)
{
    if (ask_ready(arg, c))
        ask(c, arg, wire_dialect_find("completions"));
}

void ask_embedding(struct call *c, void *arg)
{
    if (ask_ready(arg, c))
        ask(c, arg, wire_dialect_find("embeddings"));
}
