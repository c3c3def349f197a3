/* config_schema.c - what may stand in a configuration, for libcyaml. */
#include "gateway/config_form.h"

#define N(array) (sizeof(array) / sizeof(*(array)))
#define OPTIONAL CYAML_FLAG_OPTIONAL

enum { TEXT_MAX = 4096 };

#define TEXT(key, type, member) \
    CYAML_FIELD_STRING_PTR(key, CYAML_FLAG_POINTER, type, member, 1, TEXT_MAX)
#define TEXT_IF(key, type, member) \
    CYAML_FIELD_STRING_PTR(key, CYAML_FLAG_POINTER | OPTIONAL, type, member, 1, TEXT_MAX)
#define TEXTS(key, type, member, max) \
    CYAML_FIELD_SEQUENCE(key, CYAML_FLAG_POINTER | OPTIONAL, type, member, &a_text, 1, max)
#define WORD(key, flags, type, member, words) \
    CYAML_FIELD_ENUM(key, CYAML_FLAG_STRICT | (flags), type, member, words, N(words))
#define WORDS(key, type, member, words) \
    CYAML_FIELD_FLAGS(key, CYAML_FLAG_STRICT | OPTIONAL, type, member, words, N(words))
#define ATTR_IF(type, id) TEXT_IF(#id, type, attr[ATTR_##id])

static const cyaml_schema_value_t a_text = {
    CYAML_VALUE_STRING(CYAML_FLAG_POINTER, char, 1, TEXT_MAX),
};

static const cyaml_strval_t dialects[] = {
    { "chat", DIALECT_CHAT },
    { "responses", DIALECT_RESPONSES },
    { "anthropic", DIALECT_ANTHROPIC },
};
static const cyaml_strval_t accepts[] = {
    { "tools", ACCEPTS_TOOLS },         { "images", ACCEPTS_IMAGES },
    { "schema", ACCEPTS_SCHEMA },       { "reasoning", ACCEPTS_REASONING },
    { "continue", ACCEPTS_CONTINUE },   { "completions", ACCEPTS_COMPLETIONS },
    { "embeddings", ACCEPTS_EMBEDDINGS },
};
static const cyaml_strval_t orders[] = { { "ordered", 0 }, { "weighted", 1 } };
static const cyaml_strval_t actions[] = { { "forbid", 0 }, { "allow", 1 } };
static const cyaml_strval_t kept[] = { { "memory", 0 }, { "ledger", 1 } };
static const cyaml_strval_t disconnects[] = { { "cancel", 0 }, { "finish", 1 } };
static const cyaml_strval_t syncs[] = { { "full", 0 }, { "normal", 1 } };
static const cyaml_strval_t modes[] = { { "soft", 0 }, { "hard", 1 } };
static const cyaml_strval_t periods[] = {
    { "minute", PERIOD_MINUTE }, { "hour", PERIOD_HOUR }, { "day", PERIOD_DAY },
    { "week", PERIOD_WEEK },     { "month", PERIOD_MONTH },
};
static const cyaml_strval_t detectors[] = {
#define DETECTOR(id, word) { word, INT64_C(1) << DETECTOR_##id },
#include "gateway/detector.def"
#undef DETECTOR
};
static const cyaml_strval_t paths[] = {
#define PATH(id, word, ends) { word, INT64_C(1) << PATH_##id },
#include "gateway/path.def"
#undef PATH
};

