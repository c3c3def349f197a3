/* leak.c - a library to preload: the program loses LEAK_BYTES a second, so that what measures
 * growth (tests/soak/soak.py, tests/bench/gateway_load.py) is known to find a leak. */
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
