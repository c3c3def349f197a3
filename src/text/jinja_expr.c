/* jinja_expr.c - expressions, by precedence, as jinja2's parser reads them: or, and, not,
 * comparison, + -, ~, * / // %, **, sign, then subscripts, calls, filters and tests. */
#include "text/jinja_parse.h"
#include "text/jinja_run.h"
#include "text/utf8.h"

#include "base/hex.h"

#include <string.h>

static struct jx_expr *new_expr(struct jx_parser *p, enum jx_expr_kind kind)
{
    struct jx_expr *e = jx_node(p, sizeof(*e));

    if (e)
        *e = (struct jx_expr){ .kind = kind, .at = p->tok.at };
    return e;
}

/* `e` joined to a chain as its last part. */
static struct jx_expr **append(struct jx_expr *list, struct jx_expr **tail, struct jx_expr *e)
{
    *tail = e;
    list->n++;
    return &e->next;
}

/* The code of \xHH, \uHHHH, \UHHHHHHHH at `at`, behind the letter; -1 when it is none. */
static int64_t hex_escape(const char *text, size_t len, size_t at, size_t n)
{
    int64_t code = 0;

    if (n > len - at)
        return -1;
    for (size_t i = 0; i < n; i++) {
        int v = hex_value(text[at + i]);
        if (v < 0)
            return -1;
        code = code << 4 | v;
    }
    return code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF) ? -1 : code;
}

/* One escape at text[at] == '\\', written to `to`: how much was read, 0 when it is none. */
static size_t unescape(const char *text, size_t len, size_t at, char *to, size_t *n_to)
{
    static const char from[] = "nrtabfv\\'\"", into[] = "\n\r\t\a\b\f\v\\'\"";
    char c = text[at + 1];
    const char *known = c ? strchr(from, c) : NULL;
    size_t n = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0, i = 0;
    int64_t code = 0;

    *n_to = 0;
    if (known) {
        to[(*n_to)++] = into[known - from];
        return 2;
    }
    if (c == '\n')
        return 2;
    if (c >= '0' && c <= '7') {
        for (; i < 3 && at + 1 + i < len && text[at + 1 + i] >= '0' && text[at + 1 + i] <= '7'; i++)
            code = code * 8 + (text[at + 1 + i] - '0');
        *n_to = (size_t)utf8_put((uint32_t)code, to);
        return 1 + i;
    }
    if (n > 0) {
        if ((code = hex_escape(text, len, at + 2, n)) < 0)
            return 0;
        *n_to = (size_t)utf8_put((uint32_t)code, to);
        return 2 + n;
    }
    to[0] = '\\';                       /* an unknown escape stays as it is */
    *n_to = 1;
    return 1;
}

static bool string_value(struct jx_parser *p, struct jx_str *out)
{
    const char *text = p->tok.text;
    size_t len = p->tok.len, n = 0, n_to;

    if (!memchr(text, '\\', len)) {
        *out = jx_slice_of(p, text, len);
        return true;
    }
    char *to = jx_node(p, len + UTF8_MAX);
    if (!to)
        return false;
    for (size_t i = 0; i < len;) {
        if (text[i] != '\\') {
            to[n++] = text[i++];
            continue;
        }
        size_t used = text[i + 1] == 'N' ? 0 : unescape(text, len, i, to + n, &n_to);
        if (!used) {
            jx_parse_fail(p, err_set(ERR_FORMAT, "JINJA-21", "'\\%c' with what follows it is no "
                                     "character", text[i + 1]), p->tok.at + 1 + i);
            return false;
        }
        n += n_to;
        i += used;
    }
    *out = jx_slice_of(p, to, n);
    return true;
}

/* Strings side by side are one. */
static struct jx_expr *parse_string(struct jx_parser *p)
{
    struct jx_expr *e = new_expr(p, JX_E_CONST);
    struct jx_str s;

