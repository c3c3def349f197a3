/* worst.c - see worst.h. */
#include "gateway/worst.h"

/* What n tokens of each of these kinds, alone, would cost; the dearest. */
static enum err dearest(int64_t *out, const struct price *p, const struct usage *like,
                        const enum price_id *kind, int n_kind, int64_t n)
{
    struct cost c;

    *out = 0;
    for (int i = 0; i < n_kind && n; i++) {
        struct usage u = *like;
        u.n[kind[i]] = n;
        enum err e = cost_of(&c, p, &u);
        if (e)
            return e;
        if (c.total > *out)
            *out = c.total;
    }
    return OK;
}

enum err worst_cost(int64_t *out, const struct price *p, int64_t prompt_tok,
                    int64_t completion_tok, const struct usage *like)
{
    static const enum price_id in[] = { PRICE_INPUT, PRICE_CACHE_WRITE, PRICE_CACHE_WRITE_1H,
                                        PRICE_INPUT_IMAGE };
    static const enum price_id made[] = { PRICE_OUTPUT, PRICE_REASONING };
    struct usage u = { .prompt = prompt_tok, .completion = completion_tok };
    int64_t prompt, completion;
    struct cost once;
    enum err e;

    *out = 0;
    if (like) {
        u = *like;
        u.prompt = prompt_tok;
        u.completion = completion_tok;
        for (int i = 0; i < PRICE_N; i++)
            u.n[i] = 0;
    }
    if ((e = dearest(&prompt, p, &u, in, 4, prompt_tok)) ||
        (e = dearest(&completion, p, &u, made, 2, completion_tok)))
        return e;
    u.n[PRICE_REQUEST] = 1;
    if ((e = cost_of(&once, p, &u)))
        return e;
    if (__builtin_add_overflow(prompt, completion, out) ||
        __builtin_add_overflow(*out, once.total, out))
        return err_set(ERR_LIMIT, "WORST-01", "%s: a call may cost more than 9,223,372 dollars",
                       p->model);
    return OK;
}
