/* load.c - opens weights, model and session, and says what was decided on the way. */
#include "cmd/load.h"

#include "base/term.h"
#include "cmd/cmd_table.h"
#include "cmd/model_path.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *bytes_text(char *out, size_t cap, uint64_t bytes)
{
    if (bytes >= 1000000000)
        snprintf(out, cap, "%.1f GB", (double)bytes / 1e9);
    else
        snprintf(out, cap, "%.1f MB", (double)bytes / 1e6);
    return out;
}

static enum err choose_isa(unsigned *out, const struct opt_set *o)
{
    const char *name = opt_text(o, OPT_isa);
    unsigned have = isa_detect(), want = 0;

    if (!isa_parse(name, &want))
        return err_set(ERR_ARG, "LOAD-01", "--isa %s: no such instruction set", name);
    if (want & ~have)
        return err_set(ERR_ARG, "LOAD-02", "--isa %s: this CPU has only %s; leave --isa out",
                       name, isa_name(have));
    *out = want;
    return OK;
}

static int choose_threads(const struct opt_set *o, const struct machine *m, int asked)
{
    int n = asked ? asked : (int)opt_int(o, OPT_threads);

    if (n > 0)
        return n;
    if (m->n_thread_default < m->n_core_physical)
        term_note("computing with %d of %d cores, as CPU affinity and cgroup limits allow; "
                  "--threads %d uses all", m->n_thread_default, m->n_core_physical,
                  m->n_core_physical);
    return m->n_thread_default;
}

static enum err choose_kv(enum qtype *out, const struct opt_set *o)
{
    const char *name = opt_text(o, OPT_kv_type);
    bool exact = opt_flag(o, OPT_exact);

    if (exact && opt_given(o, OPT_kv_type) && strcmp(name, "f32") != 0)
        term_note("--exact keeps the KV cache in f32, --kv-type %s is not used; "
                  "leave --exact out to use it", name);
    if (exact || !strcmp(name, "f32"))
        *out = QTYPE_f32;
    else if (!strcmp(name, "f16"))
        *out = QTYPE_f16;
    else if (!strcmp(name, "bf16"))
        *out = QTYPE_bf16;
    else if (!strcmp(name, "q8_0"))
        *out = QTYPE_q8_0;
    else
        return err_set(ERR_ARG, "LOAD-03", "--kv-type %s: choose f32, f16, bf16 or q8_0", name);
    return OK;
}

/* An adapter in GGUF looks like a model with most of it missing. */
static enum err check_is_model(const struct weights *w)
{
    const char *type;
    size_t len;
    enum err e = w->hf ? OK : weights_str(w, "general.type", "model", &type, &len);

    if (w->hf || e || len != strlen("adapter") || memcmp(type, "adapter", len) != 0)
        return e;
    return err_set(ERR_ARG, "LOAD-94", "%s: is a LoRA adapter, not a model; name its model here, "
                   "and the adapter with --lora", w->file[0].path);
}

