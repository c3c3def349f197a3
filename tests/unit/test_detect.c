/* test_detect.c - gateway/detect.h: planted cases are found, novels are left in peace.
 * DETECT_NOVEL=FILE tries another text. */
#include "gateway/detect.h"

#include "base/file.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#define KEY20 "aB3dE5fG7hJ9kL1mN2pQ"

static const struct { enum detector d; const char *text; } planted[] = {
    { DETECTOR_email, "write to ann.b+c@mail.example.org." },
    { DETECTOR_email, "<x@a.de>" },
    { DETECTOR_email, "m\xc3\xbcller@b\xc3\xbc" "cher.example" },
    { DETECTOR_email, "a@xn--bcher-kva.xn--p1ai" },
    { DETECTOR_phone, "call +49 30 1234567 now" },
    { DETECTOR_phone, "tel:+14155552671" },
    { DETECTOR_phone, "(+44) (0)20 7946 0958" },
    { DETECTOR_phone, "+1 (415) 555-2671" },
    { DETECTOR_card, "4111 1111 1111 1111" },
    { DETECTOR_card, "card 4111-1111-1111-1111, 12/27" },
    { DETECTOR_card, "4111 1111 1111 1111 12 27" },
    { DETECTOR_card, "378282246310005" },
    { DETECTOR_card, "no. 1 5555555555554444" },
    { DETECTOR_iban, "DE89 3704 0044 0532 0130 00" },
    { DETECTOR_iban, "gb82west12345698765432" },
    { DETECTOR_iban, "IBAN:FR1420041010050500013M02606," },
    { DETECTOR_iban, "NO93 8601 1117 947" },
    { DETECTOR_private_key, "-----BEGIN RSA PRIVATE KEY-----\nMIIE" },
    { DETECTOR_private_key, "x -----BEGIN OPENSSH PRIVATE KEY-----" },
    { DETECTOR_private_key, "-----BEGIN CERTIFICATE-----\n-----BEGIN PRIVATE KEY-----" },
    { DETECTOR_private_key, "-----BEGIN PGP PRIVATE KEY BLOCK-----" },
    { DETECTOR_private_key, "AGE-SECRET-KEY-1QQQ" },
    { DETECTOR_provider_key, "key=sk-ant-api03-" KEY20 },
    { DETECTOR_provider_key, "sk-proj-" KEY20 },
    { DETECTOR_provider_key, "\"sk-" KEY20 KEY20 "\"" },
    { DETECTOR_provider_key, "AKIAIOSFODNN7EXAMPLE" },
    { DETECTOR_provider_key, "ghp_" KEY20 KEY20 },
    { DETECTOR_provider_key, "hf_" KEY20 KEY20 },
    { DETECTOR_provider_key, "croft_laptop_" KEY20 KEY20 KEY20 KEY20 },
};

static const struct { enum detector d; const char *text; } innocent[] = {
    { DETECTOR_email, "foo @ bar.com, a@b, a@b.c1, x@.de" },
    { DETECTOR_phone, "1+12345678901, +1234567, ++14155552671, +49 30 12345678901234567" },
    { DETECTOR_card, "4111 1111 1111 1112, 41111111111111111111, x4111111111111111" },
    { DETECTOR_card, "0000000000000000, 2026-11-28 00:36:39" },
    { DETECTOR_iban, "DE89 3704 0044 0532 0130 01, XX89370400440532013000, "
                     "ADE89370400440532013000" },
    { DETECTOR_private_key, "-----BEGIN PUBLIC KEY-----, "
                            "-----BEGIN CERTIFICATE-----\nPRIVATE KEY" },
    { DETECTOR_provider_key, "ask-" KEY20 KEY20 ", sk-short, "
                             "sk-this-is-a-long-hyphenated-word-of-letters" },
    { DETECTOR_provider_key, "AKIAIOSFODNN7EXAMPLEx, AKIAIOSFODNN7" },
};

