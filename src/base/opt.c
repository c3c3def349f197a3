/* opt.c - the option parser: command line, environment and configuration file.  See opt.h.
 *
 * Sources are read from the weakest to the strongest (default, file, environment, flags), so a
 * value simply replaces what is there; only a LIST has to know whether it adds or begins anew.
 */
#include "base/opt.h"

#include "base/file.h"
#include "base/opt_walk.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { CONFIG_BYTES_MAX = 64 * 1024, LIST_MAX = 256, WORD_MAX = OPT_WORD_MAX };

enum source { FROM_DEFAULT, FROM_FILE, FROM_ENV, FROM_FLAG };

struct value {
    enum source from;
    int64_t i;
    double f;
    char *text;
    char **list;
    int n_list;
};

struct opt_set {
    const struct opt_table *t;
    int cmd;
    struct value *value;                /* [t->n_opt] */
    const char **operand;               /* borrowed from argv */
    int n_operand;
};

static enum err no_memory(void)
{
    return err_set(ERR_NOMEM, "OPT-01", "out of memory while reading the options; close other "
                   "programs and try again");
}

static bool same_letter(char a, char b)
{
    return tolower((unsigned char)a) == tolower((unsigned char)b);
}

/* Damerau-Levenshtein distance (restricted), three rows of the table at a time. */
int opt_edits(const char *a, const char *b)
{
    int row[3][WORD_MAX + 1];
    int na = (int)strnlen(a, WORD_MAX), nb = (int)strnlen(b, WORD_MAX);

    for (int j = 0; j <= nb; j++)
        row[0][j] = j;
    for (int i = 1; i <= na; i++) {
        int *now = row[i % 3], *last = row[(i + 2) % 3], *before = row[(i + 1) % 3];
        now[0] = i;
        for (int j = 1; j <= nb; j++) {
            int best = last[j - 1] + !same_letter(a[i - 1], b[j - 1]);
            if (last[j] + 1 < best)
                best = last[j] + 1;
            if (now[j - 1] + 1 < best)
                best = now[j - 1] + 1;
            if (i > 1 && j > 1 && same_letter(a[i - 1], b[j - 2]) &&
                same_letter(a[i - 2], b[j - 1]) && before[j - 2] + 1 < best)
                best = before[j - 2] + 1;
            now[j] = best;
        }
    }
    return row[na % 3][nb];
}

/* Edits, where the beginning of a longer word is as near as one edit; and how many are too many
 * for a slip of the fingers. */
static int nearness(const char *word, const char *known)
{
    size_t len = strlen(word);
    int edits = opt_edits(word, known);

    return edits > 1 && len >= 2 && !strncasecmp(word, known, len) ? 1 : edits;
}

static int too_far(const char *word)
{
    size_t len = strlen(word);

    return len < 4 ? 2 : 3 + (int)(len / 8);
}

int opt_nearest(const char *word, const char *const *words, int n)
{
    int best = -1, best_edits = too_far(word);

    for (int i = 0; i < n; i++) {
        int edits = nearness(word, words[i]);
        if (edits < best_edits) {
            best = i;
            best_edits = edits;
        }
    }
    return best;
}

static bool is_per_call(const struct opt_def *d)
{
    return d->cmds & OPT_PER_CALL;
}

void opt_env_name(const struct opt_table *t, int opt, char out[OPT_ENV_BYTES])
{
    snprintf(out, OPT_ENV_BYTES, "%s_%s", t->program, t->opt[opt].name);
    for (char *c = out; *c; c++)
        *c = *c == '-' ? '_' : (char)toupper((unsigned char)*c);
}

/* The option of a command (-1: any) whose name or alias is nearest: its name, or NULL. */
static const char *nearest_name(const struct opt_table *t, int cmd, const char *name)
{
    const char *best = NULL;
    int best_edits = too_far(name), edits;

    for (int i = 0; i < t->n_opt; i++) {
        const struct opt_def *d = &t->opt[i];
        if (!opt_taken_by(d, cmd))
            continue;
        if ((edits = nearness(name, d->name)) < best_edits) {
            best = d->name;
            best_edits = edits;
        }
        for (const char *a = d->alias; *a; a += strspn(a, " ")) {
            char word[WORD_MAX];
            size_t n = strcspn(a, " ");
            snprintf(word, sizeof(word), "%.*s", (int)n, a);
            if ((edits = nearness(name, word)) < best_edits) {
                best = d->name;
                best_edits = edits;
            }
            a += n;
        }
    }
    return best;
}

