/* price_bodies.h - prices and usages, whose allocations fail one by one (test_alloc.c). */
#ifndef FAULT_PRICE_BODIES_H
#define FAULT_PRICE_BODIES_H

#include "base/err.h"

enum err body_prices(void);
enum err body_usage_parse(void);

#endif
