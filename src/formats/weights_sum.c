/* weights_sum.c - a checksum of each tensor, of its rows whatever layout they lie in. */
#include "formats/weights.h"

#include <stdlib.h>

enum { CHUNK_BYTES = 1 << 20 };

static enum err sum_tensor(uint8_t out[SHA256_BYTES], const struct tensor_info *t, uint8_t *room,
                           bool (*go_on)(void *arg), void *arg)
{
    struct sha256 sum = { 0 };
    bool ok = sha256_init(&sum), stopped = false;

    for (uint64_t at = 0, n; at < t->bytes && ok && !stopped; at += n) {
        n = t->bytes - at < CHUNK_BYTES ? t->bytes - at : CHUNK_BYTES;
        tensor_bytes(t, at, n, room);
        ok = sha256_add(&sum, room, (size_t)n);
        stopped = !go_on(arg);
    }
    ok = ok && (stopped || sha256_finish(&sum, out));
    sha256_release(&sum);
    if (!ok)
        return err_set(ERR_NOMEM, "WSUM-01", "no memory for the checksum of %s; close other "
                       "programs", t->name);
    return stopped ? err_set(ERR_STOPPED, "WSUM-02", "interrupted while reading weights") : OK;
}

enum err weights_sums(uint8_t (*sum)[SHA256_BYTES], const struct weights *w,
                      bool (*go_on)(void *arg), void *arg)
{
    uint8_t *room = malloc(CHUNK_BYTES);
    enum err e = room ? OK : err_set(ERR_NOMEM, "WSUM-03", "no memory to read weights");

    for (uint64_t i = 0; i < w->n_tensor && e == OK; i++)
        e = sum_tensor(sum[i], &w->tensor[i], room, go_on, arg);
    free(room);
    return e;
}
