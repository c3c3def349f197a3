/* state.c - writes a session down, and fills one from a file.
 *
 * Both directions walk the same lists: walk_header() for the fields, each_run() for the KV.  A
 * file is read into a session of its own, straight into its pages, and takes the place of the
 * caller's session at the very end. */
#include "engine/state.h"

#include "base/ck.h"
#include "base/file.h"
#include "base/sha256.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the file is little-endian");

enum { MAGIC_BYTES = 8, MODEL_NAME_BYTES = 64, CHUNK_BYTES = 1 << 20 };
static const char magic[MAGIC_BYTES] = { 'C', 'R', 'O', 'F', 'T', 'S', 'T', '\n' };

enum section { TOKENS, LOGITS, TEXT, PAGES, SECTIONS };
static const char *const section_name[SECTIONS] = { "tokens", "logits", "text", "KV pages" };

struct header {
    char magic[MAGIC_BYTES];
    uint32_t version, header_bytes;
    uint64_t file_bytes;
    uint8_t model[MODEL_IDENTITY_BYTES], adapter[SHA256_BYTES];
    char model_name[MODEL_NAME_BYTES], kv_type[STATE_NAME_BYTES], isa[STATE_NAME_BYTES];
    uint32_t exact, page_tok, n_layer, n_vocab;
    uint64_t page_bytes, row_bytes[KV_SEGS_MAX];
    uint64_t n_tok, n_logits, text_bytes;
};

struct walk { uint8_t *at; bool write; };

static void field(struct walk *w, void *value, size_t bytes)
{
    memcpy(w->write ? w->at : value, w->write ? value : w->at, bytes);
    w->at += bytes;
}

/* The header's fields in the order of the file; returns how many bytes they take. */
static size_t walk_header(struct header *h, uint8_t *raw, bool write)
{
    struct walk w = { raw, write };

    field(&w, h->magic, sizeof(h->magic));
    field(&w, &h->version, 4);
    field(&w, &h->header_bytes, 4);
    field(&w, &h->file_bytes, 8);
    field(&w, h->model, sizeof(h->model));
    field(&w, h->adapter, sizeof(h->adapter));
    field(&w, h->model_name, sizeof(h->model_name));
    field(&w, h->kv_type, sizeof(h->kv_type));
    field(&w, h->isa, sizeof(h->isa));
    field(&w, &h->exact, 4);
    field(&w, &h->page_tok, 4);
    field(&w, &h->n_layer, 4);
    field(&w, &h->n_vocab, 4);
    field(&w, &h->page_bytes, 8);
    for (int s = 0; s < KV_SEGS_MAX; s++)
        field(&w, &h->row_bytes[s], 8);
    field(&w, &h->n_tok, 8);
    field(&w, &h->n_logits, 8);
    field(&w, &h->text_bytes, 8);
    return (size_t)(w.at - raw);
}

/* The bytes of each section and of the file; false when they do not fit 64 bits. */
static bool sizes(const struct header *h, uint64_t bytes[SECTIONS], uint64_t *total)
{
    uint64_t tok = 0;

    if (!ck_mul(&bytes[TOKENS], h->n_tok, 5) || !ck_mul(&bytes[LOGITS], h->n_logits, 4))
        return false;
    bytes[TEXT] = h->text_bytes;
    for (int s = 0; s < KV_SEGS_MAX; s++)
        if (!ck_add(&tok, tok, h->row_bytes[s]))
            return false;
    if (!ck_mul(&tok, tok, h->n_layer) || !ck_mul(&bytes[PAGES], tok, h->n_tok))
        return false;
    *total = STATE_HEADER_BYTES;
    for (int s = 0; s < SECTIONS; s++)
        if (!ck_add(total, *total, bytes[s]) || !ck_add(total, *total, SHA256_BYTES))
            return false;
    return true;
}

