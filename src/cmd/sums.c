/* sums.c - see sums.h. */
#include "cmd/sums.h"

#include "base/buf.h"
#include "base/json.h"
#include "base/term.h"
#include "cmd/model_path.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { KEPT_BYTES_MAX = 64 << 20 };

static enum err no_memory(void)
{
    return err_set(ERR_NOMEM, "SUMS-01", "no memory for the checksums of the weights; close other "
                   "programs");
}

static bool hex_of(char hex[SHA256_HEX_BYTES], const void *bytes, size_t len)
{
    uint8_t digest[SHA256_BYTES];
    struct sha256 sum = { 0 };
    bool ok = sha256_init(&sum) && sha256_add(&sum, bytes, len) && sha256_finish(&sum, digest);

    sha256_release(&sum);
    if (ok)
        sha256_hex(hex, digest);
    return ok;
}

/* Where the sums of these files are kept; the folders are made. */
static bool kept_path(struct buf *path, const struct weights *w)
{
    char hex[SHA256_HEX_BYTES], *folder = NULL;
    struct buf key = { 0 };
    bool ok = model_cache_folder(&folder) == OK;

    for (int i = 0; i < w->n_file; i++) {
        const struct file_map *f = &w->file[i];
        buf_printf(&key, "%" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", f->id_dev, f->id_ino,
                   f->bytes, f->id_mtime_ns);
    }
    ok = ok && !key.broken && hex_of(hex, buf_text(&key), key.len);
    if (ok) {
        mkdir(folder, 0700);
        buf_printf(path, "%s/sums", folder);
        mkdir(buf_text(path), 0700);
        buf_printf(path, "/%s.json", hex);
    }
    buf_release(&key);
    free(folder);
    return ok && !path->broken;
}

/* The kept ones, when they are of as many tensors with the same names. */
static json_t *read_kept(const char *path, const struct weights *w)
{
    char *text = NULL;
    size_t len = 0;
    json_t *kept = NULL, *tensors;
    bool ok = file_read_text(&text, &len, path, KEPT_BYTES_MAX) == OK &&
              json_parse(&kept, text, len, KEPT_BYTES_MAX, path) == OK;

    free(text);
    tensors = json_object_get(kept, "tensors");
    ok = ok && json_is_string(json_object_get(kept, "sha256")) &&
         json_object_size(tensors) == w->n_tensor;
    for (uint64_t i = 0; i < w->n_tensor && ok; i++)
        ok = json_is_string(json_object_get(tensors, w->tensor[i].name));
    if (ok)
        return kept;
    json_decref(kept);
    return NULL;
}

static void keep(const char *path, const char *text)
{
    struct file_new f = { 0 };
    enum err e = file_new_open(&f, path);

    if (e == OK && fputs(text, f.out) >= 0)
        e = file_new_commit(&f);
    file_new_abort(&f);
    if (e != OK)
        term_verbose("the checksums of the weights are not kept: %s", err_text());
}

static json_t *tensor_line(const struct tensor_info *t, const uint8_t digest[SHA256_BYTES])
{
    char hex[SHA256_HEX_BYTES];
    struct buf line = { 0 };
    json_t *v;

    sha256_hex(hex, digest);
    buf_puts(&line, qtype_info[t->type].name);
    for (int d = 0; d < t->n_dim; d++)
        buf_printf(&line, "%s%" PRId64, d ? "x" : " ", t->ne[d]);
    buf_printf(&line, " %s", hex);
    v = line.broken ? NULL : json_string(buf_text(&line));
    buf_release(&line);
    return v;
}

static enum err compute(json_t **out, const struct weights *w, bool (*go_on)(void *arg), void *arg)
{
    uint8_t (*sum)[SHA256_BYTES] = calloc(w->n_tensor + 1, sizeof(*sum));
    json_t *tensors = json_object();
    char hex[SHA256_HEX_BYTES], *text = NULL;
    enum err e = sum && tensors ? weights_sums(sum, w, go_on, arg) : no_memory();

    for (uint64_t i = 0; i < w->n_tensor && e == OK; i++)
        if (json_object_set_new(tensors, w->tensor[i].name, tensor_line(&w->tensor[i], sum[i])))
            e = no_memory();
    if (e == OK && (!(text = json_string_new(tensors, JSON_COMPACT | JSON_SORT_KEYS)) ||
                    !hex_of(hex, text, strlen(text)) ||
                    !(*out = json_pack("{s:s, s:O}", "sha256", hex, "tensors", tensors))))
        e = no_memory();
    json_decref(tensors);
    free(text);
    free(sum);
    return e;
}

enum err sums_get(json_t **out, const struct weights *w, bool (*go_on)(void *arg), void *arg)
{
    struct buf path = { 0 };
    bool place = kept_path(&path, w);
    char *text = NULL;
    enum err e = OK;

    *out = place ? read_kept(buf_text(&path), w) : NULL;
    if (!*out && (e = compute(out, w, go_on, arg)) == OK && place &&
        (text = json_string_new(*out, JSON_COMPACT)))
        keep(buf_text(&path), text);
    free(text);
    buf_release(&path);
    return e;
}
