/* gateway_bodies.h - parts of src/gateway whose allocations fail one by one (test_alloc.c). */
#ifndef FAULT_GATEWAY_BODIES_H
#define FAULT_GATEWAY_BODIES_H

#include "base/err.h"

enum err body_gateway(void);
enum err body_pattern(void);
enum err body_keyring(void);
enum err body_sealed(void);
enum err body_decide(void);

#endif
