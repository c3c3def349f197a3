#!/usr/bin/env python3
"""carrying.py - what real clients sent and were answered, carried from each dialect to the others;
and docs/carrying.md, which is made of src/wire/carry.def.

    python3 tests/wire/carrying.py             both checks
    python3 tests/wire/carrying.py --write     docs/carrying.md, anew

What a body says is read once more by tests/lib/said.py.
"""
import gzip
import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
import croft
import wire
from said import answered, said, tools

DIALECTS = ["chat", "messages", "responses"]
PAGE = os.path.join(croft.ROOT, "docs/carrying.md")
HEAD = """# What is carried between the dialects

Made of `src/wire/carry.def` by `tests/wire/carrying.py --write`; `make check` holds the two together.

A request in one dialect can go to an upstream of another, and its answer comes back in the client's. *carried*:
it arrives with its meaning. *kept*: the other side has no place for it; it stays with the gateway and comes back
from there. *dropped*: left out, and named in `x-croft-note`. *refused*: 400, by its name. Within one dialect everything
passes as it came, fields nobody here knows among it; towards another dialect those are dropped. What is dropped of an
answer has no note: its headers are gone by then. A limit of tokens under 16 is 16 towards `responses`, which takes no
less, and named too. Towards `messages` a request that wants thinking goes without `temperature`, `top_p` and `top_k`, which
are refused beside it, and a turn whose thinking is lost goes without more of it (`reasoning`); a message that only thought
does not go to `chat`. All of that is named.
"""


def page():
    table = json.loads(wire.pipe({"carrying": True}))
    out = [HEAD]
    for reply in (False, True):
        for name in DIALECTS:
            others = [d for d in DIALECTS if d != name]
            out.append("\n## %s of `%s`\n\n| field | to `%s` | to `%s` |\n| --- | --- | --- |\n" % (
                ("Answers" if reply else "Requests", name) + tuple(others)))
            for is_reply, source, field, *verdicts in table:
                if bool(is_reply) == reply and source == name:
                    to = dict(zip(DIALECTS, verdicts))
                    out.append("| `%s` | %s | %s |\n" % (field, to[others[0]], to[others[1]]))
    return "".join(out)


def check_answer(pair, data):
    source, whole = pair["dialect"], not pair["stream"]
    want = answered(source, [pair["reply"]] if whole else
                    [d for d in pair["stream"] if isinstance(d, dict)], whole)
    for to in DIALECTS:
        got = json.loads(wire.pipe({"hear": source, "write": to, **data}))
        where = "%s, answered as %s" % (pair["from"], to)
        if whole:
            parts = [json.loads(got["reply"])]
        else:
            parts = [json.loads(line[6:]) for line in got["reply"].split("\n")
                     if line.startswith("data: {")]
        if want is None:
            croft.check("fail" in got["said"], where + ": fails", str(got["said"]))
            croft.check(answered(to, parts, whole) is None, where + ": the client sees that it failed")
            continue
        have = answered(to, parts, whole)
        if want["usage"] is None:       # a client that asks for it gets noughts where none came
            have["usage"] = None
        croft.check(have == want, where, "%s\n%s" % (have, want))


def check_request(pair):
    source, body = pair["dialect"], pair["body"]
    for to in DIALECTS:
        got = json.loads(wire.pipe({"carry": source, "to": to, "body": json.dumps(body),
                                    "thoughts": True}))
        where = "%s, sent as %s" % (pair["from"], to)
        if "error" in got:
            croft.check(to != source and got["status"] == 400 and any(
                name in got["error"] for name in REFUSED[source][to] + ["is empty", "nothing but"] *
                all(row[0] == "system" for row in said(source, body))), where + ": refused by name",
                got["error"])
            continue
        out = json.loads(got["body"])
        if to == source:
            same = dict(body, model="upstream-model")
            if source == "chat" and body.get("stream"):
                same["stream_options"] = dict(body.get("stream_options") or {}, include_usage=True)
            croft.check(out == same and not got["notes"], where + ": as it came")
            continue
        want, have = said(source, body), said(to, out)
        croft.check(have == want, where + ": messages", "%s\n%s" % (have, want))
        croft.check(tools(to, out) == tools(source, body), where + ": tools",
                    "%s\n%s" % (tools(to, out), tools(source, body)))
        croft.check(bool(out.get("stream")) == bool(body.get("stream")), where + ": stream")


def refused():
    out = {d: {t: [] for t in DIALECTS} for d in DIALECTS}
    for reply, source, field, *verdicts in json.loads(wire.pipe({"carrying": True})):
        for to, verdict in zip(DIALECTS, verdicts):
            if verdict == "refused" and not reply:
                out[source][to].append(field)
    return out


def recorded():
    with gzip.open(os.path.join(wire.DATA, "carry.jsonl.gz"), "rt") as f:
        yield from map(json.loads, f)


if sys.argv[1:] == ["--write"]:
    with open(PAGE, "w") as f:
        f.write(page())
    sys.exit()
with open(PAGE) as f:
    croft.check(f.read() == page(), "docs/carrying.md is that of carry.def: carrying.py --write")
REFUSED = refused()
count = {}
for pair in recorded():
    key = pair["dialect"] + (" stream" if pair["stream"] else " whole")
    count[key] = count.get(key, 0) + 1
    check_request(pair)
    if pair["stream"]:
        check_answer(pair, {"stream": [d if isinstance(d, str) else json.dumps(d)
                                       for d in pair["stream"]]})
    elif pair["status"] == 200 and pair["reply"]:
        check_answer(pair, {"whole": json.dumps(pair["reply"])})
    elif pair["reply"]:
        got = json.loads(wire.pipe({"hear": pair["dialect"], "status": pair["status"],
                                    "whole": json.dumps(pair["reply"])}))
        error = pair["reply"]["error"]
        croft.check(got["text"] == error["message"], pair["from"] + ": an error's words", str(got))
print("recorded pairs: " + ", ".join("%s %d" % c for c in sorted(count.items())))
sys.exit(croft.done())
