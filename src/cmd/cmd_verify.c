/* cmd_verify.c - `croft verify RECEIPT [MODEL]`: answers of `croft serve` made again, alone.
 *
 * A file holds one receipt, or one a line.  All of them are read before the model is: the first
 * says which arithmetic it is opened with, the longest how large a session is needed. */
#include "cmd/cmd.h"
#include "cmd/cmd_table.h"
#include "cmd/load.h"
#include "cmd/prompt.h"
#include "cmd/receipt_about.h"

#include "base/file.h"
#include "base/json.h"
#include "base/term.h"
#include "serve/replay.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { RECEIPTS_BYTES_MAX = 1 << 30 };

struct verify {
    struct opt_set *o;
    const char *path;
    char *text, *name;                  /* name: the model's, of the first receipt */
    size_t len;
    struct loaded l;
    struct prompt_style style;
    struct serve_model m;
    json_t *ours;                       /* what this program says of itself */
    json_t *adapter;                    /* of it, what the adapters without a name are */
    int32_t mix;                        /* these */
    int64_t need, n_receipt, n_bad, n_tok;
    struct progress progress;
    struct err_record first;            /* of those that failed */
};

static bool go_on(void *arg)
{
    (void)arg;
    return !term_interrupted();
}

typedef enum err receipt_fn(struct verify *v, const json_t *receipt, int64_t line);

static enum err interrupted(void)
{
    return err_set(ERR_STOPPED, "VERIFY-01", "interrupted");
}

/* Each receipt of the file. */
static enum err for_each(struct verify *v, receipt_fn *fn)
{
    const char *at = v->text, *end = v->text + v->len;
    json_t *r = NULL;
    enum err e = json_parse(&r, at, v->len, RECEIPTS_BYTES_MAX, v->path);

    if (e == OK) {
        e = fn(v, r, 1);
        json_decref(r);
        return e;
    }
    if (!memchr(at, '\n', v->len))
        return e;
    for (int64_t line = 1; at < end; line++) {
        const char *lf = memchr(at, '\n', (size_t)(end - at));
        size_t n = (size_t)((lf ? lf : end) - at);
        if (n) {
            e = json_parse(&r, at, n, RECEIPTS_BYTES_MAX, v->path);
            if (e == OK) {
                e = fn(v, r, line);
                json_decref(r);
            }
        }
        if (e == OK && term_interrupted())
            e = interrupted();
        if (e != OK)
            return e == ERR_STOPPED ? e : err_wrap(e, "line %" PRId64, line);
        at += n + 1;
    }
    return OK;
}

/* --- before the model is opened -------------------------------------------------------------- */

/* An option of the arithmetic is the receipt's; another one that was given is refused. */
static enum err set_option(struct verify *v, int opt, const char *value)
{
    const char *name = cmd_table.opt[opt].name;
    bool flag = cmd_table.opt[opt].type == OPT_FLAG;
    bool same = flag ? opt_flag(v->o, opt) == (*value == '1') : !strcmp(opt_text(v->o, opt), value);

    if (opt_given(v->o, opt) && !same)
        return err_set(ERR_ARG, "VERIFY-02", "--%s is given, and the receipt is of another; leave "
                       "it out", name);
    return same ? OK : opt_set_by_name(v->o, name, value);
}

static enum err take_arithmetic(struct verify *v, const json_t *r)
{
    const char *isa = json_string_value(json_object_get(r, "isa"));
    const char *kv = json_string_value(json_object_get(r, "kv_type"));
    bool exact = json_is_true(json_object_get(r, "exact"));
    unsigned want = 0;
    enum err e;

    if (!isa || !kv || !isa_parse(isa, &want))
        return err_set(ERR_FORMAT, "VERIFY-03", "the receipt is of instruction set '%.20s', which "
                       "this croft does not know", isa ? isa : "");
    if (want & ~isa_detect())
        return err_set(ERR_FORMAT, "VERIFY-04", "the receipt is of instruction set %s and this "
                       "processor has only %s, which rounds differently; verify it on one like "
                       "that", isa, isa_name(isa_detect()));
    e = set_option(v, OPT_isa, isa);
    if (e == OK)
        e = set_option(v, OPT_exact, exact ? "1" : "0");
    return e == OK && !exact ? set_option(v, OPT_kv_type, kv) : e;
}

static enum err take_name(struct verify *v, const json_t *r)
{
    const char *id = json_string_value(json_object_get(json_object_get(r, "model"), "id"));

    v->name = strdup(id ? id : "");
    return v->name ? OK : err_set(ERR_NOMEM, "VERIFY-05", "no memory for a name");
}

static enum err look(struct verify *v, const json_t *r, int64_t line)
{
    enum err e = receipt_read(r);
    int64_t need;

    (void)line;
    if (e == OK && !v->n_receipt++ && (e = take_arithmetic(v, r)) == OK)
        e = take_name(v, r);
    if (e != OK)
        return e;
    need = receipt_need(r);
    v->need = need > v->need ? need : v->need;
    return OK;
}

/* --- with it --------------------------------------------------------------------------------- */

