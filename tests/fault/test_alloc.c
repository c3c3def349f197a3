/* test_alloc.c - every allocation of weights_open() (GGUF files, Hugging Face folders),
 * adapter_open(), safetensors_open(), session_save(), session_load(), speculate_new(),
 * sampler_new(), of answering many with a stepper, and of text: jinja_parse() and jinja_render(),
 * tokenizer_from_json(), chat_open_template() and chat_render(), of packing weights into memory and
 * into a file, of requests and replies (wire_bodies.c), of a gateway's configuration and its proof
 * (gateway_bodies.c), of a server, a client and their requests (http_faults.c), and of requests
 * through a gateway (door_faults.c), fails once; so does every read of packing.
 *
 * Linked with -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=strdup,--wrap=posix_memalign
 * -Wl,--wrap=pread.
 * Each body is repeated with its n-th allocation failing, n = 1, 2, 3, ..., until it passes
 * without reaching it.  Every earlier run must report ERR_NOMEM; the leak sanitizer and the
 * count of open descriptors see what it leaves behind.  jansson's allocations come through
 * json.c, and so through here.
 */
#include "engine/sampler.h"
#include "engine/speculate.h"
#include "engine/state.h"
#include "engine/stepper.h"
#include "formats/adapter.h"
#include "formats/gguf.h"
#include "formats/safetensors.h"
#include "formats/weights.h"
#include "place/packed_file.h"
#include "text/chat.h"
#include "text/jinja.h"

#include "gateway_bodies.h"
#include "wire_bodies.h"
#include "price_bodies.h"
#include "store_bodies.h"

#include "../unit/adapter_cases.h"
#include "../unit/gguf_build.h"
#include "../unit/gguf_cases.h"
#include "../unit/temp_file.h"

#include "door_faults.h"
#include "http_faults.h"

#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>

static long countdown = -1;             /* -1: never fail */

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
char *__real_strdup(const char *s);
int __real_posix_memalign(void **p, size_t align, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);
char *__wrap_strdup(const char *s);
int __wrap_posix_memalign(void **p, size_t align, size_t n);

static bool one_thread;                 /* others' allocations neither count nor fail */
static pthread_t counted;

static int fails(void)
{
    if (one_thread && !pthread_equal(pthread_self(), counted))
        return 0;
    return countdown > 0 && --countdown == 0;
}

void *__wrap_malloc(size_t n)
{
    return fails() ? NULL : __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t size)
{
    return fails() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t n)
{
    return fails() ? NULL : __real_realloc(p, n);
}

char *__wrap_strdup(const char *s)
{
    return fails() ? NULL : __real_strdup(s);
}

int __wrap_posix_memalign(void **p, size_t align, size_t n)
{
    return fails() ? ENOMEM : __real_posix_memalign(p, align, n);
}

/* From the n-th read on nothing can be read, or every read is short. */
static enum reads { READS_WORK, READS_FAIL, READS_END, READS_SHORT } reads;
static atomic_long reads_left;

ssize_t __real_pread(int fd, void *to, size_t n, off_t at);
ssize_t __wrap_pread(int fd, void *to, size_t n, off_t at);

ssize_t __wrap_pread(int fd, void *to, size_t n, off_t at)
{
    if (reads == READS_SHORT)
        return __real_pread(fd, to, n > 1000 ? n - n / 3 : n, at);
    if (reads == READS_WORK || atomic_fetch_sub(&reads_left, 1) > 0)
        return __real_pread(fd, to, n, at);
    errno = EIO;
    return reads == READS_END ? 0 : -1;
}

static struct temp temp;
static char one[160], shard[160], vectors[160], lora[160];

static enum err open_weights(const char *path, bool in_memory)
{
    struct weights_options o = { .in_memory = in_memory };
    struct weights *w;
    enum err e = weights_open(&w, path, &o);

    weights_free(w);
    return e;
}

static enum err body_mapped(void)
{
    return open_weights(one, false);
}

static enum err body_in_memory(void)
{
    return open_weights(one, true);
}

static enum err body_bytes(void)
{
    struct file_map m;
    struct weights *w = NULL;
    long n = countdown;

