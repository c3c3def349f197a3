/* replay.c - see replay.h: the sum of a receipt, and its answers made again.
 *
 * The stored request goes the way it went when it was answered (job_make), without a call and
 * without company; what comes of it must be what the receipt says, and each token too. */
#include "serve/replay.h"

#include "base/json.h"
#include "serve/form.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { ONE_DAY_BYTES = 16 };

static enum err no_memory(void)
{
    return err_set(ERR_NOMEM, "REPLAY-01", "no memory for a receipt");
}

bool receipt_sum(const json_t *receipt, char hex[SHA256_HEX_BYTES])
{
    json_t *rest = json_copy((json_t *)(uintptr_t)receipt);
    struct sha256 sum = { 0 };
    uint8_t digest[SHA256_BYTES];
    char *text = NULL;
    bool ok = rest != NULL;

    if (ok)
        json_object_del(rest, "sha256");
    ok = ok && (text = json_string_new(rest, JSON_COMPACT | JSON_SORT_KEYS)) && sha256_init(&sum) &&
         sha256_add(&sum, text, strlen(text)) && sha256_finish(&sum, digest);
    if (ok)
        sha256_hex(hex, digest);
    sha256_release(&sum);
    free(text);
    json_decref(rest);
    return ok;
}

/* --- reading --------------------------------------------------------------------------------- */

static bool are_ids(const json_t *list)
{
    const json_t *v;
    size_t i;

    json_array_foreach(list, i, v)
        if (!json_is_integer(v) || json_integer_value(v) < 0 || json_integer_value(v) > INT32_MAX)
            return false;
    return json_is_array(list);
}

static bool is_prompt(const json_t *p)
{
    const json_t *kinds = json_object_get(p, "kinds"), *ids = json_object_get(p, "ids");

    return are_ids(ids) && json_array_size(ids) && json_is_string(kinds) &&
           json_string_length(kinds) == json_array_size(ids);
}

static bool is_answer(const json_t *a, size_t n_prompt)
{
    const json_t *prompt = json_object_get(a, "prompt");

    return are_ids(json_object_get(a, "tokens")) && json_is_integer(prompt) &&
           json_integer_value(prompt) >= 0 && (size_t)json_integer_value(prompt) < n_prompt &&
           json_is_integer(json_object_get(a, "seed")) &&
           json_is_string(json_object_get(a, "finish"));
}

static bool is_whole(const json_t *receipt)
{
    static const char *const texts[] = { "id", "route", "request", "sampler", "sha256" };
    static const char *const numbers[] = { "created", "n_ctx", "seed" };
    const json_t *prompts = json_object_get(receipt, "prompts"), *v;
    const json_t *answers = json_object_get(receipt, "answers");
    bool ok = json_integer_value(json_object_get(receipt, "croft_receipt")) == 1;
    size_t i;

    for (i = 0; i < sizeof(texts) / sizeof(*texts); i++)
        ok = ok && json_is_string(json_object_get(receipt, texts[i]));
    for (i = 0; i < sizeof(numbers) / sizeof(*numbers); i++)
        ok = ok && json_is_integer(json_object_get(receipt, numbers[i]));
    ok = ok && json_array_size(prompts) && json_array_size(answers);
    json_array_foreach(prompts, i, v)
        ok = ok && is_prompt(v);
    json_array_foreach(answers, i, v)
        ok = ok && is_answer(v, json_array_size(prompts));
    return ok;
}

enum err receipt_read(const json_t *receipt)
{
    const char *sum = json_string_value(json_object_get(receipt, "sha256"));
    char hex[SHA256_HEX_BYTES];

    if (!json_is_object(receipt) || !json_object_get(receipt, "croft_receipt"))
        return err_set(ERR_FORMAT, "REPLAY-02", "this is no receipt of croft serve");
    if (!receipt_sum(receipt, hex))
        return no_memory();
    if (!sum || strcmp(sum, hex))
        return err_set(ERR_FORMAT, "REPLAY-03", "the receipt was changed: its sha256 is %.64s and "
                       "that of what it says %s", sum ? sum : "missing", hex);
    if (is_whole(receipt))
        return OK;
    return err_set(ERR_FORMAT, "REPLAY-04", "the receipt has a member that is missing, or of "
                   "another form than version 1 has");
}