/* ---- values ---- */

static enum err parse_flag(struct value *v, const char *where, const char *text)
{
    static const char *const yes[] = { "1", "true", "on", "yes" };
    static const char *const no[] = { "0", "false", "off", "no" };

    for (size_t i = 0; i < 4; i++) {
        if (!strcasecmp(text, yes[i]) || !strcasecmp(text, no[i])) {
            v->i = !strcasecmp(text, yes[i]);
            return OK;
        }
    }
    return err_set(ERR_ARG, "OPT-02", "%s is on or off, not '%.64s'; write 1 or 0", where, text);
}

static enum err parse_int(struct value *v, const struct opt_def *d, const char *where,
                          const char *text)
{
    char *end;
    int64_t n;

    errno = 0;
    n = strtoll(text, &end, 10);
    bool fits = !errno;
    if (end != text && d->type == OPT_COUNT && (*end == 'k' || *end == 'K')) {
        fits = fits && !__builtin_mul_overflow(n, 1024, &n);
        end++;
    }
    if (end == text || *end || isspace((unsigned char)*text))
        return err_set(ERR_ARG, "OPT-03", "%s needs a whole number%s, not '%.64s'", where,
                       d->type == OPT_COUNT ? " (32k is 32768)" : "", text);
    if (!fits || (double)n < d->min || (double)n > d->max)
        return err_set(ERR_ARG, "OPT-04", "%s must be between %.0f and %.0f, not %.64s", where,
                       d->min, d->max, text);
    v->i = n;
    return OK;
}

static enum err parse_float(struct value *v, const struct opt_def *d, const char *where,
                            const char *text)
{
    char *end;
    double x = strtod(text, &end);

    if (end == text || *end || isspace((unsigned char)*text) || !isfinite(x))
        return err_set(ERR_ARG, "OPT-05", "%s needs a number, not '%.64s'", where, text);
    if (x < d->min || x > d->max)
        return err_set(ERR_ARG, "OPT-06", "%s must be between %g and %g, not %.64s", where, d->min,
                       d->max, text);
    v->f = x;
    return OK;
}

static enum err set_text(struct value *v, const char *text)
{
    char *copy = strdup(text);

    if (!copy)
        return no_memory();
    free(v->text);
    v->text = copy;
    return OK;
}

static enum err parse_choice(struct value *v, const struct opt_def *d, const char *where,
                             const char *text)
{
    char list[160];
    size_t n = 0;

    if (opt_has_word(d->arg, '|', text, strlen(text)))
        return set_text(v, text);
    for (const char *c = d->arg; *c && n + 3 < sizeof(list); c++) {
        list[n++] = *c == '|' ? ',' : *c;
        if (*c == '|')
            list[n++] = ' ';
    }
    list[n] = '\0';
    return err_set(ERR_ARG, "OPT-07", "%s must be one of %s; '%.64s' is none of them", where, list,
                   text);
}

static void list_clear(struct value *v)
{
    for (int i = 0; i < v->n_list; i++)
        free(v->list[i]);
    free(v->list);
    v->list = NULL;
    v->n_list = 0;
}

static enum err list_add(struct value *v, const char *where, const char *text)
{
    if (v->n_list == LIST_MAX)
        return err_set(ERR_LIMIT, "OPT-08", "%s is given more than %d times; leave some out",
                       where, LIST_MAX);
    char **grown = realloc(v->list, ((size_t)v->n_list + 1) * sizeof(*grown));
    if (!grown)
        return no_memory();
    v->list = grown;
    char *copy = strdup(text);
    if (!copy)
        return no_memory();
    v->list[v->n_list++] = copy;
    return OK;
}

/* Read `text` as the option's type; a wrong value leaves the old one.  `where` is how the person
 * wrote it: "--temp", "CROFT_TEMP", "croft.conf:3: temp". */
