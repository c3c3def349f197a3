/* show_text.c - the report of `croft show` for people: labels, aligned columns, units. */
#include "cmd/show.h"

#include "base/cpu.h"
#include "base/term.h"

#include <string.h>

enum { STRING_SHOWN = 200, ITEMS_SHOWN = 8 };

/* "134.5 M", "671.0 B": how parameters are counted. */
static void put_count(struct buf *b, int64_t n)
{
    if (n >= 999950000)
        buf_printf(b, "%.1f B", (double)n * 1e-9);
    else if (n >= 999950)
        buf_printf(b, "%.1f M", (double)n * 1e-6);
    else if (n >= 10000)
        buf_printf(b, "%.1f k", (double)n * 1e-3);
    else
        buf_printf(b, "%lld", (long long)n);
}

static void label(struct buf *b, const char *name)
{
    buf_printf(b, "%-14s", name);
}

static void put_layers(struct buf *b, const struct model_info *m)
{
    label(b, "Layers");
    buf_printf(b, "%d", m->n_layer);
    if (m->n_layer_mtp)
        buf_printf(b, " + %d for multi-token prediction", m->n_layer_mtp);
    buf_printf(b, ", width %d, heads %d", m->n_embd, m->n_head);
    if (m->mla)
        buf_puts(b, ", latent attention (MLA)\n");
    else
        buf_printf(b, " (%d for keys and values)\n", m->n_head_kv);
}

static void put_model(struct buf *b, const struct show *s)
{
    const struct model_info *m = &s->info;

    label(b, "Architecture");
    term_shown(b, m->arch, strlen(m->arch));
    if (*m->name) {
        buf_puts(b, ", ");
        term_shown(b, m->name, strlen(m->name));
    }
    buf_printf(b, " (%s)\n", s->w->container);
    if (!s->m) {
        label(b, "");
        buf_puts(b, "cannot be run: ");
        term_shown(b, s->model_error.text, strlen(s->model_error.text));
        buf_printf(b, " [E-%s]\n", s->model_error.id);
    }
    label(b, "Parameters");
    put_count(b, m->n_param);
    if (m->n_param_active) {
        buf_puts(b, ", ");
        put_count(b, m->n_param_active);
        buf_puts(b, " active");
    }
    if (m->n_param_mtp) {
        buf_puts(b, ", and ");
        put_count(b, m->n_param_mtp);
        buf_puts(b, " for multi-token prediction");
    }
    buf_puts(b, "\n");
    if (m->n_layer)
        put_layers(b, m);
    if (m->n_expert) {
        label(b, "Experts");
        buf_printf(b, "%d, %d used per token, %d shared\n", m->n_expert, m->n_expert_used,
                   m->n_expert_shared);
    }
    if (m->n_ctx_train) {
        label(b, "Context");
        buf_printf(b, "%lld tokens\n", (long long)m->n_ctx_train);
    }
}

static void put_tensors(struct buf *b, const struct show *s)
{
    label(b, "Tensors");
    if (!s->w->n_tensor) {
        buf_puts(b, "none\n");
        return;
    }
    buf_printf(b, "%llu, ", (unsigned long long)s->w->n_tensor);
    term_bytes(b, s->bytes_total);
    buf_puts(b, "\n");
    buf_printf(b, "  %-12s %-9s %7s %12s %10s\n", "class", "type", "count", "parameters", "size");
    for (int c = 0; c < CLASS_COUNT; c++) {
        for (int q = 0; q < QTYPE_COUNT; q++) {
            const struct class_sum *sum = &s->sum[c][q];
            struct buf n = { 0 }, size = { 0 };
            if (!sum->count)
                continue;
            put_count(&n, (int64_t)sum->elems);
            term_bytes(&size, sum->bytes);
            buf_printf(b, "  %-12s %-9s %7llu %12s %10s\n", tensor_class_name[c],
                       qtype_info[q].name, (unsigned long long)sum->count, buf_text(&n),
                       buf_text(&size));
            buf_release(&n);
            buf_release(&size);
        }
    }
}

static void put_memory(struct buf *b, const struct show *s)
{
    struct machine machine;

    label(b, "Memory");
    buf_puts(b, "weights ");
    term_bytes(b, s->bytes_total);
    buf_puts(b, "\n");
    if (s->m) {
        label(b, "");
        buf_printf(b, "KV cache at %lld tokens:", (long long)s->ctx);
        for (int i = 0; i < KV_TYPES; i++) {
            uint64_t bytes = show_kv_bytes(s, show_kv_type[i]);
            if (!bytes)
                continue;
            buf_printf(b, "%s %s ", i ? "," : "", qtype_info[show_kv_type[i]].name);
            term_bytes(b, bytes);
        }
        buf_puts(b, "\n");
    }
    machine_detect(&machine);
    label(b, "");
    buf_puts(b, "available here: ");
    term_bytes(b, machine.mem_available);
    if (s->bytes_total > machine.mem_available) {
        buf_puts(b, ", ");
        term_bytes(b, s->bytes_total - machine.mem_available);
        buf_puts(b, " less than the weights: they would be read from disk again and again");
    }
    buf_puts(b, "\n");
}

static void put_token(struct buf *b, const struct tokenizer *t, int32_t id)
{
    char text[TOKEN_BYTES_MAX];
    size_t n;

    if (id < 0) {
        buf_puts(b, "none");
        return;
    }
    n = tokenizer_bytes(t, id, true, text, sizeof(text));
    buf_printf(b, "%d ", id);
    term_shown(b, text, n);
}

