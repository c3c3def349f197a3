/* detect.c - personal data by form and checksum: e-mail, telephone, card, IBAN.
 *
 * Each finder walks once over the bytes; a find ends where a character that may belong to it does
 * not follow, so that parts of longer words and numbers are none. */
#include "gateway/detect.h"

#include <ctype.h>
#include <string.h>

static bool is_digit(char c) { return c >= '0' && c <= '9'; }
static bool is_upper(char c) { return c >= 'A' && c <= 'Z'; }
static bool is_alpha(char c) { return is_upper(c) || (c >= 'a' && c <= 'z'); }
static bool is_alnum(char c) { return is_alpha(c) || is_digit(c); }
static bool is_high(char c) { return (unsigned char)c >= 0x80; }

bool detect_next(enum detector d, const char *text, size_t len, size_t from, struct find *out)
{
    static bool (*const find[])(const char *, size_t, size_t, struct find *) = {
#define DETECTOR(id, word) detect_##id,
#include "gateway/detector.def"
#undef DETECTOR
    };
    return find[d](text, len, from, out);
}

uint32_t detect(const char *text, size_t len, uint32_t wanted)
{
    struct find span;
    uint32_t found = 0;

    for (int d = 0; d < DETECTOR_N; d++)
        if (wanted >> d & 1 && detect_next((enum detector)d, text, len, 0, &span))
            found |= UINT32_C(1) << d;
    return found;
}

static bool is_local(char c)
{
    return is_alnum(c) || is_high(c) || (c && strchr(".!#$%&'*+/=?^_`{|}~-", c));
}

/* The end of a domain with a dot and a last label of two letters or more; 0: there is none. */
static size_t domain_end(const char *text, size_t len, size_t at)
{
    size_t label = at, end = 0;
    bool letters = true;

    for (size_t i = at;; i++) {
        char c = i < len ? text[i] : '\0';
        if (is_alnum(c) || is_high(c) || c == '-') {
            letters = letters && (is_alpha(c) || is_high(c));
            continue;
        }
        bool good = i > label && text[label] != '-' && text[i - 1] != '-' && i - label <= 63;
        if (good && label > at && ((letters && i - label >= 2) ||
                                   (i - label > 4 && !memcmp(text + label, "xn--", 4))))
            end = i;
        if (!good || c != '.')
            return end;
        label = i + 1;
        letters = true;
    }
}

bool detect_email(const char *text, size_t len, size_t from, struct find *out)
{
    for (size_t i = from; i < len; i++) {
        const char *at = memchr(text + i, '@', len - i);
        if (!at)
            return false;
        i = (size_t)(at - text);
        size_t begin = i, end;
        while (begin > from && is_local(text[begin - 1]) && i - begin < 64)
            begin--;
        while (begin < i && text[begin] == '.')
            begin++;
        if (begin < i && text[i - 1] != '.' && (end = domain_end(text, len, i + 1))) {
            *out = (struct find){ begin, end };
            return true;
        }
    }
    return false;
}

/* ITU-T E.164: country codes of one digit, of two, and the first two of those of three. */
static bool is_country_code(const char digit[3])
{
    static const char two[] = "20 27 30 31 32 33 34 36 39 40 41 43 44 45 46 47 48 49 51 52 53 54 "
                              "55 56 57 58 60 61 62 63 64 65 66 81 82 84 86 90 91 92 93 94 95 98 ";
    static const char three[] = "21 22 23 24 25 26 29 35 37 38 42 50 59 67 68 69 80 85 87 88 96 97 "
                                "99 ";
    char begin[4] = { digit[0], digit[1], ' ', '\0' };

    return digit[0] == '1' || digit[0] == '7' || strstr(two, begin) || strstr(three, begin);
}

bool detect_phone(const char *text, size_t len, size_t from, struct find *out)
{
    for (size_t i = from; i < len; i++) {
        const char *plus = memchr(text + i, '+', len - i);
        char digit[16] = "";
        size_t n = 0, end = 0, gap = 0;
        if (!plus)
            return false;
        i = (size_t)(plus - text);
        if (i > 0 && (is_alnum(text[i - 1]) || text[i - 1] == '+'))
            continue;
        for (size_t j = i + 1; j < len && n < 16 && gap < 5; j++) {
            if (is_digit(text[j])) {
                digit[n++] = text[j];
                end = j + 1;
                gap = 0;
            } else if (n && memchr(" -.()/", text[j], 6)) {
                gap++;
            } else {
                break;
            }
        }
        if (n >= 8 && n <= 15 && is_country_code(digit) && !(end < len && is_alpha(text[end]))) {
            *out = (struct find){ i, end };
            return true;
        }
    }
    return false;
}