    countdown = -1;
    ASSERT(file_map_open(&m, one, true) == OK);
    countdown = n;
    enum err e = weights_open_bytes(&w, "bytes", m.data, m.bytes);

    weights_free(w);
    n = countdown;
    countdown = -1;
    file_map_close(&m);
    countdown = n;
    return e;
}

static enum err body_shards(void)
{
    return open_weights(shard, false);
}

static enum err body_folder(void)
{
    return open_weights(temp.folder, false);
}

static enum err body_folder_by_shard(void)
{
    return open_weights(temp_path(&temp, "h-1.safetensors"), true);
}

static enum err open_adapter(const char *path)
{
    struct adapter *a;
    enum err e = adapter_open(&a, path);

    adapter_free(a);
    return e;
}

static enum err body_adapter_gguf(void)
{
    return open_adapter(lora);
}

static enum err body_adapter_peft(void)
{
    return open_adapter(temp.folder);
}

static enum err body_safetensors(void)
{
    struct safetensors s;
    enum err e = safetensors_open(&s, vectors);

    if (e == OK)
        safetensors_close(&s);
    return e;
}

static enum err body_st_writer(void)
{
    struct st_decl decl = { "a", ST_F32, 1, { 1 } };
    struct st_writer w;
    float x = 1;
    enum err e = st_writer_open(&w, temp_path(&temp, "out"), &decl, 1);

    if (e)
        return e;
    if ((e = st_writer_append(&w, &x, sizeof(x)))) {
        st_writer_abort(&w);
        return e;
    }
    return st_writer_commit(&w);
}

static struct weights *story;
static struct model *model;
static struct session *saved, *other;

static const struct state_extra plain = { .isa = "ref" };

/* The old file stays, alone, until the new one takes its place. */
static enum err body_state_save(void)
{
    char path[200];
    int before = count_entries(temp.folder);
    enum err e;

    snprintf(path, sizeof(path), "%s/state", temp.folder);
    e = session_save(saved, path, &plain, "{}", 2, NULL);
    return count_entries(temp.folder) == before && state_is(path) == (e == OK) ? e : ERR_FORMAT;
}

static enum err body_state_load(void)
{
    struct state_loaded got;
    char path[200];
    enum err e;

    snprintf(path, sizeof(path), "%s/kept", temp.folder);
    e = session_load(other, path, &plain, NULL, NULL, &got);
    return session_len(other) == (e == OK ? 70 : 0) ? e : ERR_FORMAT;
}

/* Every drafter that the model can have, and a step with drafts, which allocates nothing. */
static enum err body_speculate(void)
{
    struct speculate_options o = { .use[DRAFT_lookup] = true, .use[DRAFT_model] = true,
                                   .draft = { other, model, 80, 80 } };
    struct sampler_options so = { .top_p = 1, .repeat_penalty = 1 };
    static const int32_t text[] = { 5, 6, 7, 5, 6, 7, 5, 6 };
    struct speculate *p = NULL;
    struct sampler *sampler;
    enum err e = sampler_new(&sampler, &so, model_info(model)->n_vocab);

    if (e == OK)
        e = speculate_new(&p, &o);
    if (e == OK)
        e = session_sync(other, text, NULL, 8, NULL, NULL, NULL);
    if (e == OK)
        e = speculate_begin(p, sampler, NULL, NULL);
    if (e == OK)
        e = speculate_push(p, 7, 9);
    if (e == OK && speculate_stats(p).n_draft < 5)
        e = ERR_FORMAT;
    if (e == OK)
        e = speculate_settle(p);
    speculate_free(p);
    sampler_free(sampler);
    return e;
}

static enum err body_place(void)
{
    struct model_options mo = { .n_thread = 1, .kv_type = QTYPE_f16, .n_batch_max = 1 };
    struct place_options po = { .nodes = true };
    struct model *m;
    enum err e = model_open(&m, story, &mo);

    if (e == OK && (e = model_place(m, &po)) == OK && !model_placed(m))
        e = ERR_FORMAT;
    model_free(m);
    return e;
}

static enum err body_packed_file(void)
{
    char path[200];
    int before = count_entries(temp.folder);
    enum err e;

    snprintf(path, sizeof(path), "%s/packed", temp.folder);
    e = packed_write(path, story, model_wants(model), NULL, NULL);
    if (e == OK)
        unlink(path);
    return count_entries(temp.folder) == before ? e : ERR_FORMAT;
}