enum err load_open_named(struct loaded *l, struct opt_set *o, const char *name, bool tokenizer,
                         int32_t batch_max)
{
    struct weights_options wo = { .in_memory = opt_flag(o, OPT_no_mmap) && !load_may_pack(o) };
    struct model_options mo = { .exact = opt_flag(o, OPT_exact), .n_batch_max = batch_max,
                                .mtp = l->mtp, .mtp_input = l->mtp_input };
    int asked = l->n_thread;
    enum err e;

    *l = (struct loaded){ .mtp = mo.mtp, .mtp_input = mo.mtp_input, .may_name = l->may_name };
    e = choose_isa(&l->isa, o);
    if (e == OK)
        e = choose_kv(&l->kv_type, o);
    if (e == OK)
        e = model_path_find(&l->path, name);
    if (e != OK)
        goto fail;
    machine_detect(&l->machine);
    l->n_thread = choose_threads(o, &l->machine, asked);
    e = weights_open(&l->weights, l->path, &wo);
    if (e == OK)
        e = check_is_model(l->weights);
    if (e == OK && tokenizer)
        e = tokenizer_new(&l->tok, l->weights);
    mo.n_thread = l->n_thread;
    mo.no_pin = opt_flag(o, OPT_no_pin);
    mo.cpu_quota = l->machine.cpu_quota;
    mo.isa = l->isa;
    mo.kv_type = l->kv_type;
    if (e == OK)
        e = model_open(&l->model, l->weights, &mo);
    if (e == OK)
        e = load_weights(l, o);
    if (e != OK)
        goto fail;
    term_verbose("%s: %s, %d thread%s, %s, KV cache in %s", l->path, model_info(l->model)->arch,
                 l->n_thread, l->n_thread == 1 ? "" : "s", isa_name(l->isa),
                 mo.exact ? "f32 (--exact)" : opt_text(o, OPT_kv_type));
    return OK;
fail:
    load_close(l);
    return e;
}

enum err load_open(struct loaded *l, struct opt_set *o, bool tokenizer, int32_t batch_max)
{
    enum err e = load_open_named(l, o, opt_operand(o, 0), tokenizer, batch_max);

    if (e == OK && (e = load_adapters(l, o)))
        load_close(l);
    return e;
}

/* --- the context ------------------------------------------------------------------------- */

uint64_t kv_tok_bytes(const struct model *m)
{
    const struct kv_spec *spec = model_kv_spec(m);

    return spec->layer_tok_bytes * (uint64_t)spec->n_layer;
}

/* Tokens whose KV fits: beside the weights when those fit in memory, else in a quarter of it
 * (the rest caches weights).  `beside` false asks what fits at all. */
static int64_t ctx_fits(const struct loaded *l, bool beside)
{
    uint64_t free_bytes = l->machine.mem_available, tok = kv_tok_bytes(l->model), room, placed = 0;
    uint64_t weights = model_info(l->model)->weight_bytes;

    if (!free_bytes || !tok)
        return INT64_MAX;
    if (model_placed(l->model))         /* cannot be dropped and read again */
        place_memory(model_placed(l->model), &placed);
    if (!beside)
        room = free_bytes > placed ? free_bytes - placed : 0;
    else if (free_bytes > weights && free_bytes - weights > LOAD_RESERVE_BYTES)
        room = free_bytes - weights - LOAD_RESERVE_BYTES;
    else
        room = (placed ? free_bytes > placed ? free_bytes - placed : 0 : free_bytes) / 4;
    return (int64_t)(room / tok / KV_PAGE_TOK * KV_PAGE_TOK);
}

static enum err check_memory(const struct loaded *l, int64_t n_ctx)
{
    uint64_t tok = kv_tok_bytes(l->model);
    int64_t fits = ctx_fits(l, false);
    char need[16], have[16];

    if (n_ctx <= fits)
        return OK;
    return err_set(ERR_NOMEM, "LOAD-08", "a context of %lld tokens needs %s of memory for its KV "
                   "cache and %s is free: at most %lld tokens fit, --ctx-size %lld (or a smaller "
                   "--kv-type)", (long long)n_ctx,
                   bytes_text(need, sizeof(need), tok * (uint64_t)n_ctx),
                   bytes_text(have, sizeof(have), l->machine.mem_available), (long long)fits,
                   (long long)fits);
}

/* The model's own context, cut to memory and said. */
static int64_t ctx_default(const struct loaded *l)
{
    int64_t own = model_info(l->model)->n_ctx_train, fits = ctx_fits(l, true);
    char need[16], have[16];

    if (own < 1)
        own = 2048;
    if (fits >= own)
        return own;
    if (fits < KV_PAGE_TOK)
        fits = KV_PAGE_TOK;
    term_note("context cut to %lld of the model's %lld tokens: all would need %s for the KV "
              "cache and %s is free; --ctx-size %lld asks for them anyway", (long long)fits,
              (long long)own,
              bytes_text(need, sizeof(need), kv_tok_bytes(l->model) * (uint64_t)own),
              bytes_text(have, sizeof(have), l->machine.mem_available), (long long)own);
    return fits < own ? fits : own;
}

