#!/usr/bin/env python3
"""serve_clients.py - what real clients sent, as it was recorded, is answered by `croft serve` in the shape they found it in.

    tests/api/serve_clients.py          from the root of the repository; $CROFT names another program

Requests of tests/data/wire/clients.jsonl.gz that need neither tools nor schemas.  The shape is that of the recorded reply: every
member it has is there with the same type.  Where what was recorded is an error or silence it is that of a like request's answer.
"""
import gzip
import json
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[0] = os.path.join(HERE, "../lib")
sys.path.append(HERE)                   # last: its http.py is not the library's
import croft
import serving
from answer import CHATML, ENV, STORY, with_template
from croft import check

PATHS = {"chat": "/v1/chat/completions", "completions": "/v1/completions", "embeddings": "/v1/embeddings"}
# what a model that does not think has not, and what is only there with log-probabilities
OTHERS = {"reasoning_content", "logprobs"}


def needs_more(body):
    """Tools, a schema, or parts that are no text: other tests have these refused by name."""
    parts = [p for m in body.get("messages", []) if isinstance(m["content"], list) for p in m["content"]]
    return bool(body.get("tools") or body.get("functions") or body.get("tool_choice") not in (None, "auto", "none") or
                (body.get("response_format") or {}).get("type", "text") != "text" or any(p["type"] != "text" for p in parts))


def shape(value, path=""):
    """{path: type} of all members; a list is what its items are."""
    if isinstance(value, dict):
        out = {path: "object"}
        for k, v in value.items():
            if k not in OTHERS:
                out.update(shape(v, path + "." + k))
        return out
    if isinstance(value, list):
        out = {path: "list"}
        for v in value:
            out.update(shape(v, path + "[]"))
        return out
    kind = "number" if isinstance(value, (int, float)) and not isinstance(value, bool) else type(value).__name__
    return {} if value is None else {path: kind}


def lacks(want, got):
    """Members of the one that the other has not, or has as another type."""
    return ["%s: %s for %s" % (p, got.get(p), t) for p, t in want.items() if got.get(p) != t]


def members(events):
    """The shape of a stream: what any of its events has."""
    out = {}
    for e in events:
        if e != "[DONE]":
            out.update(shape(e))
    return out


def streamed(name, body, fields, text, want):
    check(fields["content-type"] == "text/event-stream" and fields["x-accel-buffering"] == "no", name + ": a stream", str(fields))
    lines = [l for l in text.split("\n") if l]
    check(all(l.startswith(("data: ", ":")) for l in lines), name + ": events and comments alone")
    got = [l[6:] if l == "data: [DONE]" else json.loads(l[6:]) for l in lines if l.startswith("data: ")]
    check(got[-1] == "[DONE]" and got.count("[DONE]") == 1, name + ": ends")
    missing = lacks(members(want), members(got))
    check(not missing, name + ": has what its client found", str(missing)[:400])
    usage = [e for e in got[:-1] if e.get("usage")]
    wanted = (body.get("stream_options") or {}).get("include_usage")
    check(len(usage) == bool(wanted) and (not wanted or usage[0]["choices"] == []), name + ": usage as it was asked for", str(usage))
    ends = [c["finish_reason"] for e in got[:-1] for c in e["choices"] if c.get("finish_reason")]
    check(len(ends) == 1 and ends[0] in ("stop", "length"), name + ": one finish reason", str(ends))
    check(len({(e["id"], e["object"], e["model"]) for e in got[:-1]}) == 1, name + ": one id, one kind, one model")


def whole(name, body, fields, text, want):
    got = json.loads(text)
    check(fields["content-type"] == "application/json", name + ": JSON", str(fields))
    missing = lacks(shape(want), shape(got))
    check(not missing, name + ": has what its client found", str(missing)[:400])
    check("data" in got or got["choices"][0]["finish_reason"] in ("stop", "length"), name + ": a finish reason", text[:300])
    for item in got.get("data", []):
        base64 = body.get("encoding_format") == "base64"
        check(isinstance(item["embedding"], str if base64 else list), name + ": numbers as they were asked for")


def main():
    with gzip.open("tests/data/wire/clients.jsonl.gz", "rt") as f:
        rows = [r for r in map(json.loads, f) if not needs_more(r["body"])]
    check(len(rows) > 50 and len({r["from"].split("/")[0] for r in rows}) >= 6, "there are as many", str(len(rows)))
    like = {}                           # an answered request of each kind
    for r in rows:
        if r["status"] == 200 and r["body"].get("suffix") is None:
            like.setdefault((r["dialect"], bool(r["body"].get("stream")), "stream_options" in r["body"]), r)
    with serving.Server(with_template(STORY, "serve-clients.gguf", CHATML), "--ctx-size", 3000, "--parallel", 8, env=ENV) as s:
        for r in rows:
            body, name = r["body"], r["from"]
            if "max_completion_tokens" not in body and r["dialect"] != "embeddings":
                body = dict(body, max_tokens=min(body.get("max_tokens", 24), 24))       # their answers were short
            status, fields, text = s.ask("POST", PATHS[r["dialect"]], body, {"Content-Type": "application/json"})
            if body.get("suffix") is not None:
                e = json.loads(text)["error"]
                check(status == 400 and e["param"] == "suffix" and set(e) == {"message", "type", "param", "code"},
                      name + ": a vocabulary without marks to fill in between", text[:300])
                continue
            if not check(status == 200 and body["model"] in fields["x-croft-note"], name + ": is answered", "%s %s" % (status, text[:300])):
                continue
            model = r if r["status"] == 200 else like[(r["dialect"], bool(body.get("stream")), "stream_options" in body)]
            if body.get("stream"):
                streamed(name, body, fields, text, model["stream"])
            else:
                whole(name, body, fields, text, model["reply"])
    sys.exit(croft.done())


if __name__ == "__main__":
    main()
