/* test_sealed.c - gateway/sealed.h: what is sealed opens for who has the key, as it was and where
 * it was, and not otherwise. */
#include "gateway/sealed.h"

#include "gateway_cases.h"

#include <stdlib.h>

#define KEY_A "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
#define KEY_B "ff0102030405060708090a0b0c0d0e0f101112131415161718191A1B1C1D1E1F"

static struct sealer *a, *b, *both;
static struct sealed_room room, back;
static struct kept_row row;
static struct aside_handle handle;
static struct aside_entry out;

static void begin(void)
{
    const char *secret[] = { KEY_B, KEY_A };
    const struct aside_text id = { "call_1", 6 };

    case_open("");
    cr_assert_eq(sealer_new(&a, &secret[1], 1), OK);
    cr_assert_eq(sealer_new(&b, &secret[0], 1), OK);
    cr_assert_eq(sealer_new(&both, secret, 2), OK);
    cr_assert_eq(aside_handle(&handle, ASIDE_BY_CALL, &id, 1), OK);
}

static void end(void)
{
    sealer_free(a);
    sealer_free(b);
    sealer_free(both);
    sealed_room_release(&room);
    sealed_room_release(&back);
    case_close();
}

static struct aside_text text(const char *s)
{
    return (struct aside_text){ s, strlen(s) };
}

static enum err make(const struct sealer *s)
{
    const struct aside_part part[2] = {
        { .kind = 1, .sealed = 2, .text = text("canary thought"), .seal = text("canary seal") },
        { .kind = 1, .item = text("rs_1"), .id = text("i"), .name = text("n") },
    };
    const struct aside_entry e = { .upstream = "far", .model = "away", .labels = 6, .part = part,
                                   .n_part = 2 };

    return sealed_make(&row, &room, s, case_config, "laptop", &handle, &e, 5000);
}

static enum err open_with(const struct sealer *s, struct kept_row r)
{
    return sealed_open(&out, &back, s, case_config, &r);
}

static bool is(struct aside_text t, const char *s)
{
    return t.len == strlen(s) && !memcmp(t.at, s, t.len);
}

Test(sealed, a_turn_opens_as_it_was, .init = begin, .fini = end)
{
    cr_assert_eq(make(a), OK);
    cr_assert_eq(open_with(a, row), OK, "%s", err_text());
    cr_expect_str_eq(out.upstream, "far");
    cr_expect_str_eq(out.model, "away");
    cr_expect(out.labels == 6 && out.n_part == 2);
    cr_expect(out.part[0].kind == 1 && out.part[0].sealed == 2 && out.part[1].sealed == 0);
    cr_expect(is(out.part[0].text, "canary thought") && is(out.part[0].seal, "canary seal"));
    cr_expect(is(out.part[1].item, "rs_1") && is(out.part[1].id, "i") && is(out.part[1].name, "n"));
    cr_expect(out.part[0].item.len == 0);
    cr_expect_null(strstr(row.sealed, "canary"));
}

Test(sealed, the_same_turn_is_never_the_same_bytes, .init = begin, .fini = end)
{
    char first[4096];

    cr_assert_eq(make(a), OK);
    snprintf(first, sizeof(first), "%s", row.sealed);
    cr_assert_eq(make(a), OK);
    cr_expect_str_neq(first, row.sealed);
    cr_expect_neq(strncmp(first, row.sealed, 32), 0, "its salt neither");
}

Test(sealed, another_key_neither_opens_nor_finds, .init = begin, .fini = end)
{
    char name[KEPT_NAME_BYTES];

    cr_assert_eq(make(a), OK);
    cr_expect_eq(open_with(b, row), ERR_FORMAT);
    cr_assert_eq(sealed_name(name, b, 0, "laptop", &handle), OK);
    cr_expect_str_neq(name, row.name);
    cr_expect_eq(sealer_keys(both), 2);
    cr_expect_eq(open_with(both, row), OK, "the second of two opens");
    cr_assert_eq(sealed_name(name, both, 1, "laptop", &handle), OK);
    cr_expect_str_eq(name, row.name, "and finds");
    cr_assert_eq(make(both), OK);
    cr_expect_eq(open_with(b, row), OK, "the first of two seals");
    cr_expect_eq(open_with(a, row), ERR_FORMAT);
}

