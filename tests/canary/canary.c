/* canary.c - a load of requests with canaries, and the upstreams behind the gateway: tests/gateway/
 * canary.py runs it and speaks to it by lines.
 *
 *   canary SEED           prints "ports p0 ... p5", then reads
 *   plan FILE             -> "ok": keys, names and, for each version of the configuration, what may
 *                         go where
 *   run PORT FIRST COUNT CLIENTS   -> "n N" after each 250 requests, at last a line of JSON
 *   try V                 -> "ok": version V may be in force from now on
 *   at V                  versions below V are in force no more
 *   show N                the bytes of request N, but that it follows no other; then the end */
#include "canary.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LEAKS_SHOWN = 20 };

struct event_base *base;
struct plan plan;
struct record *record;
struct counts n;
uint64_t seed;
uint32_t record_first, record_end;
int version_low, version_high;

void text_add(struct text *t, const char *bytes, size_t len)
{
    if (t->len + len + 1 > t->max) {
        t->max = (t->len + len + 1) * 2 + 256;
        t->at = realloc(t->at, t->max);
        if (!t->at)
            exit(1);
    }
    if (len)
        memcpy(t->at + t->len, bytes, len);
    t->len += len;
    t->at[t->len] = '\0';
}

void text_put(struct text *t, const char *fmt, ...)
{
    char small[512];
    va_list args, again;
    int len;

    va_start(args, fmt);
    va_copy(again, args);
    len = vsnprintf(small, sizeof(small), fmt, args);
    if (len < (int)sizeof(small)) {
        text_add(t, small, (size_t)len);
    } else {
        char *large = malloc((size_t)len + 1);
        if (!large)
            exit(1);
        vsnprintf(large, (size_t)len + 1, fmt, again);
        text_add(t, large, (size_t)len);
        free(large);
    }
    va_end(again);
    va_end(args);
}

void leak(const char *what, uint32_t by, uint32_t at, char place, char letter, const char *where)
{
    const struct record *r = &record[by - record_first];

    n.leaks++;
    n.caught[(unsigned char)place]++;
    for (int i = 0; i < LABELS; i++)
        if (r->labels >> i & 1)
            n.letter[i]++;
    if (n.leaks <= LEAKS_SHOWN)
        fprintf(stderr, "LEAK %s: request %u at %u, place %c, letter %c, labels %02x: %s, versions "
                "%d to %d\n", what, by, at, place, letter, r->labels, where,
                record[at - record_first].low, version_high);
}

/* ---- the plan ------------------------------------------------------------------------------- */

static void read_bits(bool out[SETS], const char *bits)
{
    if (strlen(bits) < SETS)
        exit(2);
    for (int i = 0; i < SETS; i++)
        out[i] = bits[i] == '1';
}

/* key TOKEN LABELS | name NAME | model I UPSTREAM | go V MODEL KIND BITS | error V BITS */
static void read_line(const char *line)
{
    char bits[SETS + 2], word[160];
    unsigned labels;
    int v, model, kind;

    if (sscanf(line, "key %159s %u", word, &labels) == 2 && plan.n_key < KEYS_MAX) {
        snprintf(plan.key[plan.n_key].token, sizeof(plan.key[0].token), "%s", word);
        plan.key[plan.n_key++].labels = labels;
    } else if (sscanf(line, "name %31s", word) == 1 && plan.n_name < NAMES_MAX) {
        snprintf(plan.name[plan.n_name++], sizeof(plan.name[0]), "%.31s", word);
    } else if (sscanf(line, "model %d %d", &model, &v) == 2 && model >= 0 && model < MODELS) {
        plan.at[model] = v;
    } else if (sscanf(line, "go %d %d %d %129s", &v, &model, &kind, bits) == 4 && v >= 0 &&
               v < VERSIONS_MAX && model >= 0 && model < MODELS && kind >= 0 && kind < KINDS) {
        read_bits(plan.allow[v][model][kind], bits);
        plan.n_version = v + 1;
    } else if (sscanf(line, "error %d %129s", &v, bits) == 2 && v >= 0 && v < VERSIONS_MAX) {
        read_bits(plan.error[v], bits);
    } else {
        fprintf(stderr, "canary: no such line in a plan: %s", line);
        exit(2);
    }
}

static void read_plan(const char *path)
{
    FILE *in = fopen(path, "r");
    char line[512];

    plan = (struct plan){ 0 };
    if (!in) {
        perror(path);
        exit(2);
    }
    while (fgets(line, sizeof(line), in))
        read_line(line);
    fclose(in);
}