/* Every read of a body fails, or comes to the end of the file; how many were tried, 0: badly. */
static long fail_reads(enum err (*body)(void), enum reads how)
{
    for (long n = 0;; n++) {
        reads = how;
        atomic_store(&reads_left, n);
        enum err e = body();
        reads = READS_WORK;
        if (e == OK)
            return n;
        if (e != ERR_IO || !strstr(err_text(), "stories260K.gguf"))
            return 0;
    }
}

static int read_failures(void)
{
    static const struct { const char *name; enum err (*body)(void); } part[] = {
        { "model_place", body_place }, { "packed_write", body_packed_file },
    };
    int bad = 0;

    for (int i = 0; i < 2; i++) {
        long n = fail_reads(part[i].body, READS_FAIL), end = fail_reads(part[i].body, READS_END);
        reads = READS_SHORT;
        enum err e = part[i].body();
        reads = READS_WORK;
        bool ok = n > 1 && end > 1 && e == OK;
        printf("%s: %ld reads, %s\n", part[i].name, n, ok ? "every failure handled" :
               "one badly handled");
        bad += !ok;
    }
    return bad;
}

static void open_sessions(void)
{
    struct model_options mo = { .n_thread = 1, .kv_type = QTYPE_f16, .n_batch_max = 80 };
    struct session_options so = { .n_ctx = 80, .n_batch = 80 };
    static const int32_t id[70];

    ASSERT(weights_open(&story, "models/stories260K.gguf", NULL) == OK);
    ASSERT(model_open(&model, story, &mo) == OK);
    ASSERT(session_new(&saved, model, &so) == OK && session_new(&other, model, &so) == OK);
    ASSERT(session_sync(saved, id, NULL, 70, NULL, NULL, NULL) == OK);
    ASSERT(session_save(saved, temp_path(&temp, "kept"), &plain, "{}", 2, NULL) == OK);
    temp_write(&temp, "state", "old", 3);
}

static void close_sessions(void)
{
    session_free(saved);
    session_free(other);
    model_free(model);
    weights_free(story);
}

static enum err end_soon(void *arg, int32_t id, const float *logits, int64_t pos, bool *go_on)
{
    (void)arg, (void)id, (void)logits;
    *go_on = pos < 70;
    return OK;
}

/* Three sequences, two of one prompt, longer than the room for tokens they begin with. */
static enum err body_stepper(void)
{
    struct stepper_options o = { .n_ctx = 80, .n_seq_max = 2, .n_batch = 80, .n_page = 4,
                                 .n_guess = 4 };
    struct sampler_options sampling = { .temperature = 0, .top_p = 1, .repeat_penalty = 1 };
    static const int32_t id[9] = { 1, 2 };
    struct stepper_request r = { .id = id, .n = 3, .sampling = &sampling, .token = end_soon };
    struct stepper *s;
    bool any = true;
    enum err e = stepper_new(&s, model, &o);

    if (e == OK)
        e = stepper_add(s, &r, NULL);
    if (e == OK)
        e = stepper_add(s, &r, NULL);
    r.n = 9;
    if (e == OK)
        e = stepper_add(s, &r, NULL);
    while (e == OK && any)
        e = stepper_step(s, &any);
    stepper_free(s);
    return e;
}

static const struct sampler_bias sampler_biases[2] = { { 3, -INFINITY }, { 4, 1 } };
static const struct sampler_breaker sampler_breakers[2] = { { .head = 7 }, { 1, 1, { 2 } } };

/* All stages, or mirostat. */
static struct sampler_options sampler_all(int32_t mirostat)
{
    return (struct sampler_options){
        .temperature = 0.8f, .dynatemp_range = 0.3f, .dynatemp_exp = 1, .top_k = 50, .top_p = 0.95f,
        .min_p = 0.01f, .typical_p = 0.9f, .top_n_sigma = 2, .xtc_probability = 0.5f,
        .xtc_threshold = 0.05f, .repeat_penalty = 1.1f, .repeat_last_n = -1, .dry_multiplier = 0.8f,
        .dry_base = 1.75f, .dry_allowed_length = 1, .dry_penalty_last_n = -1, .mirostat = mirostat,
        .mirostat_tau = 5, .mirostat_eta = 0.1f, .bias = sampler_biases, .n_bias = 2,
        .breaker = sampler_breakers, .n_breaker = 2, .n_ctx = 512,
    };
}

