/* store_bodies.h - the ledger and its limits, whose allocations fail one by one (test_alloc.c). */
#ifndef FAULT_STORE_BODIES_H
#define FAULT_STORE_BODIES_H

#include "base/err.h"

enum err body_limits(void);
enum err body_ledger(void);

#endif