/* What a file of this session says, or must say. */
static enum err describe(struct header *h, const struct session *s, const struct state_extra *x,
                         uint64_t text_bytes)
{
    struct session_parts p = session_parts(s);
    const struct model_info *info = model_info(p.model);
    const struct kv_spec *spec = model_kv_spec(p.model);
    uint64_t bytes[SECTIONS];
    enum err e;

    *h = (struct header){
        .version = STATE_VERSION, .header_bytes = STATE_HEADER_BYTES, .exact = x->exact,
        .page_tok = KV_PAGE_TOK, .n_layer = (uint32_t)spec->n_layer,
        .n_vocab = (uint32_t)info->n_vocab, .page_bytes = spec->page_bytes,
        .n_tok = (uint64_t)session_len(s),
        .n_logits = p.has_logits ? (uint64_t)info->n_vocab : 0, .text_bytes = text_bytes,
    };
    memcpy(h->magic, magic, sizeof(magic));
    memcpy(h->row_bytes, spec->row_bytes, sizeof(h->row_bytes));
    if (x->adapter)
        memcpy(h->adapter, x->adapter, sizeof(h->adapter));
    snprintf(h->model_name, sizeof(h->model_name), "%s", info->name);
    /* as --kv-type takes it */
    snprintf(h->kv_type, sizeof(h->kv_type), "%s", qtype_info[spec->type].name);
    for (char *c = h->kv_type; *c; c++)
        *c = (char)tolower((unsigned char)*c);
    snprintf(h->isa, sizeof(h->isa), "%s", x->isa);
    e = model_identity(p.model, h->model);
    ASSERT(sizes(h, bytes, &h->file_bytes));
    return e;
}

/* --- bytes in and out ------------------------------------------------------------------- */

/* A file being written (out) or read (fd); the digest is that of the section so far. */
struct flow {
    const char *path;
    FILE *out;
    int fd;
    uint64_t at, total;
    struct sha256 hash;
    const struct state_extra *x;
};

static enum err no_memory(const struct flow *f)
{
    return err_set(ERR_NOMEM, "STATE-01", "%s: no memory for its checksums; close other programs",
                   f->path);
}

static enum err begin_section(struct flow *f)
{
    sha256_release(&f->hash);
    return sha256_init(&f->hash) ? OK : no_memory(f);
}

static enum err write_bytes(const struct flow *f, const uint8_t *bytes, size_t n)
{
    if (fwrite(bytes, 1, n, f->out) == n)
        return OK;
    return err_set(ERR_IO, "STATE-02", "%s: writing failed at byte %" PRIu64 " of %" PRIu64 ": %s; "
                   "make room on the disk and save again", f->path, f->at, f->total,
                   strerror(errno));
}

static enum err read_bytes(const struct flow *f, uint8_t *bytes, size_t n)
{
    for (size_t done = 0; done < n;) {
        ssize_t got = pread(f->fd, bytes + done, n - done, (off_t)(f->at + done));
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return err_set(ERR_IO, "STATE-03", "%s: cannot be read at byte %" PRIu64 ": %s; check "
                           "the disk it is on", f->path, f->at + done,
                           got ? strerror(errno) : "it was cut short while it was read");
        done += (size_t)got;
    }
    return OK;
}

/* Move bytes of a section between memory and the file, in pieces that can be stopped between. */
static enum err move(struct flow *f, void *bytes, uint64_t n)
{
    enum err e = OK;

    for (uint64_t done = 0; done < n && e == OK;) {
        size_t todo = n - done < CHUNK_BYTES ? (size_t)(n - done) : CHUNK_BYTES;
        uint8_t *at = (uint8_t *)bytes + done;
        if (f->x->progress && !f->x->progress(f->x->arg, (int64_t)f->at, (int64_t)f->total))
            return err_set(ERR_STOPPED, "STATE-04", "%s: stopped at byte %" PRIu64 " of %" PRIu64
                           "; nothing was changed", f->path, f->at, f->total);
        e = f->out ? write_bytes(f, at, todo) : read_bytes(f, at, todo);
        if (e == OK && !sha256_add(&f->hash, at, todo))
            e = no_memory(f);
        f->at += todo;
        done += todo;
    }
    return e;
}

static enum err end_section(struct flow *f, enum section section)
{
    uint8_t want[SHA256_BYTES], got[SHA256_BYTES];
    enum err e;

    if (!sha256_finish(&f->hash, want))
        return no_memory(f);
    e = f->out ? write_bytes(f, want, sizeof(want)) : read_bytes(f, got, sizeof(got));
    f->at += sizeof(want);
    if (e == OK && !f->out && memcmp(want, got, sizeof(want)) != 0)
        return err_set(ERR_FORMAT, "STATE-05", "%s: its %s are damaged: the checksum before byte "
                       "%" PRIu64 " does not match; take a copy that is whole, or let the "
                       "conversation be read again", f->path, section_name[section], f->at);
    return e;
}

