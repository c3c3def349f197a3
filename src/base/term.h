/* term.h - what a person sees on standard error: notes, warnings, progress, errors.
 *
 * Standard output belongs to results alone.  Colour, cursor movement and non-ASCII marks are used
 * only when standard error is a terminal that takes them and --plain, NO_COLOR, TERM=dumb do not
 * forbid it.
 */
#ifndef BASE_TERM_H
#define BASE_TERM_H

#include "base/buf.h"
#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <signal.h>

/* Call once from main. */
void term_init(bool plain, bool quiet, bool verbose);
bool term_plain(void);
bool term_quiet(void);
bool term_is_verbose(void);
bool term_colour_out(void);             /* may standard OUTPUT be coloured? */

/* "croft: note: ..." (silent with --quiet); "croft: warning: ..."; verbose only with -v. */
void term_note(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void term_warn(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void term_verbose(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* "croft: error: <err_text()> [E-<err_id()>]" */
void term_error(enum err e);

/* Append text from outside (a file's strings, a model's words) made harmless for a terminal:
 * control characters other than line feed and tab become '?'; C1 controls in UTF-8 too. */
void term_shown(struct buf *out, const char *text, size_t len);

/* Append a number of bytes as people read it: "98.4 MB", "671.0 GB", powers of 1000. */
void term_bytes(struct buf *out, uint64_t bytes);

/* A progress line with rate and ETA, shown once it has lasted over two seconds; in plain mode a
 * line every five seconds.  Units: "tok", "B" (shown as MB/GB),
 * "s" (shown without a rate). */
struct progress { const char *what, *unit; int64_t total; double started, shown; bool visible; };
void progress_begin(struct progress *p, const char *what, const char *unit, int64_t total);
void progress_update(struct progress *p, int64_t done);
void progress_end(struct progress *p);

/* Tell `fn` too how far what is in progress is, from 0 to 1, with every update, shown or not.  One
 * at a time; NULL: nobody. */
void progress_watch(void (*fn)(void *arg, double part), void *arg);

/* Ctrl-C: the first sets the flag; the third before it is cleared ends the program at once, with
 * status 130: a way out of a step that hangs. */
void term_catch_interrupt(void);
bool term_interrupted(void);
void term_clear_interrupt(void);

/* First thing: from then on a signal cuts no write to standard output short. */
void out_init(void);

/* Write to standard output; ERR_PIPE when the reader went away, ERR_IO otherwise. */
MUST_CHECK enum err out_write(const char *bytes, size_t len);
MUST_CHECK enum err out_printf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
MUST_CHECK enum err out_flush(void);

/* Seconds on a clock that never jumps. */
double clock_s(void);

#endif
