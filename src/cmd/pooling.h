/* pooling.h - how the rows of a text's tokens become its embedding. */
#ifndef CMD_POOLING_H
#define CMD_POOLING_H

#include "cmd/load.h"
#include "serve/serve.h"

/* As --pooling says; else the file's <arch>.pooling_type, or 1_Pooling/config.json of a folder;
 * else the last token.  Errors: ARG (the files name a way that croft has not), FORMAT. */
MUST_CHECK enum err pooling_choose(enum serve_pool *out, const struct loaded *l,
                                   const struct opt_set *o);

#endif
