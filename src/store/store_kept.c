/* store_kept.c - what is kept aside, on its way to the ledger and back; see store.h.
 *
 * Rows are put by the store's thread in the batches of everything else, and read there.  A lost one
 * is no error for anybody, so nothing is tried twice, and no more waits than STORE_KEEP_BYTES. */
#include "store/store_form.h"

#include "base/arena.h"

#include <stdlib.h>
#include <string.h>

struct keep_job { struct job job; struct kept_row row; size_t bytes; char text[]; };

struct fetch_job {
    struct job job;
    store_kept_fn *fn;
    void *arg;
    struct arena arena;                 /* of the rows' texts */
    struct kept_row row[STORE_FETCH_ROWS_MAX];
    int n_row, n;
    char key[LEDGER_NAME_MAX + 1];
    char name[][KEPT_NAME_BYTES];
};

/* ---- the caller's side ---------------------------------------------------------------------- */

static void kept(struct outbox_item *item)
{
    struct keep_job *j = (struct keep_job *)item;

    j->job.store->keep_bytes -= j->bytes;
    if (j->job.fn)
        j->job.fn(j->job.arg, j->job.why.code ? err_restore(&j->job.why) : OK);
    free(j);
}

static const char *copy(char **at, const char *text)
{
    size_t n = strlen(text) + 1;
    char *to = memcpy(*at, text, n);

    *at += n;
    return to;
}

enum err store_keep(struct store *s, const struct kept_row *row, store_fn *fn, void *arg)
{
    size_t bytes = strlen(row->key) + strlen(row->name) + strlen(row->upstream) +
                   strlen(row->seal_key) + strlen(row->sealed) + 5;
    struct keep_job *j;
    enum err e;
    char *at;

    if (strlen(row->sealed) > KEPT_ROW_BYTES_MAX)
        return err_set(ERR_LIMIT, "STORE-13", "a turn of %zu sealed bytes is too large for the "
                       "ledger", strlen(row->sealed));
    if (s->keep_bytes + bytes > STORE_KEEP_BYTES)
        return err_set(ERR_BUSY, "STORE-10", "%d MiB wait to be kept aside already",
                       STORE_KEEP_BYTES >> 20);
    if (!(j = calloc(1, sizeof(*j) + bytes)))
        return err_set(ERR_NOMEM, "STORE-11", "no memory to keep a turn aside");
    at = j->text;
    j->bytes = bytes;
    j->row = (struct kept_row){
        .key = copy(&at, row->key), .name = copy(&at, row->name),
        .upstream = copy(&at, row->upstream), .seal_key = copy(&at, row->seal_key),
        .sealed = copy(&at, row->sealed), .expires_ms = row->expires_ms,
    };
    j->job = (struct job){ .kind = JOB_KEEP, .item.run = kept, .fn = fn, .arg = arg };
    if ((e = store_enqueue(s, &j->job)))
        free(j);
    else
        s->keep_bytes += bytes;
    return e;
}

static void fetched(struct outbox_item *item)
{
    struct fetch_job *j = (struct fetch_job *)item;

    if (j->job.why.code)
        j->fn(j->arg, err_restore(&j->job.why), NULL, 0);
    else
        j->fn(j->arg, OK, j->row, j->n_row);
    arena_release(&j->arena);
    free(j);
}

enum err store_fetch(struct store *s, const char *key, const char (*name)[KEPT_NAME_BYTES], int n,
                     store_kept_fn *fn, void *arg)
{
    struct fetch_job *j;
    enum err e;

    ASSERT(n <= KEPT_NAMES_MAX && strlen(key) <= LEDGER_NAME_MAX);
    if (!(j = calloc(1, sizeof(*j) + (size_t)n * KEPT_NAME_BYTES)))
        return err_set(ERR_NOMEM, "STORE-12", "no memory to ask for what is kept aside");
    arena_init(&j->arena, STORE_FETCH_BYTES);
    memcpy(j->key, key, strlen(key) + 1);
    memcpy(j->name, name, (size_t)n * KEPT_NAME_BYTES);
    j->n = n;
    j->fn = fn;
    j->arg = arg;
    j->job = (struct job){ .kind = JOB_FETCH, .item.run = fetched };
    if ((e = store_enqueue(s, &j->job)))
        free(j);
    return e;
}

/* ---- the worker's side ---------------------------------------------------------------------- */

static bool take(struct fetch_job *j, const char **to, const char *text)
{
    *to = arena_copy(&j->arena, text, strlen(text));
    return *to;
}

/* What finds no room is lost. */
static void read_row(void *arg, const struct kept_row *from)
{
    struct fetch_job *j = arg;
    struct kept_row row = { .key = j->key, .expires_ms = from->expires_ms };

    if (j->n_row < STORE_FETCH_ROWS_MAX && take(j, &row.name, from->name) &&
        take(j, &row.upstream, from->upstream) && take(j, &row.seal_key, from->seal_key) &&
        take(j, &row.sealed, from->sealed))
        j->row[j->n_row++] = row;
}

enum err store_do_kept(struct store *s, struct job *job)
{
    struct fetch_job *f = (struct fetch_job *)job;

    if (job->kind == JOB_KEEP)
        return kept_rows_put(s->db, &((struct keep_job *)job)->row, store_now_ms(s));
    arena_release(&f->arena);           /* of a try before this one */
    f->n_row = 0;
    return kept_rows_get(s->db, f->key, (const char (*)[KEPT_NAME_BYTES])f->name, f->n,
                         store_now_ms(s), read_row, f);
}
