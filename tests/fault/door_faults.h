/* door_faults.h - requests through a gateway, from their heads to their settlements, while memory
 * is short (test_alloc.c). */
#ifndef FAULT_DOOR_FAULTS_H
#define FAULT_DOOR_FAULTS_H

/* Each allocation of the loop's thread fails in its turn: *countdown of them, and only those while
 * *one_thread is true.  How many kinds of request were handled badly. */
int door_requests_fail(long *countdown, _Bool *one_thread);

#endif
