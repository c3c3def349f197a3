/* audit.h - the audit log: rows in a chain of hashes, a file for each process.
 *
 * STATE/audit/CHAIN.log is lines of "HASH {"n":N,"t":MS,"row":{...}}": HASH is SHA-256, in
 * hexadecimal, of the 32 bytes of the row before it and of the text behind it; before row 0 they
 * are zero.  Row 0 names chain, public key and the chains that it sealed; the last row of a chain
 * that has ended is {"end":...}.  A head is a row's number and hash, signed (Ed25519) by the key in
 * STATE/audit.key: a line of JSON in STATE/audit/heads, in a file of the configuration, in the
 * ledger.  What a head names can be neither changed, removed, reordered nor cut off unseen.
 *
 * A row is in the file, whole, before its callback: kill -9 takes none of those.  It is on disk
 * after sync_ms, a strict one before its callback. */
#ifndef STORE_AUDIT_H
#define STORE_AUDIT_H

#include "base/err.h"
#include "base/sha256.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    AUDIT_ROW_MAX = 64 << 10,           /* bytes of a row's object */
    AUDIT_WAITING_MAX = 8 << 20,        /* bytes of rows that wait */
    AUDIT_HEAD_ROWS = 1000, AUDIT_HEAD_MS = 60000, AUDIT_LINE_MAX = 1024,
};

struct audit;

struct audit_head {
    char chain[64], hash[SHA256_HEX_BYTES], line[AUDIT_LINE_MAX];   /* line: without line feed */
    int64_t n, made_ms;
};

struct audit_options {
    const char *state;                  /* folder; audit/ is made in it */
    const char *chain;                  /* a name of its own: store_process() */
    const char *head_file;              /* heads are appended there too; NULL: nowhere */
    int sync_ms;                        /* 0: 50 */
    void (*head)(void *arg, const struct audit_head *h);    /* on audit_poll(): copy it away */
    void *arg;
};

/* Seal the chains of processes that died (*torn: bytes of a half-written row that were cut off),
 * and begin one.  *out is yours: audit_close().  Errors: IO, NOMEM, FORMAT (the key). */
MUST_CHECK enum err audit_open(struct audit **out, const struct audit_options *o, int64_t *torn);

/* End the chain, with a head; what waits is written first. */
void audit_close(struct audit *a);

int audit_fd(const struct audit *a);    /* readable: call audit_poll() */
void audit_poll(struct audit *a);

/* Append a row: a JSON object on one line.  `fn` is called when it is written, strict ones when
 * they are on disk, or with an error: then the row is not in the log, and what it decided must not
 * happen.  Errors at once, and `fn` is not called: BUSY, LIMIT, ARG, NOMEM.  One thread. */
typedef void audit_fn(void *arg, enum err e);
MUST_CHECK enum err audit_put(struct audit *a, const char *object, size_t len, bool strict,
                              audit_fn *fn, void *arg);

/* What was found wrong: a file of the folder, its row (-1: none in particular), what it is. */
typedef void audit_problem_fn(void *arg, const char *file, int64_t row, const char *what);

struct audit_totals {
    int64_t chains, rows, heads, problems;
    int64_t torn, open;                 /* half-written last rows; chains without an end row */
};

/* Check every chain of a folder, against folder/heads and, when given, a head file from elsewhere.
 * Errors: MISSING, IO, NOMEM; what is wrong with the log is no error but a problem. */
MUST_CHECK enum err audit_verify(const char *folder, const char *head_file, audit_problem_fn *fn,
                                 void *arg, struct audit_totals *totals);

/* The same for one chain in memory, `heads` being the text of a head file.  For tests. */
MUST_CHECK enum err audit_verify_bytes(const char *chain, const void *data, size_t len,
                                       const char *heads, size_t heads_len, audit_problem_fn *fn,
                                       void *arg, struct audit_totals *totals);

/* Call `fn` with each row of a folder's chains whose text holds `part`, chain by chain in the order
 * of their names; nothing is verified.  `row` is borrowed for the call: its object, on one line.
 * An error of fn ends the walk.  Errors: MISSING, IO, NOMEM, and those of fn. */
struct audit_row { const char *chain, *row; size_t len; int64_t n, made_ms; };
typedef enum err audit_row_fn(void *arg, const struct audit_row *row);
MUST_CHECK enum err audit_find(const char *folder, const char *part, audit_row_fn *fn, void *arg);

#endif
