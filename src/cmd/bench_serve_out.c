/* bench_serve_out.c - what `croft bench serve` measured, for people and for programs. */
#include "cmd/bench_serve.h"

#include "cmd/json_text.h"

#include "base/buf.h"

#include <string.h>

static double per_s(double n, const struct load_level *v)
{
    return v->seconds > 0 ? n / v->seconds : 0;
}

/* ---- JSON ---- */

static json_t *times_json(struct samples *s)
{
    static const struct { const char *name; double p; } at[] = {
        { "p50", 50 }, { "p90", 90 }, { "p95", 95 }, { "p99", 99 }, { "max", 100 },
    };
    json_t *out = json_pack("{s:I, s:f}", "n", (json_int_t)s->n, "mean", samples_mean(s));

    for (size_t i = 0; i < sizeof(at) / sizeof(*at) && out; i++)
        json_object_set_new(out, at[i].name, json_real(samples_percentile(s, at[i].p)));
    return out;
}

static json_t *level_json(struct load_level *v)
{
    json_t *errors = json_object();
    json_t *out;

    for (int i = 0; i < v->n_error; i++)
        json_object_set_new(errors, v->error[i].name, json_integer(v->error[i].n));
    out = json_pack("{s:I, s:I, s:I, s:I, s:I, s:o, s:f, s:f, s:I, s:I, s:I, s:I, s:f, s:f, "
                    "s:o, s:o, s:o, s:b}",
                    "sent", (json_int_t)v->n_sent, "ok", (json_int_t)v->n_ok,
                    "failed", (json_int_t)v->n_failed, "cancelled", (json_int_t)v->n_cancelled,
                    "not_sent", (json_int_t)v->n_late, "errors", errors, "seconds", v->seconds,
                    "requests_per_s", per_s((double)v->n_ok, v),
                    "prompt_tokens", (json_int_t)v->prompt_tok,
                    "cached_tokens", (json_int_t)v->cached_tok,
                    "output_tokens", (json_int_t)v->output_tok,
                    "replies_without_usage", (json_int_t)v->n_without_usage,
                    "output_tokens_per_s", per_s((double)v->output_tok, v),
                    "total_tokens_per_s", per_s((double)(v->prompt_tok + v->output_tok), v),
                    "first_token_ms", times_json(&v->first), "gap_ms", times_json(&v->gap),
                    "request_ms", times_json(&v->whole), "ended_early", (int)v->full);
    if (!out)
        return NULL;
    if (v->n_client)
        json_object_set_new(out, "clients", json_integer(v->n_client));
    else
        json_object_set_new(out, "rate", json_real(v->rate));
    if (v->n_error)
        json_object_set_new(out, "first_error", json_text(v->first_error,
                                                          strlen(v->first_error)));
    return out;
}

static json_t *load_json(struct load *l)
{
    json_t *levels = json_array();
    json_t *out;

    for (int i = 0; i < l->n_done; i++)
        json_array_append_new(levels, level_json(&l->level[i]));
    out = json_pack("{s:s, s:o, s:s, s:I, s:I, s:b, s:o}", "url", l->base, "model",
                    json_text(l->model, strlen(l->model)), "api", l->chat ? "chat" : "completions",
                    "seed", (json_int_t)l->seed, "max_tokens", (json_int_t)l->max_tok,
                    "interrupted", (int)l->interrupted, "levels", levels);
    if (out && !l->prompts) {
        json_object_set_new(out, "asked_prompt_tokens", json_integer(l->prompt_tok));
        json_object_set_new(out, "shared_prefix_tokens", json_integer(l->shared_tok));
        json_object_set_new(out, "tokens_per_word", json_real(l->tok_per_word));
    } else if (out) {
        json_object_set_new(out, "prompts", json_integer((json_int_t)json_array_size(l->prompts)));
    }
    return out;
}

/* ---- text ---- */

static void put_times(struct buf *out, const char *what, struct samples *s)
{
    if (!s->n)
        return;
    buf_printf(out, "  %-18s p50 %-9.1f p90 %-9.1f p95 %-9.1f p99 %.1f\n", what,
               samples_percentile(s, 50), samples_percentile(s, 90), samples_percentile(s, 95),
               samples_percentile(s, 99));
}

static void put_failures(struct buf *out, const struct load_level *v)
{
    if (v->n_cancelled)
        buf_printf(out, ", %lld cut off", (long long)v->n_cancelled);
    if (v->n_late)
        buf_printf(out, ", %lld not sent: %d were on their way", (long long)v->n_late,
                   LOAD_CLIENTS_MAX);
    if (v->n_failed)
        buf_printf(out, ", %lld failed (", (long long)v->n_failed);
    for (int i = 0; i < v->n_error; i++)
        buf_printf(out, "%s%s: %lld", i ? ", " : "", v->error[i].name, (long long)v->error[i].n);
    buf_puts(out, v->n_failed ? ")\n" : "\n");
    if (*v->first_error) {
        buf_puts(out, "  first failure      ");
        term_shown(out, v->first_error, strlen(v->first_error));
        buf_puts(out, "\n");
    }
}

static void put_level(struct buf *out, struct load_level *v)
{
    if (v->n_client)
        buf_printf(out, "\n%d client%s: ", v->n_client, v->n_client == 1 ? "" : "s");
    else
        buf_printf(out, "\n%g requests/s: ", v->rate);
    buf_printf(out, "%lld answered in %.1f s", (long long)v->n_ok, v->seconds);
    put_failures(out, v);
    if (v->n_ok)
        buf_printf(out, "  requests/s         %.2f\n"
                   "  output tokens/s    %.1f\n"
                   "  total tokens/s     %.1f (%.1f prompt, %.1f answer tokens a request)\n",
                   per_s((double)v->n_ok, v), per_s((double)v->output_tok, v),
                   per_s((double)(v->prompt_tok + v->output_tok), v),
                   (double)v->prompt_tok / (double)v->n_ok,
                   (double)v->output_tok / (double)v->n_ok);
    if (v->cached_tok)
        buf_printf(out, "  cached             %.1f %% of the prompt tokens\n",
                   100 * (double)v->cached_tok / (double)v->prompt_tok);
    put_times(out, "first token ms", &v->first);
    put_times(out, "gap ms", &v->gap);
    put_times(out, "request ms", &v->whole);
    if (v->n_without_usage)
        buf_printf(out, "  %lld replies came without usage; their pieces are counted as tokens\n",
                   (long long)v->n_without_usage);
}

static void put_text(struct buf *out, struct load *l)
{
    buf_puts(out, l->base);
    buf_puts(out, ", model ");
    term_shown(out, l->model, strlen(l->model));
    buf_printf(out, ", %s, ", l->chat ? "chat" : "completions");
    if (l->prompts)
        buf_printf(out, "%zu prompts", json_array_size(l->prompts));
    else
        buf_printf(out, "%lld prompt tokens", (long long)l->prompt_tok);
    if (l->shared_tok)
        buf_printf(out, " (%lld shared)", (long long)l->shared_tok);
    buf_printf(out, ", at most %lld to answer\n", (long long)l->max_tok);
    for (int i = 0; i < l->n_done; i++)
        put_level(out, &l->level[i]);
}

enum err load_report(struct load *l, bool json)
{
    struct buf out = { 0 };
    enum err e = OK;

    if (json) {
        e = json_put(&out, load_json(l), false);
        buf_puts(&out, "\n");
    } else {
        put_text(&out, l);
    }
    if (!e)
        e = buf_ok(&out);
    if (!e)
        e = out_write(buf_text(&out), out.len);
    buf_release(&out);
    return e ? e : out_flush();
}
