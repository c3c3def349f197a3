/* http_faults.h - the bodies of test_alloc.c that are about src/http. */
#ifndef TESTS_HTTP_FAULTS_H
#define TESTS_HTTP_FAULTS_H

#include "base/err.h"

/* libevent allocates through this program from here on; `folder` is for sockets and a key file. */
void http_prepare(const char *folder);

enum err http_body_keys(void);

/* The n-th allocation of a server that is made and listens fails, for every n: 0, or 1. */
int http_start_fails(long *countdown);

/* The n-th allocation while a request is served fails, for every n: the client gets an answer or
 * an end, and the next request is served.  0, or 1 when one was handled badly. */
int http_requests_fail(long *countdown);

/* The n-th allocation of a client that asks for a stream of events fails, for every n: the request
 * ends once, and the client's next one is answered.  0, or 1. */
int http_client_fails(long *countdown);

#endif
