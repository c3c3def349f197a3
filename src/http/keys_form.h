/* keys_form.h - between keys.c and keys_file.c. */
#ifndef HTTP_KEYS_FORM_H
#define HTTP_KEYS_FORM_H

#include "http/keys.h"

/* Room for one more key behind the last; n stays.  Errors: LIMIT, NOMEM. */
MUST_CHECK enum err keys_room(struct keys *k);

#endif