/* The KV rows of n tokens in runs: whole pages, then the last one's segments. */
static enum err move_pages(struct flow *f, const struct session_parts *p, int64_t n)
{
    const struct kv_spec *spec = model_kv_spec(p->model);
    uint64_t left = (uint64_t)(n % KV_PAGE_TOK);
    int64_t whole = n / KV_PAGE_TOK;
    enum err e = OK;

    for (int64_t i = 0; i < whole && e == OK; i++)
        e = move(f, p->kv->page[i], spec->page_bytes);
    if (!left || e != OK)
        return e;
    uint8_t *at = p->kv->page[whole];
    for (int32_t l = 0; l < spec->n_layer; l++)
        for (int s = 0; s < KV_SEGS_MAX && e == OK; s++) {
            e = move(f, at, left * spec->row_bytes[s]);
            at += KV_PAGE_TOK * spec->row_bytes[s];
        }
    return e;
}

static enum err move_tokens(struct flow *f, const struct session_parts *p, uint64_t n)
{
    enum err e = begin_section(f);

    if (e == OK)
        e = move(f, p->token, n * 4);
    if (e == OK)
        e = move(f, p->kind, n);
    return e == OK ? end_section(f, TOKENS) : e;
}

static enum err move_section(struct flow *f, void *bytes, uint64_t n, enum section section)
{
    enum err e = begin_section(f);

    if (e == OK)
        e = move(f, bytes, n);
    return e == OK ? end_section(f, section) : e;
}

/* --- saving ----------------------------------------------------------------------------- */

static enum err write_header(struct flow *f, struct header *h)
{
    uint8_t raw[STATE_HEADER_BYTES] = { 0 };
    enum err e = begin_section(f);

    ASSERT(walk_header(h, raw, true) <= STATE_HEADER_BYTES - SHA256_BYTES);
    if (e == OK && (!sha256_add(&f->hash, raw, STATE_HEADER_BYTES - SHA256_BYTES) ||
                    !sha256_finish(&f->hash, raw + STATE_HEADER_BYTES - SHA256_BYTES)))
        e = no_memory(f);
    if (e == OK)
        e = write_bytes(f, raw, sizeof(raw));
    f->at = sizeof(raw);
    return e;
}

static enum err write_all(struct flow *f, struct header *h, const struct session *s,
                          const char *text)
{
    struct session_parts p = session_parts(s);
    enum err e = write_header(f, h);

    if (e == OK)
        e = move_tokens(f, &p, h->n_tok);
    if (e == OK)
        e = move_section(f, p.logits, h->n_logits * 4, LOGITS);
    if (e == OK)
        e = move_section(f, (void *)(uintptr_t)text, h->text_bytes, TEXT);
    if (e == OK)
        e = begin_section(f);
    if (e == OK)
        e = move_pages(f, &p, session_len(s));
    return e == OK ? end_section(f, PAGES) : e;
}

enum err session_save(const struct session *s, const char *path, const struct state_extra *x,
                      const char *text, size_t len, uint64_t *bytes)
{
    struct flow f = { .path = path, .fd = -1, .x = x };
    struct file_new file = { 0 };
    struct header h;
    enum err e;

    if (bytes)
        *bytes = 0;
    if (len > STATE_TEXT_MAX)
        return err_set(ERR_LIMIT, "STATE-06", "%s: the conversation's text has %zu bytes and at "
                       "most %d can be saved with it; begin a new one", path, len, STATE_TEXT_MAX);
    if ((e = describe(&h, s, x, len)) || (e = file_new_open(&file, path)))
        return e;
    f.out = file.out;
    f.total = h.file_bytes;
    e = write_all(&f, &h, s, text);
    sha256_release(&f.hash);
    if (e == OK) {
        ASSERT(f.at == f.total);
        e = file_new_commit(&file);
    }
    file_new_abort(&file);
    if (e == OK && bytes)
        *bytes = h.file_bytes;
    return e;
}

/* --- loading ---------------------------------------------------------------------------- */

