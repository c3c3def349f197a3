/* progress.c - one line that says how far a long job is, how fast, and how long it will take.
 *
 *   hidden --(2 s, update)--> visible --(end)--> gone
 *
 * On a terminal the line replaces itself ten times a second at most and is wiped at the end; in
 * plain mode a whole line appears every five seconds and stays.
 */
#include "base/term.h"

#include <stdio.h>
#include <string.h>

static const double hidden_s = 2, redraw_s = 0.1, plain_s = 5;

static struct { void (*fn)(void *arg, double part); void *arg; } watch;

void progress_watch(void (*fn)(void *arg, double part), void *arg)
{
    watch.fn = fn;
    watch.arg = arg;
}

void progress_begin(struct progress *p, const char *what, const char *unit, int64_t total)
{
    double now = clock_s();

    *p = (struct progress){ .what = what, .unit = unit, .total = total, .started = now,
                            .shown = now };
}

static void amount(struct buf *out, const char *unit, double n)
{
    if (!strcmp(unit, "B"))
        term_bytes(out, n > 0 ? (uint64_t)n : 0);
    else
        buf_printf(out, n < 10 ? "%.1f %s" : "%.0f %s", n, unit);
}

static void time_left(struct buf *out, double s)
{
    int64_t t = (int64_t)(s + 0.5);

    if (t >= 3600)
        buf_printf(out, "%lld h %02d min left", (long long)(t / 3600), (int)(t / 60 % 60));
    else if (t >= 60)
        buf_printf(out, "%d min %02d s left", (int)(t / 60), (int)(t % 60));
    else
        buf_printf(out, "%d s left", (int)t);
}

static void draw(const struct progress *p, int64_t done, double elapsed)
{
    struct buf line = { 0 };
    double rate = elapsed > 0 ? (double)done / elapsed : 0;

    buf_puts(&line, term_plain() ? "croft: " : "\r\033[K");
    buf_printf(&line, "%s: ", p->what);
    if (p->total > 0) {
        buf_printf(&line, "%d %%, ", (int)((double)done * 100 / (double)p->total));
        amount(&line, p->unit, (double)done);
        buf_puts(&line, " of ");
        amount(&line, p->unit, (double)p->total);
    } else {
        amount(&line, p->unit, (double)done);
    }
    if (strcmp(p->unit, "s")) {         /* a second takes a second */
        buf_puts(&line, ", ");
        amount(&line, p->unit, rate);
        buf_puts(&line, "/s");
    }
    if (p->total > done && rate > 0) {
        buf_puts(&line, ", ");
        time_left(&line, (double)(p->total - done) / rate);
    }
    if (term_plain())
        buf_puts(&line, "\n");
    if (!line.broken)
        fputs(buf_text(&line), stderr);
    fflush(stderr);
    buf_release(&line);
}

void progress_update(struct progress *p, int64_t done)
{
    double now = clock_s();

    if (watch.fn && p->total > 0)
        watch.fn(watch.arg, (double)done / (double)p->total);
    if (term_quiet() || now - p->started < hidden_s)
        return;
    if (p->visible && now - p->shown < (term_plain() ? plain_s : redraw_s))
        return;
    p->visible = true;
    p->shown = now;
    draw(p, done, now - p->started);
}

void progress_end(struct progress *p)
{
    if (p->visible && !term_plain()) {
        fputs("\r\033[K", stderr);
        fflush(stderr);
    }
    p->visible = false;
}