static enum err body_sampler(void)
{
    struct sampler_options o = sampler_all(0);
    struct sampler *s;
    enum err e = sampler_new(&s, &o, 100);

    sampler_free(s);
    return e;
}

/* A token is chosen without any allocation: the first one would fail. */
static int sampler_allocates(int32_t mirostat)
{
    struct sampler_options o = sampler_all(mirostat);
    struct sampler *s;
    float logits[100];
    int32_t history[400], id;
    int bad = 0;

    for (int i = 0; i < 100; i++)
        logits[i] = (float)(i * 37 % 100) / 20;
    for (int i = 0; i < 400; i++)
        history[i] = i * i % 11;
    if (sampler_new(&s, &o, 100) != OK)
        return 1;
    countdown = 1;
    for (int64_t n = 0; n < 400; n++)
        bad += sampler_next(s, logits, history, n, n, &id) != OK;
    bad += countdown != 1;
    countdown = -1;
    sampler_free(s);
    printf("sampler_next%s: %s\n", mirostat ? " with mirostat" : "",
           bad ? "an allocation" : "no allocation");
    return bad;
}

/* --- text ------------------------------------------------------------------------------- */

static json_t *context, *tools, *calls;

/* Statements, filters and values of every sort that allocates, and more than one chunk of it. */
static const char jinja_text[] =
    "{% macro m(a, b='x') %}{{ a ~ b ~ caller() }}{% endmacro %}"
    "{% call m('y') %}in{{ 1 + 2 }}{% endcall %}{% set n = namespace(s='') %}"
    "{% for k in range(700) if k % 7 %}{% set n.s = n.s + 'abc' %}{% endfor %}"
    "{% set block %}{% filter upper %}{{ n.s[3:9] }}{% endfilter %}{% endset %}{{ block }}"
    "{% for m in messages %}{{ m.role }}{{ m.content | trim | replace('a', 'bc') }}"
    "{{ (m | tojson(indent=2)).split(',') | map('upper') | join('-') }}{% endfor %}"
    "{% set d = ('{\"k\": [1, {\"l\": null}]}' | from_json) %}{{ d.k | tojson }}"
    "{{ {'b': 1, 'a': 2, 'c': 3, 'd': 4, 'e': 5, 'f': 6, 'g': 7, 'h': 8, 'i': 9} | dictsort }}"
    "{{ [3, 1, 2] | sort | unique | list }}{{ strftime_now('%d %b %Y') }}";

static enum err body_jinja(void)
{
    static const char *const control[] = { "bos_token" };
    const struct jinja_options o = { .control = control, .n_control = 1, .date = "2024-07-26" };
    struct jinja_out out = { 0 };
    struct jinja *j;
    enum err e = jinja_parse(&j, jinja_text, sizeof(jinja_text) - 1, "a template");

    if (!e)
        e = jinja_render(j, context, &o, &out);
    if (!e && !out.text.len)
        e = ERR_FORMAT;
    jinja_out_release(&out);
    jinja_free(j);
    return e;
}