/* A name from a file, for a sentence: printable ASCII, at least one character. */
static const char *shown(char *name, size_t cap)
{
    name[cap - 1] = '\0';
    for (char *c = name; *c; c++)
        if (*c < ' ' || *c > '~')
            *c = '?';
    return *name ? name : "(no name)";
}

static enum err cut_short(const char *path, uint64_t has, uint64_t needs)
{
    return err_set(ERR_FORMAT, "STATE-10", "%s: cut short: it has %" PRIu64 " bytes and needs %"
                   PRIu64 "; copy it again, or let the conversation be read again", path, has,
                   needs);
}

static enum err read_header(struct header *h, struct flow *f)
{
    uint8_t raw[STATE_HEADER_BYTES], sum[SHA256_BYTES];
    size_t n = f->total < sizeof(raw) ? (size_t)f->total : sizeof(raw);
    size_t least = MAGIC_BYTES + 4;
    enum err e = read_bytes(f, raw, n);

    if (e != OK)
        return e;
    if (memcmp(raw, magic, n < MAGIC_BYTES ? n : MAGIC_BYTES) != 0 || n == 0)
        return err_set(ERR_FORMAT, "STATE-11", "%s: not a saved conversation with its KV; name a "
                       "file that /save or --save-state wrote", f->path);
    if (n < least)
        return cut_short(f->path, n, STATE_HEADER_BYTES);
    memcpy(&h->version, raw + MAGIC_BYTES, 4);
    if (h->version != STATE_VERSION)
        return err_set(ERR_FORMAT, "STATE-12", "%s: format version %u, and this croft reads "
                       "version %d; use the croft that wrote it, or save the conversation again",
                       f->path, h->version, STATE_VERSION);
    if (n < sizeof(raw))
        return cut_short(f->path, n, STATE_HEADER_BYTES);
    e = begin_section(f);
    if (e == OK && (!sha256_add(&f->hash, raw, sizeof(raw) - SHA256_BYTES) ||
                    !sha256_finish(&f->hash, sum)))
        e = no_memory(f);
    if (e != OK)
        return e;
    if (memcmp(sum, raw + sizeof(raw) - SHA256_BYTES, SHA256_BYTES) != 0)
        return err_set(ERR_FORMAT, "STATE-13", "%s: its header is damaged: the checksum does not "
                       "match; take a copy that is whole, or let the conversation be read again",
                       f->path);
    walk_header(h, raw, false);
    f->at = sizeof(raw);
    return OK;
}

static enum err check_adapter(const char *path, const struct header *h, const struct header *want)
{
    static const uint8_t none[SHA256_BYTES];
    bool had = memcmp(h->adapter, none, sizeof(none)) != 0;
    bool has = memcmp(want->adapter, none, sizeof(none)) != 0;

    if (!memcmp(h->adapter, want->adapter, sizeof(none)))
        return OK;
    if (!had)
        return err_set(ERR_ARG, "STATE-14", "%s: saved without an adapter, and this run has one; "
                       "leave --lora out", path);
    return err_set(ERR_ARG, "STATE-15", "%s: saved with %s (identity %02x%02x%02x%02x...); give "
                   "each --lora as it was then, with its scale, in the same order", path,
                   has ? "another adapter or scale" : "an adapter", h->adapter[0], h->adapter[1],
                   h->adapter[2], h->adapter[3]);
}

/* Who computed it: the same model with the same adapter and KV type. */
static enum err check_origin(const char *path, struct header *h, const struct header *want)
{
    enum err e;

    if (memcmp(h->model, want->model, sizeof(h->model)) != 0)
        return err_set(ERR_ARG, "STATE-16", "%s: saved with another model, %s (its identity begins "
                       "with %02x%02x%02x%02x, this model's with %02x%02x%02x%02x); give the model "
                       "it was saved with", path, shown(h->model_name, sizeof(h->model_name)),
                       h->model[0], h->model[1], h->model[2], h->model[3], want->model[0],
                       want->model[1], want->model[2], want->model[3]);
    if ((e = check_adapter(path, h, want)))
        return e;
    if (memcmp(h->kv_type, want->kv_type, sizeof(h->kv_type)) != 0)
        return err_set(ERR_ARG, "STATE-17", "%s: its KV cache is %s and this run keeps %s; give "
                       "--kv-type %s%s", path, shown(h->kv_type, sizeof(h->kv_type)),
                       want->kv_type, h->kv_type, want->exact ? " and leave --exact out" : "");
    return OK;
}

