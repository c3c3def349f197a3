/* loop_form.h - what a loop is, for the files of this folder that put events on it. */
#ifndef HTTP_LOOP_FORM_H
#define HTTP_LOOP_FORM_H

#include <event2/event.h>

struct loop { struct event_base *base; };

#endif