static const char json_tokenizer[] =
    "{\"version\":\"1.0\",\"added_tokens\":[{\"id\":7,\"content\":\"<s>\",\"special\":true,"
    "\"normalized\":false},{\"id\":8,\"content\":\"<b>\",\"special\":false,"
    "\"normalized\":true}],\"normalizer\":{\"type\":\"Sequence\","
    "\"normalizers\":[{\"type\":\"NFKD\"},{\"type\":\"Lowercase\"},{\"type\":\"Prepend\","
    "\"prepend\":\"a\"},{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"[x-z]+\"},"
    "\"content\":\"b\"}]},\"pre_tokenizer\":{\"type\":\"Sequence\","
    "\"pretokenizers\":[{\"type\":\"Split\",\"pattern\":{\"String\":\"c\"},"
    "\"behavior\":\"Removed\"},{\"type\":\"Digits\",\"individual_digits\":true}]},"
    "\"post_processor\":{\"type\":\"TemplateProcessing\","
    "\"single\":[{\"SpecialToken\":{\"id\":\"<s>\",\"type_id\":0}},"
    "{\"Sequence\":{\"id\":\"A\",\"type_id\":0}}],\"pair\":[],"
    "\"special_tokens\":{\"<s>\":{\"id\":\"<s>\",\"ids\":[7],\"tokens\":[\"<s>\"]}}},"
    "\"decoder\":{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"Replace\","
    "\"pattern\":{\"String\":\"\u2581\"},\"content\":\" \"},{\"type\":\"ByteFallback\"},"
    "{\"type\":\"Fuse\"},{\"type\":\"Strip\",\"content\":\" \",\"start\":1,\"stop\":0}]},"
    "\"model\":{\"type\":\"BPE\",\"unk_token\":\"?\",\"vocab\":{\"a\":0,\"b\":1,\"ab\":2,"
    "\"<0x41>\":3,\"?\":4,\"\u2581\":5,\"ba\":6},\"merges\":[\"a b\",\"b a\"]}}";

/* Read, and encode with all that was read. */
static enum err body_tokenizer_json(void)
{
    const struct text_seg seg[] = { { TEXT_CONTROL, "<s>ABx", 6 }, { TEXT_PLAIN, "c<b>1 ab", 8 } };
    struct tok_list ids = { 0 };
    struct tokenizer *t;
    enum err e = tokenizer_from_json(&t, json_tokenizer, sizeof(json_tokenizer) - 1, "small");

    if (!e)
        e = tokenizer_encode(t, seg, 2, &ids);
    if ((e == OK) != (ids.n > 0))
        e = ERR_FORMAT;
    tok_list_release(&ids);
    tokenizer_free(t);
    return e;
}

/* No format of our own: the loop's end is its own word. */
static const char chat_template_text[] =
    "{{ bos_token }}{% if tools %}{{ tools | tojson }}{% endif %}{% for m in messages %}"
    "<{{ m.role }}>{{ m.content }}{% for c in m.tool_calls or [] %}{{ c.function.name }} "
    "{{ c.function.arguments | tojson }}{% endfor %}</end>{% endfor %}"
    "{% if add_generation_prompt %}<assistant>"
    "{% if enable_thinking %}<think>{% endif %}{% endif %}";

static enum err render_chat(struct chat *c, const json_t *with_tools)
{
    const struct chat_msg msg[] = {
        { .role = CHAT_SYSTEM, .text = "Be terse.", .len = 9 },
        { .role = CHAT_USER, .text = "2+2?", .len = 4 },
        { .role = CHAT_ASSISTANT, .text = "Hm.", .len = 3, .reasoning = "r", .reasoning_len = 1,
          .calls = calls },
        { .role = CHAT_TOOL, .text = "4", .len = 1, .name = "sum", .call_id = "call00001" },
    };
    const struct chat_options o = { .add_generation_prompt = true, .date = "2024-07-26",
                                    .tools = with_tools };
    struct chat_text out = { 0 };
    enum err e = chat_render(c, msg, with_tools ? 4 : 2, &o, &out);

    if (!e && !out.text.len)
        e = ERR_FORMAT;
    chat_text_release(&out);
    return e;
}

static enum err body_chat_template(void)
{
    struct chat *c;
    enum err e = chat_open_template(&c, chat_template_text, sizeof(chat_template_text) - 1, "<s>",
                                    "</s>");

    if (!e)
        e = chat_info(c)->format == CHAT_TEMPLATE && chat_info(c)->calls && chat_info(c)->tools
          ? render_chat(c, tools) : ERR_FORMAT;
    chat_close(c);
    return e;
}

/* A template that is confirmed as a format of our own by all its probes. */
static const char chatml_text[] =
    "{% for m in messages %}{{'<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>' + "
    "'\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

static enum err body_chat_own(void)
{
    struct chat *c;
    enum err e = chat_open_template(&c, chatml_text, sizeof(chatml_text) - 1, "", "");

    if (!e)
        e = chat_info(c)->format == CHAT_CHATML ? render_chat(c, NULL) : ERR_FORMAT;
    chat_close(c);
    return e;
}

