/* bench_peer.c - measures rows in turns with a llama-bench, each turn a process of its own.
 *
 *   warm-ups: ours, theirs, ours, theirs      then pairs that count: ours, theirs, ours, theirs ...
 *
 * The peer's turn measures with flash attention off and on; one that was far behind in a warm-up
 * is not run again.  A prompt and a decode behind the same depth share their turns: the peer fills
 * that depth once for both.  With --parallel decode rows are measured with llama-batched-bench,
 * which takes one way at a time; those of one depth and length share their turns, so that the model
 * is read once for all numbers of sequences.  A turn beside too much other work is repeated a few
 * times, all together at most as often as there are turns, and the quietest of them is taken.
 */
#include "cmd/bench.h"
#include "cmd/cmd_table.h"
#include "cmd/load.h"
#include "cmd/model_path.h"

#include "base/file.h"
#include "base/json.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ARGS_MAX = 128, TURNS_MAX = 4, SILENT_MAX = 20, VERSION_MAX = 4096, RESULT_MAX = 64 << 20,
       TEXT = 32,
       CTX_STEP = 256 };                /* what the peer rounds a sequence's context up to */

static const double others_max = 0.08, far_behind = 0.8;

struct duel {
    struct bench *b;
    struct opt_set *o;
    char *path, *program[2];            /* of the model; of llama-bench, llama-batched-bench */
    struct ceiling_probe *probe;
    int n_noisy, n_turn;
    int64_t n_repeat;                   /* that are left */
};

/* What a turn measures: a prompt, a decode, both behind one depth, or decodes of several numbers
 * of sequences. */
struct pairing { struct bench_row *row[BENCH_LIST_MAX]; int n; };

/* A command line; words of numbers live in `text`, a list of them in `list`. */
struct args {
    const char *v[ARGS_MAX + 1];
    int n;
    char text[16][TEXT], list[BENCH_LIST_MAX * TEXT];
    int n_text;
    bool lines;                         /* what it writes is a line of JSON for each row */
};

static void add(struct args *a, const char *word)
{
    ASSERT(a->n < ARGS_MAX);
    a->v[a->n++] = word;
    a->v[a->n] = NULL;
}

static void add_number(struct args *a, const char *flag, int64_t n)
{
    ASSERT(a->n_text < 16);
    snprintf(a->text[a->n_text], TEXT, "%lld", (long long)n);
    add(a, flag);
    add(a, a->text[a->n_text++]);
}

/* The first prompt or decode, or NULL. */
static struct bench_row *row_of(const struct pairing *p, bool decode)
{
    for (int i = 0; i < p->n; i++)
        if (p->row[i]->decode == decode)
            return p->row[i];
    return NULL;
}

/* "1,4,16": sequences of the rows, without those whose `known` is set. */
static void add_sequences(struct args *a, const char *flag, const struct pairing *p,
                          const bool *known)
{
    size_t len = 0;

    for (int i = 0; i < p->n; i++)
        if (p->row[i]->decode && !(known && known[i]))
            len += (size_t)snprintf(a->list + len, sizeof(a->list) - len, "%s%d", len ? "," : "",
                                    p->row[i]->n_seq);
    add(a, flag);
    add(a, a->list);
}

static int64_t length(const struct bench_row *r)
{
    return r ? r->n : 0;
}

