/* cmd_serve.c - `croft serve MODEL`: the model behind an HTTP server, until it is told to end.
 *
 * Sockets are opened first, so that a port that is taken is said at once and health can be asked
 * while the model is loaded; the thread that loads it then runs the engine. */
#include "cmd/cmd.h"
#include "cmd/cmd_table.h"
#include "cmd/load.h"
#include "cmd/model_path.h"
#include "cmd/pooling.h"
#include "cmd/prompt.h"
#include "cmd/receipt_about.h"

#include "base/term.h"
#include "serve/serve.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { GAP = 2 };                       /* a reader makes no step longer than twice */

struct serving {
    struct opt_set *o;
    struct serve *s;
    struct serve_options so;
    struct loaded l;
    struct prompt_style style;
    struct stepper *stepper;
    struct access *log;
    char *id;
    struct serve_adapter *named;        /* of the model's, [l.n_named] */
    int64_t n_ctx;                      /* of a sequence */
    const char **list[4];               /* of the options that are lists */
};

/* "/models/SmolLM2-135M.gguf" -> "SmolLM2-135M". */
static enum err name_of(char **out, const char *operand)
{
    char *path, *end, *name;
    enum err e = model_path_find(&path, operand);

    *out = NULL;
    if (e != OK)
        return e;
    for (end = path + strlen(path); end > path + 1 && end[-1] == '/';)
        *--end = '\0';
    name = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
    if (strlen(name) > 5 && !strcmp(name + strlen(name) - 5, ".gguf"))
        name[strlen(name) - 5] = '\0';
    *out = strdup(name);
    free(path);
    return *out ? OK : err_set(ERR_NOMEM, "SERVE-60", "no memory for a name");
}

static enum err read_list(struct serving *v, int which, int opt, const char *const **out, int *n)
{
    *n = opt_list_n(v->o, opt);
    v->list[which] = calloc((size_t)*n + 1, sizeof(char *));
    if (!v->list[which])
        return err_set(ERR_NOMEM, "SERVE-61", "no memory for --%s", cmd_table.opt[opt].name);
    for (int i = 0; i < *n; i++)
        v->list[which][i] = opt_list(v->o, opt, i);
    *out = v->list[which];
    return OK;
}

static enum err read_options(struct serving *v)
{
    struct serve_options *so = &v->so;
    enum err e = name_of(&v->id, opt_operand(v->o, 0));

    *so = (struct serve_options){
        .id = v->id, .strict_models = opt_flag(v->o, OPT_strict_models),
        .fingerprint = "croft-" CROFT_VERSION, .keys = opt_text(v->o, OPT_keys),
        .cert = opt_text(v->o, OPT_tls_cert), .cert_key = opt_text(v->o, OPT_tls_key),
        .base_path = opt_text(v->o, OPT_base_path), .queue_max = opt_int(v->o, OPT_queue),
        .queue_tok_max = opt_int(v->o, OPT_queue_tokens),
        .n_seq_max = (int32_t)opt_int(v->o, OPT_serve_parallel),
        .deadline_s = (double)opt_int(v->o, OPT_deadline),
    };
    if (e == OK && !so->cert != !so->cert_key)
        e = err_set(ERR_ARG, "SERVE-62", "--tls-cert and --tls-key belong together; give both");
    if (e == OK && so->base_path && *so->base_path != '/')
        e = err_set(ERR_ARG, "SERVE-63", "--base-path %.80s: it begins with a slash",
                    so->base_path);
    if (e == OK)
        e = read_list(v, 0, OPT_alias, &so->alias, &so->n_alias);
    if (e == OK)
        e = read_list(v, 1, OPT_cors_origins, &so->origin, &so->n_origin);
    if (e == OK)
        e = read_list(v, 2, OPT_server_name, &so->host, &so->n_host);
    return e == OK ? read_list(v, 3, OPT_trusted_proxy, &so->proxy, &so->n_proxy) : e;
}

/* A host that begins with a slash is a socket in the file system. */
static enum err listen_on(struct serving *v)
{
    const char *host = opt_text(v->o, OPT_host);
    int port = (int)opt_int(v->o, OPT_port);

    return *host == '/' ? serve_listen_unix(v->s, host) : serve_listen(v->s, host, port);
}