static void put_chat(struct buf *b, const struct chat_info *chat)
{
    buf_printf(b, "%s%s: ", chat_format_name(chat->format),
               chat->format == CHAT_TEMPLATE ? " (interpreted)" : "");
    term_shown(b, chat->why, strlen(chat->why));
    if (chat->tools || chat->calls)
        buf_puts(b, chat->tools ? "; has tools" : "; has tool calls, no tool definitions");
    buf_puts(b, "\n");
}

static void put_tokenizer(struct buf *b, const struct show *s)
{
    label(b, "Tokenizer");
    if (!s->t) {
        term_shown(b, s->tokenizer_error.text, strlen(s->tokenizer_error.text));
        buf_printf(b, " [E-%s]\n", s->tokenizer_error.id);
    } else {
        const struct tokenizer_info *t = tokenizer_info(s->t);
        term_shown(b, t->model, strlen(t->model));
        if (*t->pre) {
            buf_puts(b, ", ");
            term_shown(b, t->pre, strlen(t->pre));
        }
        buf_printf(b, ", %d tokens, %d added\n", t->n_vocab, t->n_added);
        label(b, "");
        buf_puts(b, "begins with ");
        put_token(b, s->t, t->bos);
        buf_puts(b, t->add_bos ? "" : " (not added by itself)");
        buf_puts(b, "; ends with");
        for (int32_t id = show_next_end(s, -1), n = 0; id >= 0; id = show_next_end(s, id), n++) {
            buf_puts(b, n ? ", " : " ");
            put_token(b, s->t, id);
        }
        buf_puts(b, "\n");
    }
    label(b, "Chat format");
    put_chat(b, chat_info(s->chat));
}

static void put_string(struct buf *b, const char *text, size_t len)
{
    size_t n = len, start = b->len;

    if (n > STRING_SHOWN)               /* not in the middle of a character */
        for (n = STRING_SHOWN; n && ((unsigned char)text[n] & 0xc0) == 0x80; n--)
            ;
    term_shown(b, text, n);
    for (size_t i = start; i < b->len; i++)
        if (b->data[i] == '\n')
            b->data[i] = ' ';
    if (n < len)
        buf_puts(b, "...");
}

static void put_meta(struct buf *b, const struct meta *m)
{
    struct meta_cursor cursor = { 0 };
    uint64_t n = m->n < ITEMS_SHOWN ? m->n : ITEMS_SHOWN;
    const char *text;
    size_t len;

    for (uint64_t i = 0; i < n; i++) {
        if (i)
            buf_puts(b, ", ");
        switch (m->type) {
        case META_BOOL:   buf_puts(b, m->raw[i] ? "true" : "false"); break;
        case META_UINT:   buf_printf(b, "%llu", (unsigned long long)meta_uint(m, i)); break;
        case META_INT:    buf_printf(b, "%lld", (long long)meta_int(m, i)); break;
        case META_FLOAT:  buf_printf(b, "%g", meta_float(m, i)); break;
        case META_STRING:
            if (meta_next_str(m, &cursor, &text, &len))
                put_string(b, text, len);
        }
    }
    if (n < m->n)
        buf_printf(b, " and %llu more", (unsigned long long)(m->n - n));
}

static void put_provenance(struct buf *b, const struct show *s)
{
    bool any = false;

    for (uint64_t i = 0; i < s->w->n_meta; i++) {
        const struct meta *m = &s->w->meta[i];
        if (!show_is_provenance(m))
            continue;
        if (!any)
            buf_puts(b, "Provenance and licence, as the file says\n");
        any = true;
        buf_puts(b, "  ");
        term_shown(b, m->key, strlen(m->key));
        buf_printf(b, "%*s ", (int)(strlen(m->key) < 34 ? 34 - strlen(m->key) : 0), "");
        put_meta(b, m);
        buf_puts(b, "\n");
    }
    if (!any)
        buf_puts(b, "Provenance    the file says nothing\n");
}

static void put_files(struct buf *b, const struct show *s)
{
    buf_printf(b, "Files\n");
    for (int i = 0; i < s->w->n_file; i++) {
        struct buf size = { 0 };
        term_bytes(&size, s->w->file[i].bytes);
        buf_printf(b, "  %10s  ", buf_text(&size));
        term_shown(b, s->w->file[i].path, strlen(s->w->file[i].path));
        if (s->sha256)
            buf_printf(b, "\n              sha256 %s", s->sha256[i]);
        buf_puts(b, "\n");
        buf_release(&size);
    }
}

static void put_check(struct buf *b, const struct show *s)
{
    const struct check_result *c = s->check;

    buf_puts(b, "Check\n");
    for (int i = 0; i < CLASS_COUNT; i++)
        if (c->seen[i])
            buf_printf(b, "  %-12s %12.5g to %.5g\n", tensor_class_name[i], (double)c->min[i],
                       (double)c->max[i]);
    for (uint64_t i = 0; i < c->n_bad && i < BAD_MAX; i++) {
        buf_puts(b, "  NOT FINITE   ");
        term_shown(b, c->bad[i].name, strlen(c->bad[i].name));
        buf_printf(b, ", row %lld first, %lld rows\n", (long long)c->bad[i].first_row,
                   (long long)c->bad[i].n_row);
    }
    if (c->n_bad > BAD_MAX)
        buf_printf(b, "  and %llu more tensors\n", (unsigned long long)(c->n_bad - BAD_MAX));
    if (!c->n_bad)
        buf_puts(b, "  every value is finite\n");
}

void show_text(const struct show *s, struct buf *out)
{
    put_model(out, s);
    put_tensors(out, s);
    put_memory(out, s);
    put_tokenizer(out, s);
    put_provenance(out, s);
    put_files(out, s);
    if (s->check)
        put_check(out, s);
}
