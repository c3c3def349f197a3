/* client_ask.c - a request put into libcurl's handle: what is asked, and what is never done. */
#include "http/client_form.h"

#include "base/hex.h"

#include <ctype.h>
#include <fcntl.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/un.h>

static const char unix_scheme[] = "http+unix://";

static enum err no_memory(void)
{
    return err_set(ERR_NOMEM, "CLIENT-10", "out of memory for a request");
}

static bool printable(const char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text <= ' ' || *text == 0x7f)
            return false;
    return true;
}

/* How many bytes of a URL may stand in a sentence: a query may hold a secret. */
static int shown(const char *url)
{
    size_t n = strcspn(url, "?#");

    return n < 200 ? (int)n : 200;
}

/* "http+unix://%2Frun%2Fa.sock/v1" -> "/run/a.sock", "http://localhost/v1". */
static enum err split_unix(struct buf *path, struct buf *url, const char *text)
{
    const char *at = text + strlen(unix_scheme);

    for (; *at && *at != '/'; at++) {
        char c = *at;
        if (c == '%') {
            int high = hex_value(at[1]), low = high < 0 ? -1 : hex_value(at[2]);
            if (low < 0 || (c = (char)(high << 4 | low)) == '\0')
                return err_set(ERR_ARG, "CLIENT-11", "%.*s: a %% of the socket's path stands "
                               "before two hexadecimal digits, not 00", shown(text), text);
            at += 2;
        }
        buf_add(path, &c, 1);
    }
    if (path->broken)
        return no_memory();
    if (!path->len || path->len >= sizeof(((struct sockaddr_un *)0)->sun_path))
        return err_set(ERR_ARG, "CLIENT-12", "%.*s: the path of a socket has 1 to %zu bytes, "
                       "with %%2F for each slash", shown(text), text,
                       sizeof(((struct sockaddr_un *)0)->sun_path) - 1);
    buf_printf(url, "http://localhost%s", *at ? at : "/");
    return OK;
}

/* Whatever libcurl would refuse later, and credentials, which would end in logs. */
static enum err check_url(const char *url, const char *text)
{
    CURLU *u = curl_url();
    char *user = NULL, *scheme = NULL;
    CURLUcode code = u ? curl_url_set(u, CURLUPART_URL, url, 0) : CURLUE_OUT_OF_MEMORY;
    enum err e = OK;

    if (!code)
        code = curl_url_get(u, CURLUPART_SCHEME, &scheme, 0);
    if (code == CURLUE_OUT_OF_MEMORY)
        e = no_memory();
    else if (code || (strcmp(scheme, "http") && strcmp(scheme, "https")))
        e = err_set(ERR_ARG, "CLIENT-13", "%.*s: is no URL of a server; write it as "
                    "http://HOST:PORT/PATH, https:// or http+unix://", shown(text), text);
    if (!e && (code = curl_url_get(u, CURLUPART_USER, &user, 0)) == CURLUE_OUT_OF_MEMORY)
        e = no_memory();
    else if (!e && code != CURLUE_NO_USER)
        e = err_set(ERR_ARG, "CLIENT-14", "a URL with a name before its host is not taken; give "
                    "secrets as a header");
    curl_free(user);
    curl_free(scheme);
    curl_url_cleanup(u);
    return e;
}

static bool is_token(const char *text)
{
    if (!*text)
        return false;
    for (; *text; text++)
        if (!isalnum((unsigned char)*text) && !strchr("!#$%&'*+-.^_`|~", *text))
            return false;
    return true;
}

static enum err add_line(struct client_req *r, const char *name, const char *separator,
                         const char *value)
{
    struct buf line = { 0 };
    struct curl_slist *longer = NULL;

    buf_printf(&line, "%s%s%s", name, separator, value);
    if (!line.broken)
        longer = curl_slist_append(r->fields, buf_text(&line));
    buf_release(&line);
    if (!longer)
        return no_memory();
    r->fields = longer;
    return OK;
}

static enum err add_fields(struct client_req *r, const struct client_ask *a)
{
    bool has_type = false;
    enum err e = add_line(r, "Expect", ":", "");        /* a body is never held back */

    for (int i = 0; i < a->n_field && !e; i++) {
        const struct client_field *f = &a->field[i];
        if (!is_token(f->name) || strpbrk(f->value, "\r\n"))
            return err_set(ERR_ARG, "CLIENT-15", "the header field '%.64s' has a name that is no "
                           "word, or a line end in its value", f->name);
        has_type = has_type || !strcasecmp(f->name, "content-type");
        /* With an empty value libcurl wants a semicolon; with a colon it leaves the field out. */
        e = add_line(r, f->name, *f->value ? ": " : ";", f->value);
    }
    if (!e && a->body && !has_type)
        e = add_line(r, "Content-Type", ":", "");
    return e;
}

/* Programs that we start must not inherit it. */
static curl_socket_t open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
    (void)arg;
    (void)purpose;
    return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

