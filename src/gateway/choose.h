/* choose.h - who may answer a request: a name made into a list of candidates, each with what
 * decided it.
 *
 * The one place where a name becomes models.  A running gateway sends by the list, `croft gateway
 * explain` prints it.  Order: policy first (a rule that forbids decides, whatever the model could),
 * then what the model can, then how long the text is.  Members of an ordered group keep their
 * order, as the proof assumes (prove_paths.c); those of a weighted one are drawn, all of them,
 * without putting back.
 *
 * Affinity: between a call of a tool and its result the model stays the same.  The model that made
 * the call is asked first, if it is one of the candidates and may have the text, and the list is
 * `held`: others are asked only when that one is dead (attempts.h).
 *
 * Pure and thread-safe: the configuration and the policy are read only.  Nothing is allocated but
 * by choice_text() and choice_json(). */
#ifndef GATEWAY_CHOOSE_H
#define GATEWAY_CHOOSE_H

#include "gateway/policy.h"

#include "base/buf.h"

#include <jansson.h>

/* What decided about a candidate, or about a request as a whole. */
enum choice_why {
    CHOICE_ALLOWED,
    CHOICE_NO_MODEL,            /* of a request: nothing has that name */
    CHOICE_KEY_SCOPE,           /* of a request: the key may not name it */
    CHOICE_TEAM_SCOPE,          /* of a request: the key's team may not name it */
    CHOICE_RULE,                /* a rule forbids (403) */
    CHOICE_NEVER,               /* a line of `never` holds; a proved file never gets here (403) */
    CHOICE_LACKS,               /* it does not accept something the request needs (400) */
    CHOICE_DIALECT,             /* its upstream does not count tokens (404: estimate) */
    CHOICE_OUTPUT,              /* more output is asked for than it gives (400) */
    CHOICE_CONTEXT,             /* the text and its answer are longer than its context (400) */
    CHOICE_FIELD,               /* of a candidate: a field cannot be carried to its dialect, and
                                   others can have it; said by the caller of choose() */
};

/* Names that may be asked for; count 0 with `any`: every name, count 0 without: none. */
struct choice_scope { const char *const *name; unsigned count; bool any; };

struct choose_ask {
    const char *name;                   /* a model, an alias or a group, NUL-terminated */
    enum path_kind kind;                /* CALL, COUNT_TOKENS or EMBEDDINGS */
    uint64_t labels;                    /* all of them: key, team, request, detectors, unscanned */
    uint32_t needs;                     /* enum accepts; CONTINUE is not one */
    uint64_t prompt_tok, output_tok;    /* estimates of the text and of the most asked for; 0: not
                                           known, and then they exclude nobody */
    struct choice_scope key, team;
    int affinity;                       /* the model whose calls wait for results, or -1 */
    uint64_t random;                    /* of a weighted group: the order is a function of this */
};

struct candidate {
    int model;                          /* index of config.models */
    enum choice_why why;                /* ALLOWED, RULE .. CONTEXT: about the ask's kind */
    enum choice_why lack;               /* ALLOWED, LACKS .. CONTEXT: can it, rules apart */
    uint32_t lacks;                     /* enum accepts */
    uint32_t paths;                     /* bit k: it can, and may have the text by kind k */
    struct verdict by[PATH_N];          /* what decided about each kind that ends at a model */
};

struct choice {
    enum choice_why why;                /* ALLOWED: a candidate is; else what a refusal says */
    int group;                          /* what the name meant: a group, or -1 and one candidate */
    bool held;                          /* candidate `first` made the calls that wait */
    int first;                          /* whom to ask first: the first allowed, or the held one */
    int n, n_allowed;
    struct candidate at[MEMBERS_MAX];
    int decided;                        /* the candidate that `why` is about, -1 where it is the
                                           request */
    enum path_kind kind;
    uint64_t labels, prompt_tok, output_tok;
    uint32_t needs;
};

/* *out is set whole on every path; nothing fails.  A refused request has why != ALLOWED: of its
 * candidates' reasons the most telling, a rule before a lack before a length. */
void choose(struct choice *out, const struct config *c, const struct policy *p,
            const struct choose_ask *ask);

/* May a request name it?  A model is named by any of its names.  For /v1/models. */
bool choice_in_scope(const struct config *c, const struct choice_scope *scope, const char *name);

/* One candidate's reason, or the refusal of a whole request as a client may read it: it names the
 * label and the rule, no upstream, no path. */
void candidate_text(struct buf *out, const struct config *c, const struct choice *x,
                    const struct candidate *one);
void choice_refusal(struct buf *out, const struct config *c, const struct choice *x,
                    const char *name);

/* "allowed", "rule", "lacks" ...; never NULL. */
const char *choice_word(enum choice_why why);

/* The whole list, a line a candidate; the same for machines: {"request", "group", "labels",
 * "verdict", "held", "candidates": [{"model", "upstream", "verdict", "rule", "lacks", "paths":
 * {"call": {"allowed", "rule"}, ...}}]}.  choice_json() gives NULL when memory runs out. */
void choice_text(struct buf *out, const struct config *c, const struct choice *x,
                 const char *name);
json_t *choice_json(const struct config *c, const struct choice *x, const char *name);

#endif
