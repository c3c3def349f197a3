/* run_batch.c - see run_batch.h: the window of lines in work.
 *
 *   read --(understood)--> in the stepper --(its last token)--> whole --(those before are)--> out
 *      \--(not understood)--------------------------------------^
 */
#include "cmd/run_batch.h"

#include "base/sha256.h"
#include "base/term.h"
#include "cmd/cmd_table.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* Lines in the window for each one in work, so that a long answer does not hold up the others at
 * once; and the bytes they may have been read from. */
enum { WINDOW = 8, QUEUED = 2, WINDOW_BYTES_MAX = 64 << 20 };

struct batch_run {
    struct batch_job job;
    struct loaded l;
    struct stepper *stepper;
    struct batch_in in;
    struct batch_out out;
    struct batch_line **line;           /* ring of n_line from `first`, in their order */
    int64_t cap, first, n_line, parallel;
    size_t bytes;                       /* of the lines in it */
    struct buf text, first_text;
    bool at_end;
    int64_t n_written, n_bad, n_tok;    /* of this run; n_bad: of earlier runs too */
    double start;
    struct progress progress;
};

/* --- the key of a job ------------------------------------------------------------------------ */

/* What decides an answer, beside model and line. */
static const int deciding[] = {
    OPT_exact, OPT_kv_type, OPT_system, OPT_raw, OPT_think, OPT_max_tokens, OPT_stop, OPT_temp,
    OPT_top_k, OPT_top_p, OPT_min_p, OPT_repeat_penalty, OPT_presence_penalty,
    OPT_frequency_penalty, OPT_repeat_last_n, OPT_typical, OPT_top_nsigma, OPT_xtc_probability,
    OPT_xtc_threshold, OPT_dry_multiplier, OPT_dry_base, OPT_dry_allowed_length,
    OPT_dry_penalty_last_n, OPT_dry_sequence_breaker, OPT_mirostat, OPT_mirostat_ent,
    OPT_mirostat_lr, OPT_dynatemp_range, OPT_dynatemp_exp, OPT_logit_bias, OPT_samplers,
    OPT_logprobs, OPT_seed,
};

static void put_option(struct buf *b, const struct opt_set *o, int opt)
{
    const char *text;

    buf_printf(b, "%s=", cmd_table.opt[opt].name);
    switch (cmd_table.opt[opt].type) {
    case OPT_FLAG:
        buf_printf(b, "%d", opt_flag(o, opt));
        break;
    case OPT_INT:
    case OPT_COUNT:
        buf_printf(b, "%" PRId64, opt_int(o, opt));
        break;
    case OPT_FLOAT:
        buf_printf(b, "%.17g", opt_float(o, opt));
        break;
    case OPT_LIST:
        for (int i = 0; i < opt_list_n(o, opt); i++)
            buf_printf(b, "%zu:%s", strlen(opt_list(o, opt, i)), opt_list(o, opt, i));
        break;
    default:
        text = opt_text(o, opt);
        buf_puts(b, text ? text : "");
    }
    buf_add(b, "", 1);
}

/* Of the model, its adapters and arithmetic, the context, the options and the first line. */
static enum err make_key(const struct batch_run *r, char hex[SHA256_HEX_BYTES])
{
    uint8_t identity[MODEL_IDENTITY_BYTES], digest[SHA256_BYTES];
    struct sha256 hash = { 0 };
    struct buf b = { 0 };
    enum err e = model_identity(r->l.model, identity);

    buf_add(&b, identity, sizeof(identity));
    buf_add(&b, r->l.adapter_identity, sizeof(r->l.adapter_identity));
    buf_printf(&b, "isa=%s ctx=%" PRId64, isa_name(r->l.isa), r->job.n_ctx);
    for (size_t i = 0; i < sizeof(deciding) / sizeof(*deciding); i++)
        put_option(&b, r->job.o, deciding[i]);
    buf_add(&b, r->first_text.data, r->first_text.len);
    if (e == OK)
        e = buf_ok(&b);
    if (e == OK && (!sha256_init(&hash) || !sha256_add(&hash, b.data, b.len) ||
                    !sha256_finish(&hash, digest)))
        e = err_set(ERR_NOMEM, "BATCH-60", "no memory for a checksum; close other programs");
    if (e == OK)
        sha256_hex(hex, digest);
    sha256_release(&hash);
    buf_release(&b);
    return e;
}

/* --- a line in work -------------------------------------------------------------------------- */

static enum err on_token(void *arg, int32_t id, const float *logits, int64_t pos, bool *go_on)
{
    struct batch_line *b = arg;
    enum err e = answer_flow_take(b->flow, id, logits, pos, b->run->job.n_ctx, go_on);

    if (e != OK || *go_on)
        return e;
    b->whole = true;
    return answer_flow_end(b->flow);
}

