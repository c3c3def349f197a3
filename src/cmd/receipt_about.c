/* receipt_about.c - see receipt_about.h. */
#include "cmd/receipt_about.h"

#include "cmd/sums.h"

#include <string.h>

static const char *kv_name(enum qtype type)
{
    return type == QTYPE_f32 ? "f32" : type == QTYPE_bf16 ? "bf16" :
           type == QTYPE_q8_0 ? "q8_0" : "f16";
}

static json_t *adapter_json(const struct loaded *l)
{
    char hex[SHA256_HEX_BYTES];

    if (!l->mix)
        return json_null();
    sha256_hex(hex, l->adapter_identity);
    return json_string(hex);
}

enum err receipt_about(json_t **out, const struct loaded *l, const char *id, bool exact,
                       bool (*go_on)(void *arg), void *arg)
{
    json_t *model;
    enum err e = sums_get(&model, l->weights, go_on, arg);

    *out = NULL;
    if (e != OK)
        return e;
    if (!json_object_set_new(model, "id", json_string(id)))
        *out = json_pack("{s:{s:s, s:s, s:s}, s:s, s:b, s:s, s:O, s:o}", "build", "version",
                         CROFT_VERSION, "commit", CROFT_COMMIT, "compiler", __VERSION__, "isa",
                         isa_name(l->isa), "exact", exact, "kv_type", kv_name(l->kv_type), "model",
                         model, "adapter", adapter_json(l));
    json_decref(model);
    return *out ? OK : err_set(ERR_NOMEM, "RECEIPT-01", "no memory to say what a receipt is of");
}

static const char *text(const json_t *o, const char *key)
{
    const char *v = json_string_value(json_object_get(o, key));

    return v ? v : "";
}

void receipt_build_text(struct buf *out, const json_t *about)
{
    const json_t *b = json_object_get(about, "build");

    if (b)
        buf_printf(out, "%s (%s, %s)", text(b, "version"), text(b, "commit"), text(b, "compiler"));
}

/* The first tensor that differs, for the person who looks for it. */
static enum err other_weights(const json_t *theirs, const json_t *ours)
{
    json_t *a = json_object_get(theirs, "tensors"), *b = json_object_get(ours, "tensors"), *line;
    const char *name = "", *key;
    size_t n = 0;

    json_object_foreach(a, key, line) {
        if (json_equal(line, json_object_get(b, key)))
            continue;
        name = n++ ? name : key;
    }
    return err_set(ERR_FORMAT, "RECEIPT-02", "the receipt is of other weights: '%.60s' there, and "
                   "of its %zu tensors %zu differ or are not here, first %.80s; give the model it "
                   "is of", text(theirs, "id"), json_object_size(a), n, n ? name : "none");
}

enum err receipt_compare(const json_t *theirs, const json_t *ours, bool *other_build)
{
    const json_t *model = json_object_get(theirs, "model"), *here = json_object_get(ours, "model");

    *other_build = !json_equal((json_t *)(uintptr_t)json_object_get(theirs, "build"),
                               (json_t *)(uintptr_t)json_object_get(ours, "build"));
    if (strcmp(text(model, "sha256"), text(here, "sha256")))
        return other_weights(model, here);
    if (!json_equal(json_object_get(theirs, "adapter"), json_object_get(ours, "adapter")))
        return err_set(ERR_FORMAT, "RECEIPT-03", "the receipt is of %s and this is %s; give the "
                       "adapters it is of with --lora, in their order and with their scales",
                       json_is_string(json_object_get(theirs, "adapter")) ? "an adapter" :
                       "a model without adapters",
                       json_is_string(json_object_get(ours, "adapter")) ? "another combination" :
                       "a model without adapters");
    if (strcmp(text(theirs, "isa"), text(ours, "isa")))
        return err_set(ERR_FORMAT, "RECEIPT-04", "the receipt is of instruction set '%.20s' and "
                       "this is '%.20s', which rounds differently", text(theirs, "isa"),
                       text(ours, "isa"));
    if (json_is_true(json_object_get(theirs, "exact")) !=
        json_is_true(json_object_get(ours, "exact")) ||
        strcmp(text(theirs, "kv_type"), text(ours, "kv_type")))
        return err_set(ERR_FORMAT, "RECEIPT-05", "the receipt is of KV type '%.20s'%s and this is "
                       "'%.20s'%s", text(theirs, "kv_type"),
                       json_is_true(json_object_get(theirs, "exact")) ? " with --exact" : "",
                       text(ours, "kv_type"),
                       json_is_true(json_object_get(ours, "exact")) ? " with --exact" : "");
    return OK;
}
