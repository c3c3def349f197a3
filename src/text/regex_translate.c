/* regex_translate.c - Oniguruma's syntax (Ruby's) to PCRE2's: one pass, text to text.
 *
 * What differs and how it is written: \s \d \w \h and \b by Unicode's sets (`\w` has the six
 * numbers of Latin-1 that Oniguruma counts in, too); classes inside classes and && by look-ahead;
 * (?m) is PCRE2's s; an option in the middle of a group reaches over alternatives; {n}? and
 * {n,m}+ repeat a repeat.  Groups capture nothing, so back references are refused, as is all
 * that is not listed here.  Everything that is passed on as it stands means the same in both.
 *
 * After every repeat and group stands (?C1), see regex.c. */
#include "text/regex.h"

#include "base/hex.h"
#include "text/utf8.h"

#include <stdio.h>
#include <string.h>

#define WS "\\x09-\\x0d\\x{85}\\p{Z}"
#define NOT_WS "\\x00-\\x08\\x0e-\\x1f\\x21-\\x{84}\\x{86}-\\x{9f}\\x{a1}-\\x{167f}" \
    "\\x{1681}-\\x{1fff}\\x{200b}-\\x{2027}\\x{202a}-\\x{202e}\\x{2030}-\\x{205e}" \
    "\\x{2060}-\\x{2fff}\\x{3001}-\\x{10ffff}"
#define WORD "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\x{b2}\\x{b3}\\x{b9}\\x{bc}-\\x{be}"
#define HEX "0-9a-fA-F"
#define NOT_HEX "\\x00-/:-@G-`g-\\x{10ffff}"
#define EDGE "(?:(?<=[" WORD "])(?![" WORD "])|(?<![" WORD "])(?=[" WORD "]))"
#define NO_EDGE "(?:(?<=[" WORD "])(?=[" WORD "])|(?<![" WORD "])(?![" WORD "]))"

enum { DEPTH_MAX = 32, REPEAT_MAX = 1000 };

struct parse {
    const char *text, *name;
    size_t len, at;
    struct buf *out;
    bool fold;                          /* under (?i) */
    bool ranged;                        /* a range a-b was read last, in a class */
    int depth;
    char last;                          /* the letter before, under (?i) */
};

/* A class as it is read: what PCRE2 can write inside [], and what stands beside it. */
struct set { struct buf in, beside; };

static enum err refuse(const struct parse *p, size_t at, const char *what)
{
    return err_set(ERR_ARG, "TOKJSON-06", "%s: the regular expression \"%.*s\" has, at byte %zu, "
                   "%s, which is not supported", p->name, p->len > 80 ? 80 : (int)p->len, p->text,
                   at, what);
}

static enum err damaged(const struct parse *p, size_t at, const char *what)
{
    return err_set(ERR_FORMAT, "TOKJSON-07", "%s: the regular expression \"%.*s\" is wrong at "
                   "byte %zu: %s", p->name, p->len > 80 ? 80 : (int)p->len, p->text, at, what);
}

static int peek(const struct parse *p, size_t ahead)
{
    return ahead < p->len - p->at ? (unsigned char)p->text[p->at + ahead] : -1;
}

static bool starts(const struct parse *p, const char *with)
{
    size_t n = strlen(with);

    return p->len - p->at >= n && !memcmp(p->text + p->at, with, n);
}

/* One character that stands for itself, in or out of a class. */
static void put_code(struct buf *out, uint32_t code)
{
    char bytes[UTF8_MAX];

    if (code < 0x80 && !(code >= '0' && code <= '9') && !((code | 0x20) >= 'a' &&
                                                          (code | 0x20) <= 'z'))
        buf_printf(out, "\\x%02x", code);
    else
        buf_add(out, bytes, (size_t)utf8_put(code, bytes));
}

/* Case folding that joins letters ("ss" and U+00DF) is Oniguruma's alone. */
static enum err put_literal(struct parse *p, uint32_t code, size_t from)
{
    static const char *const joined[] = { "ss", "st", "ff", "fi", "fl" };
    size_t i;

