/* door.h - `croft gateway`: one door before every model.
 *
 *   door_open -> door_run (until SIGTERM has drained it) -> door_close
 *
 * One thread runs the loop: the server's, the client's, and the ends of what the ledger's and the
 * audit log's threads did.  A configuration is checked and proved before anything is served by it;
 * SIGHUP loads the file again, and requests in work end under the one that they began with. */
#ifndef DOOR_DOOR_H
#define DOOR_DOOR_H

#include "base/err.h"

struct door;

/* Load, prove, open ledger and audit log, listen.  The path is read again on SIGHUP.  *out is
 * yours: door_close().  Errors: those of config_load(), db_open(), audit_open(), prices_load(),
 * server_listen(); FORMAT (refuted); ARG (something that this version does not do). */
MUST_CHECK enum err door_open(struct door **out, const char *path);

/* Answer.  SIGTERM, SIGINT: no new connections, what runs ends; a second one cuts it off. */
MUST_CHECK enum err door_run(struct door *d);

/* What is still in work is settled as estimated. */
void door_close(struct door *d);

/* What is served, as one line. */
struct buf;
void door_describe(const struct door *d, struct buf *out);

#endif
