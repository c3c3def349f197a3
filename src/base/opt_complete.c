/* opt_complete.c - what may stand at the last word of a command line, from the option table.
 *
 * An option is offered by its own name.  Its other spellings (aliases, --no-FLAG) are offered only
 * to who has begun to write one, so that the list stays as short as the help page.
 */
#include "base/opt_walk.h"

#include <string.h>

struct offer { FILE *out; const char *begun; int n; };

/* Offer mark + word[0..len) when it continues what was begun. */
static void offer(struct offer *o, const char *mark, const char *word, size_t len,
                  const char *help)
{
    size_t n_mark = strlen(mark), n_begun = strlen(o->begun);

    if (n_begun > n_mark + len || strncmp(o->begun, mark, n_begun < n_mark ? n_begun : n_mark) ||
        (n_begun > n_mark && memcmp(o->begun + n_mark, word, n_begun - n_mark)))
        return;
    fprintf(o->out, "%s%.*s\t%s\n", mark, (int)len, word, help);
    o->n++;
}

/* Offer each of the words in a text separated by `sep`. */
static void offer_words(struct offer *o, const char *mark, const char *words, char sep,
                        const char *help)
{
    while (*words) {
        size_t n = strcspn(words, (char[]){ sep, '\0' });
        offer(o, mark, words, n, help);
        words += n + (words[n] == sep);
    }
}

static void offer_negated(struct offer *o, const struct opt_def *d)
{
    char help[OPT_WORD_MAX + 8];
    const char *name = d->name;
    bool negative = !strncmp(name, "no-", 3);

    snprintf(help, sizeof(help), "undo --%s", name);
    if (d->type == OPT_FLAG)
        offer(o, negative ? "--" : "--no-", negative ? name + 3 : name,
              strlen(name) - (negative ? 3 : 0), help);
}

static void offer_options(struct offer *o, const struct opt_table *t, int cmd)
{
    bool negation = !strncmp(o->begun, "--no-", 5);

    for (int i = 0; i < t->n_opt; i++) {
        const struct opt_def *d = &t->opt[i];
        if (!opt_taken_by(d, cmd))
            continue;
        if (d->letter)
            offer(o, "-", &d->letter, 1, d->help);
        offer(o, "--", d->name, strlen(d->name), d->help);
    }
    offer_words(o, "--", "help", ' ', "this command's options");
    negation = negation || !o->n;
    for (int i = 0; i < t->n_opt && negation; i++)
        if (opt_taken_by(&t->opt[i], cmd))
            offer_negated(o, &t->opt[i]);
    if (o->n)
        return;
    for (int i = 0; i < t->n_opt; i++)
        if (opt_taken_by(&t->opt[i], cmd))
            offer_words(o, "--", t->opt[i].alias, ' ', t->opt[i].help);
}

/* What a value or operand is, by the word that stands for it in help: "FILE[:SCALE]". */
static enum opt_also offer_value(struct offer *o, const char *arg)
{
    const char *model = strstr(arg, "|MODEL");      /* "serve|MODEL": words, or a model */
    char words[OPT_WORD_MAX];

    if (model) {
        snprintf(words, sizeof(words), "%.*s", (int)(model - arg), arg);
        offer_words(o, "", words, '|', "");
        return OPT_ALSO_MODELS;
    }
    if (strchr(arg, '|'))
        offer_words(o, "", arg, '|', "");
    else if (!strncmp(arg, "MODEL", 5))
        return OPT_ALSO_MODELS;
    else if (!strncmp(arg, "FILE", 4) || !strncmp(arg, "FOLDER", 6))
        return OPT_ALSO_FILES;
    return OPT_ALSO_NOTHING;
}

/* Operand i of "MODEL [PROMPT]"; one that ends in ... stands for all that follow. */
static enum opt_also offer_operand(struct offer *o, const char *args, int i)
{
    char word[OPT_WORD_MAX];

    for (;; i--) {
        size_t n = strcspn(args, " "), skip = *args == '[';
        bool repeated = n >= 3 && memmem(args, n, "...", 3);
        if (!n)
            return OPT_ALSO_NOTHING;
        if (i <= 0 || repeated) {
            snprintf(word, sizeof(word), "%.*s", (int)(n - skip), args + skip);
            word[strcspn(word, "].")] = '\0';
            return offer_value(o, word);
        }
        args += n + (args[n] == ' ');
    }
}

static void offer_commands(struct offer *o, const struct opt_table *t)
{
    for (int i = 0; i < t->n_cmd; i++)
        offer(o, "", t->cmd[i].name, strlen(t->cmd[i].name), t->cmd[i].help);
    for (int i = 0; i < t->n_cmd && !o->n; i++)
        offer_words(o, "", t->cmd[i].alias, ' ', t->cmd[i].help);
}

static enum opt_also offer_first(struct offer *o, const struct opt_table *t)
{
    if (o->begun[0] == '-') {
        offer_words(o, "--", "help", ' ', "what there is");
        offer_words(o, "--", "version", ' ', "version, instruction sets, libraries, licence");
    } else {
        offer_words(o, "", "help", ' ', "options of a command");
        offer_commands(o, t);
    }
    return OPT_ALSO_NOTHING;
}

enum opt_also opt_complete(const struct opt_table *t, int argc, char **argv, FILE *out,
                           const char **part)
{
    struct offer o = { .out = out, .begun = argc > 0 ? argv[argc - 1] : "" };
    struct opt_place place;
    int cmd;

    *part = o.begun;
    if (argc < 2)
        return offer_first(&o, t);
    if (!strcmp(argv[0], "help")) {
        if (argc == 2)
            offer_commands(&o, t);
        return OPT_ALSO_NOTHING;
    }
    cmd = opt_find_cmd(t, argv[0]);
    if (cmd < 0)
        return OPT_ALSO_NOTHING;
    place = opt_last_word(t, cmd, argc, argv);
    *part = o.begun = place.part;
    if (place.at == OPT_AT_VALUE)
        return offer_value(&o, t->opt[place.index].arg);
    if (place.at == OPT_AT_OPERAND)
        return offer_operand(&o, t->cmd[cmd].args, place.index);
    offer_options(&o, t, cmd);
    return OPT_ALSO_NOTHING;
}
