/* test_safetensors.c - safetensors files: round trips, and files the format does not allow. */
#include <criterion/criterion.h>

#include "base/buf.h"
#include "formats/safetensors.h"
#include "temp_file.h"

static struct temp temp;
static void set_up(void)    { temp_init(&temp); }
static void tear_down(void) { temp_release(&temp); }
TestSuite(safetensors, .init = set_up, .fini = tear_down);

/* A file of this header and n zero bytes of data. */
static const char *write_st(const char *header, size_t n)
{
    static char bytes[70000];
    uint64_t len = strlen(header);

    ASSERT(8 + len + n <= sizeof(bytes));
    memset(bytes, 0, sizeof(bytes));
    memcpy(bytes, &len, 8);
    memcpy(bytes + 8, header, len);
    return temp_write(&temp, "a.safetensors", bytes, 8 + len + n);
}

static enum err open_close(const char *path)
{
    struct safetensors s;
    enum err e = safetensors_open(&s, path);

    if (e)
        cr_expect(s.tensor == NULL && s.map.data == NULL && s.n_tensor == 0);
    else
        safetensors_close(&s);
    return e;
}

Test(safetensors, what_is_written_is_read_back)
{
    const char *path = temp_path(&temp, "out.safetensors");
    struct st_decl decl[] = { { "logits", ST_F32, 2, { 2, 3 } }, { "greedy", ST_I32, 1, { 2 } },
                              { "one", ST_F32, 0, { 0 } }, { "none", ST_F32, 1, { 0 } } };
    float logits[6] = { 1, -2, 3.5f, 0, 1e30f, -0.25f }, one = 7;
    int32_t greedy[2] = { -1, 129279 };
    struct st_writer w;
    struct safetensors s;

    cr_assert_eq(st_writer_open(&w, path, decl, 4), OK, "%s", err_text());
    cr_assert_eq(st_writer_append(&w, logits, 12), OK);
    cr_assert_eq(st_writer_append(&w, (char *)logits + 12, 12), OK);
    cr_assert_eq(st_writer_append(&w, greedy, sizeof(greedy)), OK);
    cr_assert_eq(st_writer_append(&w, &one, sizeof(one)), OK);
    cr_assert_eq(st_writer_append(&w, NULL, 0), OK);
    cr_assert_eq(st_writer_commit(&w), OK, "%s", err_text());
    st_writer_abort(&w);

    cr_assert_eq(safetensors_open(&s, path), OK, "%s", err_text());
    cr_assert_eq(s.n_tensor, 4);
    const struct st_tensor *t = safetensors_find(&s, "logits");
    cr_assert(t && t->type == ST_F32 && t->n_dim == 2 && t->shape[0] == 2 && t->shape[1] == 3);
    cr_assert_eq(t->n_elem, 6);
    cr_assert_eq((uintptr_t)t->data % 8, 0);
    cr_assert_arr_eq(t->data, logits, sizeof(logits));
    t = safetensors_find(&s, "greedy");
    cr_assert(t && t->type == ST_I32 && t->bytes == 8);
    cr_assert_arr_eq(t->data, greedy, sizeof(greedy));
    t = safetensors_find(&s, "one");
    cr_assert(t && t->n_dim == 0 && t->n_elem == 1);
    t = safetensors_find(&s, "none");
    cr_assert(t && t->n_elem == 0 && t->bytes == 0);
    cr_assert_null(safetensors_find(&s, "logit"));
    safetensors_close(&s);
}

Test(safetensors, an_unfinished_file_is_not_kept)
{
    const char *path = temp_path(&temp, "out.safetensors");
    struct st_decl decl = { "a", ST_F32, 1, { 2 } };
    struct st_writer w;
    float one = 1;

    cr_assert_eq(st_writer_open(&w, path, &decl, 1), OK);
    cr_assert_eq(st_writer_append(&w, &one, sizeof(one)), OK);
    cr_assert_eq(st_writer_commit(&w), ERR_FORMAT);
    cr_assert_eq(st_writer_open(&w, path, &decl, 1), OK);
    st_writer_abort(&w);
    cr_assert_eq(count_entries(temp.folder), 0);
}