static enum err set_value(struct opt_set *o, int opt, enum source from, const char *where,
                          const char *text)
{
    const struct opt_def *d = &o->t->opt[opt];
    struct value *v = &o->value[opt];
    enum err e = OK;

    switch (d->type) {
    case OPT_FLAG:   e = parse_flag(v, where, text); break;
    case OPT_INT:
    case OPT_COUNT:  e = parse_int(v, d, where, text); break;
    case OPT_FLOAT:  e = parse_float(v, d, where, text); break;
    case OPT_TEXT:   e = set_text(v, text); break;
    case OPT_CHOICE: e = parse_choice(v, d, where, text); break;
    case OPT_LIST:
        if (v->from != from)
            list_clear(v);
        e = list_add(v, where, text);
        break;
    case OPT_HEADING: ASSERT(d->type != OPT_HEADING);   /* a title has no value */
    }
    if (!e)
        v->from = from;
    return e;
}

/* ---- the configuration file ---- */

static char *trim(char *s)
{
    size_t n;

    while (isspace((unsigned char)*s))
        s++;
    for (n = strlen(s); n && isspace((unsigned char)s[n - 1]); n--)
        ;
    s[n] = '\0';
    return s;
}

static enum err config_line(struct opt_set *o, struct opt_set *other, const char *path, int line,
                            char *text)
{
    char where[300], *name = trim(text), *equals = strchr(name, '=');
    int opt;
    enum err e;

    if (!*name || *name == '#')
        return OK;
    if (!equals)
        return err_set(ERR_FORMAT, "CONF-01", "%s:%d: '%.64s' is not of the form name = value; "
                       "comments begin with #", path, line, name);
    *equals = '\0';
    name = trim(name);
    opt = opt_by_name(o->t, -1, name, strlen(name));
    if (opt >= 0 && is_per_call(&o->t->opt[opt]))
        return err_set(ERR_FORMAT, "CONF-04", "%s:%d: '%.64s' belongs to one call; remove the line "
                       "and give --%s on the command line", path, line, name, o->t->opt[opt].name);
    if (opt < 0) {
        const char *near = nearest_name(o->t, -1, name);
        return err_set(ERR_FORMAT, "CONF-02", "%s:%d: there is no option '%.64s'%s%s%s", path,
                       line, name, near ? "; did you mean " : "", near ? near : "",
                       near ? "?" : "");
    }
    /* Options of other commands are checked all the same: a mistake should not wait. */
    snprintf(where, sizeof(where), "%.200s:%d: %.64s", path, line, name);
    e = set_value(opt_taken_by(&o->t->opt[opt], o->cmd) ? o : other, opt, FROM_FILE, where,
                  trim(equals + 1));
    return e == ERR_ARG ? ERR_FORMAT : e;
}

static void set_release(struct opt_set *o);
static enum err set_init(struct opt_set *o, const struct opt_table *t, int cmd);

static enum err read_config(struct opt_set *o, const char *path)
{
    struct opt_set other = { 0 };
    char *text = NULL, *at;
    size_t len;
    int line = 0;
    enum err e = file_read_text(&text, &len, path, CONFIG_BYTES_MAX);

    if (e)
        return e == ERR_MISSING ? OK : e;
    if (strlen(text) != len) {
        free(text);
        return err_set(ERR_FORMAT, "CONF-03", "%s holds a zero byte and cannot be a text file; "
                       "remove it or write it anew", path);
    }
    e = set_init(&other, o->t, o->cmd);
    at = text;
    while (!e && at) {
        char *next = strchr(at, '\n');
        if (next)
            *next++ = '\0';
        e = config_line(o, &other, path, ++line, at);
        at = next;
    }
    set_release(&other);
    free(text);
    return e;
}

static enum err read_environment(struct opt_set *o)
{
    char name[OPT_ENV_BYTES];
    const char *text;
    enum err e;

    for (int i = 0; i < o->t->n_opt; i++) {
        if (!opt_taken_by(&o->t->opt[i], o->cmd) || is_per_call(&o->t->opt[i]))
            continue;
        opt_env_name(o->t, i, name);
        text = getenv(name);
        if (text && *text && (e = set_value(o, i, FROM_ENV, name, text)))
            return e;
    }
    return OK;
}

