/* aside.h - what a client's dialect has no place for, kept until the client comes back.
 *
 * An upstream's thinking has a signature, encrypted text or an id; a client that speaks another
 * dialect loses them, and sends the turn again without.  Here they wait, under the key that the
 * client used and a *handle* that the client does send again: the id of a tool call, the id of an
 * item, or a digest of the turn's words.  Other keys do not find them.
 *
 * An entry remembers who made it.  Its parts are handed out for the upstream that made them alone;
 * the others get what they may know: which model it was (affinity of tool calls), which labels the
 * text had (they are the request's again).
 *
 * In memory, bounded in time, bytes and entries, altogether and for each key: the longest unused
 * goes first, and a key that fills its share drives out its own.  A lost entry is no error: the
 * turn goes without thinking.  One thread.  (sealed.h makes rows of a ledger of entries.) */
#ifndef GATEWAY_ASIDE_H
#define GATEWAY_ASIDE_H

#include "base/err.h"
#include "base/sha256.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    ASIDE_PARTS_MAX = 1024,             /* of an entry */
    ASIDE_ENTRY_BYTES_MAX = 1 << 20,
    ASIDE_NAME_MAX = 128,               /* bytes of a key's id, an upstream's or model's name */
};

struct aside;

/* bytes, entries: of all; key_bytes, key_entries: of one key.  0: 64 MiB, 65536; a quarter. */
struct aside_options { size_t bytes, entries, key_bytes, key_entries; };

/* *out is yours: aside_free().  Errors: NOMEM. */
MUST_CHECK enum err aside_new(struct aside **out, const struct aside_options *o);
void aside_free(struct aside *a);       /* memory is overwritten first */

struct aside_text { const char *at; size_t len; };

/* A part of a turn.  kind, sealed: the caller's own numbers (enum wire_part_kind, wire_seal). */
struct aside_part {
    int kind, sealed;
    struct aside_text text, id, name, item, seal;
};

/* What a turn is found by.  Several handles may lead to the same turn: put it under each. */
struct aside_handle { uint8_t digest[SHA256_BYTES]; };
enum aside_by { ASIDE_BY_CALL, ASIDE_BY_ITEM, ASIDE_BY_TURN, ASIDE_BY_RESPONSE };

/* A handle of texts (an id; the visible texts of a turn in their order).  Lengths count: "ab", "c"
 * is not "a", "bc".  Errors: NOMEM. */
MUST_CHECK enum err aside_handle(struct aside_handle *out, enum aside_by by,
                                 const struct aside_text *text, size_t n);

struct aside_entry {
    const char *upstream, *model;       /* names of the configuration: who made it */
    uint64_t labels;                    /* of the text that it came from */
    const struct aside_part *part;
    size_t n_part;                      /* 0: it is known who made the call, no more */
    int64_t until_ms;                   /* from then on it is not there; 0: no end */
};

/* Keep a copy, in place of what the handle had.  Policy is the caller's: text is kept only where
 * path kept_aside may (policy.h); without parts an entry has no text.  Errors: LIMIT (larger than
 * an entry or than its key's share: what the handle had is gone), ARG (a name too long), NOMEM. */
MUST_CHECK enum err aside_put(struct aside *a, const char *key, const struct aside_handle *h,
                              const struct aside_entry *entry);

/* Find.  `upstream`: for whom (NULL: for nobody, only who made it and the labels).  For another
 * than its maker *out has no parts and *foreign is true.  now_ms: of the clock of until_ms.
 * Borrowed until the next call with a. */
bool aside_find(struct aside *a, const char *key, const struct aside_handle *h,
                const char *upstream, int64_t now_ms, struct aside_entry *out, bool *foreign);

/* The labels have other bits now: bit i becomes bit to[i] of 64; an entry with a label that is no
 * more (-1) is forgotten. */
void aside_relabel(struct aside *a, const int to[64]);

/* Forget what a key has (it was revoked), and everything. */
void aside_forget(struct aside *a, const char *key);
void aside_reset(struct aside *a);

struct aside_counts { size_t bytes, entries, keys; uint64_t evicted; };
struct aside_counts aside_counts(const struct aside *a);

#endif
