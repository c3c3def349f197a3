"""ledger_judge.py - rows of a ledger against what the stand-ins counted and the clients saw: what does not
fit, in words.  Asks nobody.

A row is one of `attempts`, its state a word; an attempt is what a stand-in noted of a request:
{"request", "id", "status", "ended", "usage", "sent"}.
"""
import collections

from doors import cost_of

NONE = {"prompt": 0, "cached": 0, "written": 0, "answer": 0, "think": 0}
SUMS = ("requests", "tokens", "cost")


def bill(attempt):
    """What the stand-in asks to be paid for it: of an answer that was cut, the pieces that left."""
    if attempt is None or not attempt["usage"] or (attempt["status"] or 200) >= 300:
        return NONE
    if attempt["ended"] == "whole":
        return attempt["usage"]
    answer = min(attempt["sent"], attempt["usage"]["answer"])
    return dict(attempt["usage"], answer=answer, think=0)


def was_cut(row, attempt, client, killed):
    return row["process"] in killed or client in ("left", "broke", None) or \
        (attempt is not None and attempt["ended"] not in ("whole", "error", "refused"))


def number(row):
    return int(row["id"].rpartition("-")[2])


def said_no(row):
    """Exact by itself, and no answer's id: an error in place of an answer."""
    return row["state"] == "exact" and not row["reconciled"]


def matched(rows, attempts):
    """Pairs of one request: (row, attempt); either may be None."""
    free, pairs, later = list(attempts), [], []
    for r in sorted(rows, key=lambda r: (r["begun"], number(r))):
        mine = [a for a in free if a["id"] and a["id"] == r["upstream_id"]]
        if mine:
            free.remove(mine[0])
            pairs.append((r, mine[0]))
        else:
            later.append(r)
    for r in sorted(later, key=lambda r: not said_no(r)):
        fit = [a for a in free if not said_no(r) or (a["status"] or 0) >= 300]
        if fit and not r["upstream_id"]:
            free.remove(fit[0])
            pairs.append((r, fit[0]))
        else:
            pairs.append((r, None))
    return pairs + [(None, a) for a in free]


def judge_pair(row, attempt, client, killed):
    """Why the two do not fit, or None."""
    if row is None:
        return "an attempt without a row"
    if row["state"] == "open":
        return "still open"
    have = {"prompt": row["prompt"], "cached": row["cache_read"], "answer": row["completion"], "cost": row["cost"]}
    due = bill(attempt)
    due = dict({k: due[k] for k in ("prompt", "cached", "answer")}, cost=cost_of(due))
    if row["state"] == "exact":
        if attempt is None and not row["reconciled"]:
            return "an exact row that no stand-in knows"
        return None if have == due else "exact, and not what was counted: %s" % due
    if not was_cut(row, attempt, client, killed):
        return "estimated, and nobody cut it"
    if any(have[k] < due[k] for k in ("prompt", "answer", "cost")):
        return "estimated below what was counted: %s" % due
    return None


def judge(rows, attempts, clients, killed):
    """(what is wrong, pairs): each attempt has one row, and fits it."""
    by = collections.defaultdict(lambda: ([], []))
    wrong, pairs = [], []
    for r in rows:
        if r["state"] != "void":
            by[r["request"]][0].append(r)
    for a in attempts:
        by[a["request"]][1].append(a)
    for request, (own, theirs) in by.items():
        for r, a in matched(own, theirs):
            pairs.append((r, a))
            why = judge_pair(r, a, clients.get(request), killed)
            if why:
                wrong.append("%s: %s: row %s, attempt %s, client %s" % (request, why, r, a, clients.get(request)))
    return wrong, pairs


def amounts(row):
    return {"requests": row["requests"], "tokens": row["prompt"] + row["completion"], "cost": row["cost"]}


def charged(rows):
    """{(budget, period): sums of what the rows were charged}."""
    out = collections.defaultdict(lambda: dict.fromkeys(SUMS, 0))
    for r in rows:
        for charge in r["charges"].split() if r["state"] in ("exact", "estimated") else []:
            budget, period = charge.split("=")
            for name, n in amounts(r).items():
                out[budget, int(period)][name] += n
    return dict(out)


def overshot(sums, limits):
    """Which of the limits {budget: {"requests": n, ...}} are, by {(budget, period): sums}."""
    return ["%s of %s: %s of %d %s" % (budget, period, have[name], most, name)
            for (budget, period), have in sums.items()
            for name, most in limits.get(budget, {}).items() if have[name] > most]