static enum err check_number(const char *path, const char *name, uint64_t has, uint64_t want)
{
    if (has == want)
        return OK;
    return err_set(ERR_ARG, "STATE-18", "%s: %s is %" PRIu64 " and this croft has %" PRIu64 " for "
                   "this model; use the croft that wrote it, or let the conversation be read again",
                   path, name, has, want);
}

/* The layer for multi-token prediction has KV too, where --draft uses it. */
static enum err check_mtp(const char *path, const struct header *h, const struct model *m)
{
    uint32_t with = (uint32_t)model_info(m)->n_layer + 1, without = with - 1;
    bool own = model_info(m)->mtp;

    if (!model_info(m)->n_layer_mtp || h->n_layer != (own ? without : with))
        return OK;
    return err_set(ERR_ARG, "STATE-30", "%s: was saved %s the model's layer for multi-token "
                   "prediction, and this run is %s it; use --draft %s", path,
                   own ? "without" : "with", own ? "with" : "without", own ? "off" : "auto");
}

static enum err check_layout(const char *path, const struct header *h, const struct header *want)
{
    const struct { const char *name; uint64_t has, want; } number[] = {
        { "header_bytes", h->header_bytes, want->header_bytes },
        { "page_tok", h->page_tok, want->page_tok },
        { "n_layer", h->n_layer, want->n_layer },
        { "n_vocab", h->n_vocab, want->n_vocab },
        { "page_bytes", h->page_bytes, want->page_bytes },
        { "row_bytes[0]", h->row_bytes[0], want->row_bytes[0] },
        { "row_bytes[1]", h->row_bytes[1], want->row_bytes[1] },
    };
    enum err e = OK;

    for (size_t i = 0; i < sizeof(number) / sizeof(*number) && e == OK; i++)
        e = check_number(path, number[i].name, number[i].has, number[i].want);
    return e;
}

/* The counts against each other, the file and the context. */
static enum err check_counts(const struct flow *f, struct header *h, int64_t n_ctx)
{
    uint64_t bytes[SECTIONS], total;

    if (h->file_bytes > f->total)
        return cut_short(f->path, f->total, h->file_bytes);
    if (h->exact > 1 || (h->n_logits && (h->n_logits != h->n_vocab || !h->n_tok)))
        return err_set(ERR_FORMAT, "STATE-19", "%s: impossible numbers in its header (exact %u, "
                       "n_logits %" PRIu64 " of %u, n_tok %" PRIu64 "); save the conversation "
                       "again", f->path, h->exact, h->n_logits, h->n_vocab, h->n_tok);
    if (!sizes(h, bytes, &total) || total != h->file_bytes || total != f->total)
        return err_set(ERR_FORMAT, "STATE-20", "%s: has %" PRIu64 " bytes, says it has %" PRIu64
                       ", and its counts (n_tok %" PRIu64 ", text_bytes %" PRIu64 ") make another "
                       "number; take a copy that is whole", f->path, f->total, h->file_bytes,
                       h->n_tok, h->text_bytes);
    if (h->text_bytes > STATE_TEXT_MAX)
        return err_set(ERR_LIMIT, "STATE-21", "%s: its text has %" PRIu64 " bytes and at most %d "
                       "are read; it was not written by croft", f->path, h->text_bytes,
                       STATE_TEXT_MAX);
    if (h->n_tok > (uint64_t)n_ctx)
        return err_set(ERR_LIMIT, "STATE-22", "%s: holds %" PRIu64 " tokens and the context %"
                       PRId64 "; give --ctx-size %" PRIu64, f->path, h->n_tok, n_ctx,
                       h->n_tok + 256);
    return OK;
}