    if (p->fold && code >= 0x80)
        return refuse(p, from, "a letter outside ASCII under (?i)");
    if (p->fold) {
        char low = (char)(code >= 'A' && code <= 'Z' ? code + 32 : code);
        for (i = 0; i < sizeof(joined) / sizeof(joined[0]); i++)
            if (p->last == joined[i][0] && low == joined[i][1])
                return refuse(p, from, "under (?i) two letters that are one in other cases");
        p->last = low;
    }
    put_code(p->out, code);
    return OK;
}

/* ---- escapes ---- */

/* Hexadecimal digits from p->at: at least one, at most `max`. */
static enum err read_hex(struct parse *p, int min, int max, size_t from, uint32_t *code)
{
    int n = 0;

    *code = 0;
    for (; n < max && hex_value(peek(p, 0)) >= 0; n++)
        *code = *code * 16 + (uint32_t)hex_value((unsigned char)p->text[p->at++]);
    if (n < min)
        return damaged(p, from, "too few hexadecimal digits");
    if (*code > 0x10FFFF || (*code >= 0xD800 && *code <= 0xDFFF))
        return damaged(p, from, "not a Unicode character");
    return OK;
}

/* The escapes that are one character; p->at is after the backslash.  *done tells whether it was. */
static enum err read_char_escape(struct parse *p, uint32_t *code, bool *done)
{
    static const char letter[] = "tnrfvae", value[] = "\t\n\r\f\v\a\x1B";
    size_t from = p->at - 1;
    const char *found;
    int c = peek(p, 0);
    enum err err;

    *done = true;
    if (c < 0)
        return damaged(p, from, "it ends after a backslash");
    found = strchr(letter, c);
    if (found && c) {
        *code = (uint8_t)value[found - letter];
    } else if (c == 'x' && peek(p, 1) == '{') {
        p->at += 2;
        err = read_hex(p, 1, 8, from, code);
        if (!err && peek(p, 0) != '}')
            err = damaged(p, from, "\\x{ without }");
        p->at += !err;
        return err;
    } else if (c == 'x' || c == 'u') {
        p->at++;
        err = read_hex(p, c == 'u' ? 4 : 1, c == 'u' ? 4 : 2, from, code);
        return !err && c == 'x' && *code >= 0x80 ? refuse(p, from, "a byte outside ASCII") : err;
    } else if (c >= 0x80) {
        p->at += (size_t)utf8_next(p->text + p->at, p->len - p->at, code);
        return OK;
    } else if ((c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z')) {
        *done = false;
        return OK;
    } else {
        *code = (uint32_t)c;
    }
    p->at++;
    return OK;
}

/* Property names that mean the same in both, as PCRE2 writes them. */
static const char *const property[][2] = {
    { "l", "L" }, { "lu", "Lu" }, { "ll", "Ll" }, { "lt", "Lt" }, { "lm", "Lm" }, { "lo", "Lo" },
    { "m", "M" }, { "mn", "Mn" }, { "mc", "Mc" }, { "me", "Me" }, { "n", "N" }, { "nd", "Nd" },
    { "nl", "Nl" }, { "no", "No" }, { "p", "P" }, { "pc", "Pc" }, { "pd", "Pd" }, { "ps", "Ps" },
    { "pe", "Pe" }, { "pi", "Pi" }, { "pf", "Pf" }, { "po", "Po" }, { "s", "S" }, { "sm", "Sm" },
    { "sc", "Sc" }, { "sk", "Sk" }, { "so", "So" }, { "z", "Z" }, { "zs", "Zs" }, { "zl", "Zl" },
    { "zp", "Zp" }, { "c", "C" }, { "cc", "Cc" }, { "cf", "Cf" }, { "cn", "Cn" }, { "co", "Co" },
    { "letter", "L" }, { "mark", "M" }, { "number", "N" }, { "punctuation", "P" },
    { "symbol", "S" }, { "separator", "Z" }, { "other", "C" }, { "decimalnumber", "Nd" },
    { "uppercaseletter", "Lu" }, { "lowercaseletter", "Ll" }, { "alphabetic", "Alphabetic" },
    { "arabic", "sc:Arabic" }, { "armenian", "sc:Armenian" }, { "bengali", "sc:Bengali" },
    { "cyrillic", "sc:Cyrillic" }, { "devanagari", "sc:Devanagari" }, { "greek", "sc:Greek" },
    { "han", "sc:Han" }, { "hangul", "sc:Hangul" }, { "hebrew", "sc:Hebrew" },
    { "hiragana", "sc:Hiragana" }, { "katakana", "sc:Katakana" }, { "khmer", "sc:Khmer" },
    { "lao", "sc:Lao" }, { "latin", "sc:Latin" }, { "myanmar", "sc:Myanmar" },
    { "tamil", "sc:Tamil" }, { "telugu", "sc:Telugu" }, { "thai", "sc:Thai" },
    { "tibetan", "sc:Tibetan" }, { "common", "sc:Common" },
};

/* "{name}" or "{^name}" after \p or \P. */
static enum err read_property(struct parse *p, struct buf *out, bool not, size_t from)
{
    char name[32];
    size_t n = 0, i;