static const cyaml_schema_field_t timeout_fields[] = {
    TEXT_IF("connect", struct config_upstream, timeouts.text[TIMEOUT_CONNECT]),
    TEXT_IF("first_byte", struct config_upstream, timeouts.text[TIMEOUT_FIRST_BYTE]),
    TEXT_IF("idle", struct config_upstream, timeouts.text[TIMEOUT_IDLE]),
    TEXT_IF("total", struct config_upstream, timeouts.text[TIMEOUT_TOTAL]),
    CYAML_FIELD_END
};
static const cyaml_schema_field_t upstream_fields[] = {
    TEXT("name", struct config_upstream, name),
    WORD("dialect", 0, struct config_upstream, dialect, dialects),
    TEXT("url", struct config_upstream, url),
    TEXTS("keys", struct config_upstream, keys, LIST_MAX),
    TEXT_IF("proxy", struct config_upstream, proxy),
    TEXT_IF("ca_file", struct config_upstream, ca_file),
    { .key = "timeouts", .data_offset = 0,
      .value = { .type = CYAML_MAPPING, .flags = OPTIONAL,
                 .data_size = sizeof(struct config_upstream),
                 .mapping = { .fields = timeout_fields } } },
    CYAML_FIELD_UINT("max_in_flight", OPTIONAL, struct config_upstream, max_in_flight),
    ATTR_IF(struct config_upstream, operator),
    ATTR_IF(struct config_upstream, country),
    ATTR_IF(struct config_upstream, retention),
    CYAML_FIELD_END
};
static const cyaml_schema_field_t model_fields[] = {
    TEXT("name", struct config_model, name),
    TEXT("upstream", struct config_model, upstream),
    TEXT_IF("as", struct config_model, as),
    TEXTS("aliases", struct config_model, aliases, 16),
    CYAML_FIELD_UINT("context", OPTIONAL, struct config_model, context),
    CYAML_FIELD_UINT("max_output", OPTIONAL, struct config_model, max_output),
    WORDS("accepts", struct config_model, accepts, accepts),
    TEXT_IF("price", struct config_model, price),
    ATTR_IF(struct config_model, origin),
    ATTR_IF(struct config_model, base),
    ATTR_IF(struct config_model, teacher),
    ATTR_IF(struct config_model, licence),
    ATTR_IF(struct config_model, quantisation),
    TEXT_IF("weights_sha256", struct config_model, weights_sha256),
    CYAML_FIELD_END
};
static const cyaml_schema_field_t member_fields[] = {
    TEXT("model", struct config_member, model),
    CYAML_FIELD_UINT("weight", OPTIONAL, struct config_member, weight),
    CYAML_FIELD_END
};
static const cyaml_schema_value_t a_member = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct config_member, member_fields),
};
static const cyaml_schema_field_t group_fields[] = {
    TEXT("name", struct config_group, name),
    WORD("order", OPTIONAL, struct config_group, weighted, orders),
    CYAML_FIELD_SEQUENCE("members", CYAML_FLAG_POINTER, struct config_group, members, &a_member, 1,
                         MEMBERS_MAX),
    CYAML_FIELD_END
};
static const cyaml_schema_field_t label_fields[] = {
    TEXT("name", struct config_label, name),
    CYAML_FIELD_BOOL("strict", OPTIONAL, struct config_label, strict),
    WORDS("detectors", struct config_label, detectors, detectors),
    TEXTS("patterns", struct config_label, patterns, LIST_MAX),
    CYAML_FIELD_END
};
static const cyaml_schema_field_t where_fields[] = {
#define ATTR(id, word) CYAML_FIELD_SEQUENCE_COUNT(word, CYAML_FLAG_POINTER | OPTIONAL, \
    struct config_where, value[ATTR_##id], count[ATTR_##id], &a_text, 1, LIST_MAX),
#include "gateway/attr.def"
#undef ATTR
    CYAML_FIELD_END
};
static const cyaml_schema_field_t rule_fields[] = {
    TEXT("name", struct config_rule, name),
    WORD("action", 0, struct config_rule, allow, actions),
    TEXTS("when", struct config_rule, when, LIST_MAX),
    WORDS("paths", struct config_rule, paths, paths),
    CYAML_FIELD_MAPPING("where", OPTIONAL, struct config_rule, where, where_fields),
    CYAML_FIELD_MAPPING("except", OPTIONAL, struct config_rule, except, where_fields),
    CYAML_FIELD_END
};
static const cyaml_schema_field_t never_fields[] = {
    TEXT("name", struct config_rule, name),
    TEXTS("when", struct config_rule, when, LIST_MAX),
    WORDS("paths", struct config_rule, paths, paths),
    CYAML_FIELD_MAPPING("where", OPTIONAL, struct config_rule, where, where_fields),
    CYAML_FIELD_MAPPING("except", OPTIONAL, struct config_rule, except, where_fields),
    CYAML_FIELD_END
};
static const cyaml_schema_field_t team_fields[] = {
    TEXT("name", struct config_team, name),
    TEXTS("keys", struct config_team, keys, TEAMS_MAX),
    TEXTS("labels", struct config_team, labels, LIST_MAX),
    TEXTS("models", struct config_team, models, MODELS_MAX),
    CYAML_FIELD_END
};
static const cyaml_schema_field_t limit_fields[] = {
    CYAML_FIELD_UINT("requests", OPTIONAL, struct config_limits, requests),
    CYAML_FIELD_UINT("tokens", OPTIONAL, struct config_limits, tokens),
    TEXT_IF("dollars", struct config_limits, dollars),
    CYAML_FIELD_END
};
static const cyaml_schema_field_t budget_fields[] = {
    TEXT("name", struct config_budget, name),
    TEXT_IF("team", struct config_budget, team),
    TEXT_IF("key", struct config_budget, key),
    TEXT_IF("tag", struct config_budget, tag),
    WORD("period", 0, struct config_budget, period, periods),
    TEXT_IF("zone", struct config_budget, zone),
    WORD("mode", 0, struct config_budget, hard, modes),
    CYAML_FIELD_MAPPING("limit", 0, struct config_budget, limit, limit_fields),
    CYAML_FIELD_END
};

static const cyaml_schema_field_t sink_fields[] = {
    TEXT("file", struct config_sink, file),
    CYAML_FIELD_BOOL("text", OPTIONAL, struct config_sink, text),
    ATTR_IF(struct config_sink, operator),
    ATTR_IF(struct config_sink, country),
    ATTR_IF(struct config_sink, retention),
    CYAML_FIELD_END
};

/* A section is a struct without a name in struct config, so its fields count from there. */
#define SECTION(key_, flags_, fields_) \
    { .key = key_, .data_offset = 0, \
      .value = { .type = CYAML_MAPPING, .flags = (flags_), .data_size = sizeof(struct config), \
                 .mapping = { .fields = fields_ } } }
#define LIST(key, type, member, entry, max) \
    CYAML_FIELD_SEQUENCE(key, CYAML_FLAG_POINTER | OPTIONAL, struct config, member, &entry, 1, max)
#define ENTRY(name, type, fields) \
    static const cyaml_schema_value_t name = { \
        CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, type, fields) \
    }

