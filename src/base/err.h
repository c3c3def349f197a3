/* err.h - how every fallible function in this program reports failure.
 *
 * A function that can fail returns `enum err`; OK is 0.  The place that finds the problem
 * calls err_set() once, with a stable id and a sentence a user can act on: what happened
 * (with the number), why, what to do.  Callers on the way up may add where they were with
 * err_wrap().  The sentence lives in one fixed record per thread, so reporting an error
 * never allocates and never fails.
 *
 * An id is a string literal "AREA-NN" that appears once in the whole source; translations
 * are keyed by it and `make tidy` checks that it is unique.
 *
 * Programmer mistakes are not errors: they are ASSERTs, and they abort.
 */
#ifndef BASE_ERR_H
#define BASE_ERR_H

enum err {
    OK          = 0,
    ERR_NOMEM   = -1,   /* an allocation or a fixed pool is exhausted; does not fit */
    ERR_IO      = -2,   /* the operating system refused; errno is in the text */
    ERR_FORMAT  = -3,   /* bytes from outside do not follow their format */
    ERR_LIMIT   = -4,   /* valid, but larger than a limit we set */
    ERR_ARG     = -5,   /* the user asked for something impossible */
    ERR_BUSY    = -6,   /* try again later; nothing changed */
    ERR_MISSING = -7,   /* what the user named is not there: a model, a file */
    ERR_STOPPED = -8,   /* the user interrupted it (Ctrl-C) */
    ERR_PIPE    = -9,   /* the reader of our output went away */
};

/* Record a message and hand the code back, so that `return err_set(...)` is one line.
 * The text is cut at ERR_TEXT_BYTES - 1 bytes.  `code` must not be OK. */
enum { ERR_TEXT_BYTES = 1024 };
enum err err_set(enum err code, const char *id, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Prefix the current message with "what: " and return the same code. */
enum err err_wrap(enum err code, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* The message of the last err_set() on this thread, without its id.  Borrowed: valid until
 * the next err_set() or err_wrap() on this thread.  "" when nothing has failed yet. */
const char *err_text(void);

/* The id of the last err_set() on this thread: a string literal, never NULL. */
const char *err_id(void);

/* Carry an error from one thread to another: copy the record out, put it back there. */
struct err_record { enum err code; const char *id; char text[ERR_TEXT_BYTES]; };
void err_save(struct err_record *out, enum err code);
enum err err_restore(const struct err_record *record);

/* A fixed name for a code: "format", "limit", ... */
const char *err_name(enum err code);

#define MUST_CHECK __attribute__((warn_unused_result))

/* Always on.  The program is wrong, not its input: say where, and stop. */
#define ASSERT(cond) ((cond) ? (void)0 : assert_failed(#cond, __FILE__, __LINE__))
_Noreturn void assert_failed(const char *cond, const char *file, int line);

#endif