Test(safetensors, a_file_too_large_to_exist_is_refused)
{
    struct st_decl decl = { "a", ST_F32, 2, { INT64_MAX, 4 } };
    struct st_writer w;

    cr_assert_eq(st_writer_open(&w, temp_path(&temp, "a"), &decl, 1), ERR_LIMIT);
}

#define T(type, shape, offsets) \
    "{\"dtype\":\"" type "\",\"shape\":" shape ",\"data_offsets\":" offsets "}"

static const struct { const char *header; size_t bytes; } good[] = {
    { "{}", 0 },
    { "{\"__metadata__\":{\"format\":\"pt\"},\"a\":" T("F32", "[2]", "[0,8]") "}      ", 8 },
    { "{\"b\":" T("BF16", "[2,2]", "[8,16]") ",\"a\":" T("I64", "[]", "[0,8]") "}", 16 },
    { "{\"a\":" T("F8_E4M3", "[3]", "[0,3]") ",\"b\":" T("U8", "[0]", "[3,3]") "}", 3 },
};

Test(safetensors, valid_files_open)
{
    for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++)
        cr_expect_eq(open_close(write_st(good[i].header, good[i].bytes)), OK, "%s: %s",
                     good[i].header, err_text());
}

static const struct { enum err code; const char *say, *header; size_t bytes; } bad[] = {
    { ERR_FORMAT, "does not begin with {", "", 0 },
    { ERR_FORMAT, "does not begin with {", " {}", 0 },
    { ERR_FORMAT, "does not begin with {", "[]", 0 },
    { ERR_FORMAT, "not valid JSON", "{\"a\":", 0 },
    { ERR_FORMAT, "not valid JSON", "{}{}", 0 },
    { ERR_FORMAT, "not valid JSON", "{\"a\":" T("U8", "[1]", "[0,1]") ",\"a\":"
      T("U8", "[1]", "[1,2]") "}", 2 },
    { ERR_FORMAT, "follow the last tensor", "{}", 1 },
    { ERR_FORMAT, "follow the last tensor", "{\"a\":" T("U8", "[1]", "[0,1]") "}", 2 },
    { ERR_FORMAT, "hole", "{\"a\":" T("U8", "[1]", "[1,2]") "}", 2 },
    { ERR_FORMAT, "hole", "{\"a\":" T("U8", "[1]", "[0,1]") ",\"b\":" T("U8", "[1]", "[2,3]")
      "}", 3 },
    { ERR_FORMAT, "overlaps", "{\"a\":" T("U8", "[2]", "[0,2]") ",\"b\":" T("U8", "[2]", "[1,3]")
      "}", 3 },
    { ERR_FORMAT, "overlaps", "{\"a\":" T("U8", "[2]", "[0,2]") ",\"b\":" T("U8", "[2]", "[0,2]")
      "}", 2 },
    { ERR_FORMAT, "cut short", "{\"a\":" T("U8", "[2]", "[0,2]") "}", 1 },
    { ERR_FORMAT, "at bytes 2 to 1", "{\"a\":" T("U8", "[1]", "[2,1]") "}", 2 },
    { ERR_FORMAT, "not the size", "{\"a\":" T("F32", "[1]", "[0,3]") "}", 3 },
    { ERR_FORMAT, "not the size", "{\"a\":" T("F32", "[4611686018427387904]", "[0,0]") "}", 0 },
    { ERR_FORMAT, "2^63", "{\"a\":" T("U8", "[4294967296,4294967296]", "[0,0]") "}", 0 },
    { ERR_FORMAT, "not valid JSON", "{\"a\":" T("U8", "[9223372036854775808]", "[0,0]") "}", 0 },
    { ERR_FORMAT, "dimension 0", "{\"a\":" T("U8", "[-1]", "[0,1]") "}", 1 },
    { ERR_FORMAT, "dimension 0", "{\"a\":" T("U8", "[1.0]", "[0,1]") "}", 1 },
    { ERR_FORMAT, "dimension 0", "{\"a\":" T("U8", "[\"1\"]", "[0,1]") "}", 1 },
    { ERR_FORMAT, "\"shape\"", "{\"a\":" T("U8", "1", "[0,1]") "}", 1 },
    { ERR_LIMIT, "9 dimensions", "{\"a\":" T("U8", "[1,1,1,1,1,1,1,1,1]", "[0,1]") "}", 1 },
    { ERR_FORMAT, "data_offsets", "{\"a\":" T("U8", "[1]", "[0]") "}", 1 },
    { ERR_FORMAT, "data_offsets", "{\"a\":" T("U8", "[1]", "[0,1,2]") "}", 1 },
    { ERR_FORMAT, "data_offsets", "{\"a\":" T("U8", "[1]", "[-1,0]") "}", 1 },
    { ERR_FORMAT, "data_offsets", "{\"a\":" T("U8", "[1]", "[0.0,1]") "}", 1 },
    { ERR_FORMAT, "data_offsets", "{\"a\":" T("U8", "[1]", "null") "}", 1 },
    { ERR_FORMAT, "type F4", "{\"a\":" T("F4", "[2]", "[0,1]") "}", 1 },
    { ERR_FORMAT, "type (not a name)", "{\"a\":" T("\\u001b", "[2]", "[0,1]") "}", 1 },
    { ERR_FORMAT, "\"dtype\"", "{\"a\":{\"shape\":[],\"data_offsets\":[0,0]}}", 0 },
    { ERR_FORMAT, "not an object", "{\"a\":7}", 0 },
    { ERR_FORMAT, "__metadata__", "{\"__metadata__\":7}", 0 },
    { ERR_FORMAT, "__metadata__", "{\"__metadata__\":{\"a\":7}}", 0 },
    { ERR_FORMAT, "type F8_E8M0", "{\"a\":" T("F8_E8M0", "[1]", "[0,1]") "}", 1 },
    { ERR_FORMAT, "type (not a name)", "{\"a\":" T("f32", "[1]", "[0,4]") "}", 4 },
    { ERR_FORMAT, "hole", "{\"b\":" T("U8", "[0]", "[1,1]") ",\"a\":" T("U8", "[1]", "[0,1]")
      ",\"c\":" T("U8", "[1]", "[2,3]") "}", 3 },
    { ERR_FORMAT, "at bytes 0 to 9223372036854775807", "{\"a\":"
      T("U8", "[9223372036854775807]", "[0,9223372036854775807]") "}", 8 },
    { ERR_FORMAT, "data_offsets", "{\"a\":" T("U8", "[1]", "[true,1]") "}", 1 },
    { ERR_FORMAT, "data_offsets", "{\"a\":" T("U8", "[1]", "{}") "}", 1 },
    { ERR_FORMAT, "not the size", "{\"a\":" T("U8", "[]", "[0,0]") "}", 0 },
    { ERR_FORMAT, "not the size", "{\"a\":" T("F8_E4M3", "[2]", "[0,4]") "}", 4 },
    { ERR_FORMAT, "\"dtype\"", "{\"a\":{\"dtype\":7,\"shape\":[],\"data_offsets\":[0,0]}}", 0 },
    { ERR_FORMAT, "\"shape\"", "{\"a\":{\"dtype\":\"U8\",\"data_offsets\":[0,0]}}", 0 },
    { ERR_FORMAT, "dimension 1", "{\"a\":" T("U8", "[1,null]", "[0,1]") "}", 1 },
    { ERR_FORMAT, "not valid JSON", "{\"a\\u0000\":" T("U8", "[1]", "[0,1]") "}", 1 },
    { ERR_FORMAT, "not valid JSON", "{\"\xff\":" T("U8", "[1]", "[0,1]") "}", 1 },
    { ERR_FORMAT, "control character", "{\"\\u0085\":" T("U8", "[1]", "[0,1]") "}", 1 },
    { ERR_FORMAT, "control character", "{\"\\u001b\":" T("U8", "[1]", "[0,1]") "}", 1 },
};