/* ISO/IEC 7812: Luhn's sum, and a first digit that cards have; not one digit again and again. */
static bool is_card(const char *digit, size_t n)
{
    int sum = 0;
    bool same = true;

    for (size_t i = 0; i < n; i++) {
        int d = digit[n - 1 - i] - '0';
        same = same && digit[i] == digit[0];
        sum += i % 2 ? d * 2 - (d > 4 ? 9 : 0) : d;
    }
    return sum % 10 == 0 && !same && digit[0] >= '2' && digit[0] <= '6';
}

/* Digits from `i` on, in groups with one space or hyphen between; where a group ends after 13 to 19
 * digits they may be a card's. */
static size_t card_end(const char *text, size_t len, size_t i)
{
    char digit[19];
    size_t n = 0, best = 0;

    for (; i < len && n < sizeof(digit); i++) {
        if (!is_digit(text[i]))
            break;
        digit[n++] = text[i];
        if (i + 1 < len && is_digit(text[i + 1]))
            continue;
        bool whole = i + 1 == len || !is_alpha(text[i + 1]);
        if (n >= 13 && whole && is_card(digit, n))
            best = i + 1;
        if (i + 2 < len && memchr(" -", text[i + 1], 2))
            i++;
    }
    return best;
}

bool detect_card(const char *text, size_t len, size_t from, struct find *out)
{
    for (size_t i = from; i < len; i++) {
        size_t end;
        if (!is_digit(text[i]) || (i > 0 && is_alnum(text[i - 1])))
            continue;
        if ((end = card_end(text, len, i))) {
            *out = (struct find){ i, end };
            return true;
        }
    }
    return false;
}

/* The IBAN registry: how long an account of a country is; 0: no such country. */
static int iban_length(char a, char b)
{
    static const char registry[] =
        "AD24AE23AL28AT20AZ28BA20BE16BG22BH22BI27BR29BY28CH21CR22CY28CZ24DE22DJ27DK18DO28EE20EG29"
        "ES24FI18FK18FO18FR27GB22GE22GI23GL18GR27GT28HN28HR21HU28IE22IL23IQ23IS26IT27JO30KW30KZ20"
        "LB28LC32LI21LT20LU20LV21LY25MC27MD24ME22MK19MN20MR27MT31MU30NI28NL18NO15OM23PK24PL28PS29"
        "PT25QA29RO24RS22RU33SA24SC31SD18SE24SI19SK24SM27SO23ST25SV28TL23TN24TR26UA29VA22VG24XK20"
        "YE30";

    for (const char *p = registry; *p; p += 4)
        if (p[0] == a && p[1] == b)
            return (p[2] - '0') * 10 + p[3] - '0';
    return 0;
}

/* ISO 13616: with its first four characters last and letters as 10 to 35, it is 1 modulo 97. */
static bool iban_sum(const char *c, int n)
{
    int rest = 0;

    for (int i = 0; i < n; i++) {
        char x = c[(i + 4) % n];
        rest = is_digit(x) ? (rest * 10 + x - '0') % 97 : (rest * 100 + x - 'A' + 10) % 97;
    }
    return rest == 1;
}

static size_t iban_end(const char *text, size_t len, size_t i)
{
    char c[34];
    int n = 0, want = 0;

    for (; i < len; i++) {
        char x = (char)toupper((unsigned char)text[i]);
        if (n && (text[i] == ' ' || text[i] == '-') && i + 1 < len && is_alnum(text[i + 1]))
            continue;
        if (!is_alnum(text[i]) || (n < 2 ? is_digit(x) : n < 4 && !is_digit(x)))
            return 0;
        c[n++] = x;
        if (n == 2 && !(want = iban_length(c[0], c[1])))
            return 0;
        if (n == want)
            return iban_sum(c, n) && !(i + 1 < len && is_alnum(text[i + 1])) ? i + 1 : 0;
    }
    return 0;
}

bool detect_iban(const char *text, size_t len, size_t from, struct find *out)
{
    for (size_t i = from; i + 15 <= len; i++) {
        size_t end;
        if (!is_alpha(text[i]) || (i > 0 && is_alnum(text[i - 1])))
            continue;
        if ((end = iban_end(text, len, i))) {
            *out = (struct find){ i, end };
            return true;
        }
    }
    return false;
}
