/* door_explain.h - `croft gateway explain --request`: what would become of a request, without
 * sending it: the same reading, labels, choice, attempts and worst cost as a running gateway's. */
#ifndef DOOR_DOOR_EXPLAIN_H
#define DOOR_DOOR_EXPLAIN_H

#include "base/buf.h"

#include <jansson.h>

struct door_dry {
    const char *config;                 /* path */
    const char *dialect;                /* chat, completions, responses, embeddings, messages */
    const char *body;
    size_t len;
    const char *key;                    /* id of a key of the ledger, NULL: of nobody */
    const char *labels;                 /* as x-croft-labels would have them, NULL: none */
};

/* What would happen, as text in `out`, or as JSON where `json` is not NULL (yours: json_decref()).
 * Circuits are taken to be closed and budgets to have room.  *refused: it would be answered with an
 * error at once.  Errors: those of the configuration and the ledger (with a key); ARG (no such
 * key, no such dialect), NOMEM. */
MUST_CHECK enum err door_explain(const struct door_dry *dry, struct buf *out, json_t **json,
                                 bool *refused);

#endif
