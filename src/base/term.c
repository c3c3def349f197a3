/* term.c - messages to a person on standard error, results to standard output.  See term.h.
 *
 * Everything a message contains may come from a hostile file, so no text reaches the terminal
 * without term_shown(): a tensor's name must not move the cursor.
 */
#include "base/term.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static bool plain = true, quiet, verbose, colour_err, colour_out;
static volatile sig_atomic_t interrupted;

static bool set_in_env(const char *name)
{
    const char *text = getenv(name);
    return text && *text;
}

void term_init(bool want_plain, bool want_quiet, bool want_verbose)
{
    const char *term = getenv("TERM");
    bool dumb = !term || !*term || !strcmp(term, "dumb");

    plain = want_plain || dumb || !isatty(STDERR_FILENO);
    quiet = want_quiet;
    verbose = want_verbose && !want_quiet;
    colour_err = !plain && !set_in_env("NO_COLOR");
    colour_out = !want_plain && !dumb && !set_in_env("NO_COLOR") && isatty(STDOUT_FILENO);
}

bool term_plain(void)
{
    return plain;
}

bool term_quiet(void)
{
    return quiet;
}

bool term_is_verbose(void)
{
    return verbose;
}

bool term_colour_out(void)
{
    return colour_out;
}

void term_shown(struct buf *out, const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];
        bool c1 = c == 0xc2 && i + 1 < len && ((unsigned char)text[i + 1] & 0xe0) == 0x80;
        if ((c < 0x20 && c != '\n' && c != '\t') || c == 0x7f || c1) {
            buf_puts(out, "?");
            i += c1;
        } else {
            buf_add(out, &text[i], 1);
        }
    }
}

void term_bytes(struct buf *out, uint64_t bytes)
{
    static const char *const unit[] = { "B", "kB", "MB", "GB", "TB", "PB", "EB" };
    double x = (double)bytes;
    size_t u = 0;

    for (; x >= 999.95 && u + 1 < sizeof(unit) / sizeof(*unit); u++)
        x /= 1000;
    buf_printf(out, u ? "%.1f %s" : "%.0f %s", x, unit[u]);
}

/* Where there is no memory for a line: plain ASCII, a byte at a time. */
static void say_bare(const char *word, const char *text)
{
    fputs("croft: ", stderr);
    fputs(word, stderr);
    fputs(": ", stderr);
    for (; *text; text++)
        fputc((*text >= 0x20 && *text < 0x7f) || *text == '\n' || *text == '\t' ? *text : '?',
              stderr);
    fputc('\n', stderr);
}

/* One line to standard error: "croft: WORD: text", the word coloured. */
static void say(const char *word, const char *ansi, const char *text)
{
    struct buf line = { 0 };

    buf_printf(&line, "croft: %s%s:%s ", colour_err ? ansi : "", word, colour_err ? "\033[0m" : "");
    term_shown(&line, text, strlen(text));
    buf_puts(&line, "\n");
    if (line.broken)
        say_bare(word, text);
    else
        fputs(buf_text(&line), stderr);
    buf_release(&line);
}

static void say_args(const char *word, const char *ansi, const char *fmt, va_list args)
{
    char text[2 * ERR_TEXT_BYTES];

    vsnprintf(text, sizeof(text), fmt, args);
    say(word, ansi, text);
}

void term_note(const char *fmt, ...)
{
    va_list args;

    if (quiet)
        return;
    va_start(args, fmt);
    say_args("note", "\033[36m", fmt, args);
    va_end(args);
}

void term_warn(const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    say_args("warning", "\033[33m", fmt, args);
    va_end(args);
}

void term_verbose(const char *fmt, ...)
{
    va_list args;

    if (!verbose)
        return;
    va_start(args, fmt);
    say_args("note", "\033[2m", fmt, args);
    va_end(args);
}

void term_error(enum err e)
{
    char text[ERR_TEXT_BYTES + 64];

    ASSERT(e != OK);
    if (*err_id())
        snprintf(text, sizeof(text), "%s [E-%s]", err_text(), err_id());
    else
        snprintf(text, sizeof(text), "%s", err_name(e));
    say("error", "\033[31m", text);
}

/* ---- interruption ---- */

/* People press twice when a step is slow, and mean the answer; three times is the program. */
enum { INTERRUPTS_MAX = 3 };

static void on_interrupt(int signal_number)
{
    static const char back[] = "\n";

    (void)signal_number;
    if (++interrupted >= INTERRUPTS_MAX) {
        ssize_t n = write(STDERR_FILENO, back, sizeof(back) - 1);
        (void)n;
        _exit(130);
    }
}

void term_catch_interrupt(void)
{
    struct sigaction action = { .sa_handler = on_interrupt };

    /* No SA_RESTART: a read that waits for a person must return. */
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
}

bool term_interrupted(void)
{
    return interrupted != 0;
}

void term_clear_interrupt(void)
{
    interrupted = 0;
}

/* ---- standard output ---- */

static int out_errno;                   /* of the first write that failed */

/* All of it, whatever signals come: stdio would lose the rest of an interrupted write. */
static ssize_t write_out(void *cookie, const char *bytes, size_t len)
{
    size_t done = 0;
    ssize_t n = 0;

    (void)cookie;
    while (done < len && ((n = write(STDOUT_FILENO, bytes + done, len - done)) >= 0 ||
                          errno == EINTR))
        done += n > 0 ? (size_t)n : 0;
    if (n < 0 && !out_errno)
        out_errno = errno;
    return (ssize_t)done;
}

void out_init(void)
{
    static char buffer[64 << 10];
    const cookie_io_functions_t calls = { .write = write_out };
    FILE *out = fopencookie(NULL, "w", calls);

    if (!out)
        return;                         /* the stream that is there does, but for what is above */
    setvbuf(out, buffer, isatty(STDOUT_FILENO) ? _IOLBF : _IOFBF, sizeof(buffer));
    stdout = out;
}

static enum err out_failed(void)
{
    int why = out_errno ? out_errno : errno;

    if (why == EPIPE)
        return err_set(ERR_PIPE, "TERM-01", "the reader of the output went away");
    return err_set(ERR_IO, "TERM-02", "cannot write to standard output: %s; free space or choose "
                   "another file", strerror(why));
}

enum err out_write(const char *bytes, size_t len)
{
    return fwrite(bytes, 1, len, stdout) == len ? OK : out_failed();
}

enum err out_printf(const char *fmt, ...)
{
    va_list args;
    int n;

    va_start(args, fmt);
    n = vprintf(fmt, args);
    va_end(args);
    return n >= 0 ? OK : out_failed();
}

enum err out_flush(void)
{
    return fflush(stdout) || ferror(stdout) ? out_failed() : OK;
}

double clock_s(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}