static void our_args(struct args *a, const struct duel *d, const struct pairing *p)
{
    const struct opt_set *o = d->o;
    const struct bench_row *prompt = row_of(p, false), *decode = row_of(p, true), *r = p->row[0];

    add(a, "/proc/self/exe");
    add(a, "bench");
    add(a, d->path);
    add(a, "--json");
    add(a, "--quiet");
    add(a, "--no-ceilings");
    add(a, d->b->profile ? "--profile" : "--no-profile");
    add(a, d->b->all_logits ? "--all-logits" : "--no-all-logits");
    add(a, opt_flag(o, OPT_exact) ? "--exact" : "--no-exact");
    add(a, opt_flag(o, OPT_no_mmap) ? "--no-mmap" : "--mmap");
    add(a, opt_flag(o, OPT_mlock) ? "--mlock" : "--no-mlock");
    add(a, opt_flag(o, OPT_no_pin) ? "--no-pin" : "--pin");
    add(a, "--pack");
    add(a, opt_text(o, OPT_pack));
    add(a, "--isa");
    add(a, opt_text(o, OPT_isa));
    if (opt_given(o, OPT_kv_type)) {
        add(a, "--kv-type");
        add(a, opt_text(o, OPT_kv_type));
    }
    add_number(a, "--ctx-size", opt_int(o, OPT_ctx_size));
    add_number(a, "--repetitions", 1);
    add_number(a, "--threads", r->n_thread);
    add_number(a, "--n-prompt", length(prompt));
    add_number(a, "--n-gen", length(decode));
    add_number(a, "--n-depth", r->depth);
    add_number(a, "--batch-size", prompt ? prompt->batch : d->b->batch_first);
    if (decode)
        add_sequences(a, "--parallel", p, NULL);
    if (d->b->shared)
        add(a, "--shared-prompt");
}

static bool is_batched(const struct duel *d, const struct bench_row *r)
{
    return r->decode && d->b->batched;
}

/* llama-batched-bench: prompts of `depth` tokens, then steps of all sequences.  It reads no empty
 * prompt; ours stands on one token there too. */
static void batched_args(struct args *a, const struct duel *d, const struct pairing *p,
                         const bool *known, bool fa, const char *kv)
{
    const struct bench_row *r = p->row[0];
    int64_t depth = r->depth ? r->depth : 1;
    int32_t n_seq_max = 0;

    for (int i = 0; i < p->n; i++)
        n_seq_max = p->row[i]->n_seq > n_seq_max ? p->row[i]->n_seq : n_seq_max;
    a->lines = true;
    add(a, d->program[true]);
    add(a, "-m");
    add(a, d->path);
    add(a, "--output-format");
    add(a, "jsonl");
    add(a, "-fa");
    add(a, fa ? "on" : "off");
    add(a, "-ctk");
    add(a, kv);
    add(a, "-ctv");
    add(a, kv);
    add_number(a, "-t", r->n_thread);
    add_number(a, "-c", (depth + r->n + CTX_STEP - 1) / CTX_STEP * CTX_STEP * n_seq_max);
    add_number(a, "-npp", depth);
    add_number(a, "-ntg", r->n);
    add_sequences(a, "-npl", p, known);
    if (d->b->shared)
        add(a, "-pps");
}

static void their_args(struct args *a, const struct duel *d, const struct pairing *p,
                       const char *flash, const char *kv)
{
    const struct bench_row *r = p->row[0], *prompt = row_of(p, false);

    add(a, d->program[false]);
    add(a, "-m");
    add(a, d->path);
    add(a, "-o");
    add(a, "json");
    add(a, "-fa");
    add(a, flash);
    add(a, "-ctk");
    add(a, kv);
    add(a, "-ctv");
    add(a, kv);
    if (d->b->all_logits && prompt) {
        add(a, "-embd");
        add(a, "1");
    }
    add_number(a, "-r", 1);
    add_number(a, "-t", r->n_thread);
    add_number(a, "-p", length(prompt));
    add_number(a, "-n", length(row_of(p, true)));
    add_number(a, "-d", r->depth);
}

/* llama-batched-bench at times ends before its log thread has written the result; it is run again
 * then. */
static enum err run_heard(struct bench_child *child, char *const *argv)
{
    for (int i = 0; i < SILENT_MAX; i++) {
        enum err e = bench_child_run(child, argv);
        if (e != OK || strspn(child->out, " \n") < child->len)
            return e;
        free(child->out);
        child->out = NULL;
    }
    return err_set(ERR_FORMAT, "BENCH-38", "%s wrote nothing, %d times", argv[0], SILENT_MAX);
}

static enum err read_result(json_t **out, const struct bench_child *child, bool lines)
{
    json_t *all, *j;
    enum err e = OK;