/* A format of our own with tools and calls. */
static enum err body_chat_calls(void)
{
    static const enum chat_format f[] = { CHAT_QWEN3, CHAT_DEEPSEEK31, CHAT_MISTRAL_NEMO };
    enum err e = OK;

    for (int i = 0; !e && i < 3; i++) {
        struct chat *c;
        e = chat_open_format(&c, f[i], "<s>", "</s>");
        if (!e)
            e = render_chat(c, tools);
        chat_close(c);
    }
    return e;
}

static void make_talk(void)
{
    context = json_pack("{s:s, s:[{s:s, s:s}, {s:s, s:s}]}", "bos_token", "<s>", "messages", "role",
                        "user", "content", " a quick one ", "role", "assistant", "content", "b");
    tools = json_pack("[{s:s, s:{s:s, s:s, s:{s:s, s:f, s:[i, n, b]}}}]", "type", "function",
                      "function", "name", "sum", "description", "adds", "parameters", "type",
                      "object", "x", 2.5, "list", 1, 1);
    calls = json_pack("[{s:s, s:s, s:{s:s, s:s}}]", "id", "call00001", "type", "function",
                      "function", "name", "sum", "arguments", "{\"a\":2,\"b\":[2]}");
    ASSERT(context && tools && calls);
}

/* The number of allocations tried, or -1 when one was handled badly.  Pages of whole texts are kept
 * while there is memory for it, and the stepper's answers do without. */
static int fail_each(enum err (*body)(void))
{
    bool bears = body == body_stepper;
    int before = count_entries("/proc/self/fd");

    for (int n = 1;; n++) {
        countdown = n;
        enum err e = body();
        int reached = countdown == 0;
        countdown = -1;
        if (count_entries("/proc/self/fd") != before) {
            printf("allocation %d failed and a descriptor stayed open\n", n);
            return -1;
        }
        if (!reached)
            return e == OK ? n - 1 : -1;
        if (e != ERR_NOMEM && !(bears && e == OK)) {
            printf("allocation %d failed, but the result was %s: %s\n", n, err_name(e), err_text());
            return -1;
        }
    }
}

static void write_words(char *path, const char *name, const char *words)
{
    struct buf b = { 0 };

    build_gguf(&b, words);
    snprintf(path, sizeof(one), "%s", temp_write(&temp, name, buf_text(&b), b.len));
    buf_release(&b);
}

static void write_text(const char *name, const char *text)
{
    temp_write(&temp, name, text, strlen(text));
}

/* A folder with every file that is read, beside the other files. */
static void write_folder(void)
{
    char path[160];

    write_words(path, "h-1.safetensors", "\"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],"
                "\"data_offsets\":[0,8]}} z:8");
    write_words(path, "h-2.safetensors", "\"{\"b\":{\"dtype\":\"F8_E4M3\",\"shape\":[2,2],"
                "\"data_offsets\":[0,4]},\"c\":{\"dtype\":\"BF16\",\"shape\":[],"
                "\"data_offsets\":[4,6]}} z:6");
    write_text("model.safetensors.index.json", "{\"weight_map\":{\"a\":\"h-1.safetensors\","
               "\"b\":\"h-2.safetensors\",\"c\":\"h-2.safetensors\"}}");
    write_text("config.json", "{\"n\":1,\"o\":{\"x\":[1,2.5],\"t\":[\"ab\"]},\"s\":\"text\","
               "\"quantization_config\":{\"quant_method\":\"fp8\","
               "\"weight_block_size\":[128,128]}}");
    write_text("generation_config.json", "{\"eos_token_id\":[1,2]}");
    write_text("tokenizer_config.json", "{\"chat_template\":[{\"name\":\"default\","
               "\"template\":\"T\"},{\"name\":\"x\",\"template\":\"X\"}]}");
    write_text("tokenizer.json", "{}");
}