int64_t receipt_need(const json_t *receipt)
{
    const json_t *prompts = json_object_get(receipt, "prompts"), *a;
    int64_t most = 1;
    size_t i;

    json_array_foreach(json_object_get(receipt, "answers"), i, a) {
        size_t p = (size_t)json_integer_value(json_object_get(a, "prompt"));
        const json_t *ids = json_object_get(json_array_get(prompts, p), "ids");
        int64_t n = (int64_t)(json_array_size(ids) + json_array_size(json_object_get(a, "tokens")));
        most = n > most ? n : most;
    }
    return most;
}

/* --- the request again ----------------------------------------------------------------------- */

/* Whether the prompts are those of the receipt; *at names the first that is not. */
static bool same_prompts(const struct job *j, const json_t *prompts, size_t *at)
{
    bool same = json_array_size(prompts) == j->n_asked;

    for (size_t i = 0; i < j->n_asked && same; i++) {
        const struct asked *a = &j->asked[i];
        const json_t *p = json_array_get(prompts, i), *ids = json_object_get(p, "ids");
        const char *kinds = json_string_value(json_object_get(p, "kinds"));
        *at = i;
        same = json_array_size(ids) == a->ids.n;
        for (size_t k = 0; k < a->ids.n && same; k++)
            same = json_integer_value(json_array_get(ids, k)) == a->ids.id[k] &&
                   (kinds[k] == '1') == (a->kind && a->kind[k] == TOK_SAMPLED);
    }
    return same;
}

static bool same_sampler(const struct job *j, const json_t *receipt)
{
    struct buf b = { 0 };
    bool same;

    receipt_sampler(&b, &j->sampling);
    same = !b.broken && !strcmp(buf_text(&b),
                                json_string_value(json_object_get(receipt, "sampler")));
    buf_release(&b);
    return same;
}

static enum err read_request(struct job *j, const json_t *receipt)
{
    const char *route = json_string_value(json_object_get(receipt, "route"));
    const json_t *body = json_object_get(receipt, "request");
    const struct wire_dialect *d = wire_dialect_find(route);
    enum err e;

    if (!d || wire_dialect_task(d) == WIRE_TASK_EMBED)
        return err_set(ERR_FORMAT, "REPLAY-05", "the receipt is of a route '%.40s', which this "
                       "croft has not", route);
    e = wire_parse(&j->r, &j->why, d, json_string_value(body), json_string_length(body));
    j->parsed = e == OK;
    if (e == OK) {
        j->r.seed = json_integer_value(json_object_get(receipt, "seed"));
        e = job_make(j);
    }
    if (e == ERR_ARG)
        return err_set(ERR_FORMAT, "REPLAY-06", "the receipt's request is refused here: %.300s",
                       *j->why.text ? j->why.text : err_text());
    return e;
}

/* A template may tell the day: of the request, not of the replay. */
static void day_of(char day[ONE_DAY_BYTES], const json_t *receipt)
{
    time_t t = (time_t)json_integer_value(json_object_get(receipt, "created"));
    struct tm tm;

    if (!localtime_r(&t, &tm) || !strftime(day, ONE_DAY_BYTES, "%Y-%m-%d", &tm))
        *day = '\0';
}

/* --- the answers again ----------------------------------------------------------------------- */

static enum err keep_quiet(void *arg, enum wire_event_kind kind, const char *text, size_t len,
                           const struct wire_logprob *logprob, size_t n_logprob)
{
    (void)arg, (void)kind, (void)text, (void)len, (void)logprob, (void)n_logprob;
    return OK;
}

struct answer { const json_t *tokens; const char *finish; size_t number; };

static enum err differs(const struct answer *a, size_t k, int32_t id)
{
    return err_set(ERR_FORMAT, "REPLAY-07", "token %zu of answer %zu is %d here and %" PRId64
                   " in the receipt", k, a->number, id,
                   (int64_t)json_integer_value(json_array_get(a->tokens, k)));
}

static enum err take_token(struct seq *q, struct session *s, struct sampler *sampler,
                           const struct answer *a, size_t k)
{
    int64_t n = session_len(s);
    const float *logits = session_logits(s);
    bool last = k + 1 == json_array_size(a->tokens), ends = false;
    enum wire_finish finish = WIRE_FINISH_STOP;
    int32_t id;
    enum err e = sampler_next(sampler, logits, session_tokens(s), n, n, &id);

    if (e == OK && id != json_integer_value(json_array_get(a->tokens, k)))
        return differs(a, k, id);
    if (e == OK)
        e = flow_draw(&q->flow, id, logits, q->job->n_max, &ends, &finish);
    if (e == OK && (ends != last || (last && strcmp(a->finish, receipt_finish(finish)))))
        return err_set(ERR_FORMAT, "REPLAY-08", "answer %zu %s at token %zu here, and in the "
                       "receipt it has %zu and ends by '%.20s'", a->number,
                       ends ? "ends" : "does not end", k, json_array_size(a->tokens), a->finish);
    return e == OK && !last ? session_push(s, id) : e;
}