Test(detect, what_is_planted_is_found_alone_and_inside_a_text)
{
    struct find s, inside;
    char text[512];

    for (size_t i = 0; i < sizeof(planted) / sizeof(*planted); i++) {
        const char *t = planted[i].text;
        cr_assert(detect_next(planted[i].d, t, strlen(t), 0, &s), "%s", t);
        cr_assert(s.begin < s.end && s.end <= strlen(t), "%s", t);
        cr_assert_eq(detect(t, strlen(t), 1u << planted[i].d), 1u << planted[i].d);
        snprintf(text, sizeof(text), "It was \xe2\x80\x9c%s\xe2\x80\x9d \xe2\x80\x94 so he said.",
                 t);
        cr_assert(detect_next(planted[i].d, text, strlen(text), 0, &inside), "%s", text);
        cr_assert(!detect_next(planted[i].d, t, strlen(t), s.end, &inside), "twice: %s", t);
    }
}

Test(detect, what_is_like_it_is_not)
{
    struct find s;

    for (size_t i = 0; i < sizeof(innocent) / sizeof(*innocent); i++)
        cr_assert(!detect_next(innocent[i].d, innocent[i].text, strlen(innocent[i].text), 0, &s),
                  "%.*s of: %s", (int)(s.end - s.begin), innocent[i].text + s.begin,
                  innocent[i].text);
}

Test(detect, a_cut_text_is_read_to_its_end_and_no_further)
{
    struct find s;

    for (size_t i = 0; i < sizeof(planted) / sizeof(*planted); i++)
        for (size_t n = 0; n <= strlen(planted[i].text); n++) {
            char *part = malloc(n + 1);     /* exact, for the address sanitizer */
            memcpy(part, planted[i].text, n);
            char *exact = realloc(part, n ? n : 1);
            for (int d = 0; d < DETECTOR_N; d++)
                if (detect_next((enum detector)d, exact, n, 0, &s))
                    cr_assert(s.end <= n);
            free(exact);
        }
}

Test(detect, a_novel_raises_at_most_one_alarm_a_megabyte)
{
    struct find s;
    char *text;
    size_t len;
    int n = 0;

    const char *path = getenv("DETECT_NOVEL");

    path = path ? path : "tests/data/gateway/novel.txt";
    cr_assert_eq(file_read_text(&text, &len, path, 64 << 20), OK);
    cr_assert_gt(len, 100000);
    for (int d = 0; d < DETECTOR_N; d++)
        for (size_t at = 0; detect_next((enum detector)d, text, len, at, &s); at = s.end)
            n++;
    cr_assert_leq(n, (int)(len >> 20), "%d alarms", n);
    free(text);
}

Test(detect, a_pattern_is_found_or_runs_out_of_its_bound)
{
    struct pattern *p;
    bool found;
    char *text = malloc(100001);

    cr_assert_eq(pattern_new(&p, "\\bTICKET-[0-9]{6}\\b", 19), OK, "%s", err_text());
    cr_assert_eq(pattern_found(p, "see TICKET-123456.", 18, &found), OK);
    cr_assert(found);
    cr_assert_eq(pattern_found(p, "see TICKET-12345.", 17, &found), OK);
    cr_assert(!found);
    cr_assert_eq(pattern_found(p, "\xff", 1, &found), OK);
    cr_assert(found, "what cannot be read is not passed");
    pattern_free(p);
    memset(text, 'a', 100000);
    text[100000] = '\0';
    cr_assert_eq(pattern_new(&p, "(a+)+[bc]", 9), OK);
    cr_assert_eq(pattern_found(p, text, 100000, &found), OK);
    cr_assert(found, "so much work counts as found");
    pattern_free(p);
    free(text);
}

Test(detect, patterns_that_say_nothing_are_refused)
{
    static const char *const bad[] = { "a*", "(", "\\C", "(*UCP)a", "(?C1)a", "\xff" };
    struct pattern *p;

    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        cr_assert_eq(pattern_new(&p, bad[i], strlen(bad[i])), ERR_FORMAT, "%s", bad[i]);
        cr_assert_null(p);
    }
}
