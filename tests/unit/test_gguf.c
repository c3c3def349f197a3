/* test_gguf.c - GGUF files: whole ones open, broken ones are refused by name. */
#include <criterion/criterion.h>

#include "formats/gguf.h"
#include "gguf_build.h"
#include "gguf_cases.h"
#include "temp_file.h"

#include <fcntl.h>
#include <math.h>

static struct temp temp;
static void set_up(void)    { temp_init(&temp); }
static void tear_down(void) { temp_release(&temp); }
TestSuite(gguf, .init = set_up, .fini = tear_down);

static const char *write_gguf(const char *name, const char *words)
{
    struct buf b = { 0 };
    const char *path;

    build_gguf(&b, words);
    path = temp_write(&temp, name, buf_text(&b), b.len);
    buf_release(&b);
    return path;
}

static struct weights *must_open(const char *path)
{
    struct weights *w;
    enum err e = weights_open(&w, path, NULL);

    cr_assert_eq(e, OK, "%s", err_text());
    return w;
}

/* The file is refused with this code, and says so with its name and these words. */
static void expect_refused(const char *path, enum err code, const char *say, const char *which)
{
    struct weights *w = (struct weights *)&temp;
    enum err e = weights_open(&w, path, NULL);

    cr_expect_eq(e, code, "%s: got %s: %s", which, err_name(e), e ? err_text() : "");
    cr_expect_null(w, "%s", which);
    if (e) {
        cr_expect(strstr(err_text(), say), "%s: \"%s\" is not in: %s", which, say, err_text());
        cr_expect(strstr(err_text(), temp.folder), "%s: no file in: %s", which, err_text());
        cr_expect(strchr(err_text(), ';') || strstr(err_text(), ": convert") ||
                  strstr(err_text(), "), "), "%s: no remedy in: %s", which, err_text());
    }
    weights_free(w);
}

Test(gguf, a_whole_file_opens)
{
    struct weights *w = must_open(write_gguf("good.gguf", GOOD_FILE));
    const struct tensor_info *b = weights_find(w, "b");

    cr_assert_eq(w->n_tensor, 2);
    cr_assert_eq(w->n_meta, 2);
    cr_assert_str_eq(w->container, "GGUF v3");
    cr_assert_str_eq(w->tensor[0].name, "a");
    cr_assert_eq(w->tensor[0].n_dim, 2);
    cr_assert_eq(w->tensor[0].n_row, 4);
    cr_assert_eq(w->tensor[0].n_elem, 32);
    cr_assert_eq(w->tensor[0].row_bytes, 32);
    cr_assert_eq(w->tensor[0].bytes, 128);
    cr_assert_eq(b, &w->tensor[1]);
    cr_assert_eq(b->ne[0], 64);
    cr_assert_eq(b->ne[3], 1);
    cr_assert_eq(b->file_offset % 32, 0);
    cr_assert_eq(b->data, w->file[0].data + b->file_offset);
    cr_assert_eq(b->file_offset - w->tensor[0].file_offset, 128);
    cr_assert_null(weights_find(w, "c"));
    cr_assert_null(weights_find(w, ""));
    cr_assert_null(weights_meta(w, "general.name"));
    weights_free(w);
}

Test(gguf, a_packed_file_says_which_tensors_lie_in_tiles)
{
    struct weights *w = must_open(write_gguf("packed.gguf", GOOD_PACKED));
    uint8_t got[5];

    cr_assert_str_eq(w->container, "packed GGUF, tiles16");
    cr_assert_eq(w->tensor[0].layout, LAYOUT_tiles);
    tensor_bytes(&w->tensor[0], 123, sizeof(got), got);     /* the last bytes of the last row */
    cr_assert_arr_eq(got, "\0\0\0\0\0", 5);
    weights_free(w);
    w = must_open(write_gguf("rows.gguf", PACKED_HEAD PACKED_SAYS
                             "\"croft.layout.packed 4:9 4:7 8:1 1:0 " PACKED_BODY));
    cr_assert_eq(w->tensor[0].layout, LAYOUT_rows);
    weights_free(w);
}

Test(gguf, version_2_and_files_without_tensors_open)
{
    struct weights *w = must_open(write_gguf("v2.gguf", "'GGUF 4:2 8:0 8:1 u:k=7"));

    cr_assert_str_eq(w->container, "GGUF v2");
    cr_assert_null(weights_find(w, "a"));
    weights_free(w);
    w = must_open(write_gguf("bare.gguf", "'GGUF 4:3 8:0 8:0"));
    cr_assert_null(weights_meta(w, "k"));
    weights_free(w);
}

