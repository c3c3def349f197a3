/* store_drive.c - the ledger and the audit log as a gateway's loop uses them, for api/ledger.py and
 * api/audit.py.
 *
 *   store_drive calls url=sqlite:L state=S calls=100 tokens=5000 worst=100 used=40 ...
 *   store_drive audit state=S rows=1000 strict=10 head=FILE
 *
 * Each call is admitted, journalled, and settled at once.  Lines "J id" and "S id" (or "W n") say
 * what is written by then, "G" that the database is gone; the last line is a count of everything,
 * as JSON. */
#include "store/audit.h"
#include "store/store.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static char **words;

static const char *word(const char *name, const char *fallback)
{
    size_t n = strlen(name);

    for (char **w = words; *w; w++)
        if (!strncmp(*w, name, n) && (*w)[n] == '=')
            return *w + n + 1;
    return fallback;
}

static long long number(const char *name, long long fallback)
{
    const char *text = word(name, NULL);

    return text ? atoll(text) : fallback;
}

static int64_t mono_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static int64_t stepped_clock(void)
{
    return 1767268800000 + number("clock", 0) * 1000;
}

struct drive {
    struct store *store;
    struct store_attempt *held;
    long long started, granted, settled, failed, refused, gone, soft, later, in_flight;
    struct ledger_usage used;
    enum attempt_state as;
    bool print, open;
};

struct call { struct drive *d; struct store_attempt *attempt; char id[64]; };

static void say(const struct drive *d, const char *what, const char *id)
{
    char line[96];
    int n = snprintf(line, sizeof(line), "%s %s\n", what, id);

    if (d->print && write(STDOUT_FILENO, line, (size_t)n) != n)
        exit(3);
}

static void on_settled(void *arg, enum err e)
{
    struct call *c = arg;

    if (e)
        c->d->failed++;
    else
        say(c->d, "S", c->id);
    c->d->settled += !e;
    c->d->in_flight--;
    free(c);
}

static void on_journalled(void *arg, enum err e)
{
    struct call *c = arg;
    struct drive *d = c->d;
    char upstream_id[80];

    if (e) {
        if (!d->failed++)
            fprintf(stderr, "store_drive: %s\n", err_text());
        d->in_flight--;
        free(c);
        return;
    }
    snprintf(c->id, sizeof(c->id), "%s", store_attempt_id(c->attempt));
    say(d, "J", c->id);
    snprintf(upstream_id, sizeof(upstream_id), "up-%s", c->id);
    if (!d->open)
        store_settle(d->store, c->attempt, d->as, &d->used, upstream_id, on_settled, c);
}

/* False: no more now. */
static bool start(struct drive *d, const struct limit_who *who, const struct ledger_usage *worst)
{
    struct amount need = { { 1, worst->prompt + worst->completion, worst->cost } };
    struct limit_grant grant;
    char request[40];
    enum limit_verdict v = store_admit(d->store, who, &need, &grant, NULL);
    struct call *c;

    d->refused += v == LIMIT_REFUSED;
    d->gone += v == LIMIT_GONE;
    d->later += v == LIMIT_LATER;
    if (v != LIMIT_GRANTED)
        return false;
    d->soft += grant.soft >= 0;
    d->granted++;
    snprintf(request, sizeof(request), "req-%d-%lld", (int)getpid(), d->started++);
    struct ledger_attempt row = {
        .request = request, .upstream = "anthropic", .key = who->key, .team = who->team,
        .model = "claude", .tags = who->tags, .requests = 1, .worst = *worst,
    };
    c = calloc(1, sizeof(*c));
    ASSERT(c);
    c->d = d;
    if (store_journal(d->store, &c->attempt, &row, &grant, on_journalled, c)) {
        store_release(d->store, &grant);
        d->failed++;
        free(c);
        return false;
    }
    d->in_flight++;
    return true;
}