    if (!lines)
        return json_parse(out, child->out, child->len, RESULT_MAX, "a measuring process");
    if (!(all = json_array()))
        return err_set(ERR_NOMEM, "BENCH-55", "no memory for a result");
    for (const char *at = child->out; *at && e == OK; at += strcspn(at, "\n"), at += *at == '\n')
        if (*at != '\n') {
            e = json_parse(&j, at, strcspn(at, "\n"), RESULT_MAX, "a measuring process");
            if (e == OK && json_array_append_new(all, j))
                e = err_set(ERR_NOMEM, "BENCH-56", "no memory for a result");
        }
    if (e == OK)
        *out = all;
    else
        json_decref(all);
    return e;
}

/* Run until it was quiet, at most TURNS_MAX times; *out is the quietest turn's result. */
static enum err quiet_turn(struct duel *d, const struct args *a, json_t **out, double *others)
{
    enum err e = OK;

    *out = NULL;
    *others = 2;
    for (int i = 0; i < TURNS_MAX && *others > others_max && e == OK; i++) {
        if (i && d->n_repeat-- <= 0)
            break;
        struct bench_child child;
        json_t *j = NULL;
        e = run_heard(&child, (char *const *)(uintptr_t)a->v);
        if (e == OK)
            e = read_result(&j, &child, a->lines);
        if (e == OK && child.others > others_max)
            term_verbose("others took %.0f %% of the processors during this turn",
                         100 * child.others);
        if (e == OK && child.others < *others) {
            json_decref(*out);
            *out = json_incref(j);
            *others = child.others;
        }
        json_decref(j);
        free(child.out);
    }
    d->n_turn++;
    d->n_noisy += *others > others_max;
    progress_update(&d->b->progress, ++d->b->n_done);
    if (e != OK) {
        json_decref(*out);
        *out = NULL;
    }
    return e;
}

/* The head of the result is what the first of our processes says. */
static void take_about(struct bench *b, const json_t *j)
{
    if (b->about)
        return;
    b->about = json_deep_copy(j);
    json_object_del(b->about, "rows");
    json_object_del(b->about, "all_logits");
}

/* One row of what our process wrote; run < 0: a warm-up, of which only the settings are kept. */
static enum err take_row(struct bench_row *r, int run, const json_t *row, double others)
{
    struct bench_row warm = { .rate = &(double){ 0 } };
    enum err e = bench_json_take(run < 0 ? &warm : r, run < 0 ? 0 : run, row);

    if (e == OK && run < 0)
        r->n_thread = warm.n_thread;
    else if (e == OK && others > r->others)
        r->others = others;
    profile_free(warm.profile);
    return e;
}

static enum err our_turn(struct duel *d, const struct pairing *p, int run)
{
    struct args a = { .n = 0 };
    double others;
    json_t *j;
    enum err e;

    our_args(&a, d, p);
    e = quiet_turn(d, &a, &j, &others);
    const json_t *rows = json_object_get(j, "rows");
    for (int i = 0; i < p->n && e == OK; i++)
        e = take_row(p->row[i], run, json_array_get(rows, (size_t)i), others);
    if (e == OK)
        take_about(d->b, j);
    json_decref(j);
    return e;
}

/* The peer's speeds in one turn: [row][flash attention]; 0: not measured. */
struct speeds { double of[BENCH_LIST_MAX][2]; };

/* Both ways in one process. */
static enum err plain_turn(struct duel *d, const struct pairing *p, const bool use[2],
                           const char *kv, struct speeds *rate, double *others)
{
    struct args a = { .n = 0 };
    const json_t *test;
    json_t *j;
    size_t i;
    enum err e;

    their_args(&a, d, p, use[0] && use[1] ? "0,1" : use[1] ? "1" : "0", kv);
    e = quiet_turn(d, &a, &j, others);
    json_array_foreach(j, i, test) {
        const json_t *fa = json_object_get(test, "flash_attn");
        bool on = json_is_true(fa) || json_integer_value(fa) == 1;
        bool decode = json_integer_value(json_object_get(test, "n_gen")) > 0;
        for (int k = 0; k < p->n; k++)
            if (p->row[k]->decode == decode)
                rate->of[k][on] = json_number_value(json_object_get(test, "avg_ts"));
    }
    json_decref(j);
    return e;
}