Test(gguf, gaps_odd_orders_and_other_alignments_are_fine)
{
    weights_free(must_open(write_gguf("gap.gguf", "h:2,0 t:a,0,64,8 t:b,0,0,8 p:32 z:96")));
    weights_free(must_open(write_gguf("a64.gguf", "h:2,1 u:general.alignment=64 t:a,0,0,8 "
                                      "t:b,0,64,8 p:64 z:96")));
    weights_free(must_open(write_gguf("a1.gguf", "h:1,1 u:general.alignment=1 t:a,0,0,8 z:32")));
}

Test(gguf, every_broken_file_is_refused_by_its_own_message)
{
    int before = count_entries("/proc/self/fd");

    cr_assert_geq((int)GGUF_BAD_COUNT, 130);
    for (int i = 0; i < GGUF_BAD_COUNT; i++) {
        const struct gguf_case *c = &gguf_bad[i];
        expect_refused(write_gguf("bad.gguf", c->words), c->code, c->say, c->name);
    }
    cr_assert_eq(count_entries("/proc/self/fd"), before, "a descriptor was left open");
}

/* --- every check of the reader has a named file ----------------------------------------------- */

/* Checks that one small file does not reach, and the test that does. */
static const struct { const char *id, *test; } elsewhere[] = {
    { "GGUF-01", "a_header_beyond_its_budget_is_a_limit" }, { "GGUF-06", "fault" },
    { "GGUF-17", "fault" }, { "GGUF-29", "a_header_beyond_its_budget_is_a_limit" },
    { "GGUF-30", "fault" }, { "GGUF-40", "missing_repeated_and_misnamed_shards_are_refused" },
    { "GGUF-41", "lying_shards_are_refused" }, { "GGUF-42", "lying_shards_are_refused" },
    { "GGUF-43", "fault" }, { "GGUF-44", "missing_repeated_and_misnamed_shards_are_refused" },
    { "GGUF-46", "missing_repeated_and_misnamed_shards_are_refused" },
};
enum { IDS_MAX = 100, N_ELSEWHERE = sizeof(elsewhere) / sizeof(elsewhere[0]) };

static bool is_elsewhere(int id)
{
    for (size_t i = 0; i < N_ELSEWHERE; i++)
        if (atoi(elsewhere[i].id + 5) == id)
            return true;
    return false;
}

/* The numbers of the "GGUF-NN" that a source file has. */
static size_t read_ids(const char *path, bool there[IDS_MAX])
{
    static const char mark[] = "\"GGUF-";
    struct file_map m;
    size_t n = 0;

    cr_assert_eq(file_map_open(&m, path, true), OK, "%s", err_text());
    const char *at = (const char *)m.data, *end = at + m.bytes;
    while ((at = memmem(at, (size_t)(end - at), mark, sizeof(mark) - 1))) {
        at += sizeof(mark) - 1;
        int id = atoi(at);
        cr_assert(id > 0 && id < IDS_MAX, "%s: GGUF-%d", path, id);
        n += !there[id];
        there[id] = true;
    }
    file_map_close(&m);
    return n;
}

Test(gguf, every_check_of_the_reader_has_a_named_file)
{
    bool there[IDS_MAX] = { false }, seen[IDS_MAX] = { false };
    size_t n = read_ids("src/formats/gguf.c", there) + read_ids("src/formats/gguf_split.c", there) +
               read_ids("src/formats/gguf_type.c", there);

    cr_assert_geq(n, 40);
    for (int i = 0; i < GGUF_BAD_COUNT; i++) {
        struct weights *w;
        if (weights_open(&w, write_gguf("bad.gguf", gguf_bad[i].words), NULL) &&
            !strncmp(err_id(), "GGUF-", 5))
            seen[atoi(err_id() + 5)] = true;
        weights_free(w);
    }
    for (int id = 0; id < IDS_MAX; id++) {
        cr_expect(!there[id] || seen[id] != is_elsewhere(id), "GGUF-%02d: %s", id,
                  seen[id] ? "has a file, take it from the list" : "has no file that meets it");
        cr_expect(there[id] || !is_elsewhere(id), "GGUF-%02d is no check", id);
    }
}