    if (!e || !string_value(p, &s) || !jx_advance(p))
        return NULL;
    e->value = (struct jx_value){ .kind = JX_STR, .s = s };
    if (p->tok.kind != JX_T_STRING)
        return e;
    struct jx_expr *list = new_expr(p, JX_E_CONCAT), **tail = list ? &list->first : NULL;
    if (!list)
        return NULL;
    tail = append(list, tail, e);
    while (p->tok.kind == JX_T_STRING) {
        if (!(e = new_expr(p, JX_E_CONST)) || !string_value(p, &s) || !jx_advance(p))
            return NULL;
        e->value = (struct jx_value){ .kind = JX_STR, .s = s };
        tail = append(list, tail, e);
    }
    return p->err ? NULL : list;
}

/* [a, b]: to the closing bracket. */
static struct jx_expr *parse_list(struct jx_parser *p)
{
    struct jx_expr *list = new_expr(p, JX_E_LIST), *e;

    if (!list || !jx_advance(p))
        return NULL;
    struct jx_expr **tail = &list->first;
    while (!jx_tok_is(p, JX_OP1(']'))) {
        if (list->n && !jx_expect(p, JX_OP1(',')))
            return NULL;
        if (jx_tok_is(p, JX_OP1(']')))
            break;
        if (!(e = jx_parse_expr(p, true)))
            return NULL;
        tail = append(list, tail, e);
    }
    return jx_advance(p) ? list : NULL;
}

/* {a: b}: keys and values in turn. */
static struct jx_expr *parse_dict(struct jx_parser *p)
{
    struct jx_expr *list = new_expr(p, JX_E_DICT), *key, *value;

    if (!list || !jx_advance(p))
        return NULL;
    struct jx_expr **tail = &list->first;
    while (!jx_tok_is(p, JX_OP1('}'))) {
        if (list->n && !jx_expect(p, JX_OP1(',')))
            return NULL;
        if (jx_tok_is(p, JX_OP1('}')))
            break;
        if (!(key = jx_parse_expr(p, true)) || !jx_expect(p, JX_OP1(':')) ||
            !(value = jx_parse_expr(p, true)))
            return NULL;
        tail = append(list, append(list, tail, key), value);
    }
    return jx_advance(p) ? list : NULL;
}

static struct jx_expr *parse_parens(struct jx_parser *p)
{
    struct jx_expr *e;

    if (!jx_advance(p))
        return NULL;
    if (jx_tok_is(p, JX_OP1(')')))
        e = new_expr(p, JX_E_TUPLE);
    else
        e = jx_parse_tuple(p, true);
    return e && jx_expect(p, JX_OP1(')')) ? e : NULL;
}

static struct jx_expr *parse_number(struct jx_parser *p)
{
    struct jx_expr *e = new_expr(p, JX_E_CONST);

    if (!e)
        return NULL;
    if (p->tok.kind == JX_T_INT)
        e->value = (struct jx_value){ .kind = JX_INT, .i = p->tok.i };
    else
        e->value = (struct jx_value){ .kind = JX_FLOAT, .f = p->tok.f };
    return jx_advance(p) ? e : NULL;
}

static struct jx_expr *parse_name(struct jx_parser *p)
{
    struct jx_expr *e = new_expr(p, JX_E_CONST);
    bool yes = jx_tok_word(p, "true") || jx_tok_word(p, "True");

    if (!e)
        return NULL;
    if (yes || jx_tok_word(p, "false") || jx_tok_word(p, "False"))
        e->value = (struct jx_value){ .kind = JX_BOOL, .truth = yes };
    else if (jx_tok_word(p, "none") || jx_tok_word(p, "None"))
        e->value = (struct jx_value){ .kind = JX_NONE };
    else {
        e->kind = JX_E_NAME;
        return jx_name_of(p, &e->name) ? e : NULL;
    }
    return jx_advance(p) ? e : NULL;
}