static void write_files(void)
{
    struct buf b = { 0 };

    write_words(one, "one.gguf", GOOD_FILE);
    write_words(shard, "s-00002-of-00002.gguf", "h:1,2 u:split.no=1 u:split.count=2 "
                "t:b,0,0,8 p:32 z:32");
    write_words(shard, "s-00001-of-00002.gguf", "h:1,2 u:split.no=0 u:split.count=2 "
                "t:a,0,0,8 p:32 z:32");
    write_words(lora, "lora.gguf", GOOD_ADAPTER);
    temp_write(&temp, "adapter_config.json", GOOD_CONFIG, strlen(GOOD_CONFIG));
    build_text(&b, GOOD_PEFT, strlen(GOOD_PEFT));
    build_zeros(&b, GOOD_PEFT_BYTES);
    temp_write(&temp, "adapter_model.safetensors", buf_text(&b), b.len);
    buf_cut(&b, 0);
    build_gguf(&b, "\"{\"__metadata__\":{\"k\":\"v\"},\"a\":{\"dtype\":\"F32\",\"shape\":[2,1],"
               "\"data_offsets\":[0,8]},\"b\":{\"dtype\":\"I32\",\"shape\":[1],"
               "\"data_offsets\":[8,12]}} z:12");
    snprintf(vectors, sizeof(vectors), "%s", temp_write(&temp, "v", buf_text(&b), b.len));
    buf_release(&b);
}

static const struct { const char *name; enum err (*body)(void); } part[] = {
    { "weights_open, mapped", body_mapped },
    { "weights_open, in memory", body_in_memory },
    { "weights_open_bytes", body_bytes },
    { "weights_open, two shards", body_shards },
    { "weights_open, folder", body_folder },
    { "weights_open, folder by its shard", body_folder_by_shard },
    { "adapter_open, GGUF", body_adapter_gguf },
    { "adapter_open, PEFT", body_adapter_peft },
    { "safetensors_open", body_safetensors },
    { "st_writer", body_st_writer },
    { "model_place", body_place },
    { "packed_write", body_packed_file },
    { "session_save", body_state_save },
    { "session_load", body_state_load },
    { "speculate_new", body_speculate },
    { "sampler_new", body_sampler },
    { "stepper_new, stepper_add, stepper_step", body_stepper },
    { "jinja_parse, jinja_render", body_jinja },
    { "tokenizer_from_json, tokenizer_encode", body_tokenizer_json },
    { "chat_open, chat_render, interpreted", body_chat_template },
    { "chat_open, chat_render, confirmed", body_chat_own },
    { "chat_render, calls and tools", body_chat_calls },
    { "prices_parse", body_prices },
    { "usage_parse", body_usage_parse },
    { "limits_new, limits_admit, limits_plan", body_limits },
    { "a ledger in a file", body_ledger },
    { "wire_parse, a conversation", body_wire_chat },
    { "wire_parse, prompts", body_wire_prompt },
    { "wire_reply, a stream", body_wire_stream },
    { "wire_reply, whole", body_wire_whole },
    { "wire_embeddings_write", body_wire_embeddings },
    { "wire_read, wire_write", body_wire_carry },
    { "wire_write, in one dialect", body_wire_same },
    { "wire_answer, a stream", body_wire_hear },
    { "wire_answer, whole", body_wire_hear_whole },
    { "keys_load", http_body_keys },
    { "config_parse, policy_new, prove", body_gateway },
    { "pattern_new, pattern_found", body_pattern },
    { "keyring_new, keyring_row", body_keyring },
    { "sealed_make, sealed_open", body_sealed },
    { "circuits_new, choose, attempts_start, aside_put", body_decide },
};

int main(void)
{
    int bad = 0;

    temp_init(&temp);
    write_files();
    write_folder();
    open_sessions();
    make_talk();
    http_prepare(temp.folder);
    for (size_t i = 0; i < sizeof(part) / sizeof(*part); i++) {
        int n = fail_each(part[i].body);
        bad += n <= 0;
        printf("%s: %d allocations, %s\n", part[i].name, n,
               n <= 0 ? "one badly handled" : "every failure handled");
    }
    bad += read_failures();
    bad += http_start_fails(&countdown);
    bad += http_requests_fail(&countdown);
    bad += http_client_fails(&countdown);
    counted = pthread_self();
    bad += door_requests_fail(&countdown, &one_thread);
    close_sessions();
    json_decref(context);
    json_decref(tools);
    json_decref(calls);
    bad += sampler_allocates(0) + sampler_allocates(2);
    temp_release(&temp);
    return bad != 0;
}
