/* load.h - a model made ready for a command, from the options the user gave.
 *
 *   load_open -> load_session -> ... -> load_close
 *
 * Everything that is decided for the user on the way (context, threads, KV type) is said once, as
 * a note with the number and the flag that undoes it.
 */
#ifndef CMD_LOAD_H
#define CMD_LOAD_H

#include "base/cpu.h"
#include "base/err.h"
#include "base/opt.h"
#include "base/sha256.h"
#include "engine/session.h"
#include "engine/speculate.h"
#include "engine/stepper.h"
#include "formats/weights.h"
#include "model/model.h"
#include "text/tokenizer.h"

#include <stdbool.h>
#include <stdint.h>

/* Adapters under a name, beside those without one: as the model numbers them, what they are. */
struct lora_named { char *name; int32_t mix; uint8_t identity[SHA256_BYTES]; };

/* A zeroed struct is nothing loaded.  Read what you like, change nothing. */
struct loaded {
    char *path;
    struct machine machine;
    struct weights *weights;
    struct tokenizer *tok;              /* NULL unless asked for */
    struct model *model;
    struct session *session;            /* NULL until load_session() */
    struct adapter **adapter;           /* [n_adapter], of --lora */
    int n_adapter;
    int32_t mix;                        /* those without a name, as the model numbers it; 0: none */
    uint8_t adapter_identity[SHA256_BYTES];     /* of these, with their scales, in order; zeros:
                                                   none */
    struct lora_named *named;           /* [n_named], of --lora NAME=FILE, in order */
    int n_named;
    struct speculate *spec;             /* NULL until load_draft() */
    struct loaded *draft;               /* the model of --draft-model; NULL: none */
    enum qtype kv_type;
    unsigned isa;
    int n_thread;                       /* these: see load_open() */
    bool mtp, may_name;
    enum mtp_input mtp_input;
};

/* Find, map and bind the model named by operand 0; with `tokenizer` its vocabulary is read too.
 * The weights are packed into memory, or a cold file that fits in it is read, with progress.
 * `batch_max` is the most rows a step may take.  l->n_thread says how many threads: 0 as
 * --threads says, LOAD_THREADS_DEFAULT for a command without that option; l->mtp and l->mtp_input
 * are those of struct model_options; l->may_name: --lora may give names.  On failure *l is zeroed.
 * Errors: those of model_path_find, weights_open, tokenizer_new, model_open; ARG (an
 * instruction set this CPU lacks), STOPPED. */
enum { LOAD_THREADS_DEFAULT = -1 };
MUST_CHECK enum err load_open(struct loaded *l, struct opt_set *o, bool tokenizer,
                              int32_t batch_max);

/* Give it a session that holds n_need tokens; 0: as many as --ctx-size says, or the model's own
 * context cut to memory.  A session that was there is freed first.
 * Errors: LIMIT (--ctx-size is less than n_need), NOMEM (with the largest that fits). */
MUST_CHECK enum err load_session(struct loaded *l, struct opt_set *o, int64_t n_need,
                                 int32_t n_batch);

/* Give the session what guesses tokens, as --draft says, with the model of --draft-model.
 * Errors: those of load_open() for that model, and ARG (another vocabulary: what differs; --draft
 * names what is not there). */
bool load_wants_mtp(const struct opt_set *o);       /* whether --draft may use an MTP layer */
MUST_CHECK enum err load_draft(struct loaded *l, struct opt_set *o);

/* What answers n_seq requests at once, each in a context of *n_ctx tokens, which is what a session
 * would have; `gap` is that of stepper_options; *out is yours.  KV pages of all together as far as
 * they fit into memory.  The model must take load_rows_many() rows in a step.  Errors: ARG
 * (--draft mtp or model), those of load_session(), stepper_new(). */
MUST_CHECK enum err load_stepper(struct stepper **out, const struct loaded *l, struct opt_set *o,
                                 int64_t n_seq, int32_t gap, int64_t *n_ctx);
int32_t load_rows_many(const struct opt_set *o, int64_t n_seq);

void load_close(struct loaded *l);

/* load_open() for another name, without adapters. */
MUST_CHECK enum err load_open_named(struct loaded *l, struct opt_set *o, const char *name,
                                    bool tokenizer, int32_t batch_max);

/* A step of load_close(), in load_draft.c. */
void load_close_draft(struct loaded *l);

/* A step of load_open(), in load_weights.c: pack the weights into memory or read those that stay
 * mapped, by --pack, --no-mmap, --mlock and the memory there is. */
MUST_CHECK enum err load_weights(struct loaded *l, const struct opt_set *o);

/* False when --pack and --exact say that weights stay as they are. */
bool load_may_pack(const struct opt_set *o);

/* Scratch of a step, the vocabulary's index, and what the rest of the machine needs to live. */
enum { LOAD_RESERVE_BYTES = 256 << 20 };

/* KV bytes of a token, all layers. */
uint64_t kv_tok_bytes(const struct model *m);

/* Steps of load_open() and load_close(), in load_lora.c. */
MUST_CHECK enum err load_adapters(struct loaded *l, const struct opt_set *o);
void load_close_adapters(struct loaded *l);

/* "1.2 GB", "98.4 MB" into a buffer of at least 16 bytes; returns it. */
const char *bytes_text(char *out, size_t cap, uint64_t bytes);

#endif