static enum err replay_answer(struct seq *q, struct session *s, const struct answer *a)
{
    struct sampler_options so = q->job->sampling;
    struct sampler *sampler = NULL;
    size_t n = json_array_size(a->tokens);
    enum err e;

    q->flow.o.emit = keep_quiet;
    if (!n || !q->job->n_max)
        return !n && !q->job->n_max ? OK :
            err_set(ERR_FORMAT, "REPLAY-09", "answer %zu has %zu tokens in the receipt, and its "
                    "request asks for %" PRId64 " at most", a->number, n, q->job->n_max);
    so.seed = q->seed;
    so.n_ctx = q->job->s->m->n_ctx;
    e = sampler_new(&sampler, &so, q->job->s->m->n_vocab);
    if (e == OK)
        e = session_sync(s, q->asked->ids.id, q->asked->kind, (int64_t)q->asked->ids.n, NULL, NULL,
                         NULL);
    for (size_t k = 0; k < n && e == OK; k++)
        e = take_token(q, s, sampler, a, k);
    sampler_free(sampler);
    return e;
}

static enum err replay_answers(struct job *j, struct session *s, const json_t *receipt,
                               int64_t *n_tok)
{
    const json_t *answers = json_object_get(receipt, "answers"), *v;
    enum err e = OK;
    size_t i;

    if (json_array_size(answers) != j->n_seq)
        return err_set(ERR_FORMAT, "REPLAY-10", "the receipt has %zu answers and its request asks "
                       "for %zu", json_array_size(answers), j->n_seq);
    json_array_foreach(answers, i, v) {
        struct seq *q = &j->seq[i];
        struct answer a = { json_object_get(v, "tokens"),
                            json_string_value(json_object_get(v, "finish")), i };
        if (e == OK && ((size_t)json_integer_value(json_object_get(v, "prompt")) !=
                        (size_t)(q->asked - j->asked) ||
                        (uint64_t)json_integer_value(json_object_get(v, "seed")) != q->seed))
            e = err_set(ERR_FORMAT, "REPLAY-11", "answer %zu has another prompt or seed in the "
                        "receipt than its request gives", i);
        if (e == OK)
            e = replay_answer(q, s, &a);
        *n_tok += (int64_t)json_array_size(a.tokens);
    }
    return e;
}

/* With templates told `day`; *other: it is another prompt, and nothing was drawn. */
static enum err replay_on(const char *day, const struct serve_model *like, struct session *s,
                          const json_t *receipt, int64_t *n_tok, bool *other)
{
    struct serve_model m = *like;
    struct serve *serve = calloc(1, sizeof(*serve));
    struct job *j = calloc(1, sizeof(*j));
    size_t at = 0;
    enum err e = serve && j ? OK : no_memory();

    *other = false;
    if (e != OK) {
        free(serve);
        free(j);
        return e;
    }
    m.n_ctx = json_integer_value(json_object_get(receipt, "n_ctx"));
    m.day = day;
    serve->m = &m;
    j->s = serve;
    e = read_request(j, receipt);
    if (e == OK && !same_prompts(j, json_object_get(receipt, "prompts"), &at)) {
        *other = true;
        e = err_set(ERR_FORMAT, "REPLAY-12", "the receipt's request gives another prompt %zu than "
                    "the receipt has", at);
    } else if (e == OK && !same_sampler(j, receipt)) {
        e = err_set(ERR_FORMAT, "REPLAY-13", "the receipt's request gives another sampler than the "
                    "receipt has");
    }
    if (e == OK)
        e = replay_answers(j, s, receipt, n_tok);
    job_free(j);
    free(serve);
    return e;
}

enum err receipt_replay(const struct serve_model *m, struct session *s, const json_t *receipt,
                        int64_t *n_tok)
{
    char day[ONE_DAY_BYTES];
    bool other;
    enum err e;

    *n_tok = 0;
    e = replay_on(NULL, m, s, receipt, n_tok, &other);
    if (!other || !m->chat || chat_info(m->chat)->format != CHAT_TEMPLATE)
        return e;
    day_of(day, receipt);
    return replay_on(day, m, s, receipt, n_tok, &other);
}