static struct jx_expr *parse_primary(struct jx_parser *p)
{
    switch (p->tok.kind) {
    case JX_T_NAME:   return parse_name(p);
    case JX_T_STRING: return parse_string(p);
    case JX_T_INT: case JX_T_FLOAT: return parse_number(p);
    default: break;
    }
    if (jx_tok_is(p, JX_OP1('(')))
        return parse_parens(p);
    if (jx_tok_is(p, JX_OP1('[')))
        return parse_list(p);
    if (jx_tok_is(p, JX_OP1('{')))
        return parse_dict(p);
    jx_unexpected(p, "a value");
    return NULL;
}

/* Is the name at hand followed by "=": a keyword argument? */
static bool is_keyword(struct jx_parser *p)
{
    struct jx_lex look = p->lex;
    struct jx_token next;

    if (p->tok.kind != JX_T_NAME)
        return false;
    if (jx_lex_next(&look, &next))
        return false;                   /* read again, and reported, when it is reached */
    return next.kind == JX_T_OP && next.op == JX_OP1('=');
}

static struct jx_expr *parse_arg(struct jx_parser *p, bool *named)
{
    struct jx_str key = { 0 };
    struct jx_expr *e;
    uint32_t at = p->tok.at;

    if (jx_tok_is(p, JX_OP1('*')) || jx_tok_is(p, JX_OP2('*', '*'))) {
        jx_parse_fail(p, err_set(ERR_FORMAT, "JINJA-22", "arguments with * are not supported"),
                      at);
        return NULL;
    }
    if (is_keyword(p)) {
        key = jx_slice_of(p, p->tok.text, p->tok.len);
        *named = true;
        if (!jx_advance(p) || !jx_advance(p))
            return NULL;
    } else if (*named) {
        jx_parse_fail(p, err_set(ERR_FORMAT, "JINJA-23", "an argument without a name follows one "
                                 "with a name"), at);
        return NULL;
    }
    e = jx_parse_expr(p, true);
    if (e)
        e->key = key;
    return e;
}

bool jx_parse_args(struct jx_parser *p, struct jx_expr **first, size_t *n)
{
    struct jx_expr **tail = first, *e;
    bool named = false;

    if (!jx_advance(p))
        return false;
    while (!jx_tok_is(p, JX_OP1(')'))) {
        if (*n && !jx_expect(p, JX_OP1(',')))
            return false;
        if (jx_tok_is(p, JX_OP1(')')))
            break;
        if (!(e = parse_arg(p, &named)))
            return false;
        *tail = e;
        tail = &e->next;
        ++*n;
    }
    return jx_advance(p);
}

static struct jx_post *new_post(struct jx_parser *p, enum jx_post_kind kind)
{
    struct jx_post *s = jx_node(p, sizeof(*s));

    if (s)
        *s = (struct jx_post){ .kind = kind, .at = p->tok.at };
    return s;
}

/* [a], [a:b:c]: the parts of a slice may be missing. */
static struct jx_post *parse_subscript(struct jx_parser *p)
{
    struct jx_post *s = new_post(p, JX_P_INDEX);
    int i = 0;

    if (!s || !jx_advance(p))
        return NULL;
    if (!jx_tok_is(p, JX_OP1(':')) && !(s->part[0] = jx_parse_expr(p, true)))
        return NULL;
    while (jx_skip_op(p, JX_OP1(':')) && ++i < 3) {
        s->kind = JX_P_SLICE;
        if (!jx_tok_is(p, JX_OP1(':')) && !jx_tok_is(p, JX_OP1(']')) &&
            !(s->part[i] = jx_parse_expr(p, true)))
            return NULL;
    }
    return !p->err && jx_expect(p, JX_OP1(']')) ? s : NULL;
}

static struct jx_post *parse_attribute(struct jx_parser *p)
{
    struct jx_post *s = new_post(p, JX_P_ATTR);

    if (!s || !jx_advance(p))
        return NULL;
    if (p->tok.kind == JX_T_INT) {
        s->kind = JX_P_INDEX;
        return (s->part[0] = parse_number(p)) ? s : NULL;
    }
    if (p->tok.kind != JX_T_NAME) {
        jx_unexpected(p, "a name or a number");
        return NULL;
    }
    s->name = jx_slice_of(p, p->tok.text, p->tok.len);
    return jx_advance(p) ? s : NULL;
}