    if (peek(p, 0) != '{')
        return damaged(p, from, "\\p without {");
    p->at++;
    if (peek(p, 0) == '^') {
        not = !not;
        p->at++;
    }
    for (; peek(p, 0) >= 0 && peek(p, 0) != '}'; p->at++) {
        char c = (char)peek(p, 0);
        if (c != ' ' && c != '_' && c != '-' && n + 1 < sizeof(name))
            name[n++] = (char)(c >= 'A' && c <= 'Z' ? c + 32 : c);
    }
    name[n] = '\0';
    if (peek(p, 0) != '}')
        return damaged(p, from, "\\p{ without }");
    p->at++;
    for (i = 0; i < sizeof(property) / sizeof(property[0]); i++)
        if (!strcmp(property[i][0], name))
            break;
    if (i == sizeof(property) / sizeof(property[0]))
        return refuse(p, from, "a property by that name");
    if (p->fold)
        return refuse(p, from, "a property under (?i)");
    buf_printf(out, "\\%c{%s}", not ? 'P' : 'p', property[i][1]);
    return OK;
}

/* The escapes that are sets: their text for inside a class; *done tells whether it was one. */
static enum err read_set_escape(struct parse *p, struct set *s, bool *done)
{
    static const struct { char letter; const char *in, *beside; } row[] = {
        { 's', WS, NULL }, { 'S', NOT_WS, NULL }, { 'd', "\\p{Nd}", NULL },
        { 'D', "\\P{Nd}", NULL }, { 'w', WORD, NULL }, { 'W', NULL, "|[^" WORD "]" },
        { 'h', HEX, NULL }, { 'H', NOT_HEX, NULL },
    };
    size_t from = p->at - 1, i;
    int c = peek(p, 0);

    *done = true;
    for (i = 0; i < sizeof(row) / sizeof(row[0]); i++)
        if (row[i].letter == c) {
            p->at++;
            if (p->fold && strchr("WSDH", c))
                return refuse(p, from, "a complement under (?i)");
            if (row[i].in)
                buf_puts(&s->in, row[i].in);
            else
                buf_puts(&s->beside, row[i].beside);
            return OK;
        }
    if (c == 'p' || c == 'P') {
        p->at++;
        return read_property(p, &s->in, c == 'P', from);
    }
    *done = false;
    return OK;
}

/* ---- classes ---- */

static enum err read_class(struct parse *p, struct buf *out);

static enum err read_posix(struct parse *p, struct set *s)
{
    static const char *const row[][2] = {
        { "alpha", "\\p{Alphabetic}" }, { "digit", "\\p{Nd}" }, { "space", WS },
        { "word", WORD }, { "xdigit", HEX }, { "alnum", "\\p{Alphabetic}\\p{Nd}" },
    };
    size_t i, n;