static enum err check_tokens(const char *path, const struct session_parts *p,
                             const struct header *h)
{
    for (uint64_t i = 0; i < h->n_tok; i++) {
        if (p->token[i] < 0 || (uint32_t)p->token[i] >= h->n_vocab)
            return err_set(ERR_FORMAT, "STATE-23", "%s: token %" PRIu64 " has the id %d, outside "
                           "the vocabulary of %u; save the conversation again", path, i,
                           p->token[i], h->n_vocab);
        if (p->kind[i] != TOK_PROMPT && p->kind[i] != TOK_SAMPLED)
            return err_set(ERR_FORMAT, "STATE-24", "%s: token %" PRIu64 " has the kind %d, which "
                           "does not exist; save the conversation again", path, i, p->kind[i]);
    }
    for (uint64_t i = 0; i < h->n_logits; i++)
        if (!isfinite(p->logits[i]))
            return err_set(ERR_FORMAT, "STATE-25", "%s: logit %" PRIu64 " is not a finite number; "
                           "save the conversation again", path, i);
    return OK;
}

static enum err read_text(struct flow *f, uint64_t n, state_text_fn *accept, void *arg)
{
    char *text = malloc((size_t)n + 1);
    enum err e;

    if (!text)
        return err_set(ERR_NOMEM, "STATE-26", "%s: no memory for its text of %" PRIu64 " bytes; "
                       "close other programs", f->path, n);
    e = move_section(f, text, n, TEXT);
    text[n] = '\0';
    if (e == OK && accept)
        e = accept(arg, text, (size_t)n);
    free(text);
    return e;
}

/* Everything behind the header, into an empty session. */
static enum err read_all(struct flow *f, struct session *s, const struct header *h,
                         state_text_fn *accept, void *arg)
{
    struct session_parts p = session_parts(s);
    enum err e = move_tokens(f, &p, h->n_tok);

    if (e == OK)
        e = move_section(f, p.logits, h->n_logits * 4, LOGITS);
    if (e == OK)
        e = check_tokens(f->path, &p, h);
    if (e == OK)
        e = read_text(f, h->text_bytes, accept, arg);
    if (e == OK)
        e = begin_section(f);
    if (e == OK)
        e = move_pages(f, &p, (int64_t)h->n_tok);
    if (e == OK)
        e = end_section(f, PAGES);
    if (e == OK)
        session_filled(s, (int64_t)h->n_tok, h->n_logits > 0);
    return e;
}

static enum err load(struct flow *f, struct session *s, state_text_fn *accept, void *arg,
                     struct state_loaded *out)
{
    struct session *fresh = NULL;
    struct header h = { 0 }, want;
    enum err e = describe(&want, s, f->x, 0);

    if (e == OK)
        e = read_header(&h, f);
    if (e == OK)
        e = check_origin(f->path, &h, &want);
    if (e == OK)
        e = check_mtp(f->path, &h, session_parts(s).model);
    if (e == OK)
        e = check_layout(f->path, &h, &want);
    if (e == OK)
        e = check_counts(f, &h, session_ctx(s));
    if (e == OK)
        e = session_new_like(&fresh, s);
    if (e == OK)
        e = read_all(f, fresh, &h, accept, arg);
    if (e == OK) {
        session_swap(s, fresh);
        *out = (struct state_loaded){ .n_tok = (int64_t)h.n_tok, .bytes = f->total,
                                      .exact = h.exact };
        snprintf(out->isa, sizeof(out->isa), "%.*s", STATE_NAME_BYTES - 1,
                 shown(h.isa, sizeof(h.isa)));
        out->other_arith = h.exact != want.exact || strcmp(out->isa, want.isa) != 0;
    }
    session_free(fresh);
    return e;
}

enum err session_load(struct session *s, const char *path, const struct state_extra *x,
                      state_text_fn *accept, void *accept_arg, struct state_loaded *out)
{
    struct file_map file;
    struct flow f = { .path = path, .x = x };
    enum err e;

    *out = (struct state_loaded){ 0 };
    /* The map is not read: a page that went away would end the program, a short read does not. */
    if ((e = file_map_open(&file, path, false)))
        return e;
    f.fd = file.fd;
    f.total = file.bytes;
    e = load(&f, s, accept, accept_arg, out);
    sha256_release(&f.hash);
    file_map_close(&file);
    return e;
}

bool state_is(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    char begin[MAGIC_BYTES];
    bool is = fd >= 0 && read(fd, begin, sizeof(begin)) == sizeof(begin) &&
              !memcmp(begin, magic, sizeof(magic));

    if (fd >= 0)
        close(fd);
    return is;
}