static struct jx_post *parse_call(struct jx_parser *p)
{
    struct jx_post *s = new_post(p, JX_P_CALL);
    size_t n = 0;

    return s && jx_parse_args(p, &s->arg, &n) ? s : NULL;
}

static struct jx_post *parse_filter(struct jx_parser *p)
{
    struct jx_post *s = new_post(p, JX_P_FILTER);
    size_t n = 0;

    if (!s)
        return NULL;
    if (p->tok.kind != JX_T_NAME) {
        jx_unexpected(p, "a filter's name");
        return NULL;
    }
    s->name = jx_slice_of(p, p->tok.text, p->tok.len);
    if (!(s->filter = jx_filter_find(s->name))) {
        jx_parse_fail(p, jx_no_filter(s->name), p->tok.at);
        return NULL;
    }
    if (!jx_advance(p) || (jx_tok_is(p, JX_OP1('(')) && !jx_parse_args(p, &s->arg, &n)))
        return NULL;
    return s;
}

struct jx_post *jx_parse_filters(struct jx_parser *p)
{
    struct jx_post *first = NULL, **tail = &first;

    do {
        if (!(*tail = parse_filter(p)))
            return NULL;
        tail = &(*tail)->next;
    } while (jx_skip_op(p, JX_OP1('|')));
    return p->err ? NULL : first;
}

static struct jx_expr *parse_primary_post(struct jx_parser *p, struct jx_expr *e, bool filters);

/* The argument of `is divisibleby 3`: one value without brackets around it. */
static bool test_argument(struct jx_parser *p, struct jx_post *s)
{
    size_t n = 0;
    bool value = p->tok.kind == JX_T_STRING || p->tok.kind == JX_T_INT ||
                 p->tok.kind == JX_T_FLOAT || jx_tok_is(p, JX_OP1('[')) ||
                 jx_tok_is(p, JX_OP1('{'));

    if (jx_tok_is(p, JX_OP1('(')))
        return jx_parse_args(p, &s->arg, &n);
    if (!value && p->tok.kind == JX_T_NAME)
        value = !jx_tok_word(p, "else") && !jx_tok_word(p, "or") && !jx_tok_word(p, "and") &&
                !jx_tok_word(p, "is") && !jx_tok_word(p, "if");
    if (!value)
        return true;
    if (!jx_enter(p))
        return false;
    if ((s->arg = parse_primary(p)))
        s->arg = parse_primary_post(p, s->arg, false);
    p->depth--;
    return s->arg != NULL;
}

static struct jx_post *parse_test(struct jx_parser *p)
{
    struct jx_post *s = new_post(p, JX_P_TEST);

    if (!s || !jx_advance(p))
        return NULL;
    s->negated = jx_skip_word(p, "not");
    if (p->err)
        return NULL;
    s->name = jx_slice_of(p, p->tok.text, p->tok.len);
    s->test = p->tok.kind == JX_T_NAME ? jx_test_find(s->name) : NULL;
    if (!s->test) {
        if (p->tok.kind == JX_T_NAME)
            jx_parse_fail(p, jx_no_test(s->name), p->tok.at);
        else
            jx_unexpected(p, "a test's name");
        return NULL;
    }
    return jx_advance(p) && test_argument(p, s) ? s : NULL;
}

/* Subscripts and calls; with `filters` then also filters and tests. */
static struct jx_expr *parse_primary_post(struct jx_parser *p, struct jx_expr *e, bool filters)
{
    struct jx_post *first = NULL, **tail = &first;
    uint32_t at = e->at;
    bool filtered = false;

