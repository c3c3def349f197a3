/* bench.h - what the files of `croft bench` share: its rows, its ceilings, and how both come about.
 *
 *   plan rows -> measure (in this process, or in turns with a peer) -> judge -> report
 */
#ifndef CMD_BENCH_H
#define CMD_BENCH_H

#include "base/err.h"
#include "base/opt.h"
#include "base/term.h"
#include "cmd/bench_stat.h"
#include "kernels/peak.h"
#include "ops/profile.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

/* The most this machine reached with so many threads, in bytes and operations a second. */
struct bench_ceiling {
    int n_thread, n_round;              /* rounds: samples behind each median; 0: not measured */
    double read, read_plain, read_ahead;    /* read: the better of the medians */
    double peak[PEAK_COUNT];            /* 0: the level has no such instruction */
    uint64_t bytes;                     /* how much memory a reading went through */
    bool read_raised, peak_raised[PEAK_COUNT];  /* a run was faster, and gave the number */
};

/* The same row measured with a peer: pair i was run beside rate[i] of the row. */
struct bench_peer_row {
    double *rate[2];                    /* [n_run] with flash attention off, on; NULL: not run */
    int best;                           /* which of the two had the better median */
    struct bench_interval speed[2], ratio;      /* ours / theirs, pair by pair */
};

/* One measurement: a prompt of n tokens behind `depth` others, in steps of `batch` rows; or n steps
 * of decode, each with n_each rows of n_seq sequences that begin behind `depth` tokens of their
 * own.  Rates in tokens a second, of all sequences together. */
struct bench_row {
    bool decode;
    int64_t n, depth;
    int32_t batch;                      /* 0 for decode: it has none */
    int32_t n_seq, n_each;              /* 0 for a prompt */
    int n_thread;                       /* as asked; 0: the default, until it was measured */
    int n_run;
    double *rate;                       /* [n_run], in the order they were run */
    struct bench_interval speed;
    double ratio;                       /* median / the earlier one; 0: nothing to compare with */
    double step_cost;                   /* a step's time / that of a step of one row; 0: unknown */
    struct profile *profile;            /* of all runs together; NULL: not asked for */
    double ceiling;                     /* tokens a second; 0: not known */
    bool ceiling_raised;                /* a run was faster than the sum of its operations */
    struct bench_peer_row peer;
    double others;                      /* most that other programs took of the processors beside
                                           a run, 0 .. 1 */
};

struct bench {
    struct bench_row *row;              /* by threads, then batch size */
    int n_row, n_run, n_warm_up;
    bool all_logits, profile, ceilings;
    bool batched;                       /* --parallel was given: a peer decodes batched too */
    bool shared;                        /* sequences hold the pages of one prompt */
    const char *peer;                   /* folder, or NULL */
    char *peer_version;                 /* yours; NULL without a peer */
    int32_t *id;                        /* [n_seq_max, n_id] random tokens of each sequence */
    int64_t n_id;
    int32_t batch_max, batch_first;
    int32_t n_seq_max, step_max;        /* of a decode step: sequences, at least 1; rows, or 0 */
    struct bench_list thread;
    struct bench_ceiling ceiling[BENCH_LIST_MAX];   /* of thread.v[i] */
    json_t *about;                      /* machine, model, settings: the head of the JSON */
    json_t *earlier;                    /* what --compare names, or NULL */
    struct progress progress;
    int64_t n_done;
};

/* The tokens of one run. */
static inline int64_t bench_row_tok(const struct bench_row *r)
{
    return r->decode ? r->n * r->n_seq * r->n_each : r->n;
}

/* Rows for the lists in the options.  Errors: ARG, LIMIT, NOMEM. */
MUST_CHECK enum err bench_plan(struct bench *b, const struct opt_set *o);

/* Measure every row in this process, bench_run.c.  Errors: those of load.h, STOPPED, NOMEM. */
MUST_CHECK enum err bench_run(struct bench *b, struct opt_set *o);

/* Measure every row in turns with the peer, each turn a process of its own, bench_peer.c.
 * Errors: MISSING (no such program there), ARG (an option it has nothing like), IO (a process
 * failed: its last words), FORMAT (it wrote no speed). */
MUST_CHECK enum err bench_peer(struct bench *b, struct opt_set *o);

/* --- ceilings, bench_ceiling.c ------------------------------------------------------------ */

struct ceiling_probe;

/* Memory and threads to measure ceilings with; `model_bytes` of what is free is left to the model.
 * On success *out is yours: ceiling_free().  Errors: NOMEM. */
MUST_CHECK enum err ceiling_new(struct ceiling_probe **out, int n_thread, unsigned isa,
                                uint64_t model_bytes);
void ceiling_free(struct ceiling_probe *p);

/* One sample of everything; called between runs, so that both meet the same machine. */
void ceiling_round(struct ceiling_probe *p);

/* Give the memory back until the next round. */
void ceiling_rest(struct ceiling_probe *p);

/* Medians; takes more rounds first when there were less than five. */
MUST_CHECK enum err ceiling_read(struct bench_ceiling *out, struct ceiling_probe *p);

/* --- judging, bench_judge.c --------------------------------------------------------------- */

/* Medians, ratios, and where there are ceilings and profiles each row's ceiling; ceilings that a
 * run beat are raised first.  Errors: NOMEM. */
MUST_CHECK enum err bench_judge(struct bench *b);

/* What these operations take at the ceiling, in seconds. */
double bench_ideal_s(const struct profile_record *r, const struct bench_ceiling *c);

const struct bench_ceiling *bench_ceiling_of(const struct bench *b, const struct bench_row *r);

/* --- results: bench_json.c, bench_compare.c, bench_text.c --------------------------------- */

struct loaded;

/* The head of the JSON for what is loaded. */
json_t *bench_json_about(const struct loaded *l, const struct opt_set *o);

/* The whole result, with a newline.  Errors: NOMEM. */
MUST_CHECK enum err bench_json_write(struct buf *out, const struct bench *b);

/* Add what another process wrote about a row, an element of "rows", to it: one run.
 * Errors: FORMAT. */
MUST_CHECK enum err bench_json_take(struct bench_row *r, int run, const json_t *row);

/* Read an earlier result, before anything is measured for it.
 * Errors: MISSING, IO, FORMAT (not such a file, no row in common), NOMEM. */
MUST_CHECK enum err bench_compare_read(struct bench *b, const char *path);

/* Set `ratio` of the rows that the earlier result has too.  What was measured differently (machine,
 * threads, instruction set, KV type, model) is said as a note. */
void bench_compare(struct bench *b);

MUST_CHECK enum err bench_text(const struct bench *b);

/* "decode 32 at depth 128, 8 sequences". */
enum { BENCH_NAME = 160 };
void bench_row_name(char out[BENCH_NAME], const struct bench *b, const struct bench_row *r);

/* --- other programs, bench_child.c -------------------------------------------------------- */

/* What a finished process wrote on standard output, NUL-terminated, and the processor time that
 * others took meanwhile, 0 .. 1 of all processors. */
struct bench_child { char *out; size_t len; double others; };

/* Run a program to its end; argv ends with NULL.  r->out is yours: free().
 * Errors: IO (it could not start, or failed: status and last line), STOPPED, LIMIT, NOMEM. */
MUST_CHECK enum err bench_child_run(struct bench_child *r, char *const *argv);

#endif
