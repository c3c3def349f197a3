/* home.c - see home.h. */
#include "cmd/home.h"

#define PCRE2_CODE_UNIT_WIDTH 8

#include "base/buf.h"
#include "base/cpu.h"
#include "base/term.h"
#include "cmd/model_path.h"
#include "http/client.h"
#include "http/server.h"
#include "kernels/kernels.h"

#include <histedit.h>
#include <hwloc.h>
#include <jansson.h>
#include <openssl/crypto.h>
#include <pcre2.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#ifndef CROFT_VERSION
#define CROFT_VERSION "unknown"
#endif

static void show_machine(struct buf *b, const struct machine *m)
{
    buf_puts(b, "  Processor  ");
    buf_printf(b, "%s, %d cores, %d threads, %s\n", *m->cpu_name ? m->cpu_name : "unknown",
               m->n_core_physical, m->n_core_logical, isa_name(isa_detect()));
    buf_printf(b, "             computes with %d thread%s", m->n_thread_default,
               m->n_thread_default == 1 ? "" : "s");
    if (m->cpu_quota > 0)
        buf_printf(b, " (the control group allows %.3g cores)", m->cpu_quota);
    buf_puts(b, "\n  Memory     ");
    term_bytes(b, m->mem_total);
    buf_puts(b, ", ");
    term_bytes(b, m->mem_available);
    buf_puts(b, " available");
    if (m->mem_limit) {
        buf_puts(b, " (the control group allows ");
        term_bytes(b, m->mem_limit);
        buf_puts(b, ")");
    }
    if (*m->gpu)
        buf_printf(b, "\n  GPU        %s (this version computes on the processor)\n", m->gpu);
    else
        buf_puts(b, "\n  GPU        none\n");
}

static void show_models(struct buf *b, const struct model_entry *list, size_t n, uint64_t room)
{
    size_t width = 0;

    for (size_t i = 0; i < n; i++)
        if (strlen(list[i].name) > width)
            width = strlen(list[i].name);
    if (width > 60)
        width = 60;
    for (size_t i = 0; i < n; i++) {
        struct buf size = { 0 };
        term_bytes(&size, list[i].bytes);
        buf_puts(b, "    ");
        term_shown(b, list[i].name, strlen(list[i].name));
        buf_printf(b, "%*s  %9s  ", (int)(strlen(list[i].name) < width ?
                   width - strlen(list[i].name) : 0), "", buf_text(&size));
        buf_release(&size);
        if (list[i].bytes <= room) {
            buf_puts(b, "fits\n");
        } else {
            buf_puts(b, "larger than the memory available by ");
            term_bytes(b, list[i].bytes - room);
            buf_puts(b, ": runs from disk, slowly\n");
        }
    }
}

enum err home_show(void)
{
    struct machine m;
    struct model_entry *list = NULL;
    struct buf b = { 0 };
    char *folder = NULL;
    size_t n = 0;
    enum err e = model_list(&list, &n);

    if (e)
        return e;
    if (model_cache_folder(&folder))
        folder = NULL;
    machine_detect(&m);
    buf_puts(&b, "croft " CROFT_VERSION "\n\n");
    show_machine(&b, &m);
    if (n) {
        buf_printf(&b, "  Models     in %s\n", folder ? folder : "");
        show_models(&b, list, n, m.mem_available);
        buf_printf(&b, "\nTry:  croft run %s 'Why is the sky blue?'\n", list[0].name);
    } else {
        buf_printf(&b, "  Models     none in %s\n\nPut a .gguf file there, or name one:  "
                   "croft run FILE.gguf 'Why is the sky blue?'\n", folder ? folder : "(no folder)");
    }
    buf_puts(&b, "Help: croft help\n");
    e = buf_ok(&b);
    if (!e)
        e = out_write(buf_text(&b), b.len);
    buf_release(&b);
    free(folder);
    model_list_free(list, n);
    return e;
}

enum err home_version(void)
{
    char pcre2[64] = "unknown";
    unsigned hw = hwloc_get_api_version();
    char *space;

    pcre2_config(PCRE2_CONFIG_VERSION, pcre2);
    if ((space = strchr(pcre2, ' ')))
        *space = '\0';                  /* without its date */
    return out_printf("croft %s\n"
                      "instruction sets built in: %s; this machine: %s\n"
                      "libraries: jansson %s, PCRE2 %s, utf8proc %s, hwloc API %u.%u, "
                      "libedit %d.%d, libevent %s, libcurl %s, OpenSSL %s\n"
                      "licence: Apache-2.0\n",
                      CROFT_VERSION, isa_built_in(), isa_name(isa_detect()), jansson_version_str(),
                      pcre2, utf8proc_version(), hw >> 16, hw >> 8 & 255, LIBEDIT_MAJOR,
                      LIBEDIT_MINOR, server_library(), client_library(),
                      OpenSSL_version(OPENSSL_VERSION_STRING));
}