/* The adapters of --lora that a receipt is of, those of a name where it has their sum, and a
 * session with them. */
static enum err take_adapter(struct verify *v, const json_t *r)
{
    const char *sum = json_string_value(json_object_get(r, "adapter"));
    json_t *says = json_incref(v->adapter);
    int32_t mix = v->mix;
    char hex[SHA256_HEX_BYTES];

    for (int i = 0; i < v->l.n_named && sum; i++) {
        sha256_hex(hex, v->l.named[i].identity);
        if (strcmp(hex, sum))
            continue;
        json_decref(says);
        says = json_string(hex);
        mix = v->l.named[i].mix;
        break;
    }
    if (!says || json_object_set_new(v->ours, "adapter", says))
        return err_set(ERR_NOMEM, "VERIFY-08", "no memory for the sum of an adapter");
    if (mix == v->l.mix)
        return OK;
    v->l.mix = mix;
    return load_session(&v->l, v->o, v->need, (int32_t)opt_int(v->o, OPT_batch_size));
}

static enum err replay(struct verify *v, const json_t *r, int64_t *n_tok)
{
    bool other_build = false;
    struct buf build = { 0 };
    enum err e = take_adapter(v, r);

    if (e == OK)
        e = receipt_compare(r, v->ours, &other_build);
    if (e == OK)
        e = receipt_replay(&v->m, v->l.session, r, n_tok);
    receipt_build_text(&build, r);
    if (e == ERR_FORMAT && other_build)
        err_wrap(e, "the receipt is of another build, %s", buf_text(&build));
    else if (e == OK && other_build)
        term_note("the receipt is of another build, %s; it gives the same tokens",
                  buf_text(&build));
    buf_release(&build);
    return e;
}

static enum err check(struct verify *v, const json_t *r, int64_t line)
{
    const char *id = json_string_value(json_object_get(r, "id"));
    int64_t n_tok = 0;
    enum err e = replay(v, r, &n_tok);

    progress_update(&v->progress, line);
    if (e == ERR_FORMAT) {
        if (!v->n_bad++)
            err_save(&v->first, e);
        return out_printf("%.64s differs: %s\n", id, err_text());
    }
    v->n_tok += n_tok;
    return e == OK ? out_printf("%.64s is the same: %" PRId64 " tokens\n", id, n_tok) : e;
}

static enum err open_model(struct verify *v, const char *name)
{
    bool exact = opt_flag(v->o, OPT_exact);
    enum chat_format format = CHAT_NONE;
    enum err e;

    v->l.may_name = true;
    e = load_open_named(&v->l, v->o, name, true, (int32_t)opt_int(v->o, OPT_batch_size));
    if (e == OK)
        e = load_adapters(&v->l, v->o);
    if (e == OK)
        e = chat_open(&v->style.chat, v->l.weights, v->l.tok);
    if (e == OK)
        format = chat_info(v->style.chat)->format;
    if (format == CHAT_NONE || format == CHAT_UNKNOWN)
        prompt_style_release(&v->style);
    if (e == OK)
        e = load_session(&v->l, v->o, v->need, (int32_t)opt_int(v->o, OPT_batch_size));
    if (e == OK)
        e = receipt_about(&v->ours, &v->l, name, exact, go_on, NULL);
    v->mix = v->l.mix;
    v->adapter = json_incref(json_object_get(v->ours, "adapter"));
    v->m = (struct serve_model){ .tok = v->l.tok, .chat = v->style.chat, .adapter = v->l.mix };
    if (e == OK)
        v->m.n_vocab = model_info(v->l.model)->n_vocab;
    return e;
}

static enum err verdict(const struct verify *v)
{
    if (!v->n_bad)
        return OK;
    if (v->n_receipt == 1)
        return err_restore(&v->first);
    return err_set(ERR_FORMAT, "VERIFY-06", "%" PRId64 " of %" PRId64 " receipts differ, the first "
                   "one: %.400s", v->n_bad, v->n_receipt, v->first.text);
}

enum err cmd_verify(struct opt_set *o)
{
    struct verify v = { .o = o, .path = opt_operand(o, 0) };
    enum err e = file_read_text(&v.text, &v.len, v.path, RECEIPTS_BYTES_MAX);

    term_catch_interrupt();
    if (e == OK)
        e = for_each(&v, look);
    if (e == OK && !v.n_receipt)
        e = err_set(ERR_FORMAT, "VERIFY-07", "%s holds no receipt", v.path);
    if (e == OK)
        e = open_model(&v, opt_operands(o) > 1 ? opt_operand(o, 1) : v.name);
    progress_begin(&v.progress, "verifying", "receipts", v.n_receipt);
    if (e == OK)
        e = for_each(&v, check);
    progress_end(&v.progress);
    if (e == OK && v.n_receipt > 1)
        term_note("%" PRId64 " receipts, %" PRId64 " tokens", v.n_receipt, v.n_tok);
    if (e == OK)
        e = verdict(&v);
    json_decref(v.ours);
    json_decref(v.adapter);
    prompt_style_release(&v.style);
    load_close(&v.l);
    free(v.name);
    free(v.text);
    return e;
}
