/* gate.h - who a request is from: its key, what that may, and with whom it shares.
 *
 * A party is a number: 0 for those without a key, another for each key, and one for the keys of a
 * group together.  What was computed for a prompt is used again inside a party alone.  Limits are
 * buckets that fill by the minute's allowance in a minute and hold as much.  From one thread.
 */
#ifndef SERVE_GATE_H
#define SERVE_GATE_H

#include "http/keys.h"

struct gate_guest {                     /* a key that asked once, or a group */
    char name[KEY_ID_MAX + 3];          /* "k:laptop", "g:team" */
    double n_request, n_tok, at;        /* left in its buckets, at that time */
    int64_t in_flight;
    bool met;
};

struct gate {
    const char *path;                   /* of the key file, borrowed; NULL: no keys are asked for */
    struct keys *keys;
    struct gate_guest *guest;           /* guest i is party i + 1 */
    size_t n, cap;
};

/* Errors: those of keys_load(). */
MUST_CHECK enum err gate_open(struct gate *g, const char *path);
MUST_CHECK enum err gate_reload(struct gate *g);        /* as keys_reload() */
void gate_close(struct gate *g);

/* The key of a request's head; NULL with *f saying why not. */
const struct key *gate_key(const struct gate *g, const struct head *h, unsigned scopes,
                           enum fault *f);

enum gate_verdict { GATE_OK, GATE_REQUESTS, GATE_TOKENS, GATE_IN_FLIGHT, GATE_NO_MEMORY };
struct gate_pass { uint64_t party; size_t guest; bool has_guest; double wait_s; };

/* Whether the key of that id ("" is none) may ask with a prompt of n_tok tokens at the time `now`
 * in seconds; pass->wait_s says when again.  With OK it is counted: gate_leave() with the tokens of
 * the answer. */
enum gate_verdict gate_enter(struct gate *g, const char *id, int64_t n_tok, double now,
                             struct gate_pass *pass);
void gate_leave(struct gate *g, const struct gate_pass *pass, int64_t n_tok);

#endif