/* How many rows these lines made known. */
static int take_lines(const struct pairing *p, bool fa, const json_t *lines, bool *known,
                      struct speeds *rate)
{
    const json_t *line;
    size_t at;
    int n = 0;

    json_array_foreach(lines, at, line) {
        json_int_t n_seq = json_integer_value(json_object_get(line, "pl"));
        for (int i = 0; i < p->n; i++)
            if (!known[i] && n_seq == p->row[i]->n_seq) {
                rate->of[i][fa] = json_number_value(json_object_get(line, "speed_tg"));
                known[i] = true;
                n++;
            }
    }
    return n;
}

/* One process for all rows, which writes a line for each; the last ones it may lose, and what is
 * not known then is asked for again.  *others: the most beside any of them. */
static enum err batched_way(struct duel *d, const struct pairing *p, bool fa, const char *kv,
                            struct speeds *rate, double *others)
{
    bool known[BENCH_LIST_MAX] = { false };
    int n_known = 0, n_before = -1;
    enum err e = OK;

    while (n_known < p->n && n_known > n_before && e == OK) {
        struct args a = { .n = 0 };
        json_t *j;
        double now;
        batched_args(&a, d, p, known, fa, kv);
        e = quiet_turn(d, &a, &j, &now);
        n_before = n_known;
        n_known += take_lines(p, fa, j, known, rate);
        json_decref(j);
        *others = now > *others ? now : *others;
    }
    return e;
}

static enum err batched_turn(struct duel *d, const struct pairing *p, const bool use[2],
                             const char *kv, struct speeds *rate, double *others)
{
    enum err e = OK;

    *others = 0;
    for (int fa = 0; fa < 2 && e == OK; fa++)
        if (use[fa])
            e = batched_way(d, p, fa, kv, rate, others);
    return e;
}

static enum err their_turn(struct duel *d, const struct pairing *p, const bool use[2],
                           struct speeds *rate, double *others)
{
    const char *kv = opt_flag(d->o, OPT_exact) ? "f32" : opt_text(d->o, OPT_kv_type);
    bool batched = is_batched(d, p->row[0]);
    enum err e;

    *rate = (struct speeds){ 0 };
    e = (batched ? batched_turn : plain_turn)(d, p, use, kv, rate, others);
    for (int k = 0; k < p->n && e == OK; k++)
        for (int fa = 0; fa < 2 && e == OK; fa++)
            if (use[fa] && !(rate->of[k][fa] > 0))
                e = err_set(ERR_FORMAT, "BENCH-20", "%s wrote no speed for this row",
                            d->program[batched]);
    return e;
}

static enum err peer_memory(struct bench_row *r, const bool use[2])
{
    for (int fa = 0; fa < 2; fa++)
        if (use[fa] && !(r->peer.rate[fa] = calloc((size_t)r->n_run, sizeof(double))))
            return err_set(ERR_NOMEM, "BENCH-21", "no memory for %d runs", r->n_run);
    return OK;
}

/* Whether a way is far behind the other in everything that the turn measured. */
static bool is_behind(const struct pairing *p, const struct speeds *rate, int fa)
{
    for (int k = 0; k < p->n; k++)
        if (rate->of[k][fa] >= far_behind * rate->of[k][!fa])
            return false;
    return true;
}

/* Ours and theirs; at -1 a warm-up. */
static enum err pair(struct duel *d, const struct pairing *p, int run, const bool use[2],
                     struct speeds *rate)
{
    double others;
    enum err e;

    if (d->probe && run >= 0) {
        ceiling_round(d->probe);
        ceiling_rest(d->probe);         /* the peer may need two copies of the model */
    }
    e = our_turn(d, p, run);
    if (e == OK)
        e = their_turn(d, p, use, rate, &others);
    for (int k = 0; k < p->n && e == OK && run >= 0; k++) {
        struct bench_row *r = p->row[k];
        for (int fa = 0; fa < 2; fa++)
            if (use[fa])
                r->peer.rate[fa][run] = rate->of[k][fa];
        if (others > r->others)
            r->others = others;
    }
    return e;
}

