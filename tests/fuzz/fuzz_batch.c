/* fuzz_batch.c - any bytes as a line of a batch file: refused, or tokens and options that hold.
 *
 * libFuzzer: clang -fsanitize=fuzzer,address,undefined; without it, replay.c is the main.
 */
#include "cmd/cmd_table.h"
#include "cmd/run_batch.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { N_CTX = 512 };
static struct loaded loaded = { .path = "models/stories260K.gguf" };
static struct opt_set *options;
static struct chat *chat;

static void open_all(void)
{
    char *argv[] = { "run", "model", "--system", "be brief", NULL };

    ASSERT(opt_parse(&options, &cmd_table, opt_find_cmd(&cmd_table, "run"), 4, argv, NULL) == OK);
    ASSERT(weights_open(&loaded.weights, loaded.path, NULL) == OK);
    ASSERT(tokenizer_new(&loaded.tok, loaded.weights) == OK);
    ASSERT(chat_open_format(&chat, CHAT_CHATML, "<s>", "</s>") == OK);
}

/* What was read, and the line that would come out of it, which must be one. */
static void read_line(const struct batch_job *job, const uint8_t *data, size_t size)
{
    struct batch_line *b = calloc(1, sizeof(*b));
    char *text = malloc(size + 1);
    struct buf out = { 0 };
    enum err e;

    ASSERT(b && text);
    memcpy(text, data, size);
    text[size] = '\0';
    b->number = 7;
    e = batch_line_read(b, job, text, size);
    ASSERT(e == OK || e == ERR_FORMAT || e == ERR_ARG || e == ERR_LIMIT);
    if (e == OK) {
        ASSERT(b->ids.n > 0 && b->ids.n <= N_CTX && b->ao.n_max >= -1 && b->ao.n_stop >= 0);
        for (size_t i = 0; i < b->ids.n; i++)
            ASSERT(b->ids.id[i] >= 0 && b->ids.id[i] < tokenizer_info(loaded.tok)->n_vocab);
        b->a.end = ANSWER_MAX;
    } else {
        err_save(&b->failed, e);
    }
    ASSERT(batch_line_write(&out, b, job) == OK);
    ASSERT(out.len > 2 && strchr(buf_text(&out), '\n') == buf_text(&out) + out.len - 1);
    buf_release(&out);
    free(text);
    batch_line_free(b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct batch_job job = { .l = &loaded, .n_ctx = N_CTX };

    if (size > 1 << 14)
        return 0;
    if (!options)
        open_all();
    job.o = options;
    read_line(&job, data, size);
    job.style.chat = chat;
    read_line(&job, data, size);
    return 0;
}