static void say_where(void *arg)
{
    const struct serving *v = arg;
    const char *host = opt_text(v->o, OPT_host), *base = v->so.base_path ? v->so.base_path : "";
    bool six = strchr(host, ':') != NULL;

    if (*host == '/')
        term_note("%s answers at the socket %s; context %lld tokens; Ctrl-C ends", v->id, host,
                  (long long)v->n_ctx);
    else
        term_note("%s answers at %s://%s%s%s:%d%s/v1; context %lld tokens; Ctrl-C ends", v->id,
                  v->so.cert ? "https" : "http", six ? "[" : "", host, six ? "]" : "",
                  serve_port(v->s, 0), base, (long long)v->n_ctx);
}

/* A template that cannot be used leaves the routes that need none. */
static enum err read_style(struct serving *v)
{
    enum err e = chat_open(&v->style.chat, v->l.weights, v->l.tok);
    enum chat_format f = e == OK ? chat_info(v->style.chat)->format : CHAT_NONE;

    if (f == CHAT_UNKNOWN)
        term_warn("the model's chat template cannot be used: %s; /chat/completions is refused",
                  chat_info(v->style.chat)->why);
    if (f == CHAT_UNKNOWN || f == CHAT_NONE)
        prompt_style_release(&v->style);
    return e;
}

static enum err read_adapters(struct serving *v)
{
    v->named = calloc((size_t)v->l.n_named + 1, sizeof(*v->named));
    if (!v->named)
        return err_set(ERR_NOMEM, "SERVE-64", "no memory for names of adapters");
    for (int i = 0; i < v->l.n_named; i++) {
        const struct lora_named *from = &v->l.named[i];
        bool taken = !strcmp(from->name, v->id);
        for (int k = 0; k < v->so.n_alias; k++)
            taken = taken || !strcmp(from->name, v->so.alias[k]);
        if (taken)
            return err_set(ERR_ARG, "SERVE-65", "--lora %.60s=FILE: the model itself is called so; "
                           "choose another name", from->name);
        v->named[i] = (struct serve_adapter){ .name = from->name, .mix = from->mix };
        sha256_hex(v->named[i].sha256, from->identity);
    }
    return OK;
}

/* For receipts; the loaded model is constant by now. */
static enum err about(void *arg, bool (*go_on)(void *arg), void *go_on_arg, json_t **out)
{
    struct serving *v = arg;

    return receipt_about(out, &v->l, v->id, opt_flag(v->o, OPT_exact), go_on, go_on_arg);
}

static void on_loading(void *arg, double part)
{
    serve_loading(arg, part);
}

static enum err answer(struct serving *v)
{
    struct serve_model m = { .created = (int64_t)time(NULL) };
    int64_t parallel = opt_int(v->o, OPT_serve_parallel);
    enum err e, e_run;

    v->l.may_name = true;
    progress_watch(on_loading, v->s);
    e = load_open(&v->l, v->o, true, load_rows_many(v->o, parallel));
    progress_watch(NULL, NULL);

    if (e == OK)
        e = read_adapters(v);
    if (e == OK)
        e = read_style(v);
    if (e == OK)
        e = pooling_choose(&m.pool, &v->l, v->o);
    if (e == OK)
        e = load_stepper(&v->stepper, &v->l, v->o, parallel, GAP, &m.n_ctx);
    if (e == OK) {
        m.stepper = v->stepper;
        m.tok = v->l.tok;
        m.chat = v->style.chat;
        m.n_vocab = model_info(v->l.model)->n_vocab;
        m.n_embd = model_info(v->l.model)->n_embd;
        m.adapter = v->l.mix;
        m.named = v->named;
        m.n_named = v->l.n_named;
        m.about = about;
        m.about_arg = v;
        v->n_ctx = m.n_ctx;
        m.on_ready = say_where;
        m.ready_arg = v;
    }
    e_run = serve_run(v->s, e == OK ? &m : NULL);
    return e != OK ? e : e_run;
}

enum err cmd_serve(struct opt_set *o)
{
    struct serving v = { .o = o };
    enum err e = read_options(&v);

    signal(SIGPIPE, SIG_IGN);
    if (e == OK && opt_flag(o, OPT_access_log)) {
        e = access_open(&v.log, STDERR_FILENO);
        v.so.access = v.log;
    }
    if (e == OK)
        e = serve_new(&v.s, &v.so);
    if (e == OK)
        e = listen_on(&v);
    if (e == OK)
        e = serve_start(v.s);
    if (e == OK)
        e = answer(&v);
    serve_free(v.s);
    if (v.log)
        access_close(v.log);
    stepper_free(v.stepper);
    prompt_style_release(&v.style);
    load_close(&v.l);
    for (int i = 0; i < 4; i++)
        free(v.list[i]);
    free(v.named);
    free(v.id);
    return e;
}