static enum err begin(struct batch_run *r, struct batch_line *b)
{
    struct stepper_request q = { .id = b->ids.id, .kind = b->kind, .n = (int64_t)b->ids.n,
                                 .adapter = r->l.mix, .sampling = &b->ao.sampling,
                                 .token = on_token, .arg = b };
    enum err e;

    b->ao.text = answer_texts_add;
    b->ao.arg = &b->texts;
    b->a.n_prompt = (int64_t)b->ids.n;
    e = answer_flow_new(&b->flow, &b->a, &r->l, &b->ao);
    if (e != OK)
        return e;
    if (b->ao.n_max)
        return stepper_add(r->stepper, &q, NULL);
    b->a.end = ANSWER_MAX;              /* nothing was asked for */
    b->whole = true;
    return OK;
}

/* A line that cannot be answered is one of the answers; only want of memory ends the run. */
static enum err take_line(struct batch_run *r, bool too_long)
{
    struct batch_line *b = calloc(1, sizeof(*b));
    enum err e;

    if (!b)
        return err_set(ERR_NOMEM, "BATCH-61", "no memory for line %" PRId64, r->in.number);
    b->number = r->in.number;
    b->bytes = r->text.len;
    b->run = r;
    r->bytes += b->bytes;
    r->line[(r->first + r->n_line++) % r->cap] = b;
    e = too_long ? err_set(ERR_LIMIT, "BATCH-62", "the line has more than %d bytes",
                           BATCH_LINE_MAX) :
        batch_line_read(b, &r->job, buf_text(&r->text), r->text.len);
    if (e == OK)
        e = begin(r, b);
    tok_list_release(&b->ids);
    if (e == OK || e == ERR_NOMEM)
        return e;
    err_save(&b->failed, e);
    b->whole = true;
    return OK;
}

/* Waits for a line only when there is nothing else to do: a pipe may give the next one when it
 * has the answer to this one. */
static enum err fill(struct batch_run *r)
{
    enum batch_got got = BATCH_LINE;
    bool too_long;
    enum err e = OK;

    while (e == OK && got == BATCH_LINE && !r->at_end && r->n_line < r->cap &&
           r->bytes < WINDOW_BYTES_MAX && stepper_n_live(r->stepper) < QUEUED * r->parallel) {
        e = batch_in_next(&r->in, r->n_line == 0, &r->text, &too_long, &got);
        if (e == OK && got == BATCH_LINE)
            e = take_line(r, too_long);
        r->at_end = got == BATCH_END;
    }
    return e;
}

/* Those that are whole, as far as all before them are. */
static enum err write_whole(struct batch_run *r)
{
    struct buf out = { 0 };
    enum err e = OK;

    while (e == OK && r->n_line && r->line[r->first]->whole) {
        struct batch_line *b = r->line[r->first];
        buf_cut(&out, 0);
        e = batch_line_write(&out, b, &r->job);
        if (e == OK)
            e = batch_out_write(&r->out, &out);
        r->n_written++;
        r->n_bad += b->failed.code != OK;
        r->n_tok += b->a.n_tok;
        r->bytes -= b->bytes;
        batch_line_free(b);
        r->first = (r->first + 1) % r->cap;
        r->n_line--;
    }
    buf_release(&out);
    return e;
}

/* Said here: nothing more is said of what the person stopped. */
static enum err interrupted(const struct batch_run *r)
{
    int64_t done = r->out.n_kept + r->n_written;

    if (r->out.part && !r->in.is_stdin)
        term_note("interrupted after %" PRId64 " lines, which are kept in %s; the same command "
                  "goes on from there", done, r->out.part);
    else
        term_note("interrupted after %" PRId64 " lines; with --batch FILE --output FILE a job can "
                  "be gone on with", done);
    return err_set(ERR_STOPPED, "BATCH-63", "interrupted after %" PRId64 " lines", done);
}

static enum err answer_all(struct batch_run *r)
{
    bool any;
    enum err e;

    for (;;) {
        e = fill(r);
        if (e == OK)
            e = write_whole(r);
        if (e != OK || (r->at_end && !r->n_line))
            return e;
        progress_update(&r->progress, r->n_written);
        if (term_interrupted()) {
            progress_end(&r->progress);
            return interrupted(r);
        }
        if ((e = stepper_step(r->stepper, &any)))
            return e;
    }
}

/* --- the job --------------------------------------------------------------------------------- */

/* The lines that earlier runs answered. */
static enum err skip_kept(struct batch_run *r)
{
    enum batch_got got;
    bool too_long;
    enum err e = OK;

    for (int64_t i = 0; i < r->out.n_kept && e == OK; i++) {
        e = batch_in_next(&r->in, true, &r->text, &too_long, &got);
        if (e == OK && got == BATCH_END)
            e = err_set(ERR_ARG, "BATCH-65", "%s has %" PRId64 " answers and %s has fewer lines; "
                        "give the same input, or remove it", r->out.part, r->out.n_kept,
                        r->in.path);
    }
    if (e == OK && r->out.n_kept)
        term_note("%" PRId64 " lines were answered before; going on from there", r->out.n_kept);
    r->n_bad = r->out.n_kept_bad;
    return e;
}