    if (p->fold)
        return refuse(p, p->at, "a named class under (?i)");
    for (i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        n = strlen(row[i][0]);
        if (p->len - p->at >= n + 4 && !memcmp(p->text + p->at + 2, row[i][0], n) &&
            !memcmp(p->text + p->at + 2 + n, ":]", 2)) {
            buf_puts(&s->in, row[i][1]);
            p->at += n + 4;
            return OK;
        }
    }
    return refuse(p, p->at, "a named class other than alpha, digit, space, word, xdigit, alnum");
}

/* One character of a class, escaped or not; *done is false when a set was read instead. */
static enum err read_class_char(struct parse *p, struct set *s, uint32_t *code, bool *done)
{
    size_t from = p->at;
    bool set;
    enum err err;

    if (peek(p, 0) != '\\') {
        p->at += (size_t)utf8_next(p->text + p->at, p->len - p->at, code);
        *done = true;
        return OK;
    }
    p->at++;
    err = read_set_escape(p, s, &set);
    *done = !set;
    if (err || set)
        return err;
    if (peek(p, 0) == 'b') {            /* inside a class: backspace */
        p->at++;
        *code = 8;
        return OK;
    }
    err = read_char_escape(p, code, done);
    if (!err && !*done)
        err = refuse(p, from, "this escape in a class");
    return err;
}

/* A character or a range a-b. */
static enum err read_range(struct parse *p, struct set *s)
{
    size_t from = p->at;
    uint32_t low = 0, high = 0;
    bool done;
    enum err err = read_class_char(p, s, &low, &done);

    if (err)
        return err;
    if (!done) {
        if (peek(p, 0) == '-' && peek(p, 1) >= 0 && peek(p, 1) != ']')
            return damaged(p, p->at, "a range from a set");
        return OK;
    }
    if (p->fold && low >= 0x80)
        return refuse(p, from, "a letter outside ASCII under (?i)");
    put_code(&s->in, low);
    if (peek(p, 0) != '-' || peek(p, 1) < 0 || peek(p, 1) == ']')
        return OK;
    if (peek(p, 1) == '[' || (peek(p, 1) == '&' && peek(p, 2) == '&'))
        return refuse(p, p->at, "a range to a class");
    p->at++;
    err = read_class_char(p, s, &high, &done);
    if (err)
        return err;
    if (!done || high < low)
        return damaged(p, from, "a range that does not go up");
    if (p->fold && high >= 0x80)
        return refuse(p, from, "a letter outside ASCII under (?i)");
    buf_puts(&s->in, "-");
    put_code(&s->in, high);
    p->ranged = true;
    return OK;
}

/* Is a part of what goes to `out` lost?  Then so is `out`. */
static bool is_lost(struct buf *out, const struct buf *part)
{
    out->broken |= part->broken;
    return part->broken;
}

/* What was read so far as an expression for one character; the set is empty again. */
static void close_set(struct set *s, struct buf *out, bool not)
{
    const char *in = buf_text(&s->in), *beside = buf_text(&s->beside);

    if (is_lost(out, &s->in) || is_lost(out, &s->beside))
        return;
    if (!s->beside.len && s->in.len)
        buf_printf(out, not ? "[^%s]" : "[%s]", in);
    else if (!s->in.len)
        buf_printf(out, not ? "(?:(?!%s)(?s:.))" : "(?:%s)", beside + 1);
    else
        buf_printf(out, not ? "(?:(?!%s|[%s])(?s:.))" : "(?:%s|[%s])", beside + 1, in);
    buf_cut(&s->in, 0);
    buf_cut(&s->beside, 0);
}

static enum err read_class_item(struct parse *p, struct set *s)
{
    struct buf inner = {0};
    enum err err;

