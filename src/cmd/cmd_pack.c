/* cmd_pack.c - `croft pack`: a model written as a file whose weights are mapped as the kernels want
 * them, so that loading it packs nothing. */
#include "cmd/cmd.h"
#include "cmd/cmd_table.h"
#include "cmd/load.h"
#include "cmd/model_path.h"

#include "base/term.h"
#include "place/packed_file.h"

#include <stdlib.h>
#include <sys/stat.h>

static bool on_progress(void *arg, uint64_t done, uint64_t total)
{
    (void)total;
    progress_update(arg, (int64_t)done);
    return !term_interrupted();
}

/* The file to write must not be the model, nor be there unless --force was given. */
static enum err check_output(const struct weights *w, const char *out, bool force)
{
    struct stat st;

    if (!out || !*out)
        return err_set(ERR_ARG, "PACK-01", "which file to write is not said; give -o FILE");
    if (stat(out, &st))
        return OK;
    for (int i = 0; i < w->n_file; i++)
        if ((uint64_t)st.st_dev == w->file[i].id_dev && (uint64_t)st.st_ino == w->file[i].id_ino)
            return err_set(ERR_ARG, "PACK-02", "%s: is the model itself; name another file", out);
    if (!force && S_ISREG(st.st_mode))
        return err_set(ERR_ARG, "PACK-03", "%s: is there already; --force replaces it", out);
    return OK;
}

static enum err check_model(const struct weights *w, const struct model *m)
{
    const char *path = w->file[0].path;

    for (uint64_t i = 0; i < w->n_tensor; i++)
        if (w->tensor[i].layout != LAYOUT_rows)
            return err_set(ERR_ARG, "PACK-04", "%s: is packed already; run it as it is", path);
    if (packed_count(w, model_wants(m)) == 0)
        return err_set(ERR_ARG, "PACK-05", "%s: has no weights of a type that can be packed; run "
                       "it as it is", path);
    return OK;
}

static enum err write_packed(const char *out, const struct weights *w, const struct model *m)
{
    uint64_t bytes = model_info(m)->weight_bytes;
    struct progress p;
    char size[16];

    progress_begin(&p, "packing", "B", (int64_t)bytes);
    enum err e = packed_write(out, w, model_wants(m), on_progress, &p);
    progress_end(&p);
    if (e)
        return e;
    return out_printf("%s: %s, %llu of %llu tensors packed\n", out,
                      bytes_text(size, sizeof(size), bytes),
                      (unsigned long long)packed_count(w, model_wants(m)),
                      (unsigned long long)w->n_tensor);
}

enum err cmd_pack(struct opt_set *o)
{
    struct model_options mo = { .n_thread = 1, .kv_type = QTYPE_f32, .n_batch_max = 1,
                                .mtp = true };
    const char *out = opt_text(o, OPT_output);
    struct weights *w = NULL;
    struct model *m = NULL;
    char *path = NULL;
    enum err e = model_path_find(&path, opt_operand(o, 0));

    term_catch_interrupt();
    if (e == OK)
        e = weights_open(&w, path, NULL);
    if (e == OK)
        e = check_output(w, out, opt_flag(o, OPT_force));
    if (e == OK && w->hf)
        e = err_set(ERR_ARG, "PACK-06", "%s: is a Hugging Face folder, and packed files are made "
                    "from GGUF; convert it first, or run it as it is: its weights are packed when "
                    "it is loaded", path);
    if (e == OK)
        e = model_open(&m, w, &mo);
    if (e == OK)
        e = check_model(w, m);
    if (e == OK)
        e = write_packed(out, w, m);
    model_free(m);
    weights_free(w);
    free(path);
    return e;
}
