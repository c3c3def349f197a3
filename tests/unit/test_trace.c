/* test_trace.c - requests of a real service through the scheduler: how often a page is there.
 *
 * Each block of the trace is a page of tokens made from its id.  Requests come one after the other
 * and are whole after their prompt, so that what is found depends on what was kept alone.  Beside
 * it stand the exact least-recently-used cache of as many pages, and the ideal one, which gives up
 * the page that is wanted again latest. */
#include <criterion/criterion.h>

#include "engine/sched.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LINE_MAX = 4096, BLOCKS_MAX = 256, PAGE_BYTES = 64, FAR = INT32_MAX };

static struct {
    int32_t *block;                     /* of all requests, one after the other */
    int64_t *first;                     /* [n + 1]: where each begins */
    int64_t n, n_block, n_id;
} trace;

static void read_line(const char *at)
{
    while (*at >= '0' && *at <= '9') {
        char *end;
        long a = strtol(at, &end, 10), b = a;
        if (*end == '-')
            b = strtol(end + 1, &end, 10);
        for (long id = a; id <= b; id++) {
            trace.block = realloc(trace.block, (size_t)(trace.n_block + 1) * sizeof(*trace.block));
            trace.block[trace.n_block++] = (int32_t)id;
            trace.n_id = id >= trace.n_id ? id + 1 : trace.n_id;
        }
        at = *end == ',' ? end + 1 : end;
    }
}

static void read_trace(void)
{
    FILE *f = fopen("tests/data/traces/mooncake_conversation.txt", "r");
    char line[LINE_MAX];

    cr_assert(f);
    while (fgets(line, sizeof(line), f)) {
        trace.first = realloc(trace.first, (size_t)(trace.n + 2) * sizeof(*trace.first));
        trace.first[trace.n++] = trace.n_block;
        read_line(line);
        trace.first[trace.n] = trace.n_block;
        cr_assert_leq(trace.n_block - trace.first[trace.n - 1], BLOCKS_MAX);
    }
    fclose(f);
    cr_assert_eq(trace.n, 12031);
}

/* Pages found by the scheduler, whose pool has `cap` pages. */
static int64_t scheduled(int64_t cap)
{
    struct sched_options o = { .n_seq_max = 1, .n_row_max = (BLOCKS_MAX + 1) * KV_PAGE_TOK,
                               .n_ctx = (BLOCKS_MAX + 1) * KV_PAGE_TOK, .work_step = 16 };
    int32_t *token = malloc((size_t)o.n_ctx * sizeof(*token));
    struct sched_step step;
    struct sched_seq *q;
    struct kv_pool *p;
    struct sched *s;
    int64_t hit;

    cr_assert_eq(kv_pool_new(&p, PAGE_BYTES, cap), OK);
    cr_assert_eq(sched_new(&s, p, &o), OK);
    for (int64_t i = 0; i < trace.n; i++) {
        int64_t n = (trace.first[i + 1] - trace.first[i]) * KV_PAGE_TOK;
        for (int64_t k = 0; k < n; k++)
            token[k] = trace.block[trace.first[i] + k / KV_PAGE_TOK] * 64 +
                       (int32_t)(k % KV_PAGE_TOK);
        struct sched_request r = { .id = token, .n = n };
        cr_assert_eq(sched_add(s, &r, &q), OK);
        cr_assert(sched_plan(s, &step));
        cr_assert_eq(step.n_ask, 1);
        sched_computed(s);
        sched_end(s, q);
    }
    hit = sched_counts(s).n_shared_tok / KV_PAGE_TOK;   /* the last token is always computed */
    sched_free(s);
    kv_pool_free(p);
    free(token);
    return hit;
}

/* When the block at place i is wanted next: another place, or FAR. */
static int32_t *next_uses(void)
{
    int32_t *next = malloc((size_t)trace.n_block * sizeof(*next));
    int32_t *last = malloc((size_t)trace.n_id * sizeof(*last));

    for (int64_t i = 0; i < trace.n_id; i++)
        last[i] = FAR;
    for (int64_t i = trace.n_block - 1; i >= 0; i--) {
        next[i] = last[trace.block[i]];
        last[trace.block[i]] = (int32_t)i;
    }
    free(last);
    return next;
}

/* A heap of blocks by rank, the lowest first; older entries of a block are skipped when they come
 * up. */
struct entry { int64_t rank; int32_t block; };
struct heap { struct entry *e; int64_t n, cap; };

static void push(struct heap *h, struct entry x)
{
    int64_t i = h->n++;

    if (h->n > h->cap) {
        h->cap = 2 * h->n;
        h->e = realloc(h->e, (size_t)h->cap * sizeof(*h->e));
    }
    for (; i && h->e[(i - 1) / 2].rank > x.rank; i = (i - 1) / 2)
        h->e[i] = h->e[(i - 1) / 2];
    h->e[i] = x;
}

static struct entry pop(struct heap *h)
{
    struct entry top = h->e[0], x = h->e[--h->n];
    int64_t i = 0;

    for (int64_t k = 1; k < h->n; i = k, k = 2 * k + 1) {
        k += k + 1 < h->n && h->e[k + 1].rank < h->e[k].rank;
        if (x.rank <= h->e[k].rank)
            break;
        h->e[i] = h->e[k];
    }
    h->e[i] = x;
    return top;
}

/* Pages found by a cache that holds the beginnings of requests, `cap` blocks: the least recently
 * used goes, or the one wanted again latest.  Of one request the later blocks go first. */
static int64_t cached(int64_t cap, bool ideal)
{
    int64_t *rank = calloc((size_t)trace.n_id, sizeof(*rank)), held = 0, hit = 0;
    int32_t *next = next_uses();
    struct heap h = { 0 };

    for (int64_t i = 0; i < trace.n; i++) {
        int64_t a = trace.first[i], b = trace.first[i + 1], k = a;
        while (k < b && rank[trace.block[k]])
            k++;
        hit += k - a;
        for (k = b - 1; k >= a; k--) {
            int32_t id = trace.block[k];
            held += !rank[id];
            rank[id] = ideal ? (int64_t)FAR - next[k] + 1 : (i + 1) * BLOCKS_MAX + (b - 1 - k);
            push(&h, (struct entry){ rank[id], id });
        }
        while (held > cap) {
            struct entry e = pop(&h);
            if (rank[e.block] != e.rank)
                continue;
            rank[e.block] = 0;
            held--;
        }
    }
    free(rank);
    free(next);
    free(h.e);
    return hit;
}

Test(trace, pages_of_a_real_service_are_found_as_often_as_by_the_exact_least_recently_used)
{
    static const int64_t cap[] = { 1000, 4000, 16000, 64000 };

    read_trace();
    for (int i = 0; i < 4; i++) {
        double all = (double)trace.n_block, ours = 100 * (double)scheduled(cap[i]) / all;
        double lru = 100 * (double)cached(cap[i], false) / all;
        double ideal = 100 * (double)cached(cap[i], true) / all;
        printf("trace: %lld pages: found %.2f %%, least recently used %.2f %%, ideal %.2f %%\n",
               (long long)cap[i], ours, lru, ideal);
        cr_assert(ours > lru - 2 && ours < lru + 2, "%.2f and %.2f %%", ours, lru);
        cr_assert_leq(lru, ideal + 0.01);
    }
}