    if (starts(p, "[:"))
        return read_posix(p, s);
    if (peek(p, 0) != '[')
        return read_range(p, s);
    err = read_class(p, &inner);
    if (!err && !is_lost(&s->beside, &inner)) {
        buf_puts(&s->beside, "|");
        buf_add(&s->beside, buf_text(&inner), inner.len);
    }
    buf_release(&inner);
    return err;
}

/* The parts between && end in `both`, as look-aheads but for the last. */
static enum err read_class_parts(struct parse *p, struct set *s, struct buf *both, size_t from)
{
    enum err err = OK;
    size_t part = p->at;

    while (!err) {
        bool and = starts(p, "&&");
        if (peek(p, 0) < 0)
            return damaged(p, from, "a class without ]");
        if (!and && peek(p, 0) != ']') {
            if (peek(p, 0) == '-' && p->at > part && peek(p, 1) != ']' &&
                (!p->ranged || peek(p, 1) == '-'))
                return refuse(p, p->at, "- after a set");
            p->ranged = false;
            err = read_class_item(p, s);
            continue;
        }
        if (p->at == part)
            return refuse(p, p->at, "an empty class, or an unescaped ] in one");
        if (!and)
            return OK;
        buf_puts(both, "(?=");
        close_set(s, both, false);
        buf_puts(both, ")");
        p->at += 2;
        part = p->at;
    }
    return err;
}

/* "[...]" at p->at, as an expression that takes one character. */
static enum err read_class(struct parse *p, struct buf *out)
{
    struct set s = {0};
    struct buf both = {0};
    size_t from = p->at++;
    bool not = peek(p, 0) == '^';
    enum err err;

    if (++p->depth > DEPTH_MAX) {
        p->depth--;
        return err_set(ERR_LIMIT, "TOKJSON-08", "%s: a regular expression nested deeper than %d",
                       p->name, DEPTH_MAX);
    }
    p->at += not;
    err = read_class_parts(p, &s, &both, from);
    if (!err && both.len == 0) {
        close_set(&s, out, not);
    } else if (!err) {
        close_set(&s, &both, false);
        if (!is_lost(out, &both))
            buf_printf(out, not ? "(?:(?!%s)(?s:.))" : "(?:%s)", buf_text(&both));
    }
    p->at += !err;
    p->depth--;
    buf_release(&s.in);
    buf_release(&s.beside);
    buf_release(&both);
    return err;
}

/* ---- the rest ---- */

static enum err read_alternatives(struct parse *p);

static enum err read_escape(struct parse *p)
{
    struct set s = {0};
    size_t from = p->at++;
    int c = peek(p, 0);
    uint32_t code = 0;
    bool done;
    enum err err = read_set_escape(p, &s, &done);

    if (!err && done)
        close_set(&s, p->out, false);
    buf_release(&s.in);
    buf_release(&s.beside);
    if (err || done)
        return err;
    err = read_char_escape(p, &code, &done);
    if (err || done)
        return err ? err : put_literal(p, code, from);
    p->at++;
    if (c == 'b' || c == 'B')
        buf_puts(p->out, c == 'b' ? EDGE : NO_EDGE);
    else if (c == 'A' || c == 'z' || c == 'Z' || c == 'R')
        buf_printf(p->out, "\\%c", c);
    else
        return refuse(p, from, c >= '0' && c <= '9' ? "a back reference or octal number"
                                                    : "this escape");
    return OK;
}

/* Option letters after "(?": i and m, each on or off.  *m is -1 when not named. */
static enum err read_options(struct parse *p, bool *fold, int *dot, size_t from)
{
    bool on = true;

    for (; peek(p, 0) != ':' && peek(p, 0) != ')'; p->at++) {
        int c = peek(p, 0);
        if (c == '-' && on)
            on = false;
        else if (c == 'i')
            *fold = on;
        else if (c == 'm')
            *dot = on;
        else
            return refuse(p, from, "this kind of group");
    }
    return OK;
}

/* p->at is after "(?" and its kind; up to and with the ")". */
static enum err read_group_body(struct parse *p, size_t from)
{
    enum err err;

