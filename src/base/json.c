/* json.c - see json.h.
 *
 * jansson reports some failed allocations as errors of syntax, and aborts on others: a token
 * that its lexer could not store any more breaks an assertion.  So it gets its memory through
 * us.  The first allocation that fails is answered from a spare block, large enough for any
 * token of the text, and the text ends there: jansson reads it through us too, byte by byte.
 */
#include "base/json.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { SPARE_BYTES_MIN = 4096, SPARE_ALIGN = 16 };

static _Thread_local struct {
    char *block;                        /* NULL outside json_parse() */
    size_t size, used;
    bool failed;                        /* an allocation has failed in this json_parse() */
} spare;

static pthread_once_t once = PTHREAD_ONCE_INIT;

static void *allocate(size_t n)
{
    void *p = malloc(n);

    if (p)
        return p;
    spare.failed = true;
    if (spare.block && n <= spare.size - spare.used) {
        p = spare.block + spare.used;
        n += -n % SPARE_ALIGN;
        spare.used += n < spare.size - spare.used ? n : spare.size - spare.used;
    }
    return p;
}

static void release(void *p)
{
    if (!spare.block || (char *)p < spare.block || (char *)p >= spare.block + spare.size)
        free(p);
}

static void set_allocator(void)
{
    json_set_alloc_funcs(allocate, release);
}

/* What jansson still has to read.  One byte at a time, so that none follows a failure. */
struct text { const char *at, *end; };

static size_t next_byte(void *to, size_t room, void *data)
{
    struct text *text = data;

    if (spare.failed || !room || text->at == text->end)
        return 0;
    *(char *)to = *text->at++;
    return 1;
}

/* What a text asks of a parser: nesting of brackets, and bytes of its longest token.  Text that
 * is not JSON may be misjudged behind its first mistake, where the parser stops. */
struct demand { int depth; size_t token; };

static struct demand demand_of(const char *text, size_t len)
{
    struct demand most = { 0, 0 };
    bool in_string = false;
    size_t start = 0;                   /* of the token at i */
    int depth = 0;

    for (size_t i = 0; i < len && most.depth <= JSON_DEPTH_MAX; i++) {
        char c = text[i];
        if (c == '"') {
            start = in_string ? start : i;
            in_string = !in_string;
        } else if (in_string && c == '\\') {
            i++;
        } else if (!in_string && strchr("{}[],: \t\r\n", c)) {
            if (c == '{' || c == '[')
                most.depth = ++depth > most.depth ? depth : most.depth;
            else if ((c == '}' || c == ']') && depth > 0)
                depth--;
            start = i + 1;
        }
        most.token = i + 1 - start > most.token ? i + 1 - start : most.token;
    }
    return most;
}

static enum err no_memory(const char *what, size_t len)
{
    return err_set(ERR_NOMEM, "JSON-03", "%s: no memory to read %zu bytes of JSON; close other "
                   "programs", what, len);
}

size_t json_cost(const char *text, size_t len)
{
    bool in_string = false;
    size_t cost = 1;

    for (size_t i = 0; i < len; i++) {
        char c = text[i];
        if (in_string && c == '\\')
            i++;
        else if (c == '"')
            in_string = !in_string;
        else if (!in_string)
            cost += c == '{' ? 8 : c == '[' || c == ':' ? 4 : c == ',' ? 1 : 0;
    }
    return cost;
}

static enum err parse(json_t **out, const char *text, size_t len, size_t max, const char *what,
                      size_t flags)
{
    struct text all = { text, text + len };
    json_error_t error = { 0 };
    struct demand demand;

    *out = NULL;
    if (len > max)
        return err_set(ERR_LIMIT, "JSON-01", "%s: %zu bytes of JSON; the limit here is %zu: "
                       "shorten it", what, len, max);
    demand = demand_of(text, len);
    if (demand.depth > JSON_DEPTH_MAX)
        return err_set(ERR_LIMIT, "JSON-02", "%s: JSON nested deeper than %d levels; flatten it",
                       what, JSON_DEPTH_MAX);
    pthread_once(&once, set_allocator);
    /* The lexer doubles its buffer; a character is up to four bytes ahead of it. */
    spare.size = 2 * (demand.token + 8) + SPARE_BYTES_MIN;
    if (!(spare.block = malloc(spare.size)))
        return no_memory(what, len);
    spare.used = 0;
    spare.failed = false;
    *out = json_load_callback(next_byte, &all, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | flags,
                              &error);
    if (spare.failed) {
        json_decref(*out);
        *out = NULL;
    }
    free(spare.block);
    spare.block = NULL;
    if (spare.failed)
        return no_memory(what, len);
    if (*out)
        return OK;
    for (char *c = error.text; *c; c++)         /* it quotes the input, and may reach a terminal */
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            *c = '?';
    return err_set(ERR_FORMAT, "JSON-04", "%s: not valid JSON at line %d, column %d: %s; correct "
                   "it there", what, error.line, error.column, error.text);
}

enum err json_parse(json_t **out, const char *text, size_t len, size_t max, const char *what)
{
    return parse(out, text, len, max, what, 0);
}

enum err json_parse_nul(json_t **out, const char *text, size_t len, size_t max, const char *what)
{
    return parse(out, text, len, max, what, JSON_ALLOW_NUL);
}

static int append(const char *text, size_t len, void *out)
{
    buf_add(out, text, len);
    return ((struct buf *)out)->broken ? -1 : 0;
}

void json_write(struct buf *out, const json_t *value, size_t flags)
{
    if (!value || json_dump_callback(value, append, out, flags))
        out->broken = true;
}

char *json_string_new(const json_t *value, size_t flags)
{
    struct buf text = { 0 };
    char *own;

    json_write(&text, value, flags);
    own = text.broken ? NULL : strdup(buf_text(&text));
    buf_release(&text);
    return own;
}
