/* door_meter.c - /metrics: counts and levels in Prometheus' text form.  Names of upstreams and
 * models, no keys, no text. */
#include "door/door_form.h"

#include "gateway/exact.h"

#include <inttypes.h>

static const char *const ends[DOOR_END_N] = {
    [DOOR_DONE] = "done", [DOOR_REFUSED] = "refused", [DOOR_FORBIDDEN] = "forbidden",
    [DOOR_QUOTA] = "quota", [DOOR_FAILED] = "failed", [DOOR_LEFT] = "client_left",
};

static void head(struct buf *b, const char *name, const char *type, const char *help)
{
    buf_printf(b, "# HELP croft_gateway_%s %s\n# TYPE croft_gateway_%s %s\n", name, help, name,
               type);
}

static void one(struct buf *b, const char *name, const char *type, const char *help, double v)
{
    head(b, name, type, help);
    buf_printf(b, "croft_gateway_%s %.17g\n", name, v);
}

static void put_requests(struct buf *b, const struct door_counts *n)
{
    head(b, "requests_total", "counter", "Requests, by how they ended.");
    for (int i = 0; i < DOOR_END_N; i++)
        buf_printf(b, "croft_gateway_requests_total{end=\"%s\"} %" PRIu64 "\n", ends[i],
                   n->request[i]);
    head(b, "attempts_total", "counter", "Calls to upstreams, by how they ended.");
    for (int i = 0; i < END_N; i++)
        buf_printf(b, "croft_gateway_attempts_total{end=\"%s\"} %" PRIu64 "\n",
                   attempts_end_word((enum attempts_end)i), n->attempt[i]);
    head(b, "settled_total", "counter", "Attempts settled in the ledger, by how sure that is.");
    buf_printf(b, "croft_gateway_settled_total{state=\"exact\"} %" PRIu64 "\n", n->exact);
    buf_printf(b, "croft_gateway_settled_total{state=\"estimated\"} %" PRIu64 "\n", n->estimated);
    buf_printf(b, "croft_gateway_settled_total{state=\"void\"} %" PRIu64 "\n", n->unsent);
}

static void put_upstreams(struct buf *b, const struct world *w)
{
    int64_t now = door_now_ms();

    head(b, "upstream_open", "gauge", "1 while a breaker keeps calls from an upstream.");
    for (unsigned i = 0; i < w->c->upstreams_count; i++)
        buf_printf(b, "croft_gateway_upstream_open{upstream=\"%s\"} %d\n", w->c->upstreams[i].name,
                   circuit_see(w->circuits, (int)i, now).state != CIRCUIT_CLOSED);
    head(b, "upstream_opened_total", "counter", "How often its breaker opened.");
    for (unsigned i = 0; i < w->c->upstreams_count; i++)
        buf_printf(b, "croft_gateway_upstream_opened_total{upstream=\"%s\"} %" PRIu64 "\n",
                   w->c->upstreams[i].name, circuit_see(w->circuits, (int)i, now).n_opened);
    head(b, "upstream_in_flight", "gauge", "Calls that an upstream has.");
    for (unsigned i = 0; i < w->c->upstreams_count; i++)
        buf_printf(b, "croft_gateway_upstream_in_flight{upstream=\"%s\"} %u\n",
                   w->c->upstreams[i].name, w->upstream[i].lane->busy);
    head(b, "upstream_waiting", "gauge", "Requests that wait for room there.");
    for (unsigned i = 0; i < w->c->upstreams_count; i++)
        buf_printf(b, "croft_gateway_upstream_waiting{upstream=\"%s\"} %d\n",
                   w->c->upstreams[i].name, w->upstream[i].lane->n_waiting);
}

void door_metrics(struct call *c, void *door)
{
    struct door *d = door;
    struct store_counts s = store_counts(d->world->books->store);
    struct buf b = { 0 };

    put_requests(&b, &d->n);
    put_upstreams(&b, d->world);
#define COUNT(name, help, v) one(&b, name, "counter", help, (double)(v))
#define LEVEL(name, help, v) one(&b, name, "gauge", help, (double)(v))
    COUNT("prompt_tokens_total", "Tokens of prompts, as settled.", d->n.prompt_tok);
    COUNT("completion_tokens_total", "Tokens of answers, as settled.", d->n.completion_tok);
    COUNT("dollars_total", "What was settled, of models with a price.",
          (double)d->n.picodollars / EXACT_ONE);
    COUNT("probes_total", "Probes of upstreams that were open.", d->n.probes);
    COUNT("kept_late_total", "Requests for which the ledger said too late what it keeps.",
          d->n.kept_late);
    COUNT("kept_shut_total", "Rows kept in the ledger that did not open.", d->n.kept_shut);
    COUNT("access_lines_dropped_total", "Lines of the access log that were lost.",
          d->access ? access_dropped(d->access) : 0);
    COUNT("ledger_commits_total", "Transactions of the ledger.", s.commits);
    COUNT("ledger_statements_total", "Statements in them.", s.statements);
    LEVEL("requests", "Requests in work.", d->n_ask);
    LEVEL("attempts_open", "Attempts that are not settled.", s.n_open);
    LEVEL("ledger_waiting", "Jobs that wait for the ledger.", s.n_waiting);
    LEVEL("ledger_gone", "1 while the ledger does not answer.", s.gone);
    LEVEL("connections", "Open connections.", server_connections(d->server));
    LEVEL("kept_aside_bytes", "Bytes kept aside for clients.", aside_counts(d->aside).bytes);
    LEVEL("uptime_seconds", "Since the start.", clock_s() - d->started);
#undef COUNT
#undef LEVEL
    call_reply(c, 200, "text/plain; version=0.0.4; charset=utf-8", buf_text(&b), b.len);
    buf_release(&b);
}
