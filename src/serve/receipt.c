/* receipt.c - receipts: written when an answer is whole, kept for a while, given to who asked.
 *
 * The part of the answer is made on the loop's thread before the last bytes of its reply leave, so
 * that a client that has read them finds it.  What is said of program and weights is the same for
 * all: the first who asks for a receipt starts a thread that reads every weight. */
#include "serve/form.h"
#include "serve/replay.h"

#include "base/json.h"

#include <stdlib.h>
#include <string.h>

/* The oldest go first. */
enum { RECEIPT_MAX = 4096, RECEIPT_BYTES_MAX = 64 << 20 };

struct receipt {
    struct receipt *next;               /* the next newer one */
    char id[64], key[KEY_ID_MAX + 1];
    char *text;                         /* JSON */
    size_t len;
};

/* --- what it says ---------------------------------------------------------------------------- */

void receipt_sampler(struct buf *out, const struct sampler_options *o)
{
    buf_printf(out, "temperature %.9g, top_p %.9g, min_p %.9g, top_k %d, presence_penalty %.9g, "
               "frequency_penalty %.9g", (double)o->temperature, (double)o->top_p,
               (double)o->min_p, o->top_k, (double)o->presence_penalty,
               (double)o->frequency_penalty);
    for (int32_t i = 0; i < o->n_bias; i++)
        buf_printf(out, ", logit_bias %d %.9g", o->bias[i].id, (double)o->bias[i].value);
}

const char *receipt_finish(enum wire_finish f)
{
    return f == WIRE_FINISH_LENGTH ? "length" : "stop";
}

static json_t *ids_json(const struct tok_list *l)
{
    json_t *a = json_array();

    for (size_t i = 0; i < l->n && a; i++)
        if (json_array_append_new(a, json_integer(l->id[i]))) {
            json_decref(a);
            a = NULL;
        }
    return a;
}

/* "0010": a digit for each token, 1 for one that counts as sampled. */
static json_t *kinds_json(const struct asked *a)
{
    struct buf b = { 0 };
    json_t *v;

    for (size_t i = 0; i < a->ids.n; i++)
        buf_puts(&b, a->kind && a->kind[i] == TOK_SAMPLED ? "1" : "0");
    v = b.broken ? NULL : json_string(buf_text(&b));
    buf_release(&b);
    return v;
}

static bool add_prompts(json_t *list, const struct job *j)
{
    bool ok = list != NULL;

    for (size_t i = 0; i < j->n_asked && ok; i++)
        ok = !json_array_append_new(list, json_pack("{s:o, s:o}", "ids", ids_json(&j->asked[i].ids),
                                                    "kinds", kinds_json(&j->asked[i])));
    return ok;
}

static bool add_answers(json_t *list, const struct job *j)
{
    bool ok = list != NULL;

    for (size_t i = 0; i < j->n_seq && ok; i++) {
        const struct seq *q = &j->seq[i];
        ok = !json_array_append_new(list, json_pack(
            "{s:I, s:I, s:o, s:s}", "prompt", (json_int_t)(q->asked - j->asked), "seed",
            (json_int_t)q->seed, "tokens", ids_json(&q->drawn), "finish",
            receipt_finish(q->finish)));
    }
    return ok;
}

static json_t *answer_json(const struct job *j)
{
    json_t *prompts = json_array(), *answers = json_array(), *o = NULL;
    struct buf sampler = { 0 };

    receipt_sampler(&sampler, &j->sampling);
    if (!sampler.broken && !j->receipt->body.broken && add_prompts(prompts, j) &&
        add_answers(answers, j))
        o = json_pack("{s:i, s:s, s:I, s:s, s:I, s:s%, s:s, s:I, s:O, s:O}", "croft_receipt", 1,
                      "id", j->id, "created", (json_int_t)j->reply.about.created, "route",
                      wire_dialect_name(j->r.dialect), "n_ctx", (json_int_t)j->s->m->n_ctx,
                      "request", buf_text(&j->receipt->body), j->receipt->body.len, "sampler",
                      buf_text(&sampler), "seed", (json_int_t)j->sampling.seed, "prompts", prompts,
                      "answers", answers);
    if (o && j->adapter && json_object_set_new(o, "adapter", json_string(j->adapter->sha256))) {
        json_decref(o);
        o = NULL;
    }
    json_decref(prompts);
    json_decref(answers);
    buf_release(&sampler);
    return o;
}

/* --- those that are kept --------------------------------------------------------------------- */

static void drop_oldest(struct receipts *k)
{
    struct receipt *r = k->first;

    k->first = r->next;
    if (!k->first)
        k->last = NULL;
    k->n--;
    k->bytes -= r->len;
    free(r->text);
    free(r);
}