    for (;;) {
        if (!filtered && jx_tok_is(p, JX_OP1('.')))
            *tail = parse_attribute(p);
        else if (!filtered && jx_tok_is(p, JX_OP1('[')))
            *tail = parse_subscript(p);
        else if (jx_tok_is(p, JX_OP1('(')))
            *tail = parse_call(p);
        else if (filters && (filtered |= jx_tok_is(p, JX_OP1('|'))) && jx_tok_is(p, JX_OP1('|')))
            *tail = jx_advance(p) ? parse_filter(p) : NULL;
        else if (filters && jx_tok_word(p, "is")) {
            filtered = true;
            *tail = parse_test(p);
        } else
            break;
        if (!*tail)
            return NULL;
        tail = &(*tail)->next;
    }
    if (!first || p->err)
        return p->err ? NULL : e;
    struct jx_expr *post = new_expr(p, JX_E_POST);
    if (!post)
        return NULL;
    post->at = at;
    post->first = e;
    post->post = first;
    return post;
}

static struct jx_expr *parse_unary(struct jx_parser *p, bool filters)
{
    bool minus = jx_tok_is(p, JX_OP1('-'));
    struct jx_expr *e;

    if (minus || jx_tok_is(p, JX_OP1('+'))) {
        if (!jx_enter(p) || !(e = new_expr(p, minus ? JX_E_NEG : JX_E_POS)) || !jx_advance(p) ||
            !(e->first = parse_unary(p, false)))
            return NULL;
        p->depth--;
    } else {
        e = parse_primary(p);
    }
    return e ? parse_primary_post(p, e, filters) : NULL;
}

/* Which operator of a level is at hand: JX_OP1(0) ends the list. */
struct level { unsigned op; enum jx_op means; };

static enum jx_op at_hand(const struct jx_parser *p, const struct level *level)
{
    for (; level->op; level++)
        if (jx_tok_is(p, level->op))
            return level->means;
    return (enum jx_op)0;
}

typedef struct jx_expr *parse_fn(struct jx_parser *p);

/* a op b op c of one level, as a list. */
static struct jx_expr *parse_chain(struct jx_parser *p, const struct level *level, parse_fn *part,
                                   enum jx_expr_kind kind)
{
    struct jx_expr *list = NULL, **tail = NULL, *e = part(p);
    enum jx_op op;

    while (e && (op = at_hand(p, level))) {
        if (!list) {
            if (!(list = new_expr(p, kind)))
                return NULL;
            list->at = p->tok.at;
            tail = append(list, &list->first, e);
        }
        if (!jx_advance(p) || !(e = part(p)))
            return NULL;
        e->op = op;
        tail = append(list, tail, e);
    }
    return e && list ? list : e;
}

static struct jx_expr *parse_signed(struct jx_parser *p)
{
    return parse_unary(p, true);
}

static struct jx_expr *parse_power(struct jx_parser *p)
{
    static const struct level level[] = { { JX_OP2('*', '*'), JX_POW }, { 0 } };
    return parse_chain(p, level, parse_signed, JX_E_MATH);
}

static struct jx_expr *parse_product(struct jx_parser *p)
{
    static const struct level level[] = {
        { JX_OP1('*'), JX_MUL }, { JX_OP1('/'), JX_DIV }, { JX_OP2('/', '/'), JX_FLOORDIV },
        { JX_OP1('%'), JX_MOD }, { 0 },
    };
    return parse_chain(p, level, parse_power, JX_E_MATH);
}

static struct jx_expr *parse_concat(struct jx_parser *p)
{
    static const struct level level[] = { { JX_OP1('~'), JX_ADD }, { 0 } };
    return parse_chain(p, level, parse_product, JX_E_CONCAT);
}

static struct jx_expr *parse_sum(struct jx_parser *p)
{
    static const struct level level[] = { { JX_OP1('+'), JX_ADD }, { JX_OP1('-'), JX_SUB }, { 0 } };
    return parse_chain(p, level, parse_concat, JX_E_MATH);
}

/* The comparison at hand, past it; 0 when there is none (or an error). */
static enum jx_op comparison(struct jx_parser *p)
{
    static const struct level level[] = {
        { JX_OP2('=', '='), JX_EQ }, { JX_OP2('!', '='), JX_NE }, { JX_OP1('<'), JX_LT },
        { JX_OP2('<', '='), JX_LE }, { JX_OP1('>'), JX_GT }, { JX_OP2('>', '='), JX_GE }, { 0 },
    };
    enum jx_op op = at_hand(p, level);
    struct jx_lex look = p->lex;
    struct jx_token next;