Test(sealed, a_damaged_row_does_not_open, .init = begin, .fini = end)
{
    cr_assert_eq(make(a), OK);
    size_t n = strlen(row.sealed);
    char *copy = malloc(n + 1);
    struct kept_row r = row;

    r.sealed = copy;
    for (size_t i = 0; i < n; i++) {
        memcpy(copy, row.sealed, n + 1);
        copy[i] = copy[i] == 'A' ? 'B' : 'A';
        cr_expect_eq(open_with(a, r), ERR_FORMAT, "byte %zu", i);
    }
    for (size_t i = 0; i < n; i++) {
        memcpy(copy, row.sealed, n + 1);
        copy[i] = '\0';
        cr_expect_eq(open_with(a, r), ERR_FORMAT, "cut at %zu", i);
    }
    r.sealed = "no base64 at all, is it";
    cr_expect_eq(open_with(a, r), ERR_FORMAT);
    free(copy);
}

Test(sealed, a_row_in_anothers_place_does_not_open, .init = begin, .fini = end)
{
    char other[KEPT_NAME_BYTES];
    struct kept_row r;

    cr_assert_eq(make(a), OK);
    snprintf(other, sizeof(other), "%s", row.name);
    other[0] = other[0] == 'a' ? 'b' : 'a';
    r = row, r.key = "phone";
    cr_expect_eq(open_with(a, r), ERR_FORMAT, "of another client");
    r = row, r.name = other;
    cr_expect_eq(open_with(a, r), ERR_FORMAT, "of another turn");
    r = row, r.upstream = "own";
    cr_expect_eq(open_with(a, r), ERR_FORMAT, "of another upstream");
    r = row, r.expires_ms++;
    cr_expect_eq(open_with(a, r), ERR_FORMAT, "with more time");
    cr_expect_eq(open_with(a, row), OK);
}

Test(sealed, labels_are_kept_by_name, .init = begin, .fini = end)
{
    cr_assert_eq(make(a), OK);          /* two, unscanned */
    case_close();
    case_open("  - {name: zero}\n");
    cr_assert_eq(open_with(a, row), OK);
    cr_expect_eq(out.labels, UINT64_C(1) << 1 | UINT64_C(1) << case_config->unscanned);
    case_close();
    char text_of[8192];
    snprintf(text_of, sizeof(text_of), "%s", CASE_HEAD);
    *strstr(text_of, "  - {name: two}") = '\0';
    cr_assert_eq(config_parse(&case_config, text_of, strlen(text_of), "x.yaml"), OK);
    cr_expect_eq(open_with(a, row), ERR_FORMAT, "its text had a label that is no more");
}

Test(sealed, a_turn_has_a_largest_size_and_a_key_a_form, .init = begin, .fini = end)
{
    char *big = calloc(1, ASIDE_ENTRY_BYTES_MAX + 1);
    const struct aside_part part = { .kind = 1, .text = { big, ASIDE_ENTRY_BYTES_MAX } };
    const struct aside_entry e = { .upstream = "far", .model = "away", .part = &part,
                                   .n_part = 1 };
    const char *bad[] = { KEY_A, "env:KEY" }, *odd = KEY_A "00";
    struct sealer *s;

    cr_expect_eq(sealed_make(&row, &room, a, case_config, "", &handle, &e, 1), ERR_LIMIT);
    cr_expect_eq(sealer_new(&s, bad, 2), ERR_FORMAT);
    cr_expect_null(s);
    cr_expect_not_null(strstr(err_text(), "kept_keys[1]"));
    cr_expect_null(strstr(err_text(), "env:KEY"));
    cr_expect_eq(sealer_new(&s, &odd, 1), ERR_FORMAT);
    free(big);
}