/* 256 elements are whole blocks of every type; 1 KiB holds the largest. */
Test(gguf, every_type_number_is_read_or_refused_by_name)
{
    int n_read = 0;

    for (unsigned id = 0; id < 450; id++) {
        struct weights *w;
        struct buf b = { 0 };
        char words[80], say[40];
        snprintf(words, sizeof(words), "h:1,0 t:some_tensor,%u,0,256 p:32 z:1024", id);
        snprintf(say, sizeof(say), "(type %u), ", id);
        build_gguf(&b, words);
        if (weights_open_bytes(&w, "type.gguf", buf_text(&b), b.len) == OK) {
            cr_expect_eq(qtype_info[w->tensor[0].type].gguf_id, (int)id);
            n_read++;
        } else {
            cr_expect(strstr(err_text(), "some_tensor") && strstr(err_text(), say), "%s",
                      err_text());
            cr_expect(id > 42 || !strstr(err_text(), "unnamed"), "%s", err_text());
        }
        weights_free(w);
        buf_release(&b);
    }
    cr_assert_eq(n_read, 25);
}

Test(gguf, a_file_cut_at_any_byte_is_refused)
{
    struct buf b = { 0 };
    struct weights *w;

    build_gguf(&b, GOOD_FILE);
    for (size_t len = 0; len < b.len; len++) {
        cr_expect_eq(weights_open_bytes(&w, "cut.gguf", buf_text(&b), len), ERR_FORMAT,
                     "cut to %zu of %zu bytes", len, b.len);
        weights_free(w);
    }
    cr_assert_eq(weights_open_bytes(&w, "whole.gguf", buf_text(&b), b.len), OK);
    weights_free(w);
    buf_release(&b);
}

Test(gguf, a_flipped_bit_in_the_header_never_crashes)
{
    struct buf b = { 0 };
    struct weights *w;
    int opened = 0, refused = 0;

    build_gguf(&b, "h:2,6 " GOOD_META "\"l 4:9 4:5 8:2 4:-1 4:2 \"s 4:9 4:8 8:2 \"xy \"z "
               "\"t 4:7 1:1 \"f 4:6 f:2.5 t:a,2,0,32,2 t:b,12,64,256 p:32 z:208");
    for (size_t bit = 0; bit < (b.len - 208) * 8; bit++) {
        b.data[bit / 8] = (char)(b.data[bit / 8] ^ 1 << bit % 8);
        enum err e = weights_open_bytes(&w, "flip.gguf", b.data, b.len);
        cr_expect(e == OK || e == ERR_FORMAT || e == ERR_LIMIT || e == ERR_ARG, "bit %zu: %s", bit,
                  err_name(e));
        cr_expect_eq(e == OK, w != NULL);
        for (uint64_t i = 0; e == OK && i < w->n_tensor; i++)
            cr_expect_leq(w->tensor[i].file_offset + w->tensor[i].bytes, b.len);
        e == OK ? opened++ : refused++;
        weights_free(w);
        b.data[bit / 8] = (char)(b.data[bit / 8] ^ 1 << bit % 8);
    }
    cr_assert_gt(opened, 100);
    cr_assert_gt(refused, 1000);
    buf_release(&b);
}

Test(gguf, reading_into_memory_gives_the_same_bytes)
{
    struct weights_options o = { .in_memory = true };
    const char *path = write_gguf("good.gguf", GOOD_FILE);
    struct weights *mapped = must_open(path), *read;

    cr_assert_eq(weights_open(&read, path, &o), OK);
    cr_assert_neq(read->file[0].data, mapped->file[0].data);
    cr_assert_eq(read->file[0].bytes, mapped->file[0].bytes);
    cr_assert_arr_eq(read->file[0].data, mapped->file[0].data, (size_t)read->file[0].bytes);
    weights_free(mapped);
    weights_free(read);
}

Test(gguf, missing_files_and_folders_are_said_so)
{
    expect_refused(temp_path(&temp, "none.gguf"), ERR_MISSING, "no such file", "missing");
    expect_refused(temp.folder, ERR_ARG, "is a folder", "folder");
}

