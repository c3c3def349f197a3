/* term.h - what a person sees on standard error: notes, warnings, progress, errors.
 *
 * Standard output belongs to results alone.  Colour, cursor movement and non-ASCII marks are used
 * only when standard error is a terminal that takes them and --plain, NO_COLOR, TERM=dumb do not
 * forbid it.
 */
#ifndef BASE_TERM_H
#define BASE_TERM_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <signal.h>

/* Call once from main. */
void term_init(bool plain, bool quiet, bool verbose);
bool term_plain(void);
bool term_colour_out(void);             /* may standard OUTPUT be coloured? */

/* "croft: note: ..." (silent with --quiet); "croft: warning: ..."; verbose only with -v. */
void term_note(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void term_warn(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void term_verbose(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* "croft: error: <err_text()> [E-<err_id()>]" */
void term_error(enum err e);

/* A progress line with rate and ETA, shown once it has lasted over two seconds; in plain mode a
 * line every five seconds.  Units: "tok", "B" (shown as MB/GB). */
struct progress { const char *what, *unit; int64_t total; double started, shown; bool visible; };
void progress_begin(struct progress *p, const char *what, const char *unit, int64_t total);
void progress_update(struct progress *p, int64_t done);
void progress_end(struct progress *p);

/* Ctrl-C: the first sets the flag, the second ends the program with status 130. */
void term_catch_interrupt(void);
bool term_interrupted(void);
void term_clear_interrupt(void);

/* Write to standard output; ERR_PIPE when the reader went away, ERR_IO otherwise. */
MUST_CHECK enum err out_write(const char *bytes, size_t len);
MUST_CHECK enum err out_printf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
MUST_CHECK enum err out_flush(void);

/* Seconds on a clock that never jumps. */
double clock_s(void);

#endif