/* What tells this input from another: its first line.  Standard input is not read twice. */
static enum err read_first(struct batch_run *r)
{
    enum batch_got got;
    bool too_long;
    enum err e;

    if (r->in.n_line < 0)
        return OK;
    e = batch_in_next(&r->in, true, &r->first_text, &too_long, &got);
    return e == OK ? batch_in_rewind(&r->in) : e;
}

static enum err prepare(struct batch_run *r, struct opt_set *o)
{
    const char *path = opt_text(o, OPT_output);
    char key[SHA256_HEX_BYTES] = "";
    enum err e;

    r->job.l = &r->l;
    r->job.o = o;
    r->job.raw = opt_flag(o, OPT_raw);
    r->cap = WINDOW * r->parallel;
    r->line = calloc((size_t)r->cap, sizeof(*r->line));
    if (!r->line)
        return err_set(ERR_NOMEM, "BATCH-66", "no memory for %" PRId64 " lines", r->cap);
    e = answer_options_read(&r->job.ao, &r->l, o);
    if (e == OK && !r->job.raw)
        e = prompt_style_read(&r->job.style, &r->l, o);
    if (e == OK && opt_text(o, OPT_system) && !r->job.style.chat)
        term_warn("--system is not used: plain text has no place for a system message");
    if (e == OK)
        e = load_stepper(&r->stepper, &r->l, o, r->parallel, 0, &r->job.n_ctx);
    if (e == OK)
        e = read_first(r);
    if (e == OK)
        e = make_key(r, key);
    if (e == OK)
        e = batch_out_open(&r->out, path, key, &r->job.ao.sampling.seed);
    return e == OK ? skip_kept(r) : e;
}

static enum err finish(struct batch_run *r)
{
    struct sched_counts c = stepper_counts(r->stepper);
    double s = clock_s() - r->start;
    enum err e = batch_out_commit(&r->out);

    if (e != OK)
        return e;
    term_note("%" PRId64 " lines, %" PRId64 " tokens in %.1f s, %.1f tok/s; %" PRId64 " tokens "
              "of prompts were shared", r->n_written, r->n_tok, s,
              s > 0 ? (double)r->n_tok / s : 0, c.n_shared_tok);
    term_verbose("%" PRId64 " steps of %.1f rows, preempted %" PRId64 " times; of %" PRId64
                 " guesses %" PRId64 " were right", c.n_step,
                 c.n_step ? (double)c.n_row / (double)c.n_step : 0, c.n_preempted, c.n_guess,
                 c.n_right);
    if (r->n_bad)
        return err_set(ERR_FORMAT, "BATCH-67", "%" PRId64 " of %" PRId64 " lines could not be "
                       "answered; each has an \"error\" with its line number in the output",
                       r->n_bad, r->out.n_kept + r->n_written);
    return OK;
}

static void release(struct batch_run *r)
{
    stepper_free(r->stepper);
    for (int64_t i = 0; i < r->n_line; i++)
        batch_line_free(r->line[(r->first + i) % r->cap]);
    free(r->line);
    batch_in_close(&r->in);
    batch_out_close(&r->out);
    prompt_style_release(&r->job.style);
    answer_options_release(&r->job.ao);
    buf_release(&r->text);
    buf_release(&r->first_text);
    load_close(&r->l);
}

enum err run_batch(struct opt_set *o)
{
    const char *path = opt_text(o, OPT_batch);
    struct batch_run r = { .parallel = opt_int(o, OPT_parallel) };
    enum err e = OK;

    if (opt_operands(o) > 1 || opt_text(o, OPT_prompt) || opt_text(o, OPT_file))
        e = err_set(ERR_ARG, "BATCH-68", "--batch reads its prompts from %s; leave the other "
                    "prompt out", path);
    if (e == OK)
        e = batch_out_check(opt_text(o, OPT_output), opt_flag(o, OPT_force), !strcmp(path, "-"));
    if (e == OK)
        e = batch_in_open(&r.in, path);
    if (e == OK && opt_int(o, OPT_context_shift) > 0)
        term_note("--context-shift is not used: an answer ends where its context is full");
    if (e == OK)
        answer_say_unused(o);
    term_catch_interrupt();
    if (e == OK)
        e = load_open(&r.l, o, true, load_rows_many(o, r.parallel));
    if (e == OK)
        e = prepare(&r, o);
    r.start = clock_s();
    progress_begin(&r.progress, "answering", "lines",
                   r.in.n_line < 0 ? 0 : r.in.n_line - r.out.n_kept);
    if (e == OK)
        e = answer_all(&r);
    progress_end(&r.progress);
    if (e == OK)
        e = finish(&r);
    release(&r);
    return e;
}