/* A terabyte with one written page: the tensors lie beyond 2^32 and 2^38 bytes. */
Test(gguf, a_sparse_terabyte_opens_at_once)
{
    const char *path = write_gguf("huge.gguf", "h:3,0 t:a,0,0,0x4000000000 "
                                  "t:b,0,0x10000000000,8 t:c,0,0x10000000020,8 p:32");
    FILE *f = fopen(path, "r+b");

    cr_assert(f);
    if (ftruncate(fileno(f), (1ll << 40) + 4096)) {
        fclose(f);
        cr_skip("this file system has no sparse file of a terabyte");
    }
    fclose(f);
    struct weights *w = must_open(path);
    cr_assert_eq(w->tensor[0].bytes, 1ull << 40);
    cr_assert_gt(w->tensor[1].file_offset, 1ull << 40);
    cr_assert_eq(w->tensor[2].data - w->tensor[1].data, 32);
    cr_assert_eq(w->tensor[2].data[31], 0);
    weights_free(w);
}

Test(gguf, a_header_beyond_its_budget_is_a_limit)
{
    const char *path = write_gguf("fat.gguf", "h:0,1 \"k 4:8 8:0x10000000");
    FILE *f = fopen(path, "r+b");

    cr_assert(f && ftruncate(fileno(f), 1ll << 30) == 0 && fclose(f) == 0);
    expect_refused(path, ERR_LIMIT, "64 MiB", "fat header");
    path = write_gguf("many.gguf", "h:1000000,0");
    f = fopen(path, "r+b");
    cr_assert(f && ftruncate(fileno(f), 1ll << 30) == 0 && fclose(f) == 0);
    expect_refused(path, ERR_LIMIT, "the limits are", "many tensors");
}

Test(gguf, a_changed_file_is_noticed)
{
    const char *path = write_gguf("good.gguf", GOOD_FILE);
    struct weights *w = must_open(path);
    FILE *f;

    cr_assert_not(file_map_changed(&w->file[0]));
    cr_assert((f = fopen(path, "ab")) && fputc(0, f) == 0 && fclose(f) == 0);
    cr_assert(file_map_changed(&w->file[0]));
    weights_free(w);
    w = must_open(path);
    cr_assert_not(file_map_changed(&w->file[0]));
    unlink(path);
    cr_assert(file_map_changed(&w->file[0]));
    weights_free(w);
}

Test(gguf, a_vocabulary_of_150000_strings_is_walked)
{
    enum { N = 150000 };
    struct buf b = { 0 };
    struct meta_cursor c = { 0 };
    const char *text;
    size_t len, n = 0, bytes = 0;

    build_gguf(&b, "h:0,1 \"tokenizer.ggml.tokens 4:9 4:8");
    build_int(&b, N, 8);
    for (int i = 0; i < N; i++) {
        char token[16];
        build_text(&b, token, (size_t)snprintf(token, sizeof(token), "%d", i));
    }
    struct weights *w = must_open(temp_write(&temp, "vocab.gguf", buf_text(&b), b.len));
    const struct meta *m = weights_meta(w, "tokenizer.ggml.tokens");
    cr_assert(m && m->is_array && m->type == META_STRING);
    cr_assert_eq(m->n, N);
    for (; meta_next_str(m, &c, &text, &len); n++)
        bytes += len;
    cr_assert_eq(n, N);
    cr_assert_eq(bytes, 10 * 1 + 90 * 2 + 900 * 3 + 9000 * 4 + 90000 * 5 + 50000 * 6);
    weights_free(w);
    buf_release(&b);
}

Test(gguf, shards_are_found_from_any_of_their_names)
{
    write_gguf("m-00001-of-00003.gguf", "h:0,4 u:k=7 u:split.no=0 u:split.count=3 "
               "u:split.tensors.count=3");
    write_gguf("m-00002-of-00003.gguf", "h:2,3 u:split.no=1 u:split.count=3 "
               "u:split.tensors.count=3 t:a,0,0,8 t:b,0,32,8 p:32 z:64");
    write_gguf("m-00003-of-00003.gguf", "h:1,3 u:split.no=2 u:split.count=3 "
               "u:split.tensors.count=3 t:c,0,0,8 p:32 z:32");
    for (int shard = 1; shard <= 3; shard++) {
        char name[40];
        snprintf(name, sizeof(name), "m-%05d-of-00003.gguf", shard);
        struct weights *w = must_open(temp_path(&temp, name));
        cr_assert_eq(w->n_file, 3);
        cr_assert_eq(w->n_tensor, 3);
        cr_assert_eq(w->n_meta, 4);
        cr_assert_not_null(weights_meta(w, "k"));
        cr_assert_eq(weights_find(w, "b")->file, 1);
        cr_assert_eq(weights_find(w, "c")->data,
                     w->file[2].data + weights_find(w, "c")->file_offset);
        weights_free(w);
    }
}