static enum err duel_rows(struct duel *d, const struct pairing *p)
{
    const char *kv = opt_text(d->o, OPT_kv_type);
    bool whole = opt_flag(d->o, OPT_exact) || strcmp(kv, "q8_0") != 0;
    bool use[2] = { whole, true };      /* its quantised values need flash attention */
    int n_run = p->row[0]->n_run;
    struct speeds rate;
    enum err e = OK;

    for (int i = 0; i < d->b->n_warm_up && e == OK; i++) {
        e = pair(d, p, -1, use, &rate);
        for (int fa = 0; fa < 2 && e == OK; fa++)
            use[fa] = use[fa] && !(use[!fa] && is_behind(p, &rate, fa));
    }
    for (int k = 0; k < p->n && e == OK; k++)
        e = peer_memory(p->row[k], use);
    for (int i = 0; i < n_run && e == OK; i++)
        e = pair(d, p, i, use, &rate);
    return e;
}

/* The rows of one thread count. */
struct part { int first, end; };

/* The first row of the other kind behind the same depth, or -1.  None with --all-logits: the peer
 * is told so for all that it measures, and ought to decode as it does without. */
static int other_kind(const struct duel *d, const struct part *t, int i)
{
    const struct bench_row *r = &d->b->row[i];
    bool alone = !r->depth || d->b->batched || d->b->all_logits;

    for (int k = t->first; k < t->end && !alone; k++)
        if (d->b->row[k].depth == r->depth && d->b->row[k].decode != r->decode)
            return k;
    return -1;
}

/* Row i and those that share its turns: the row of the other kind when each is the other's first,
 * or all batched rows of the depth and length.  False: a row before it has taken it along. */
static bool pairing_of(struct pairing *p, const struct duel *d, const struct part *t, int i)
{
    struct bench_row *row = d->b->row;
    int k = other_kind(d, t, i), n_before = 0;

    *p = (struct pairing){ .row = { &row[i] }, .n = 1 };
    if (k >= 0 && other_kind(d, t, k) == i)
        p->row[p->n++] = &row[k];
    if (p->n > 1)
        return k > i;
    for (k = t->first; k < t->end && is_batched(d, &row[i]) && p->n < BENCH_LIST_MAX; k++)
        if (is_batched(d, &row[k]) && row[k].depth == row[i].depth && row[k].n == row[i].n) {
            n_before += k < i;
            if (k > i)
                p->row[p->n++] = &row[k];
        }
    return n_before % BENCH_LIST_MAX == 0;
}

static enum err read_version(struct bench *b)
{
    struct buf path = { 0 }, shown = { 0 };
    char *text = NULL;
    size_t len = 0;
    enum err e;

    buf_printf(&path, "%s/version", b->peer);
    e = file_read_text(&text, &len, buf_text(&path), VERSION_MAX);
    if (e == ERR_MISSING) {
        e = OK;
        term_note("%s is not there: the peer's version is not known", buf_text(&path));
    }
    len = text ? strcspn(text, "\n") : 0;
    term_shown(&shown, len ? text : "llama.cpp of unknown version", len ? len : 28);
    if (e == OK && !(b->peer_version = strdup(buf_text(&shown))))
        e = err_set(ERR_NOMEM, "BENCH-22", "no memory for the peer's version");
    free(text);
    buf_release(&shown);
    buf_release(&path);
    return e;
}

static enum err find_program(struct duel *d, bool batched)
{
    struct buf path = { 0 };
    char **program = &d->program[batched];
    enum err e;