    if (++p->depth > DEPTH_MAX)
        return err_set(ERR_LIMIT, "TOKJSON-09", "%s: a regular expression nested deeper than %d",
                       p->name, DEPTH_MAX);
    err = read_alternatives(p);
    p->depth--;
    if (!err && peek(p, 0) != ')')
        err = damaged(p, from, "a group without )");
    p->at += !err;
    buf_puts(p->out, ")");
    return err;
}

/* (?i) reaches to the end of the group, over alternatives: (?i:...) with its ) put there. */
static enum err read_option_group(struct parse *p, size_t from)
{
    bool fold = p->fold, was = p->fold;
    int dot = -1;
    enum err err = read_options(p, &fold, &dot, from);

    if (err)
        return err;
    buf_printf(p->out, "(?%s%s%s%s%s:", fold ? "i" : "", dot == 1 ? "s" : "",
               !fold || dot == 0 ? "-" : "", fold ? "" : "i", dot == 0 ? "s" : "");
    p->fold = fold;
    if (p->text[p->at++] == ':') {
        err = read_group_body(p, from);
    } else {
        if (++p->depth > DEPTH_MAX)
            return err_set(ERR_LIMIT, "TOKJSON-10", "%s: a regular expression nested deeper than "
                           "%d", p->name, DEPTH_MAX);
        err = read_alternatives(p);     /* its ) is the group's, or the end */
        p->depth--;
        buf_puts(p->out, ")");
    }
    p->fold = was;
    return err;
}

static enum err read_group(struct parse *p)
{
    static const char *const kept[] = { "(?:", "(?=", "(?!", "(?<=", "(?<!", "(?>" };
    size_t from = p->at, i, n;

    for (i = 0; i < sizeof(kept) / sizeof(kept[0]); i++) {
        n = strlen(kept[i]);
        if (starts(p, kept[i])) {
            p->at += n;
            buf_add(p->out, kept[i], n);
            return read_group_body(p, from);
        }
    }
    if (starts(p, "(?<")) {             /* a name, which nothing refers to */
        for (p->at += 3; peek(p, 0) >= 0 && peek(p, 0) != '>'; p->at++)
            ;
        if (peek(p, 0) < 0)
            return damaged(p, from, "a group's name without >");
        p->at++;
    } else if (starts(p, "(?")) {
        p->at += 2;
        return read_option_group(p, from);
    } else {
        p->at++;
    }
    buf_puts(p->out, "(?:");
    return read_group_body(p, from);
}

static bool read_number(struct parse *p, int *value)
{
    size_t from = p->at;

    *value = 0;
    for (; peek(p, 0) >= '0' && peek(p, 0) <= '9'; p->at++)
        *value = *value > REPEAT_MAX ? *value : *value * 10 + (peek(p, 0) - '0');
    return p->at > from;
}

/* "{n}", "{n,}", "{,m}", "{n,m}": false, and nothing read, when it is none: then a letter. */
static bool read_interval(struct parse *p, int *least, int *most)
{
    size_t from = p->at++;
    bool low = read_number(p, least), high = false;

    *most = *least;
    if (peek(p, 0) == ',') {
        p->at++;
        high = read_number(p, most);
        if (!high)
            *most = -1;
        low = low || high;
    }
    if (low && peek(p, 0) == '}') {
        p->at++;
        return true;
    }
    p->at = from;
    return false;
}

/* Put "(?:" where the atom began and ")" here. */
static enum err wrap(struct parse *p, size_t atom)
{
    struct buf tail = {0};
    enum err err;