/* Two shards, the second as given; opening the first must say why not. */
static void expect_bad_second(const char *second, const char *say)
{
    const char *first = write_gguf("s-00001-of-00002.gguf", "h:1,3 u:split.no=0 u:split.count=2 "
                                   "u:split.tensors.count=2 t:a,0,0,8 p:32 z:32");

    write_gguf("s-00002-of-00002.gguf", second);
    expect_refused(first, ERR_FORMAT, say, say);
}

Test(gguf, lying_shards_are_refused)
{
    int before = count_entries("/proc/self/fd");

    expect_bad_second("h:1,3 u:split.no=1 u:split.count=3 u:split.tensors.count=2 t:b,0,0,8 p:32 "
                      "z:32", "its split.count is 3");
    expect_bad_second("h:1,3 u:split.no=0 u:split.count=2 u:split.tensors.count=2 t:b,0,0,8 p:32 "
                      "z:32", "makes it shard 1");
    expect_bad_second("h:1,3 u:split.no=1 u:split.count=2 u:split.tensors.count=9 t:b,0,0,8 p:32 "
                      "z:32", "split.tensors.count differs");
    expect_bad_second("h:1,3 u:split.no=1 u:split.count=2 u:split.tensors.count=2 t:a,0,0,8 p:32 "
                      "z:32", "tensor a twice");
    expect_bad_second("h:0,3 u:split.no=1 u:split.count=2 u:split.tensors.count=2",
                      "but 1 tensors are there");
    expect_bad_second("h:1,1 u:general.alignment=32 t:b,0,0,8 p:32 z:32", "its split.count is 0");
    expect_bad_second("h:1,3 u:split.no=1 u:split.count=2 u:split.tensors.count=2 t:b,0,0,8 p:32 "
                      "z:31", "goes beyond the end");
    cr_assert_eq(count_entries("/proc/self/fd"), before, "a descriptor was left open");
}

/* Neither shard has too many tensors by itself. */
static void write_half(const char *name, const char *entries, char first)
{
    enum { HALF = GGUF_TENSORS_MAX / 2 + 1 };
    struct buf b = { 0 };
    char word[60];

    snprintf(word, sizeof(word), "h:%d,4", HALF);
    build_gguf(&b, word);
    build_gguf(&b, entries);
    build_gguf(&b, "u:split.count=2 u:split.tensors.count=200002 u:general.alignment=4");
    for (int i = 0; i < HALF; i++) {
        snprintf(word, sizeof(word), "%c%d,0,%d,1", first, i, 4 * i);
        build_tensor(&b, word);
    }
    build_gguf(&b, "p:4");
    build_zeros(&b, 4 * HALF);
    temp_write(&temp, name, buf_text(&b), b.len);
    buf_release(&b);
}

Test(gguf, shards_have_the_limit_of_one_file_together)
{
    write_half("n-00001-of-00002.gguf", "u:split.no=0", 'a');
    write_half("n-00002-of-00002.gguf", "u:split.no=1", 'b');
    expect_refused(temp_path(&temp, "n-00001-of-00002.gguf"), ERR_LIMIT, "200002 tensors",
                   "two halves and one more");
}

Test(gguf, missing_repeated_and_misnamed_shards_are_refused)
{
    const char *two = "h:1,2 u:split.no=1 u:split.count=2 t:b,0,0,8 p:32 z:32";
    const char *path = write_gguf("t-00002-of-00002.gguf", two);
    char link_name[160];

    expect_refused(path, ERR_MISSING, "t-00001-of-00002.gguf: shard 1 of 2 is missing", "missing");
    snprintf(link_name, sizeof(link_name), "%s", temp_path(&temp, "t-00001-of-00002.gguf"));
    cr_assert_eq(link(path, link_name), 0);
    expect_refused(path, ERR_FORMAT, "makes it shard 2", "its own sibling");
    unlink(link_name);
    cr_assert_eq(symlink("t-00001-of-00002.gguf", link_name), 0);
    expect_refused(path, ERR_IO, "cannot be opened", "a link to itself");
    unlink(link_name);
    expect_refused(write_gguf("plain.gguf", two), ERR_FORMAT, "does not end in", "plain name");
    expect_refused(write_gguf("u-00002-of-00003.gguf", two), ERR_FORMAT, "split.count is 2",
                   "wrong count in the name");
    expect_refused(write_gguf("v-00001-of-00002.gguf", two), ERR_FORMAT, "makes it shard 2",
                   "wrong number in the name");
    expect_refused(write_gguf("w-00001-of-00003.gguf", GOOD_FILE), ERR_FORMAT, "no split.count",
                   "whole file with the name of a shard");
    expect_refused(write_gguf("y-0000x-of-00002.gguf", two), ERR_FORMAT, "does not end in",
                   "a letter in the number");
    weights_free(must_open(write_gguf("x-00001-of-00001.gguf", GOOD_FILE)));
}