    if (*program)
        return OK;
    buf_printf(&path, "%s/%s", d->b->peer, batched ? "llama-batched-bench" : "llama-bench");
    *program = strdup(buf_text(&path));
    e = buf_ok(&path);
    buf_release(&path);
    if (e == OK && !*program)
        e = err_set(ERR_NOMEM, "BENCH-23", "no memory for a path");
    if (e == OK && access(*program, X_OK) != 0)
        e = err_set(ERR_MISSING, "BENCH-24", "%s is no program; build it with tools/build-llama %s",
                    *program, d->b->peer);
    return e;
}

/* The programs that the rows need, and the model. */
static enum err find_peer(struct duel *d)
{
    enum err e = OK;

    for (int i = 0; i < d->b->n_row && e == OK; i++) {
        if (d->b->row[i].n_each > 1)
            e = err_set(ERR_ARG, "BENCH-37", "--rows and --peer: the peer measures no step of "
                        "several rows of a sequence; leave one of them out");
        else
            e = find_program(d, is_batched(d, &d->b->row[i]));
    }
    if (e == OK)
        e = read_version(d->b);
    if (e == OK)
        e = model_path_find(&d->path, opt_operand(d->o, 0));
    if (e == OK && opt_list_n(d->o, OPT_lora))
        e = err_set(ERR_ARG, "BENCH-25", "--lora and --peer: llama-bench applies no adapters; "
                    "leave one of them out");
    return e;
}

/* The first turn says how many threads the default is, and how much memory the model needs. */
static enum err duel_part(struct duel *d, struct bench_ceiling *ceiling, const struct part *t)
{
    struct bench_row *row = d->b->row;
    struct pairing p = { .row = { &row[t->first] }, .n = 1 };
    const char *isa_now;
    unsigned isa = 0;
    enum err e;

    e = our_turn(d, &p, -1);
    if (e == OK && d->b->ceilings) {
        const json_t *model = json_object_get(d->b->about, "model");
        isa_now = json_string_value(json_object_get(d->b->about, "isa"));
        if (!isa_now || !isa_parse(isa_now, &isa))
            e = err_set(ERR_FORMAT, "BENCH-26", "a measuring process wrote no instruction set");
        if (e == OK)
            e = ceiling_new(&d->probe, row[t->first].n_thread, isa,
                            (uint64_t)json_integer_value(json_object_get(model, "weight_bytes")));
    }
    for (int i = t->first; i < t->end && e == OK; i++) {
        row[i].n_thread = row[t->first].n_thread;
        if (pairing_of(&p, d, t, i))
            e = duel_rows(d, &p);
    }
    if (e == OK && d->probe)
        e = ceiling_read(ceiling, d->probe);
    ceiling_free(d->probe);
    d->probe = NULL;
    return e;
}

static struct part part_of(const struct bench *b, int t)
{
    int n_each = b->n_row / b->thread.n;

    return (struct part){ t * n_each, (t + 1) * n_each };
}

static int64_t count_turns(const struct duel *d)
{
    const struct bench *b = d->b;
    int64_t n = b->thread.n;
    struct pairing p;

    for (int t = 0; t < b->thread.n; t++) {
        struct part part = part_of(b, t);
        for (int i = part.first; i < part.end; i++)
            if (pairing_of(&p, d, &part, i))
                n += (is_batched(d, &b->row[i]) ? 3 : 2) * (b->n_warm_up + b->n_run);
    }
    return n;
}

enum err bench_peer(struct bench *b, struct opt_set *o)
{
    struct duel d = { .b = b, .o = o };
    enum err e = find_peer(&d);

    d.n_repeat = count_turns(&d);
    if (e == OK)
        progress_begin(&b->progress, "measuring", "turns", d.n_repeat);
    for (int t = 0; t < b->thread.n && e == OK; t++) {
        struct part part = part_of(b, t);
        e = duel_part(&d, &b->ceiling[t], &part);
    }
    progress_end(&b->progress);
    if (e == OK && d.n_noisy)
        term_note("%d of %d turns ran beside more than %.0f %% of other work, though they were "
                  "repeated: the figures are noisy", d.n_noisy, d.n_turn, 100 * others_max);
    free(d.path);
    free(d.program[0]);
    free(d.program[1]);
    return e;
}
