/* bench_compare.c - holds the rows of a bench against those of an earlier one. */
#include "cmd/bench.h"

#include "base/file.h"
#include "base/json.h"

#include <stdlib.h>
#include <string.h>

enum { BENCH_FILE_MAX = 64 << 20 };

/* Results from before there were several sequences and rows have none of these keys. */
static json_int_t count_of(const json_t *j, const char *key)
{
    const json_t *n = json_object_get(j, key);

    return n ? json_integer_value(n) : 1;
}

static bool same_test(const json_t *j, const struct bench *b, const struct bench_row *r)
{
    const char *test = json_string_value(json_object_get(j, "test"));

    return test && !strcmp(test, r->decode ? "decode" : "prefill") &&
           json_integer_value(json_object_get(j, "n")) == r->n &&
           json_integer_value(json_object_get(j, "depth")) == r->depth &&
           json_integer_value(json_object_get(j, "batch")) == r->batch &&
           (!r->decode || (count_of(j, "parallel") == r->n_seq &&
                           count_of(j, "rows") == r->n_each &&
                           json_is_true(json_object_get(j, "shared_prompt")) == b->shared));
}

/* Of several rows with this test the one with as many threads, else the first. */
static double earlier_rate(const json_t *earlier, const struct bench *b, const struct bench_row *r)
{
    const json_t *j;
    double rate = 0;
    size_t i;

    json_array_foreach(json_object_get(earlier, "rows"), i, j) {
        double now = json_number_value(json_object_get(j, "tok_per_s"));
        if (!same_test(j, b, r))
            continue;
        if (json_integer_value(json_object_get(j, "threads")) == r->n_thread)
            return now;
        if (rate <= 0)
            rate = now;
    }
    return rate;
}

static void note_text(const json_t *then, const json_t *now, const char *what)
{
    const char *a = json_string_value(then), *b = json_string_value(now);

    if (a && b && strcmp(a, b) != 0)
        term_note("the earlier result was measured with another %s: %s, now %s", what, a, b);
}

static void note_differences(const json_t *then, const json_t *now)
{
    const json_t *model[2] = { json_object_get(then, "model"), json_object_get(now, "model") };
    json_int_t threads = json_integer_value(json_object_get(then, "threads"));
    json_int_t threads_now = json_integer_value(json_object_get(now, "threads"));

    note_text(json_object_get(json_object_get(then, "machine"), "cpu"),
              json_object_get(json_object_get(now, "machine"), "cpu"), "CPU");
    note_text(json_object_get(then, "isa"), json_object_get(now, "isa"), "instruction set");
    note_text(json_object_get(then, "kv_type"), json_object_get(now, "kv_type"), "KV type");
    note_text(json_object_get(model[0], "name"), json_object_get(model[1], "name"), "model");
    if (threads != threads_now)
        term_note("the earlier result was measured with %lld threads, now %lld",
                  (long long)threads, (long long)threads_now);
    if (json_integer_value(json_object_get(model[0], "weight_bytes")) !=
        json_integer_value(json_object_get(model[1], "weight_bytes")))
        term_note("the earlier result was measured with weights of another size");
}

enum err bench_compare_read(struct bench *b, const char *path)
{
    json_t *j = NULL;
    char *text = NULL;
    size_t len = 0;
    int n_found = 0;
    enum err e = file_read_text(&text, &len, path, BENCH_FILE_MAX);

    if (e != OK)
        return e;
    e = json_parse(&j, text, len, BENCH_FILE_MAX, path);
    if (e == OK && !json_is_array(json_object_get(j, "rows")))
        e = err_set(ERR_FORMAT, "BENCH-01", "%s has no \"rows\"; --compare reads what croft bench "
                    "--json wrote", path);
    for (int i = 0; i < b->n_row && e == OK; i++)
        n_found += earlier_rate(j, b, &b->row[i]) > 0;
    if (e == OK && !n_found)
        e = err_set(ERR_FORMAT, "BENCH-02", "%s has no row with these lengths, depths and "
                    "sizes; measure the same ones", path);
    free(text);
    if (e != OK)
        json_decref(j);
    else
        b->earlier = j;
    return e;
}

void bench_compare(struct bench *b)
{
    for (int i = 0; i < b->n_row; i++) {
        double then = earlier_rate(b->earlier, b, &b->row[i]);
        b->row[i].ratio = then > 0 ? b->row[i].speed.median / then : 0;
    }
    note_differences(b->earlier, b->about);
}