#define SET(option, value) (curl_easy_setopt(r->easy, CURLOPT_##option, value) == CURLE_OK)

static bool set_policy(struct client_req *r)
{
    return SET(PROTOCOLS_STR, "http,https") && SET(HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1) &&
           SET(FOLLOWLOCATION, 0L) && SET(NETRC, (long)CURL_NETRC_IGNORED) &&
           SET(SSL_VERIFYPEER, 1L) && SET(SSL_VERIFYHOST, 2L) &&
           SET(SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2) && SET(NOSIGNAL, 1L) &&
           SET(PATH_AS_IS, 1L) && SET(SUPPRESS_CONNECT_HEADERS, 1L) && SET(NOPROXY, "") &&
           SET(OPENSOCKETFUNCTION, open_socket) && SET(BUFFERSIZE, 32768L) &&
           /* Without this a request cancelled while its name is looked up waits for the answer. */
           SET(QUICK_EXIT, 1L);
}

static bool set_calls(struct client_req *r)
{
    return SET(PRIVATE, r) && SET(ERRORBUFFER, r->error) &&
           SET(HEADERFUNCTION, client_on_head) && SET(HEADERDATA, r) &&
           SET(WRITEFUNCTION, client_on_body) && SET(WRITEDATA, r) &&
           SET(PREREQFUNCTION, client_on_connected) && SET(PREREQDATA, r);
}

/* libcurl cannot go back in it, and so gives up where it would send it again. */
static size_t read_body(char *to, size_t size, size_t n, void *arg)
{
    struct client_req *r = arg;
    size_t len = r->a.body_len - r->sent;

    len = len < size * n ? len : size * n;
    memcpy(to, r->a.body + r->sent, len);
    r->sent += len;
    return len;
}

static bool set_body(struct client_req *r, const struct client_ask *a)
{
    if (!SET(POST, 1L) || !SET(POSTFIELDSIZE_LARGE, (curl_off_t)(a->body ? a->body_len : 0)))
        return false;
    if (a->once && a->body_len)
        return SET(READFUNCTION, read_body) && SET(READDATA, r);
    return SET(POSTFIELDS, a->body ? a->body : "");
}

static bool set_method(struct client_req *r, const struct client_ask *a)
{
    const char *method = a->method ? a->method : a->body ? "POST" : "GET";

    if (!strcmp(method, "HEAD"))
        return SET(NOBODY, 1L);
    if (a->body || !strcmp(method, "POST"))
        return set_body(r, a) && SET(CUSTOMREQUEST, method);
    return SET(HTTPGET, 1L) && SET(CUSTOMREQUEST, method);
}

static bool set_texts(struct client_req *r, const struct client_ask *a, const char *url,
                      const struct buf *unix_path)
{
    return SET(URL, url) && SET(HTTPHEADER, r->fields) && set_method(r, a) &&
           SET(PROXY, a->proxy ? a->proxy : "") && SET(CONNECTTIMEOUT_MS, (long)r->a.connect_ms) &&
           (!a->ca_file || SET(CAINFO, a->ca_file)) &&
           (!unix_path->len || SET(UNIX_SOCKET_PATH, buf_text(unix_path)));
}

static void set_defaults(struct client_req *r, const struct client_ask *a)
{
    r->a = *a;
    r->a.method = r->a.url = r->a.proxy = r->a.ca_file = NULL;
    r->a.field = NULL;
    r->a.connect_ms = a->connect_ms ? a->connect_ms : 10000;
    r->a.first_byte_ms = a->first_byte_ms ? a->first_byte_ms : 600000;
    r->a.idle_ms = a->idle_ms ? a->idle_ms : 120000;
    r->a.total_ms = a->total_ms ? a->total_ms : 3600000;
    r->sse.max = a->event_max ? a->event_max : 1 << 20;
}

enum err client_prepare(struct client_req *r, const struct client_ask *a)
{
    bool is_unix = !strncasecmp(a->url, unix_scheme, strlen(unix_scheme));
    struct buf path = { 0 }, url = { 0 };
    enum err e = OK;

    set_defaults(r, a);
    if (strlen(a->url) > CLIENT_URL_MAX || !printable(a->url))
        return err_set(ERR_ARG, "CLIENT-16", "a URL has at most %d bytes, none of them a space or "
                       "a control character", CLIENT_URL_MAX);
    if (a->method && !is_token(a->method))
        return err_set(ERR_ARG, "CLIENT-17", "'%.32s' is no method of HTTP", a->method);
    if (is_unix)
        e = split_unix(&path, &url, a->url);
    else
        buf_puts(&url, a->url);
    if (!e && url.broken)
        e = no_memory();
    if (!e)
        e = check_url(buf_text(&url), a->url);
    if (!e)
        e = add_fields(r, a);
    if (!e && (!(r->easy = curl_easy_init()) || !set_policy(r) || !set_calls(r) ||
               !set_texts(r, a, buf_text(&url), &path)))
        e = no_memory();
    buf_release(&path);
    buf_release(&url);
    return e;
}
