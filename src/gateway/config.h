/* config.h - a gateway's configuration file, read and checked into one struct.
 *
 * Everything in the struct is borrowed from it until config_free(); lists are `x` with `x_count`
 * entries, a text that was not given is NULL.  Secrets are references ("env:NAME", "file:PATH"):
 * reading a configuration never reads a secret.
 *
 * A configuration that loads is whole: every name that it uses is one that it has. */
#ifndef GATEWAY_CONFIG_H
#define GATEWAY_CONFIG_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    CONFIG_BYTES_MAX = 1 << 20,         /* of the file */
    CONFIG_MEMORY_MAX = 64 << 20,       /* of what is made from it */
    CONFIG_NAME_MAX = 128,              /* bytes of a name */
    UPSTREAMS_MAX = 64, MODELS_MAX = 256, GROUPS_MAX = 64, MEMBERS_MAX = 64,
    LABELS_MAX = 63,                    /* and `unscanned`: a set of labels is 64 bits */
    RULES_MAX = 128, NEVER_MAX = 64, TEAMS_MAX = 1024, BUDGETS_MAX = 1024, LIST_MAX = 64,
    KEPT_KEYS_MAX = 4,
};

enum attr {
#define ATTR(id, word) ATTR_##id,
#include "gateway/attr.def"
#undef ATTR
    ATTR_N
};

enum path_kind {
#define PATH(id, word, ends) PATH_##id,
#include "gateway/path.def"
#undef PATH
    PATH_N
};

enum sink { SINK_LOG, SINK_TRACE, SINK_STATE, SINK_LEDGER, SINK_CLIENT, SINK_N,
            SINK_MODEL = SINK_N };

enum detector {
#define DETECTOR(id, word) DETECTOR_##id,
#include "gateway/detector.def"
#undef DETECTOR
    DETECTOR_N
};

enum dialect { DIALECT_CHAT, DIALECT_RESPONSES, DIALECT_ANTHROPIC, DIALECT_N };

enum accepts { ACCEPTS_TOOLS = 1, ACCEPTS_IMAGES = 2, ACCEPTS_SCHEMA = 4, ACCEPTS_REASONING = 8,
               ACCEPTS_CONTINUE = 16, ACCEPTS_COMPLETIONS = 32, ACCEPTS_EMBEDDINGS = 64 };

enum timeout { TIMEOUT_CONNECT, TIMEOUT_FIRST_BYTE, TIMEOUT_IDLE, TIMEOUT_TOTAL, TIMEOUT_N };

struct config_upstream {
    char *name, *url, *proxy, *ca_file;
    enum dialect dialect;
    char **keys;                        /* secrets */
    unsigned keys_count;
    struct { char *text[TIMEOUT_N]; int64_t ms[TIMEOUT_N]; } timeouts;
    uint32_t max_in_flight;
    char *attr[ATTR_N];                 /* operator, country, retention */
};

struct config_model {
    char *name, *upstream, *as;         /* as: its name there; the same when not given */
    char **aliases;
    unsigned aliases_count;
    uint64_t context, max_output;       /* tokens; 0: not said */
    uint32_t accepts;                   /* enum accepts */
    char *price;                        /* its name in the price files; `as` when not given */
    char *attr[ATTR_N];                 /* origin .. quantisation */
    char *weights_sha256;
    int at_upstream;                    /* index */
};

struct config_member { char *model; uint32_t weight; };  /* a model, an alias or a group */

struct config_group {
    char *name;
    bool weighted;                      /* any member may be first, by weight; else in order */
    struct config_member *members;
    unsigned members_count;
    int n_model;                        /* groups among the members opened, each model once */
    int model[MEMBERS_MAX];
};

struct config_label {
    char *name;
    bool strict;                        /* its decisions are on disk before a byte leaves */
    uint32_t detectors;                 /* bit d: enum detector */
    char **patterns;                    /* PCRE2 */
    unsigned patterns_count;
};

struct config_where { char **value[ATTR_N]; unsigned count[ATTR_N]; };

/* A rule, or a line of `never`. */
struct config_rule {
    char *name;
    bool allow;                         /* of a rule */
    char **when;                        /* labels, all of which the text has; none: any text */
    unsigned when_count;
    uint32_t paths;                     /* bit k: enum path_kind; all when not given */
    struct config_where where, except;
    uint64_t when_set;                  /* bit i: label i */
};

struct config_limits { uint64_t requests, tokens; char *dollars; int64_t picodollars; };

struct config_team {
    char *name;
    char **keys, **labels, **models;    /* key ids; labels of its requests; what it may name */
    unsigned keys_count, labels_count, models_count;
    uint64_t label_set;
};

struct config_budget {
    char *name, *team, *key, *tag, *zone;       /* exactly one of team, key, tag */
    int period;                         /* enum budget_period */
    bool hard;
    struct config_limits limit;
};
enum budget_period { PERIOD_MINUTE, PERIOD_HOUR, PERIOD_DAY, PERIOD_WEEK, PERIOD_MONTH, PERIOD_N };

/* A sink of our own: where it writes, whether text goes there, whose it is. */
struct config_sink { char *file; bool text; char *attr[ATTR_N]; };

struct config_memory;

struct config {
    struct config_memory *memory;
    struct {
        char *address, *tls_cert, *tls_key;
        struct config_sink log, trace;
    } listen;
    struct {
        char *folder, *kept_for, *attr[ATTR_N];
        int64_t kept_ms;                /* how long what is kept aside stays */
        bool kept_in_ledger;            /* and not in memory alone */
        char **kept_keys;               /* secrets, with kept_in_ledger: the first one seals */
        unsigned kept_keys_count;
    } state;
    struct {
        char *url;                      /* sqlite:FILE, or a secret that holds a postgres URL */
        bool finish;                    /* calls whose client has left are finished */
        char *attr[ATTR_N];             /* whose it is */
        bool seldom;                    /* each second a commit reaches the disk, not each one */
    } ledger;
    struct { char **files; unsigned files_count; } prices;
    struct { char *head; uint32_t sync_ms; } audit;     /* head: a file for the chain's head */
    struct config_upstream *upstreams;
    struct config_model *models;
    struct config_group *groups;
    struct config_label *labels;
    struct config_rule *rules, *never;
    struct config_team *teams;
    struct config_budget *budgets;
    unsigned upstreams_count, models_count, groups_count, labels_count, rules_count, never_count,
             teams_count, budgets_count;
    int unscanned;                      /* the label of images and files: its bit */
};

/* Read and check.  *out is yours: config_free().  Errors name the file, the line where there is
 * one, the field, and what to do: MISSING, IO, FORMAT, LIMIT, NOMEM. */
MUST_CHECK enum err config_load(struct config **out, const char *path);
MUST_CHECK enum err config_parse(struct config **out, const char *text, size_t len,
                                 const char *name);
void config_free(struct config *c);

/* The index of a name, or -1; a model is found by its aliases too. */
int config_model_find(const struct config *c, const char *name);
int config_group_find(const struct config *c, const char *name);
int config_label_find(const struct config *c, const char *name);

/* How many labels there are, `unscanned` among them, and their names. */
int config_labels(const struct config *c);
const char *config_label_name(const struct config *c, int label);

/* The words of the file. */
const char *path_word(enum path_kind kind);
const char *attr_word(enum attr attr);
const char *sink_word(enum sink sink);
const char *dialect_word(enum dialect dialect);

/* A commented configuration that loads and is proved. */
extern const char config_sample[];

#endif
