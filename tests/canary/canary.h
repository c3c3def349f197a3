/* canary.h - inside tests/canary: a load of requests made from a seed, and the upstreams that
 * answer them, in one process, so that whoever reads a text knows who wrote it.
 *
 * A canary is "zq7k", a letter, a place, and eight hexadecimal digits: the request's number.
 *   letter  a b c d   patterns of the labels la to ld find it;  e   the label le does, for an
 *           address of e-mail is made of it;  n   nothing does: it is its request's alone
 *   place   where it was put: `places` says the words; 1 to 4 are places of an upstream's answer
 *
 * The labels of a request are a set of bits: 0 to 3 la to ld, 4 le, 5 lg (which only key, team,
 * head or metadata give), 6 unscanned.  What may go where is a table that tests/gateway/canary.py
 * makes of each version of the configuration; nothing here knows a rule.  One thread, one loop. */
#ifndef CANARY_CANARY_H
#define CANARY_CANARY_H

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    MODELS = 8, KINDS = 6, LABELS = 7, SETS = 1 << LABELS, VERSIONS_MAX = 64, UPSTREAMS = 6,
    KEYS_MAX = 16, NAMES_MAX = 32, PLACES = 128, BODY_MAX = 1 << 20, LINKS_MAX = 256,
    LABEL_MAIL = 4, LABEL_GIVEN = 5, LABEL_UNSCANNED = 6,
};

/* As the gateway's path.def has them, those that end at a model. */
enum kind { CALL, FALLBACK, RETRY, CONTINUATION, COUNTING, EMBEDDING };

enum dialect { CHAT, MESSAGES, RESPONSES, COMPLETIONS, EMBEDDINGS, COUNT, DIALECTS };

/* What an upstream does with a request, by chance. */
enum deed { WELL, SAYS_500, SAYS_400, SAYS_429, SAYS_503, SAYS_404, SAYS_LONG, ERROR_IN_200,
            GARBAGE, NO_HEAD, RESETS, ERROR_FIRST, ERROR_LATE, CUT_FIRST, CUT_LATE, DEEDS };

struct text { char *at; size_t len, max; };     /* grows; always ends with a NUL behind len */

void text_add(struct text *t, const char *bytes, size_t len);
void text_put(struct text *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

struct plan {
    int n_key, n_name, n_version;
    struct { char token[160]; unsigned labels; } key[KEYS_MAX];
    char name[NAMES_MAX][32];           /* that requests ask for */
    int at[MODELS];                     /* the upstream of a model */
    bool allow[VERSIONS_MAX][MODELS][KINDS][SETS], error[VERSIONS_MAX][SETS];
};

/* One request, from its making to the end of the run. */
struct record {
    unsigned char labels, low;          /* low: the version that was in force when it was sent */
    unsigned char dialect, key, got;    /* got: models that were asked, bits */
    unsigned char n_asked;
    bool stream, odd, calls;            /* odd: it has a mistake; calls: its answer called a tool */
    uint32_t parent;                    /* the request whose call it answers; or itself */
};

struct counts {
    uint64_t begun, whole, left, broken, refused, forbidden, failed, canaries, checked, leaks;
    uint64_t asked, kept, echoes;       /* upstreams; another's that came back; in errors */
    uint64_t kind[KINDS], deed[DEEDS], pair[DIALECTS][3][2];
    uint64_t seen[PLACES], caught[PLACES], letter[PLACES];  /* letter: of those that were caught */
    uint64_t echo_caught, notes, cross, misrouted, unread;      /* unread: had no canary */
};

/* ---- canary.c ------------------------------------------------------------------------------- */

extern struct event_base *base;
extern struct plan plan;
extern struct record *record;           /* [first + n of the run], by number */
extern struct counts n;
extern uint64_t seed;
extern uint32_t record_first, record_end;
extern int version_low, version_high;   /* that may be in force now */

/* A leak: counted, and the first ones are lines on standard error. */
void leak(const char *what, uint32_t by, uint32_t at, char place, char letter, const char *where);

/* ---- canary_chance.c: numbers that follow from the seed ------------------------------------- */

uint64_t chance_next(uint64_t *state);
unsigned chance_below(uint64_t *state, unsigned n);
bool chance_of(uint64_t *state, unsigned percent);
uint64_t chance_begin(uint64_t seed, uint64_t number, uint64_t what);

/* ---- canary_ask.c: a request ---------------------------------------------------------------- */

struct made { struct text bytes; bool leaves; };

/* Request `number`, as bytes for the gateway; its record is set. */
void ask_make(struct made *out, uint32_t number);

/* ---- canary_watch.c: what is read ----------------------------------------------------------- */

struct found { uint32_t number; char letter, place; };

/* Each canary in these bytes, escapes undone; as many as there are, of which `max` are kept. */
size_t watch_find(const char *bytes, size_t len, struct found *out, size_t max);

/* What an upstream was asked: its canaries may be there.  The number of the request, or -1 where
 * there is none (a probe).  *model: that it names. */
int64_t watch_upstream(int upstream, enum dialect d, const char *head, size_t head_len,
                       const char *body, size_t len, int *model);

/* What a client got for its request. */
void watch_client(uint32_t number, int status, const char *head, size_t head_len, const char *body,
                  size_t len);

/* ---- canary_stand.c, canary_say.c: upstreams ------------------------------------------------ */

/* Six listen on loopback; their ports. */
void stand_open(int port[UPSTREAMS]);
enum dialect stand_dialect(int upstream);

/* An answer of this dialect to request `number`, whole or streamed; *first: bytes of it that show
 * no text yet.  calls: it calls a tool. */
void say_answer(struct text *out, size_t *first, size_t *half, enum dialect d, bool stream,
                uint32_t number, bool calls);
void say_error(struct text *out, enum dialect d, int status, const char *echo);
void say_error_event(struct text *out, enum dialect d, const char *echo);

/* ---- canary_load.c: clients ----------------------------------------------------------------- */

/* Ask requests [first, first + count) with `clients` at once; on_end when all have ended, on_some
 * after each 250. */
void load_begin(int port, uint32_t first, uint32_t count, int clients, void (*on_some)(void),
                void (*on_end)(void));

#endif