/* ---- the command line ---- */

/* Names of the commands that take the option, "run, chat"; cut when they do not fit. */
static void name_takers(const struct opt_table *t, int opt, char *out, size_t size)
{
    size_t n = 0;

    out[0] = '\0';
    for (int c = 0; c < t->n_cmd && n < size; c++)
        if (opt_taken_by(&t->opt[opt], c))
            n += (size_t)snprintf(out + n, size - n, "%s%s", n ? ", " : "", t->cmd[c].name);
}

static enum err unknown_option(const struct opt_walk *w)
{
    const struct opt_table *t = w->t;
    const char *command = t->cmd[w->cmd].name, *near = NULL;
    bool is_long = w->name[1] == '-';
    char takers[160] = "", elsewhere[240] = "", meant[WORD_MAX + 24] = "";
    int other = is_long ? opt_by_name(t, -1, w->name + 2, strlen(w->name + 2))
                        : opt_by_letter(t, -1, w->name[1]);

    if (other >= 0) {
        name_takers(t, other, takers, sizeof(takers));
        snprintf(elsewhere, sizeof(elsewhere), " (it is an option of: %s)", takers);
    }
    if (is_long)
        near = nearest_name(t, w->cmd, w->name + 2);
    if (near)
        snprintf(meant, sizeof(meant), "; did you mean --%s?", near);
    else
        snprintf(meant, sizeof(meant), "; see %s %s --help", t->program, command);
    return err_set(ERR_ARG, "OPT-09", "%s %s has no option %s%s%s%s", t->program, command, w->name,
                   elsewhere, meant, is_long ? "" : ", or put -- before a text that begins with -");
}

static enum err check_operands(const struct opt_set *o)
{
    const struct cmd_def *c = &o->t->cmd[o->cmd];

    if (o->n_operand < c->n_operand_min)
        return err_set(ERR_ARG, "OPT-10", "%s %s needs %s; for example: %s", o->t->program,
                       c->name, c->args, c->example);
    if (o->n_operand > c->n_operand_max)
        return err_set(ERR_ARG, "OPT-11", "%s %s takes %s, and '%.64s' is one too many; put a "
                       "text of several words in quotes, and see %s %s --help", o->t->program,
                       c->name, *c->args ? c->args : "no operand", o->operand[c->n_operand_max],
                       o->t->program, c->name);
    return OK;
}

static enum err read_flags(struct opt_set *o, int argc, char **argv)
{
    struct opt_walk w = opt_walk_start(o->t, o->cmd, argc, argv);
    enum opt_arg kind;
    enum err e = OK;

    while (!e && (kind = opt_walk_next(&w)) != OPT_ARG_END) {
        if (kind == OPT_ARG_UNKNOWN)
            e = unknown_option(&w);
        else if (kind == OPT_ARG_OPERAND)
            o->operand[o->n_operand++] = w.value;
        else if (!w.value)
            e = err_set(ERR_ARG, "OPT-12", "%s needs a value: %s %s", w.name, w.name,
                        o->t->opt[w.opt].arg);
        else
            e = set_value(o, w.opt, FROM_FLAG, w.name, w.value);
    }
    return e ? e : check_operands(o);
}

/* ---- the set ---- */

static enum err set_init(struct opt_set *o, const struct opt_table *t, int cmd)
{
    *o = (struct opt_set){ .t = t, .cmd = cmd };
    o->value = calloc((size_t)t->n_opt, sizeof(*o->value));
    if (!o->value)
        return no_memory();
    for (int i = 0; i < t->n_opt; i++) {
        if (t->opt[i].type == OPT_HEADING || !*t->opt[i].fallback)
            continue;
        enum err e = set_value(o, i, FROM_DEFAULT, t->opt[i].name, t->opt[i].fallback);
        if (e == ERR_NOMEM)
            return e;
        ASSERT(!e);                     /* a default outside its own range */
    }
    return OK;
}

static void set_release(struct opt_set *o)
{
    for (int i = 0; o->value && i < o->t->n_opt; i++) {
        list_clear(&o->value[i]);
        free(o->value[i].text);
    }
    free(o->value);
    free(o->operand);
}