Test(weights, getters_check_type_and_range)
{
    struct buf b = { 0 };
    struct weights *w;
    const char *text;
    size_t len;
    uint64_t u;
    double f;
    bool t;

    build_gguf(&b, "h:0,10 u:u=7 \"i8 4:1 1:-3 \"i64 4:11 8:-9000000000 \"u8 4:0 1:200 "
               "\"f 4:6 f:2.5 "
               "\"nan 4:6 4:0x7fc00000 \"inf 4:12 8:0x7ff0000000000000 \"t 4:7 1:1 s:s=hello "
               "\"l 4:9 4:3 8:2 2:-5 2:600");
    cr_assert_eq(weights_open_bytes(&w, "getters.gguf", buf_text(&b), b.len), OK);

    cr_assert(weights_u64(w, "u", 0, 0, 7, &u) == OK && u == 7);
    cr_assert(weights_u64(w, "u8", 0, 0, 255, &u) == OK && u == 200);
    cr_assert(weights_u64(w, "none", 9, 0, 1, &u) == OK && u == 9);
    cr_assert_eq(weights_u64(w, "u", 0, 8, 9, &u), ERR_FORMAT);
    cr_assert(strstr(err_text(), "getters.gguf: u is 7; it must be from 8 to 9"));
    cr_assert_eq(weights_u64(w, "i8", 0, 0, UINT64_MAX, &u), ERR_FORMAT);
    cr_assert(strstr(err_text(), "is -3"));
    cr_assert_eq(weights_u64(w, "f", 0, 0, 9, &u), ERR_FORMAT);
    cr_assert_eq(weights_u64(w, "t", 0, 0, 9, &u), ERR_FORMAT);
    cr_assert_eq(weights_u64(w, "l", 0, 0, 9, &u), ERR_FORMAT);
    cr_assert(strstr(err_text(), "is a list"));

    cr_assert(weights_f64(w, "f", 0, 0, 9, &f) == OK && f == 2.5);
    cr_assert(weights_f64(w, "i64", 0, -1e10, 9, &f) == OK && f == -9e9);
    cr_assert_eq(weights_f64(w, "nan", 0, -INFINITY, INFINITY, &f), ERR_FORMAT);
    cr_assert_eq(weights_f64(w, "inf", 0, -INFINITY, INFINITY, &f), ERR_FORMAT);
    cr_assert_eq(weights_f64(w, "s", 0, 0, 1, &f), ERR_FORMAT);

    cr_assert(weights_bool(w, "t", false, &t) == OK && t);
    cr_assert(weights_bool(w, "none", true, &t) == OK && t);
    cr_assert_eq(weights_bool(w, "u", false, &t), ERR_FORMAT);

    cr_assert(weights_str(w, "s", NULL, &text, &len) == OK && len == 5);
    cr_assert_arr_eq(text, "hello", 5);
    cr_assert(weights_str(w, "none", "x", &text, &len) == OK && len == 1);
    cr_assert(weights_str(w, "none", NULL, &text, &len) == OK && !text && len == 0);
    cr_assert_eq(weights_str(w, "u", NULL, &text, &len), ERR_FORMAT);

    const struct meta *l = weights_meta(w, "l");
    cr_assert(l && l->is_array && l->n == 2 && l->elem_bytes == 2);
    cr_assert_eq(meta_int(l, 0), -5);
    cr_assert_eq(meta_int(l, 1), 600);
    cr_assert_eq(meta_uint(l, 1), 600);
    cr_assert_eq(meta_float(l, 0), -5.0);
    weights_free(w);
    buf_release(&b);
}
