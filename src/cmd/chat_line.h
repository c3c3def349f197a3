/* chat_line.h - reading what a person types in the chat.
 *
 * On a terminal: line editing and a history that is kept in $XDG_STATE_HOME/croft/chat_history.
 * Otherwise, and with --plain: lines as they come.  A trailing backslash, or """ at the start,
 * makes a message of several lines; the second form ends with """ at the end of a line.
 */
#ifndef CMD_CHAT_LINE_H
#define CMD_CHAT_LINE_H

#include "base/buf.h"
#include "base/err.h"

struct chat_line;

enum line_got {
    LINE_TEXT,
    LINE_CANCEL,                        /* Ctrl-C: what was typed is dropped */
    LINE_END,                           /* Ctrl-D, or the end of the input */
};

/* Without a folder for the history it is not kept; that is said with -v.  Errors: NOMEM. */
MUST_CHECK enum err chat_line_open(struct chat_line **out);
void chat_line_close(struct chat_line *c);

/* One message into *text (emptied first), without its final newline.  Errors: NOMEM, IO. */
MUST_CHECK enum err chat_line_read(struct chat_line *c, struct buf *text, enum line_got *got);

#endif