static const cyaml_schema_field_t listen_fields[] = {
    TEXT("address", struct config, listen.address),
    TEXT_IF("tls_cert", struct config, listen.tls_cert),
    TEXT_IF("tls_key", struct config, listen.tls_key),
    CYAML_FIELD_MAPPING("log", OPTIONAL, struct config, listen.log, sink_fields),
    CYAML_FIELD_MAPPING("trace", OPTIONAL, struct config, listen.trace, sink_fields),
    CYAML_FIELD_END
};
static const cyaml_schema_field_t state_fields[] = {
    TEXT("folder", struct config, state.folder),
    WORD("kept", OPTIONAL, struct config, state.kept_in_ledger, kept),
    TEXTS("kept_keys", struct config, state.kept_keys, KEPT_KEYS_MAX),
    TEXT_IF("kept_for", struct config, state.kept_for),
    TEXT_IF("operator", struct config, state.attr[ATTR_operator]),
    TEXT_IF("country", struct config, state.attr[ATTR_country]),
    TEXT_IF("retention", struct config, state.attr[ATTR_retention]),
    CYAML_FIELD_END
};
static const cyaml_schema_field_t ledger_fields[] = {
    TEXT("url", struct config, ledger.url),
    WORD("on_disconnect", OPTIONAL, struct config, ledger.finish, disconnects),
    TEXT_IF("operator", struct config, ledger.attr[ATTR_operator]),
    TEXT_IF("country", struct config, ledger.attr[ATTR_country]),
    TEXT_IF("retention", struct config, ledger.attr[ATTR_retention]),
    WORD("sync", OPTIONAL, struct config, ledger.seldom, syncs),
    CYAML_FIELD_END
};
static const cyaml_schema_field_t price_fields[] = {
    CYAML_FIELD_SEQUENCE("files", CYAML_FLAG_POINTER, struct config, prices.files, &a_text, 1, 16),
    CYAML_FIELD_END
};
static const cyaml_schema_field_t audit_fields[] = {
    TEXT_IF("head", struct config, audit.head),
    CYAML_FIELD_UINT("sync_ms", OPTIONAL, struct config, audit.sync_ms),
    CYAML_FIELD_END
};

ENTRY(an_upstream, struct config_upstream, upstream_fields);
ENTRY(a_model, struct config_model, model_fields);
ENTRY(a_group, struct config_group, group_fields);
ENTRY(a_label, struct config_label, label_fields);
ENTRY(a_rule, struct config_rule, rule_fields);
ENTRY(a_never, struct config_rule, never_fields);
ENTRY(a_team, struct config_team, team_fields);
ENTRY(a_budget, struct config_budget, budget_fields);

static const cyaml_schema_field_t config_fields[] = {
    SECTION("listen", 0, listen_fields),
    SECTION("state", 0, state_fields),
    SECTION("ledger", 0, ledger_fields),
    SECTION("prices", OPTIONAL, price_fields),
    SECTION("audit", OPTIONAL, audit_fields),
    CYAML_FIELD_SEQUENCE("upstreams", CYAML_FLAG_POINTER, struct config, upstreams, &an_upstream, 1,
                         UPSTREAMS_MAX),
    CYAML_FIELD_SEQUENCE("models", CYAML_FLAG_POINTER, struct config, models, &a_model, 1,
                         MODELS_MAX),
    LIST("groups", struct config_group, groups, a_group, GROUPS_MAX),
    LIST("labels", struct config_label, labels, a_label, LABELS_MAX),
    LIST("rules", struct config_rule, rules, a_rule, RULES_MAX),
    LIST("never", struct config_rule, never, a_never, NEVER_MAX),
    LIST("teams", struct config_team, teams, a_team, TEAMS_MAX),
    LIST("budgets", struct config_budget, budgets, a_budget, BUDGETS_MAX),
    CYAML_FIELD_END
};

const cyaml_schema_value_t config_schema = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, struct config, config_fields),
};
