/* replay.c - run a fuzz target over its corpus without a fuzzer:  replay FOLDER */
#include "base/file.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { INPUT_BYTES_MAX = 16 << 20 };

int main(int argc, char **argv)
{
    struct dirent *entry;
    char path[4096];
    DIR *folder;
    int n = 0;

    if (argc != 2 || !(folder = opendir(argv[1]))) {
        fprintf(stderr, "usage: replay FOLDER (of inputs)\n");
        return 2;
    }
    while ((entry = readdir(folder))) {
        size_t len;
        char *bytes;
        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof(path), "%s/%s", argv[1], entry->d_name);
        if (file_read_text(&bytes, &len, path, INPUT_BYTES_MAX)) {
            fprintf(stderr, "replay: %s\n", err_text());
            return 1;
        }
        LLVMFuzzerTestOneInput((const uint8_t *)bytes, len);
        free(bytes);
        n++;
    }
    closedir(folder);
    printf("replayed %d inputs of %s\n", n, argv[1]);
    return n == 0;
}
