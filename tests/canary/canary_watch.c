/* canary_watch.c - what upstreams and clients are told is searched for canaries, and each one is
 * held against the table: may the labels of those who wrote it go to this model, by this path, in a
 * version of the configuration that was in force? */
#include "canary.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FOUND_MAX = 256 };

/* ---- finding -------------------------------------------------------------------------------- */

static unsigned hex_of(const char *at, int digits)
{
    unsigned v = 0;

    for (int i = 0; i < digits; i++) {
        char c = at[i];
        int d = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 :
                c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
        if (d < 0)
            return UINT32_MAX;
        v = v << 4 | (unsigned)d;
    }
    return v;
}

/* Escapes undone, of JSON in a string too: any number of backslashes before uXXXX. */
static void unescape(struct text *out, const char *bytes, size_t len)
{
    out->len = 0;
    for (size_t i = 0; i < len;) {
        const char *next = memchr(bytes + i, '\\', len - i);
        size_t plain = next ? (size_t)(next - bytes) - i : len - i, k;
        text_add(out, bytes + i, plain);
        i += plain;
        for (k = i; k < len && bytes[k] == '\\'; k++)
            ;
        if (k > i && k + 5 <= len && bytes[k] == 'u' && hex_of(bytes + k + 1, 4) < 0x80) {
            char c = (char)hex_of(bytes + k + 1, 4);
            text_add(out, &c, 1);
            k += 5;
        } else {
            text_add(out, bytes + i, k - i);
        }
        i = k;
    }
}

size_t watch_find(const char *bytes, size_t len, struct found *out, size_t max)
{
    static struct text plain;
    const char *at, *end;
    size_t count = 0;

    unescape(&plain, bytes, len);
    at = plain.at;
    end = at + plain.len;
    while (at && at < end && (at = memmem(at, (size_t)(end - at), "zq7k", 4))) {
        if (end - at >= 14) {
            uint32_t number = hex_of(at + 6, 8);
            bool ours = number >= record_first && number < record_end;
            if (ours && count < max)
                out[count] = (struct found){ number, at[4], at[5] };
            count += ours;
        }
        at += 4;
    }
    return count < max ? count : max;
}

/* ---- upstreams ------------------------------------------------------------------------------ */

static bool has(const char *body, size_t len, const char *what)
{
    return memmem(body, len, what, strlen(what)) != NULL;
}

/* By which path did this come?  A continuation has what was said so far, and who says it. */
static enum kind kind_of(const struct record *r, uint32_t number, enum dialect d, int model,
                         const char *body, size_t len)
{
    char said[32];

    snprintf(said, sizeof(said), "SAID%08x", number);
    if (d == COUNT)
        return COUNTING;
    if (d == EMBEDDINGS)
        return EMBEDDING;
    if (has(body, len, said))
        return CONTINUATION;
    return r->got >> model & 1 ? RETRY : r->got ? FALLBACK : CALL;
}

static bool may_go(uint32_t by, int model, enum kind kind, unsigned labels)
{
    for (int v = record[by - record_first].low; v <= version_high; v++)
        if (plan.allow[v][model][kind][labels])
            return true;
    return false;
}

static int model_in(const char *body, size_t len)
{
    const char *at = memmem(body, len, "\"model\":\"as-m", 13);

    return at && at + 13 < body + len && at[13] >= '0' && at[13] < '0' + MODELS ? at[13] - '0' : -1;
}

/* The request's own labels, and those of whoever else has text in it. */
static unsigned labels_of(const struct found *found, size_t count, uint32_t by)
{
    unsigned labels = record[by - record_first].labels;

    for (size_t i = 0; i < count; i++)
        labels |= record[found[i].number - record_first].labels;
    return labels;
}

static void judge(const struct found *found, size_t count, uint32_t by, int model, enum kind kind)
{
    static const char *const words[] = { "call", "fallback", "retry", "continuation",
                                         "count_tokens", "embeddings" };
    bool may = may_go(by, model, kind, labels_of(found, count, by));
    char where[32];

    snprintf(where, sizeof(where), "m%d by %s", model, words[kind]);
    n.kind[kind]++;
    for (size_t i = 0; i < count; i++) {
        const struct found *f = &found[i];
        n.seen[(unsigned char)f->place]++;
        n.kept += f->place == '2' && f->number != by;
        if (!may || f->place == 'w')
            leak("text", f->number, by, f->place, f->letter, where);
    }
}

int64_t watch_upstream(int upstream, enum dialect d, const char *head, size_t head_len,
                       const char *body, size_t len, int *model)
{
    struct found found[FOUND_MAX];
    size_t count = watch_find(head, head_len, found, FOUND_MAX);
    uint32_t by = record_first;
    struct record *r;
    enum kind kind;

    count += watch_find(body, len, found + count, FOUND_MAX - count);
    n.checked += count;
    *model = model_in(body, len);
    if (!count)
        return -1;
    for (size_t i = 0; i < count; i++)
        by = found[i].number > by ? found[i].number : by;
    r = &record[by - record_first];
    if (*model < 0 || plan.at[*model] != upstream) {
        n.misrouted++;
        leak("misrouted", by, by, '?', '?', "another upstream's model");
        return by;
    }
    kind = kind_of(r, by, d, *model, body, len);
    judge(found, count, by, *model, kind);
    if (r->dialect < DIALECTS)
        n.pair[r->dialect][stand_dialect(upstream)][r->stream]++;
    r->got |= (unsigned char)(1u << *model);
    return by;
}

/* ---- clients -------------------------------------------------------------------------------- */

/* What an error may repeat: of a request with a mistake nothing is known but what it repeats. */
static bool may_echo(const struct record *r, const struct found *f, unsigned labels)
{
    if (r->odd) {
        labels = plan.key[r->key].labels;
        if (f->letter >= 'a' && f->letter <= 'e')
            labels |= 1u << (f->letter - 'a');
    }
    for (int v = r->low; v <= version_high; v++)
        if (plan.error[v][labels])
            return true;
    return false;
}

void watch_client(uint32_t number, int status, const char *head, size_t head_len, const char *body,
                  size_t len)
{
    const struct record *r = &record[number - record_first];
    struct found found[FOUND_MAX];
    size_t count = watch_find(head, head_len, found, FOUND_MAX), notes = status == 200 ? count : 0;

    count += watch_find(body, len, found + count, FOUND_MAX - count);
    n.checked += count;
    for (size_t i = 0; i < count; i++) {
        const struct found *f = &found[i];
        bool answer = f->place >= '1' && f->place <= '3';
        if (f->number != number && f->number != r->parent) {
            n.cross++;
            leak("another's text", f->number, number, f->place, f->letter, "a client");
        } else if (i < notes) {
            n.notes++;                  /* x-croft-note names fields to whoever sent them */
        } else if (!answer) {
            n.echoes++;
            if (!may_echo(r, f, r->labels)) {
                n.echo_caught++;
                leak("text in an error", f->number, number, f->place, f->letter,
                     status == 200 ? "a client, status 200" : "a client");
            }
        }
    }
}