enum err opt_parse(struct opt_set **out, const struct opt_table *t, int cmd, int argc, char **argv,
                   const char *config)
{
    struct opt_set *o = calloc(1, sizeof(*o));
    enum err e;

    ASSERT(cmd >= 0 && cmd < t->n_cmd && t->n_cmd < 64);        /* bit 63 is OPT_PER_CALL */
    *out = NULL;
    if (!o)
        return no_memory();
    e = set_init(o, t, cmd);
    if (!e) {
        o->operand = calloc((size_t)argc + 1, sizeof(*o->operand));
        if (!o->operand)
            e = no_memory();
    }
    if (!e && config)
        e = read_config(o, config);
    if (!e)
        e = read_environment(o);
    if (!e)
        e = read_flags(o, argc, argv);
    if (e) {
        opt_free(o);
        return e;
    }
    *out = o;
    return OK;
}

void opt_free(struct opt_set *o)
{
    if (o)
        set_release(o);
    free(o);
}

/* A wrong index, a getter of another type, an option the command does not take: our mistake. */
static const struct value *get(const struct opt_set *o, int opt, unsigned types)
{
    ASSERT(opt >= 0 && opt < o->t->n_opt);
    ASSERT(opt_taken_by(&o->t->opt[opt], o->cmd));
    ASSERT(types >> o->t->opt[opt].type & 1);
    return &o->value[opt];
}

bool opt_flag(const struct opt_set *o, int opt)
{
    return get(o, opt, 1u << OPT_FLAG)->i != 0;
}

int64_t opt_int(const struct opt_set *o, int opt)
{
    return get(o, opt, 1u << OPT_INT | 1u << OPT_COUNT)->i;
}

double opt_float(const struct opt_set *o, int opt)
{
    return get(o, opt, 1u << OPT_FLOAT)->f;
}

const char *opt_text(const struct opt_set *o, int opt)
{
    return get(o, opt, 1u << OPT_TEXT | 1u << OPT_CHOICE)->text;
}

int opt_list_n(const struct opt_set *o, int opt)
{
    return get(o, opt, 1u << OPT_LIST)->n_list;
}

const char *opt_list(const struct opt_set *o, int opt, int i)
{
    const struct value *v = get(o, opt, 1u << OPT_LIST);

    ASSERT(i >= 0 && i < v->n_list);
    return v->list[i];
}

bool opt_given(const struct opt_set *o, int opt)
{
    return get(o, opt, ~0u)->from != FROM_DEFAULT;
}

bool opt_on_line(const struct opt_set *o, int opt)
{
    return get(o, opt, ~0u)->from == FROM_FLAG;
}

enum err opt_set_by_name(struct opt_set *o, const char *name, const char *value)
{
    int opt = opt_by_name(o->t, o->cmd, name, strlen(name));

    if (opt < 0) {
        const char *near = nearest_name(o->t, o->cmd, name);
        return err_set(ERR_ARG, "OPT-13", "there is no option '%.64s' here%s%s%s", name,
                       near ? "; did you mean " : "", near ? near : "", near ? "?" : "");
    }
    if (o->t->opt[opt].type == OPT_LIST) {
        list_clear(&o->value[opt]);
        o->value[opt].from = FROM_FLAG;
        if (!*value)
            return OK;
    }
    return set_value(o, opt, FROM_FLAG, o->t->opt[opt].name, value);
}

int opt_operands(const struct opt_set *o)
{
    return o->n_operand;
}

const char *opt_operand(const struct opt_set *o, int i)
{
    ASSERT(i >= 0 && i < o->n_operand);
    return o->operand[i];
}

int opt_find_cmd(const struct opt_table *t, const char *name)
{
    for (int i = 0; i < t->n_cmd; i++)
        if (!strcmp(t->cmd[i].name, name) || opt_has_word(t->cmd[i].alias, ' ', name, strlen(name)))
            return i;
    return -1;
}

const char *opt_nearest_cmd(const struct opt_table *t, const char *name)
{
    const char *words[64];
    int n = t->n_cmd < 64 ? t->n_cmd : 64, best;

    for (int i = 0; i < n; i++)
        words[i] = t->cmd[i].name;
    best = opt_nearest(name, words, n);
    return best < 0 ? NULL : words[best];
}
