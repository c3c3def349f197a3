/* leak.c - for tests/soak/soak.py alone: loaded before a program it loses memory, LEAK_BYTES a
 * second, so that a leak is known to be found. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void *lose(void *arg)
{
    size_t n = strtoul(arg, NULL, 10);

    for (;;) {
        char *p = malloc(n);
        if (p)
            memset(p, 1, n);
        sleep(1);
    }
    return NULL;
}

__attribute__((constructor)) static void begin(void)
{
    char *bytes = getenv("LEAK_BYTES");
    pthread_t thread;

    if (bytes && !pthread_create(&thread, NULL, lose, bytes))
        pthread_detach(thread);
}