/* ---- the report ----------------------------------------------------------------------------- */

static void put_places(const char *name, const uint64_t *count)
{
    const char *comma = "";

    printf(", \"%s\": {", name);
    for (int c = '0'; c <= 'z'; c++)
        if (count[c]) {
            printf("%s\"%c\": %llu", comma, c, (unsigned long long)count[c]);
            comma = ", ";
        }
    printf("}");
}

static void put_list(const char *name, const uint64_t *count, int len)
{
    printf(", \"%s\": [", name);
    for (int i = 0; i < len; i++)
        printf("%s%llu", i ? ", " : "", (unsigned long long)count[i]);
    printf("]");
}

static void put(const char *name, uint64_t count)
{
    printf(", \"%s\": %llu", name, (unsigned long long)count);
}

static void on_end(void)
{
    printf("{\"requests\": %llu", (unsigned long long)n.begun);
    put("whole", n.whole);
    put("left", n.left);
    put("broken", n.broken);
    put("forbidden", n.forbidden);
    put("refused", n.refused);
    put("failed", n.failed);
    put("asked", n.asked);
    put("canaries", n.checked);
    put("kept", n.kept);
    put("echoes", n.echoes);
    put("echo_caught", n.echo_caught);
    put("notes", n.notes);
    put("cross", n.cross);
    put("misrouted", n.misrouted);
    put("unread", n.unread);
    put("leaks", n.leaks);
    put_list("kinds", n.kind, KINDS);
    put_list("deeds", n.deed, DEEDS);
    put_list("pairs", &n.pair[0][0][0], DIALECTS * 3 * 2);
    put_list("labels_caught", n.letter, LABELS);
    put_places("seen", n.seen);
    put_places("caught", n.caught);
    printf("}\n");
    fflush(stdout);
    event_base_loopbreak(base);
}

static void on_some(void)
{
    printf("n %llu\n", (unsigned long long)n.begun);
    fflush(stdout);
}

/* ---- lines ---------------------------------------------------------------------------------- */

static void run(int port, uint32_t first, uint32_t count, int clients)
{
    record_first = first;
    record_end = first + count;
    record = calloc(count, sizeof(*record));
    if (!record || !count)
        exit(2);
    load_begin(port, first, count, clients, on_some, on_end);
}

static void show(uint32_t number)
{
    struct made made = { 0 };

    record_end = number + 1;
    record = calloc(record_end, sizeof(*record));
    if (!record)
        exit(2);
    ask_make(&made, number);
    printf("%s\n", made.bytes.at);
    free(made.bytes.at);
    event_base_loopbreak(base);
}

static void take_line(const char *line)
{
    char path[512];
    unsigned first, count;
    int port, clients, v;

    if (sscanf(line, "plan %511s", path) == 1) {
        read_plan(path);
        printf("ok\n");
    } else if (sscanf(line, "try %d", &v) == 1 && v < plan.n_version) {
        version_high = v;
        printf("ok\n");
    } else if (sscanf(line, "at %d", &v) == 1) {
        version_low = v;
    } else if (sscanf(line, "run %d %u %u %d", &port, &first, &count, &clients) == 4) {
        run(port, first, count, clients);
    } else if (sscanf(line, "show %u", &first) == 1) {
        show(first);
    } else {
        fprintf(stderr, "canary: no such line: %s\n", line);
        exit(2);
    }
    fflush(stdout);
}

static void on_line(struct bufferevent *bev, void *arg)
{
    char *line;

    (void)arg;
    while ((line = evbuffer_readln(bufferevent_get_input(bev), NULL, EVBUFFER_EOL_LF))) {
        take_line(line);
        free(line);
    }
}

static void on_gone(struct bufferevent *bev, short what, void *arg)
{
    (void)bev;
    (void)what;
    (void)arg;
    exit(2);
}

int main(int argc, char **argv)
{
    struct bufferevent *lines;
    int port[UPSTREAMS];

    if (argc != 2)
        return 2;
    signal(SIGPIPE, SIG_IGN);
    seed = strtoull(argv[1], NULL, 10);
    base = event_base_new();
    stand_open(port);
    printf("ports");
    for (int i = 0; i < UPSTREAMS; i++)
        printf(" %d", port[i]);
    printf("\n");
    fflush(stdout);
    evutil_make_socket_nonblocking(0);
    lines = bufferevent_socket_new(base, 0, 0);
    bufferevent_setcb(lines, on_line, NULL, on_gone, NULL);
    bufferevent_enable(lines, EV_READ);
    event_base_dispatch(base);
    free(record);
    return 0;
}