Test(safetensors, broken_files_are_refused)
{
    int before = count_entries("/proc/self/fd");

    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        cr_expect_eq(open_close(write_st(bad[i].header, bad[i].bytes)), bad[i].code, "%s: %s",
                     bad[i].header, err_text());
        cr_expect(strstr(err_text(), bad[i].say), "\"%s\" is not in: %s", bad[i].say, err_text());
        cr_expect(strstr(err_text(), "a.safetensors: "), "%s", err_text());
    }
    cr_assert_eq(count_entries("/proc/self/fd"), before, "a descriptor was left open");
}

Test(safetensors, header_lengths_that_lie_are_refused)
{
    uint64_t big[2] = { 1ull << 63, 0 };

    cr_assert_eq(open_close(temp_write(&temp, "a", big, 16)), ERR_LIMIT);
    big[0] = 100000001;
    cr_assert_eq(open_close(temp_write(&temp, "a", big, 16)), ERR_LIMIT);
    big[0] = 9;
    cr_assert_eq(open_close(temp_write(&temp, "a", big, 16)), ERR_FORMAT);
    cr_assert_eq(open_close(temp_write(&temp, "a", big, 7)), ERR_FORMAT);
    cr_assert_eq(open_close(temp_write(&temp, "a", big, 0)), ERR_FORMAT);
    cr_assert_eq(open_close(temp_path(&temp, "none")), ERR_MISSING);
}

