/* stop_match.c - stop strings in a stream of text: the second half of sampler.h.
 *
 * One Knuth-Morris-Pratt automaton per stop string.  Its state is the length of the longest end
 * of the text that begins the string, so the longest state over all strings is exactly what must
 * be held back: nothing shown can later turn out to be the start of a stop string, and nothing
 * is held longer than needed.  The work is linear in the text for each string.
 */
#include "engine/sampler.h"

#include "base/buf.h"

#include <stdlib.h>
#include <string.h>

struct pattern {
    const char *text;                   /* borrowed from stop_match.text */
    size_t len, state;
    size_t *fail;                       /* [len]: the longest proper border of text[0..i] */
};

struct stop_match {
    struct pattern *pattern;
    int n_pattern;
    struct buf text;                    /* copies of the stop strings, each with its NUL */
    struct buf pending;                 /* shown by the last call, then what is held back */
    size_t n_shown;
    bool hit;
};

static enum err pattern_init(struct pattern *p, const char *text, size_t len)
{
    p->text = text;
    p->len = len;
    p->fail = calloc(len, sizeof(*p->fail));
    if (!p->fail)
        return err_set(ERR_NOMEM, "STOP-01", "out of memory for a stop string of %zu bytes; use a "
                       "shorter --stop", len);
    for (size_t i = 1, k = 0; i < len; i++) {
        while (k && text[i] != text[k])
            k = p->fail[k - 1];
        k += text[i] == text[k];
        p->fail[i] = k;
    }
    return OK;
}

enum err stop_match_new(struct stop_match **out, const char *const *stop, int n_stop)
{
    struct stop_match *m = calloc(1, sizeof(*m));
    enum err e = OK;

    *out = NULL;
    ASSERT(n_stop >= 0);
    if (m)
        m->pattern = calloc((size_t)n_stop + 1, sizeof(*m->pattern));
    if (!m || !m->pattern) {
        e = err_set(ERR_NOMEM, "STOP-02", "out of memory for %d stop strings; use fewer --stop",
                    n_stop);
        goto fail;
    }
    for (int i = 0; i < n_stop; i++) {
        if (!stop[i][0]) {
            e = err_set(ERR_ARG, "STOP-03", "--stop number %d is empty; give at least one "
                        "character, or leave the option out", i + 1);
            goto fail;
        }
        buf_add(&m->text, stop[i], strlen(stop[i]) + 1);
    }
    e = buf_ok(&m->text);
    for (size_t at = 0; !e && m->n_pattern < n_stop; m->n_pattern++) {
        const char *text = m->text.data + at;
        size_t len = strlen(text);

        e = pattern_init(&m->pattern[m->n_pattern], text, len);
        at += len + 1;
    }
    if (e)
        goto fail;
    *out = m;
    return OK;
fail:
    stop_match_free(m);
    return e;
}

void stop_match_free(struct stop_match *m)
{
    if (!m)
        return;
    for (int i = 0; i < m->n_pattern; i++)
        free(m->pattern[i].fail);
    free(m->pattern);
    buf_release(&m->text);
    buf_release(&m->pending);
    free(m);
}

/* Drop what the last call showed. */
static void drop_shown(struct stop_match *m)
{
    size_t rest = m->pending.len - m->n_shown;

    if (m->n_shown && rest)
        memmove(m->pending.data, m->pending.data + m->n_shown, rest);
    buf_cut(&m->pending, rest);
    m->n_shown = 0;
}

/* One byte further.  Returns the length of the longest stop string that ends here, or 0. */
static size_t step(struct stop_match *m, char c)
{
    size_t longest = 0;

    for (int i = 0; i < m->n_pattern; i++) {
        struct pattern *p = &m->pattern[i];

        while (p->state && p->text[p->state] != c)
            p->state = p->fail[p->state - 1];
        p->state += p->text[p->state] == c;
        if (p->state == p->len && p->len > longest)
            longest = p->len;
    }
    return longest;
}

enum err stop_match_push(struct stop_match *m, const char *text, size_t len, const char **shown,
                         size_t *n_shown, bool *hit)
{
    size_t held, hold = 0;
    enum err e;

    *shown = "";
    *n_shown = 0;
    *hit = m->hit;
    drop_shown(m);
    if (m->hit)
        return OK;
    held = m->pending.len;
    buf_add(&m->pending, text, len);
    e = buf_ok(&m->pending);
    if (e)
        return e;
    for (size_t i = 0; i < len && !m->hit; i++) {
        size_t stop_len = step(m, text[i]);

        if (stop_len) {
            m->hit = true;
            buf_cut(&m->pending, held + i + 1 - stop_len);
        }
    }
    for (int i = 0; !m->hit && i < m->n_pattern; i++)
        if (m->pattern[i].state > hold)
            hold = m->pattern[i].state;
    m->n_shown = m->pending.len - hold;
    *shown = buf_text(&m->pending);
    *n_shown = m->n_shown;
    *hit = m->hit;
    return OK;
}

void stop_match_end(struct stop_match *m, const char **shown, size_t *n_shown)
{
    drop_shown(m);
    m->n_shown = m->pending.len;
    *shown = buf_text(&m->pending);
    *n_shown = m->n_shown;
}