void receipts_release(struct receipts *k)
{
    while (k->first)
        drop_oldest(k);
}

static const struct receipt *find(const struct receipts *k, struct piece id, const char *key)
{
    for (const struct receipt *r = k->first; r; r = r->next)
        if (piece_is(id, r->id) && !strcmp(r->key, key))
            return r;
    return NULL;
}

void receipt_keep(struct job *j)
{
    struct receipts *k = &j->s->receipts;
    struct receipt *r = calloc(1, sizeof(*r));
    json_t *o = r ? answer_json(j) : NULL;

    if (r)
        r->text = o ? json_string_new(o, JSON_COMPACT) : NULL;
    json_decref(o);
    if (!r || !r->text) {
        free(r);
        term_warn("no memory for the receipt of an answer");
        return;
    }
    memcpy(r->id, j->id, sizeof(r->id));
    memcpy(r->key, j->receipt->key, sizeof(r->key));
    r->len = strlen(r->text);
    if (k->last)
        k->last->next = r;
    else
        k->first = r;
    k->last = r;
    k->n++;
    k->bytes += r->len;
    while (k->n > RECEIPT_MAX || (k->n > 1 && k->bytes > RECEIPT_BYTES_MAX))
        drop_oldest(k);
}

/* --- who made it ----------------------------------------------------------------------------- */

static bool goes_on(void *arg)
{
    struct serve *s = arg;

    return !atomic_load(&s->maker.stop);
}

static void *make(void *arg)
{
    struct serve *s = arg;
    json_t *about = NULL;
    enum err e = s->m->about(s->m->about_arg, goes_on, s, &about);

    if (e != OK && e != ERR_STOPPED)
        term_error(e);
    pthread_mutex_lock(&s->lock);
    s->maker.about = about;
    s->maker.works = false;
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

/* What is said of program and weights, borrowed; NULL while it is made, which this begins. */
static json_t *about(struct serve *s)
{
    struct maker *k = &s->maker;

    pthread_mutex_lock(&s->lock);
    json_t *done = k->about;
    bool works = k->works;
    pthread_mutex_unlock(&s->lock);
    if (done || works)
        return done;
    if (k->started)
        pthread_join(k->thread, NULL);
    k->works = true;
    k->started = !pthread_create(&k->thread, NULL, make, s);
    k->works = k->started;
    return NULL;
}

void maker_end(struct serve *s)
{
    atomic_store(&s->maker.stop, true);
    if (s->maker.started)
        pthread_join(s->maker.thread, NULL);
    s->maker.started = false;
    json_decref(s->maker.about);
    s->maker.about = NULL;
}

/* --- the header, the route ------------------------------------------------------------------- */

enum err receipt_want(struct job *j)
{
    struct piece body = call_body(j->call);

    if (!j->s->m->about || !ask_wants(j->call, "x-croft-receipt"))
        return OK;
    if (!(j->receipt = calloc(1, sizeof(*j->receipt))))
        return err_set(ERR_NOMEM, "SERVE-30", "no memory for a receipt");
    buf_add(&j->receipt->body, body.at, body.len);
    snprintf(j->receipt->key, sizeof(j->receipt->key), "%s", call_key(j->call));
    (void)about(j->s);
    return buf_ok(&j->receipt->body);
}

static void reply_receipt(struct call *c, const struct receipt *r, json_t *made_by)
{
    json_t *o = json_loads(r->text, 0, NULL);
    char sum[SHA256_HEX_BYTES], *text = NULL;

    if (o && !json_object_update_missing(o, made_by) && receipt_sum(o, sum) &&
        !json_object_set_new(o, "sha256", json_string(sum)))
        text = json_string_new(o, JSON_COMPACT);
    json_decref(o);
    if (text)
        call_reply(c, 200, "application/json", text, strlen(text));
    else
        call_fail(c, FAULT_memory);
    free(text);
}

void receipt_get(struct call *c, void *arg)
{
    struct serve *s = arg;
    const struct receipt *r;
    struct wire_error why;
    json_t *made_by;

    if (!ask_ready(s, c))
        return;
    r = find(&s->receipts, call_param(c, 0), call_key(c));
    made_by = r ? about(s) : NULL;
    if (made_by) {
        reply_receipt(c, r, made_by);
        return;
    }
    wire_error_set(&why, r ? WIRE_E_NOT_READY : WIRE_E_NO_RECEIPT, NULL, r ?
                   "The weights are being read for the first receipt; try again." :
                   "There is no such receipt: its answer is not whole, or it is no longer kept.");
    why.retry_after_s = 2;
    refuse(c, &why);
}