Test(safetensors, a_pointer_of_git_lfs_is_said_to_be_one)
{
    static const char text[] = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n";

    cr_assert_eq(open_close(temp_write(&temp, "a", text, sizeof(text) - 1)), ERR_FORMAT);
    cr_assert(strstr(err_text(), "git lfs pull"), "%s", err_text());
}

/* Open a file of n tensors of eight dimensions and one byte. */
static enum err open_many(int n)
{
    struct buf b = { 0 };
    uint64_t len = 0;
    enum err e;

    buf_add(&b, &len, sizeof(len));
    for (int i = 0; i < n; i++)
        buf_printf(&b, "%s\"%d\":" T("U8", "[1,1,1,1,1,1,1,1]", "[%d,%d]"), i ? "," : "{", i, i,
                   i + 1);
    buf_puts(&b, "}");
    len = b.len - sizeof(len);
    for (int i = 0; i < n; i++)
        buf_add(&b, "", 1);
    cr_assert_eq(buf_ok(&b), OK);
    memcpy(b.data, &len, sizeof(len));
    e = open_close(temp_write(&temp, "a", b.data, b.len));
    buf_release(&b);
    return e;
}

Test(safetensors, as_many_tensors_as_the_limit_open_and_one_more_does_not)
{
    cr_assert_eq(open_many(200000), OK, "%s", err_text());
    cr_assert_eq(open_many(200001), ERR_LIMIT);
    cr_assert(strstr(err_text(), "200001 entries"), "%s", err_text());
}

Test(safetensors, headers_of_many_small_values_are_refused_before_they_are_parsed)
{
    static const char part[] = "{},{},{},{},{},{},{},{},{},{},";
    struct buf b = { 0 };
    uint64_t len = 0;

    buf_add(&b, &len, sizeof(len));
    buf_puts(&b, "{\"a\":[");
    for (int i = 0; i < 100000; i++)
        buf_puts(&b, part);
    buf_puts(&b, "{}]}");
    cr_assert_eq(buf_ok(&b), OK);
    len = b.len - sizeof(len);
    memcpy(b.data, &len, sizeof(len));
    cr_assert_eq(open_close(temp_write(&temp, "a", b.data, b.len)), ERR_LIMIT);
    cr_assert(strstr(err_text(), "more values"), "%s", err_text());
    buf_release(&b);
}

Test(safetensors, cut_and_flipped_files_never_crash)
{
    const char *path = write_st(good[2].header, good[2].bytes);
    char bytes[400];
    FILE *in = fopen(path, "rb");
    size_t n = in ? fread(bytes, 1, sizeof(bytes), in) : 0;

    cr_assert(n > 50 && n < sizeof(bytes) && fclose(in) == 0);
    for (size_t len = 0; len < n; len++)
        cr_expect_neq(open_close(temp_write(&temp, "cut", bytes, len)), OK, "cut to %zu", len);
    for (size_t bit = 0; bit < (n - 16) * 8; bit++) {
        bytes[bit / 8] = (char)(bytes[bit / 8] ^ 1 << bit % 8);
        enum err e = open_close(temp_write(&temp, "flip", bytes, n));
        cr_expect(e == OK || e == ERR_FORMAT || e == ERR_LIMIT, "bit %zu: %s", bit, err_name(e));
        bytes[bit / 8] = (char)(bytes[bit / 8] ^ 1 << bit % 8);
    }
}