    buf_add(&tail, buf_text(p->out) + atom, p->out->len - atom);
    err = buf_ok(&tail);
    buf_cut(p->out, atom);
    buf_puts(p->out, "(?:");
    buf_add(p->out, buf_text(&tail), tail.len);
    buf_puts(p->out, ")");
    buf_release(&tail);
    return err;
}

/* The repeat after an atom whose text begins at `atom` in the output. */
static enum err read_repeat(struct parse *p, size_t atom, bool group)
{
    int c = peek(p, 0), least = 0, most = 0, then;
    bool interval = c == '{' && read_interval(p, &least, &most);
    enum err err = OK;

    if (!interval && c != '*' && c != '+' && c != '?') {
        buf_puts(p->out, group ? "(?C1)" : "");
        return OK;
    }
    p->last = '\0';
    if (interval && (least > REPEAT_MAX || most > REPEAT_MAX))
        return err_set(ERR_LIMIT, "TOKJSON-11", "%s: a repeat of more than %d in a regular "
                       "expression", p->name, REPEAT_MAX);
    if (interval && most >= 0 && most < least)
        return refuse(p, p->at, "a repeat {n,m} with n above m");
    if (interval && most < 0)
        buf_printf(p->out, "{%d,}", least);
    else if (interval)
        buf_printf(p->out, "{%d,%d}", least, most);
    else
        buf_printf(p->out, "%c", p->text[p->at++]);
    then = peek(p, 0);
    if (interval && (then == '+' || (then == '?' && least == most))) {
        err = wrap(p, atom);
        buf_printf(p->out, "%c", then);
        p->at++;
    } else if (then == '?' || (then == '+' && !interval)) {
        buf_printf(p->out, "%c", then);
        p->at++;
    }
    buf_puts(p->out, "(?C1)");
    c = peek(p, 0);
    if (!err && (c == '*' || c == '+' || c == '?' || (c == '{' && read_interval(p, &least, &most))))
        err = refuse(p, p->at, "a repeat of a repeat");
    return err;
}

static enum err read_atom(struct parse *p)
{
    size_t from = p->at;
    int c = peek(p, 0);
    uint32_t code = 0;

    if (c != '\\' && (c == '[' || c == '(' || c == '.'))
        p->last = '\0';
    if (c == '\\')
        return read_escape(p);
    if (c == '[')
        return read_class(p, p->out);
    if (c == '(')
        return read_group(p);
    if (c == '*' || c == '+' || c == '?')
        return damaged(p, from, "a repeat of nothing");
    if (c == '.' || c == '^' || c == '$') {
        p->at++;
        buf_printf(p->out, "%c", c);
        return OK;
    }
    p->at += (size_t)utf8_next(p->text + p->at, p->len - p->at, &code);
    return put_literal(p, code, from);
}

static enum err read_alternatives(struct parse *p)
{
    enum err err = OK;

    while (!err && peek(p, 0) >= 0 && peek(p, 0) != ')') {
        size_t atom = p->out->len;
        bool group = peek(p, 0) == '(';
        if (peek(p, 0) == '|') {
            p->at++;
            p->last = '\0';
            buf_puts(p->out, "|");
            continue;
        }
        if (starts(p, "(?#")) {
            size_t from = p->at;
            while (peek(p, 0) >= 0 && peek(p, 0) != ')')
                p->at++;
            if (peek(p, 0) < 0)
                return damaged(p, from, "a comment without )");
            p->at++;
            continue;
        }
        err = read_atom(p);
        if (!err)
            err = read_repeat(p, atom, group);
    }
    p->last = '\0';
    return err;
}

enum err regex_translate(struct buf *out, const char *pattern, size_t len, const char *name)
{
    struct parse p = { .text = pattern, .len = len, .name = name, .out = out };
    size_t bad = utf8_check(pattern, len);
    enum err err;

    if (bad < len)
        return damaged(&p, bad, "not valid UTF-8");
    err = read_alternatives(&p);
    if (!err && p.at < len)
        err = damaged(&p, p.at, "a ) without (");
    return err ? err : buf_ok(out);
}