static int calls(void)
{
    const struct limit_who who = { "research", word("key", "laptop"), "alpha beta" };
    const struct ledger_usage worst = { .prompt = number("worst", 100) / 2,
        .completion = number("worst", 100) - number("worst", 100) / 2,
        .cost = number("worst_cost", 1000) };
    struct limit_budget budget = { .name = "research_day", .id = "research", .owner = LIMIT_TEAM,
        .span = (enum span)number("span", SPAN_MONTH), .zone = "Europe/Berlin",
        .hard = number("hard", 1) != 0,
        .limit = { { number("requests", 0), number("tokens", 0), number("cost", 0) } } };
    struct store_options o = { .url = word("url", ""), .state = word("state", NULL),
        .budget = &budget, .n_budget = 1, .lease_ms = (int)number("lease", 0),
        .seldom = number("seldom", 0) != 0,
        .clock = word("clock", NULL) ? stepped_clock : NULL };
    struct drive d = { .print = number("print", 0) != 0, .open = number("open", 0) != 0,
        .as = (enum attempt_state)number("as", ATTEMPT_EXACT),
        .used = { .prompt = number("used", 40) / 2,
                  .completion = number("used", 40) - number("used", 40) / 2,
                  .cost = number("used_cost", 400) } };
    long long most = number("calls", 100), flight = number("flight", 16), last = -1;
    bool told = false;
    int64_t refused_ms = 0, patience = number("patience", 1500);

    if (store_open(&d.store, &o)) {
        fprintf(stderr, "store_drive: %s\n", err_text());
        return 3;
    }
    say(&d, "P", store_process(d.store));
    while ((d.started < most || d.in_flight) && !(d.open && d.started >= most && !d.print)) {
        struct pollfd p = { .fd = store_fd(d.store), .events = POLLIN };
        while (d.started < most && d.in_flight < flight && start(&d, &who, &worst))
            ;
        poll(&p, 1, 10);
        store_poll(d.store);
        if (store_counts(d.store).gone && !told) {
            told = true;
            say(&d, "G", "the database is gone");
        }
        if (d.granted != last || d.in_flight || !d.refused)
            refused_ms = mono_ms();
        last = d.granted;
        if (mono_ms() - refused_ms > patience)
            break;
    }
    store_close(d.store, 5000);
    printf("{\"granted\": %lld, \"settled\": %lld, \"failed\": %lld, \"refused\": %lld, "
           "\"gone\": %lld, \"soft\": %lld, \"later\": %lld}\n", d.granted, d.settled, d.failed,
           d.refused, d.gone, d.soft, d.later);
    return 0;
}

struct rows { long long written, failed; int64_t heads; };
struct one { struct rows *all; long long n; };

static void on_row(void *arg, enum err e)
{
    struct one *one = arg;
    char line[32];
    int n = snprintf(line, sizeof(line), "W %lld\n", one->n);

    if (e)
        one->all->failed++;
    else if (write(STDOUT_FILENO, line, (size_t)n) == n)
        one->all->written++;
    free(one);
}

static void on_head(void *arg, const struct audit_head *h)
{
    struct rows *all = arg;

    all->heads += h->n >= 0;
}

static int audit(void)
{
    struct rows all = { 0 };
    char name[40];
    snprintf(name, sizeof(name), "g%d-%lld", (int)getpid(), (long long)mono_ms());
    struct audit_options o = { .state = word("state", ""), .chain = word("chain", name),
        .head_file = word("head", NULL), .sync_ms = (int)number("sync", 0), .head = on_head,
        .arg = &all };
    long long rows = number("rows", 1000), strict = number("strict", 0), size = number("size", 40);
    struct audit *a;
    int64_t torn;

    if (audit_open(&a, &o, &torn)) {
        fprintf(stderr, "store_drive: %s\n", err_text());
        return 3;
    }
    for (long long i = 0; i < rows; i++) {
        struct pollfd p = { .fd = audit_fd(a), .events = POLLIN };
        struct one *one = malloc(sizeof(*one));
        char object[4096];
        int n = snprintf(object, sizeof(object), "{\"call\":%lld,\"rule\":\"%0*d\"}", i, (int)size,
                         7);
        ASSERT(one);
        *one = (struct one){ &all, i };
        if (audit_put(a, object, (size_t)n, strict && i % strict == 0, on_row, one)) {
            all.failed++;
            free(one);
        }
        if (i % 64 == 63) {
            poll(&p, 1, 100);
            audit_poll(a);
        }
    }
    audit_close(a);
    printf("{\"written\": %lld, \"failed\": %lld, \"torn\": %lld, \"heads\": %lld}\n", all.written,
           all.failed, (long long)torn, (long long)all.heads);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc < 2)
        return 2;
    words = argv + 2;
    signal(SIGXFSZ, SIG_IGN);
    signal(SIGPIPE, SIG_IGN);
    return !strcmp(argv[1], "audit") ? audit() : calls();
}
