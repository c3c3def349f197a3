/* wire_bodies.h - parts of src/wire whose allocations fail one by one (test_alloc.c). */
#ifndef FAULT_WIRE_BODIES_H
#define FAULT_WIRE_BODIES_H

#include "base/err.h"

enum err body_wire_chat(void);
enum err body_wire_prompt(void);
enum err body_wire_stream(void);
enum err body_wire_whole(void);
enum err body_wire_embeddings(void);
enum err body_wire_carry(void);
enum err body_wire_same(void);
enum err body_wire_hear(void);
enum err body_wire_hear_whole(void);

#endif
