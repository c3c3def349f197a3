/* config_money.c - the ledger and the budgets of a configuration, checked. */
#include "gateway/config_form.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Digits, and at most 12 behind the point; 9,000,000 dollars are the most that 64 bits hold. */
bool config_dollars(const char *text, int64_t *picodollars)
{
    int64_t whole = 0, part = 0, unit = INT64_C(1000000000000);
    const char *p = text;

    for (; *p >= '0' && *p <= '9' && whole <= 9000000; p++)
        whole = whole * 10 + (*p - '0');
    if (p == text || whole > 9000000)
        return false;
    if (*p == '.' && p[1])
        for (p++; *p >= '0' && *p <= '9' && unit > 1; p++)
            part += (*p - '0') * (unit /= 10);
    *picodollars = whole * INT64_C(1000000000000) + part;
    return !*p;
}

/* A name of the time zone database, where the machine has one: "Europe/Berlin". */
static bool is_zone(const char *zone)
{
    char path[256];

    for (const char *p = zone; *p; p++)
        if (!(*p >= 'a' && *p <= 'z') && !(*p >= 'A' && *p <= 'Z') && !(*p >= '0' && *p <= '9') &&
            !strchr("/_+-", *p))
            return false;
    if (!*zone || *zone == '/' || strlen(zone) > 64)
        return false;
    if (!strcmp(zone, "UTC") || access("/usr/share/zoneinfo/UTC", R_OK))
        return true;
    snprintf(path, sizeof(path), "/usr/share/zoneinfo/%s", zone);
    return access(path, R_OK) == 0;
}

static enum err check_ledger(struct checking *k)
{
    const char *url = k->c->ledger.url;

    check_at(k, "ledger.url");
    if (!strncmp(url, "sqlite:", 7) && url[7])
        return OK;
    if (strncmp(url, "env:", 4) && strncmp(url, "file:", 5))
        return err_set(ERR_FORMAT, "GREF-26", "%s: write sqlite:FILE, or env:NAME or file:PATH "
                       "where the address of a PostgreSQL database stands", check_where(k));
    if (k->c->ledger.seldom) {
        check_at(k, "ledger.sync");
        return err_set(ERR_FORMAT, "GREF-36", "%s: normal is of a ledger in a file; what "
                       "PostgreSQL was told is on disk at once", check_where(k));
    }
    return check_secret(k, url);
}

static bool has_key(const struct config *c, const char *key)
{
    for (unsigned i = 0; i < c->teams_count; i++)
        for (unsigned j = 0; j < c->teams[i].keys_count; j++)
            if (!strcmp(c->teams[i].keys[j], key))
                return true;
    return false;
}

static enum err check_owner(struct checking *k, unsigned i)
{
    const struct config *c = k->c;
    const struct config_budget *b = &c->budgets[i];
    bool found = !b->team;

    check_at(k, "budgets[%u]", i);
    if (!!b->team + !!b->key + !!b->tag != 1)
        return err_set(ERR_FORMAT, "GREF-27", "%s: a budget is of one team, one key or one tag; "
                       "give exactly one of them", check_where(k));
    for (unsigned j = 0; b->team && j < c->teams_count; j++)
        found = found || !strcmp(c->teams[j].name, b->team);
    check_at(k, "budgets[%u].%s", i, b->team ? "team" : b->key ? "key" : "tag");
    if (!found)
        return err_set(ERR_FORMAT, "GREF-28", "%s: there is no team '%.80s'; add it under teams",
                       check_where(k), b->team);
    if (b->key && c->teams_count && !has_key(c, b->key))
        return err_set(ERR_FORMAT, "GREF-29", "%s: no team has the key '%.80s'; add it there, or "
                       "mend its spelling", check_where(k), b->key);
    return b->team ? OK : check_name(k, b->key ? b->key : b->tag, b->key ? "key's id" : "tag");
}

static enum err check_budget(struct checking *k, unsigned i)
{
    struct config_budget *b = &k->c->budgets[i];
    enum err e;

    check_at(k, "budgets[%u].name", i);
    if ((e = check_name(k, b->name, "name")))
        return e;
    for (unsigned j = 0; j < i; j++)
        if (!strcmp(b->name, k->c->budgets[j].name))
            return err_set(ERR_FORMAT, "GREF-30", "%s: '%s' is the name of budgets[%u] too; rename "
                           "one", check_where(k), b->name, j);
    if ((e = check_owner(k, i)))
        return e;
    check_at(k, "budgets[%u].zone", i);
    if (b->zone && !is_zone(b->zone))
        return err_set(ERR_FORMAT, "GREF-31", "%s: '%.64s' is no time zone; write UTC or a name "
                       "such as Europe/Berlin", check_where(k), b->zone);
    check_at(k, "budgets[%u].limit", i);
    if (!b->limit.requests && !b->limit.tokens && !b->limit.dollars)
        return err_set(ERR_FORMAT, "GREF-32", "%s: limits nothing; give requests, tokens or "
                       "dollars above 0", check_where(k));
    check_at(k, "budgets[%u].limit.dollars", i);
    if (b->limit.dollars && !config_dollars(b->limit.dollars, &b->limit.picodollars))
        return err_set(ERR_FORMAT, "GREF-33", "%s: '%.40s' is no amount up to 9000000 with at most "
                       "12 places; write 250 or 0.50", check_where(k), b->limit.dollars);
    return OK;
}

enum err config_check_money(struct checking *k)
{
    enum err e = check_ledger(k);

    for (unsigned i = 0; !e && i < k->c->budgets_count; i++)
        e = check_budget(k, i);
    return e;
}