static enum err choose_ctx(int64_t *n_ctx, const struct loaded *l, const struct opt_set *o,
                           int64_t n_need)
{
    int64_t asked = opt_int(o, OPT_ctx_size), own = model_info(l->model)->n_ctx_train;

    if (asked > 0 && asked < n_need)
        return err_set(ERR_LIMIT, "LOAD-09", "--ctx-size %lld is less than the %lld tokens this "
                       "needs; give --ctx-size %lld or leave it out", (long long)asked,
                       (long long)n_need, (long long)n_need);
    *n_ctx = asked > 0 ? asked : n_need > 0 ? n_need : ctx_default(l);
    if (own > 0 && *n_ctx > own)
        term_note("%lld tokens are more than the %lld this model's file says it was trained for",
                  (long long)*n_ctx, (long long)own);
    return check_memory(l, *n_ctx);
}

enum err load_session(struct loaded *l, struct opt_set *o, int64_t n_need, int32_t n_batch)
{
    struct session_options so = { .n_batch = n_batch, .adapter = l->mix };
    enum err e = choose_ctx(&so.n_ctx, l, o, n_need);

    session_free(l->session);
    l->session = NULL;
    return e == OK ? session_new(&l->session, l->model, &so) : e;
}

int32_t load_rows_many(const struct opt_set *o, int64_t n_seq)
{
    int64_t rows = opt_int(o, OPT_batch_size);

    return (int32_t)(rows > n_seq ? rows : n_seq);
}

/* With several answers at once guesses come from their own texts alone. */
static enum err set_guesses(struct stepper_options *so, const struct opt_set *o)
{
    const char *how = opt_text(o, OPT_draft);
    int64_t most = opt_int(o, OPT_draft_max);

    if (!strcmp(how, "mtp") || !strcmp(how, "model"))
        return err_set(ERR_ARG, "LOAD-23", "--draft %s guesses for one answer at a time; for "
                       "several use --draft auto, lookup or off", how);
    so->paced = !strcmp(how, "auto");
    so->n_guess = most && most < SCHED_GUESS_EACH ? (int)most : SCHED_GUESS_EACH;
    if (!strcmp(how, "off"))
        so->n_guess = 0;
    return OK;
}

enum err load_stepper(struct stepper **out, const struct loaded *l, struct opt_set *o,
                      int64_t n_seq, int32_t gap, int64_t *n_ctx)
{
    struct stepper_options so = { .n_seq_max = (int32_t)n_seq, .gap = gap,
                                  .n_batch = load_rows_many(o, n_seq) };
    int64_t one, fits;
    enum err e = choose_ctx(n_ctx, l, o, 0);

    *out = NULL;
    if (e == OK)
        e = set_guesses(&so, o);
    if (e != OK)
        return e;
    one = kv_pages(*n_ctx);
    fits = ctx_fits(l, true) / KV_PAGE_TOK;
    so.n_ctx = *n_ctx;
    so.n_page = fits / one >= n_seq ? one * n_seq : fits > one ? fits : one;
    term_verbose("%lld answers at once at most, %lld KV pages of %d tokens for all of them",
                 (long long)n_seq, (long long)so.n_page, KV_PAGE_TOK);
    return stepper_new(out, l->model, &so);
}

void load_close(struct loaded *l)
{
    load_close_draft(l);
    session_free(l->session);
    model_free(l->model);
    load_close_adapters(l);
    tokenizer_free(l->tok);
    weights_free(l->weights);
    free(l->path);
    memset(l, 0, sizeof(*l));
}