    if (op)
        return jx_advance(p) ? op : (enum jx_op)0;
    if (jx_skip_word(p, "in"))
        return JX_IN;
    if (jx_tok_word(p, "not") && jx_lex_next(&look, &next) == OK && next.kind == JX_T_NAME &&
        next.len == 2 && !memcmp(next.text, "in", 2))
        return jx_advance(p) && jx_advance(p) ? JX_NOT_IN : (enum jx_op)0;
    return (enum jx_op)0;
}

static struct jx_expr *parse_compare(struct jx_parser *p)
{
    struct jx_expr *list = NULL, **tail = NULL, *e = parse_sum(p);
    enum jx_op op;
    uint32_t at = p->tok.at;

    while (e && (op = comparison(p))) {
        if (!list) {
            if (!(list = new_expr(p, JX_E_COMPARE)))
                return NULL;
            list->at = at;
            tail = append(list, &list->first, e);
        }
        if (!(e = parse_sum(p)))
            return NULL;
        e->op = op;
        tail = append(list, tail, e);
    }
    return p->err ? NULL : list ? list : e;
}

static struct jx_expr *parse_not(struct jx_parser *p)
{
    struct jx_expr *e;

    if (!jx_tok_word(p, "not"))
        return parse_compare(p);
    if (!jx_enter(p) || !(e = new_expr(p, JX_E_NOT)) || !jx_advance(p) ||
        !(e->first = parse_not(p)))
        return NULL;
    p->depth--;
    return e;
}

/* a word b word c, as a list. */
static struct jx_expr *parse_words(struct jx_parser *p, const char *word, parse_fn *part,
                                   enum jx_expr_kind kind)
{
    struct jx_expr *list = NULL, **tail = NULL, *e = part(p);

    while (e && jx_skip_word(p, word)) {
        if (!list) {
            if (!(list = new_expr(p, kind)))
                return NULL;
            tail = append(list, &list->first, e);
        }
        if (!(e = part(p)))
            return NULL;
        tail = append(list, tail, e);
    }
    return p->err ? NULL : list ? list : e;
}

static struct jx_expr *parse_and(struct jx_parser *p)
{
    return parse_words(p, "and", parse_not, JX_E_AND);
}

struct jx_expr *jx_parse_expr(struct jx_parser *p, bool cond)
{
    struct jx_expr *e, *c;
    int depth = p->depth;

    if (!jx_enter(p))
        return NULL;
    e = parse_words(p, "or", parse_and, JX_E_OR);
    while (e && cond && jx_skip_word(p, "if")) {
        if (!jx_enter(p) || !(c = new_expr(p, JX_E_COND)) ||
            !(c->first = parse_words(p, "or", parse_and, JX_E_OR)))
            return NULL;
        c->first->next = e;
        if (jx_skip_word(p, "else") && !(e->next = jx_parse_expr(p, true)))
            return NULL;
        e = c;
    }
    p->depth = depth;
    return p->err ? NULL : e;
}

struct jx_expr *jx_parse_tuple(struct jx_parser *p, bool cond)
{
    struct jx_expr *e = jx_parse_expr(p, cond), *list, **tail;

    if (!e || !jx_tok_is(p, JX_OP1(',')))
        return e;
    if (!(list = new_expr(p, JX_E_TUPLE)))
        return NULL;
    tail = append(list, &list->first, e);
    while (jx_skip_op(p, JX_OP1(','))) {
        if (p->tok.kind == JX_T_VAR_END || p->tok.kind == JX_T_BLOCK_END ||
            jx_tok_is(p, JX_OP1(')')))
            break;
        if (!(e = jx_parse_expr(p, cond)))
            return NULL;
        tail = append(list, tail, e);
    }
    return p->err ? NULL : list;
}
