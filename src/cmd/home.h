/* home.h - the pages `croft` shows about itself: alone, and for --version. */
#ifndef CMD_HOME_H
#define CMD_HOME_H

#include "base/err.h"

/* The machine, the models in the cache and whether each fits, and one line to copy. */
MUST_CHECK enum err home_show(void);

/* Version, instruction sets, libraries, licence. */
MUST_CHECK enum err home_version(void);

#endif
