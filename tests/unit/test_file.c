/* test_file.c - files: mapped, replaced as a whole, read as text; and a page that goes away. */
#include <criterion/criterion.h>

#include "base/file.h"
#include "temp_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>

static struct temp temp;
static void set_up(void)    { temp_init(&temp); }
static void tear_down(void) { temp_release(&temp); }
TestSuite(file, .init = set_up, .fini = tear_down);

static void expect_text(const char *path, const char *want)
{
    size_t len;
    char *text;

    cr_assert_eq(file_read_text(&text, &len, path, 1000), OK, "%s", err_text());
    cr_assert_str_eq(text, want);
    cr_assert_eq(len, strlen(want));
    free(text);
}

Test(file, a_map_shows_the_bytes)
{
    const char *path = temp_write(&temp, "a", "hello", 5);
    struct file_map m;

    for (int in_memory = 0; in_memory < 2; in_memory++) {
        cr_assert_eq(file_map_open(&m, path, in_memory), OK, "%s", err_text());
        cr_assert_eq(m.bytes, 5);
        cr_assert_arr_eq(m.data, "hello", 5);
        cr_assert_str_eq(m.path, path);
        file_map_close(&m);
        cr_assert_null(m.data);
        file_map_close(&m);
    }
}

Test(file, an_empty_file_maps_to_nothing)
{
    struct file_map m;

    cr_assert_eq(file_map_open(&m, temp_write(&temp, "a", "", 0), false), OK);
    cr_assert_null(m.data);
    cr_assert_eq(m.bytes, 0);
    file_map_close(&m);
}

Test(file, what_is_no_file_is_not_mapped)
{
    const char *fifo = temp_path(&temp, "fifo");
    struct file_map m = { .fd = 7 };

    cr_assert_eq(file_map_open(&m, temp_path(&temp, "none"), false), ERR_MISSING);
    cr_assert_null(m.path);
    cr_assert_eq(m.fd, 0);
    cr_assert_eq(file_map_open(&m, temp.folder, false), ERR_ARG);
    cr_assert_eq(mkfifo(fifo, 0600), 0);
    cr_assert_eq(file_map_open(&m, fifo, false), ERR_ARG);
    cr_assert_eq(file_map_open(&m, "/dev/zero", false), ERR_ARG);
}

Test(file, replaced_and_rewritten_files_are_noticed)
{
    const char *path = temp_write(&temp, "a", "hello", 5);
    struct file_map m;

    cr_assert_eq(file_map_open(&m, path, true), OK);
    cr_assert_not(file_map_changed(&m));
    struct timespec times[2] = { { 0, UTIME_OMIT }, { 1000000, 5 } };
    cr_assert_eq(utimensat(AT_FDCWD, path, times, 0), 0);
    cr_assert(file_map_changed(&m));
    file_map_close(&m);

    cr_assert_eq(file_map_open(&m, path, false), OK);
    cr_assert_eq(rename(temp_write(&temp, "b", "hello", 5), path), 0);
    cr_assert(file_map_changed(&m));
    file_map_close(&m);
}

Test(file, a_new_file_appears_when_committed)
{
    const char *path = temp_write(&temp, "a", "old", 3);
    struct file_new f;

    cr_assert_eq(file_new_open(&f, path), OK, "%s", err_text());
    fputs("new text", f.out);
    fflush(f.out);
    expect_text(path, "old");
    cr_assert_eq(file_new_commit(&f), OK, "%s", err_text());
    file_new_abort(&f);
    expect_text(path, "new text");
    cr_assert_eq(count_entries(temp.folder), 1);
}

Test(file, an_aborted_file_leaves_nothing)
{
    const char *path = temp_path(&temp, "a");
    struct file_new f = { 0 };

    file_new_abort(&f);
    cr_assert_eq(file_new_open(&f, path), OK);
    fputs("half", f.out);
    file_new_abort(&f);
    file_new_abort(&f);
    cr_assert_eq(count_entries(temp.folder), 0);
}

Test(file, places_that_cannot_be_written_are_refused)
{
    struct file_new f;
    struct stat st;

    cr_assert_eq(file_new_open(&f, temp.folder), ERR_ARG);
    cr_assert_eq(file_new_open(&f, temp_path(&temp, "no/such/folder")), ERR_MISSING);
    cr_assert_null(f.out);
    cr_assert_eq(file_new_open(&f, "/dev/null"), OK);
    fputs("x", f.out);
    cr_assert_eq(file_new_commit(&f), OK, "%s", err_text());
    cr_assert(stat("/dev/null", &st) == 0 && S_ISCHR(st.st_mode), "the device was replaced");
}

Test(file, a_full_disk_is_an_error_and_keeps_the_old_file)
{
    struct file_new f;

    cr_assert_eq(file_new_open(&f, "/dev/full"), OK);
    fputs("x", f.out);
    cr_assert_eq(file_new_commit(&f), ERR_IO);
    cr_assert(strstr(err_text(), "/dev/full: writing failed: No space"), "%s", err_text());
}

Test(file, text_is_read_up_to_its_limit)
{
    const char *path = temp_write(&temp, "a", "12345", 5);
    size_t len = 9;
    char *text;

    expect_text(path, "12345");
    expect_text(temp_write(&temp, "empty", "", 0), "");
    cr_assert_eq(file_read_text(&text, &len, path, 5), OK);
    free(text);
    cr_assert_eq(file_read_text(&text, &len, path, 4), ERR_LIMIT);
    cr_assert(text == NULL && len == 0);
    cr_assert_eq(file_read_text(&text, &len, temp_path(&temp, "none"), 4), ERR_MISSING);
    cr_assert_eq(file_read_text(&text, &len, temp.folder, 4), ERR_ARG);
}

Test(file, a_long_text_arrives_whole)
{
    char *bytes = malloc(100000), *text;
    size_t len;

    memset(bytes, 'x', 100000);
    cr_assert_eq(file_read_text(&text, &len, temp_write(&temp, "a", bytes, 100000), 100000), OK);
    cr_assert_eq(len, 100000);
    cr_assert_arr_eq(text, bytes, 100000);
    cr_assert_eq(text[len], '\0');
    free(text);
    free(bytes);
}

/* In a child: map two pages, cut the file to one, touch the second. */
static void read_a_page_that_is_gone(const char *path)
{
    struct file_map m;

    file_install_sigbus_handler();
    if (file_map_open(&m, path, false) || truncate(path, 4096))
        _exit(9);
    volatile uint8_t byte = m.data[4096];
    _exit(byte ? 7 : 8);
}

Test(file, a_file_cut_while_in_use_is_named_at_exit)
{
    static const char zeros[8192];
    const char *path = temp_write(&temp, "cut.gguf", zeros, sizeof(zeros));
    char said[600] = "";
    int pipe_fd[2], status;

    cr_assert_eq(pipe(pipe_fd), 0);
    pid_t child = fork();
    if (child == 0) {
        dup2(pipe_fd[1], STDERR_FILENO);
        read_a_page_that_is_gone(path);
    }
    close(pipe_fd[1]);
    for (ssize_t n, at = 0; (n = read(pipe_fd[0], said + at, sizeof(said) - 1 - (size_t)at)) > 0;)
        at += n;
    close(pipe_fd[0]);
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 1, "status %x: %s", status, said);
    cr_assert(strstr(said, path) && strstr(said, "no longer be read"), "%s", said);
}
