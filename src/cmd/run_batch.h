/* run_batch.h - `croft run --batch FILE`: answers to a file of prompts, JSON lines in and out.
 *
 *   FILE -> batch_in -> batch_line_read -> stepper -> batch_line_write -> batch_out -> --output
 *
 * A window of lines is in work; what is whole waits there for those before it, so answers leave in
 * the order of the lines, a line each, and memory does not grow with the file.  Each answer is
 * token for token that of `croft run` alone with the line's options.  A line that cannot be
 * answered gets an error object with its number, and the rest goes on.
 */
#ifndef CMD_RUN_BATCH_H
#define CMD_RUN_BATCH_H

#include "cmd/answer.h"
#include "cmd/prompt.h"
#include "cmd/run_json.h"

/* Errors: ARG (options that do not go together; a part file of another job), those of opening
 * model and files and of steps; FORMAT at the end when lines got error objects. */
MUST_CHECK enum err run_batch(struct opt_set *o);

/* --- batch_in.c: lines of a file, blank ones left out ---------------------------------------- */

enum { BATCH_LINE_MAX = 16 << 20 };     /* bytes of a line; a longer one is an error of its own */
enum { BATCH_PIECE = 1 << 16 };

struct batch_in {
    int fd;
    const char *path;                   /* borrowed */
    bool is_stdin;
    int64_t number;                     /* of the last line read, from 1, blank ones counted */
    int64_t n_line;                     /* lines with something in them; -1: not known */
    char *piece;                        /* [BATCH_PIECE]: n bytes, those from `at` not taken yet */
    size_t n, at;
    struct buf line;                    /* the line that is not whole yet */
    bool something, too_long;           /* of it */
};

/* "-" is standard input.  Counts the lines of a file.  Errors: MISSING, ARG (a folder), IO,
 * NOMEM. */
MUST_CHECK enum err batch_in_open(struct batch_in *in, const char *path);
void batch_in_close(struct batch_in *in);

/* The next line with something in it, without its line feed.  LATER: without `wait`, it has not
 * come yet.  *too_long: of a line of more than BATCH_LINE_MAX bytes only the beginning is in *line.
 * Errors: IO, NOMEM, STOPPED. */
enum batch_got { BATCH_LINE, BATCH_LATER, BATCH_END };
MUST_CHECK enum err batch_in_next(struct batch_in *in, bool wait, struct buf *line,
                                  bool *too_long, enum batch_got *got);

/* To the beginning of a file. */
MUST_CHECK enum err batch_in_rewind(struct batch_in *in);

/* --- batch_line.c: what a line asks for ------------------------------------------------------ */

/* What all lines have in common.  Constant while lines are read. */
struct batch_job {
    const struct loaded *l;
    const struct opt_set *o;
    struct prompt_style style;          /* zeroed: plain text */
    struct answer_options ao;           /* of the command line */
    int64_t n_ctx;
    bool raw;
};

enum batch_shape { BATCH_PLAIN, BATCH_OPENAI_CHAT, BATCH_OPENAI_TEXT };

struct batch_line {
    int64_t number;
    size_t bytes;                       /* of the line, what it counts in the window */
    enum batch_shape shape;
    json_t *id;                         /* "id" or "custom_id"; NULL: none */
    struct tok_list ids;                /* the prompt, until it is handed over */
    unsigned char *kind;                /* NULL: all prompt */
    struct answer_options ao;
    const char **stop;                  /* owned: the line's own list, into `root` */
    json_t *root;                       /* the line, until it is written */
    struct answer a;
    struct answer_texts texts;
    struct answer_flow *flow;
    bool whole;
    struct err_record failed;           /* code OK: none */
    struct batch_run *run;
};

/* Read a line's request: shape, id, prompt as tokens, options.  What was understood before an
 * error stays: shape and id name the line then.
 * Errors: FORMAT (not JSON; a field of the wrong type), ARG (an unknown field, no prompt, what
 * cannot be done), LIMIT, NOMEM. */
MUST_CHECK enum err batch_line_read(struct batch_line *b, const struct batch_job *job,
                                    const char *text, size_t len);
void batch_line_free(struct batch_line *b);

/* --- batch_json.c: what comes out ------------------------------------------------------------ */

/* Append the answer or the error as one line.  The same answer is always the same bytes. */
MUST_CHECK enum err batch_line_write(struct buf *out, const struct batch_line *b,
                                     const struct batch_job *job);

/* --- batch_out.c: where it goes ------------------------------------------------------------- */

/* Without --output: standard output.  Else PATH.part, renamed to PATH at the end; beside it
 * PATH.part.json says what job it is of.  Whole lines of an earlier run of this job stay. */
struct batch_out {
    FILE *file;                         /* NULL: standard output */
    char *path, *part, *about;
    int64_t n_kept, n_kept_bad;         /* lines of earlier runs; those with an error */
};

/* Before the model is opened: whether there can be such an output.  Errors: ARG (it exists,
 * without `force`; a folder), MISSING (its folder). */
MUST_CHECK enum err batch_out_check(const char *path, bool force, bool is_stdin);

/* `key` is of model, options and input; *seed is given, and the one of an earlier run comes back.
 * Errors: ARG (another job), BUSY (another process works on it), FORMAT, IO, NOMEM. */
MUST_CHECK enum err batch_out_open(struct batch_out *out, const char *path, const char *key,
                                   uint64_t *seed);
MUST_CHECK enum err batch_out_write(struct batch_out *out, const struct buf *line);
MUST_CHECK enum err batch_out_commit(struct batch_out *out);
void batch_out_close(struct batch_out *out);

#endif
