/* nfc.h - Unicode normalisation form C, in linear time whatever the text. */
#ifndef TEXT_NFC_H
#define TEXT_NFC_H

#include "base/buf.h"

/* Append the NFC form of well-formed UTF-8 to *out.  Errors: NOMEM. */
MUST_CHECK enum err nfc_add(struct buf *out, const char *text, size_t len);

#endif
