"""pairs.py - what real clients sent and were answered, recorded, through a gateway before upstreams of
each dialect: the accumulators of the packages `openai` and `anthropic` find the recorded text,
reasoning, arguments, stop reason and usage, and each key without which a client fails is there, in
the recorded order.

    build-venv/bin/python tests/gateway/pairs.py [build/croft]

Where an upstream speaks another dialect than the client, it is strict and says the same in its own
words (standins.py); what docs/carrying.md says is refused must be, by its name.  Needs the packages
of tests/requirements.txt.
"""
import gzip
import json
import os
import re
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
if len(sys.argv) > 1:
    os.environ["CROFT"] = sys.argv[1]
from doors import Door, croft, check, model, upstream
import saying
import standins
from said import answered, said, tools
from talks import ERRORS, Chat, Messages, Responses
import httpx2
import openai

PAGE = os.path.join(croft.ROOT, "docs/carrying.md")
PAIRS = os.path.join(croft.ROOT, "tests/data/wire/carry.jsonl.gz")
TALK = {"chat": Chat, "messages": Messages, "responses": Responses}
PATH = {"chat": "/v1/chat/completions", "messages": "/v1/messages", "responses": "/v1/responses"}
NAMES = {"chat": "chat", "responses": "responses", "messages": "anthropic"}
# Without these a client failed, or found nothing: the last column of the recording's drops.tsv.
NEEDED = {"chat": ["id", "object", "index", "role", "finish_reason", "type", "usage"],
          "messages": ["id", "type", "index", "role", "model", "stop_reason", "stop_sequence", "signature",
                       "usage", "input_tokens", "cache_read_input_tokens", "output_tokens"],
          "responses": ["id", "object", "created_at", "status", "model", "item_id", "output_index",
                        "annotations"]}
EVENTS = {"messages": ["ping", "content_block_stop", "message_delta", "message_stop"],
          "responses": ["response.output_item.done", "response.completed"], "chat": []}
up = standins.Standin()


def recorded():
    with gzip.open(PAIRS, "rt") as f:
        yield from map(json.loads, f)


def refused():
    """{dialect: {upstream's: fields that are refused}}, as the documentation says."""
    out, columns, source = {}, [], None
    with open(PAGE) as f:
        for line in f:
            head = re.match(r"## Requests of `(\w+)`", line)
            source = head[1] if head else None if line.startswith("## ") else source
            cells = re.findall(r"\| ([^|]*) ", line)
            if source and line.startswith("| field"):
                columns = [c.partition("`")[2].rstrip("`") for c in cells[1:]]
            elif source and line.startswith("| `"):
                for to, verdict in zip(columns, cells[1:]):
                    if verdict == "refused":
                        out.setdefault(source, {}).setdefault(to, []).append(cells[0].strip("`"))
    return out


def words_of(reply):
    error = (reply or {}).get("error") or {}
    return error.get("message", ""), error.get("code") or (error.get("details") or {}).get("error_code")


def plan_for(pair, to, want):
    """The upstream's answer: as recorded, or the same in its own dialect."""
    same = to == pair["dialect"]
    if pair["status"] != 200:
        if same:
            return [{"status": pair["status"], "body": pair["reply"], "blind": True}]
        message, code = words_of(pair["reply"])
        return [{"status": pair["status"], "body": saying.error_body(to, pair["status"], message, code)}]
    if same:
        return [dict({"events": [d if isinstance(d, str) else json.dumps(d) for d in pair["stream"]]}
                     if pair["stream"] else {"whole": pair["reply"]}, blind=True)]
    parts = [("think", want["think"])] * bool(want["think"]) + [("text", want["text"])] * bool(want["text"])
    parts += [("call", name, args, re.sub(r"[^\w-]", "_", id_)) for id_, name, args in want["calls"]]
    step = {"parts": parts, "end": want["stop"]}
    if want["usage"]:
        step["usage"] = {"prompt": want["usage"][0], "cached": want["usage"][1], "written": 0,
                         "answer": want["usage"][2], "think": 0}
    return [step]


def read(pair, status, fields, data):
    """What the package makes of the bytes."""
    def handle(_):
        return httpx2.Response(status, content=data, headers={"content-type": fields["content-type"]})

    talk = TALK[pair["dialect"]]("http://x", "k", "m", strict=False,
                                 http=httpx2.Client(transport=httpx2.MockTransport(handle)))
    try:
        return talk.user("a").ask(bool(pair["stream"]))
    except openai.LengthFinishReasonError as e:
        think = "".join(d["choices"][0]["delta"].get("reasoning_content") or "" for d in lines(data)
                        if d.get("choices"))
        return talk.answer(e.completion, think)


def lines(data):
    return [json.loads(line[6:]) for line in data.decode().split("\n") if line.startswith("data: {")]


def keys_in(values):
    """Every key below, with the names of its neighbours' order."""
    out = {}

    def walk(v):
        if isinstance(v, dict):
            for i, k in enumerate(v):
                out.setdefault(k, []).append(list(v)[:i])
                walk(v[k])
        elif isinstance(v, list):
            for x in v:
                walk(x)

    walk(values)
    return out


def same_keys(pair, values, where):
    dialect = pair["dialect"]
    want = keys_in([d for d in pair["stream"] if isinstance(d, dict)] or [pair["reply"]])
    have = keys_in(values)
    gone = [k for k in NEEDED[dialect] if k in want and k not in have]
    check(not gone, where + ": no needed key is missing", str(gone))
    turned = [(k, b) for k in NEEDED[dialect] if k in have and k in want for b in NEEDED[dialect]
              if any(b in before for before in want[k]) and not any(k in before for before in want.get(b, []))
              and any(k in before for before in have.get(b, []))]
    check(not turned, where + ": in the recorded order", str(turned))
    if pair["stream"]:
        kinds = [d.get("type") for d in pair["stream"] if isinstance(d, dict)]
        mine = [d.get("type") for d in values]
        check(all(k in mine for k in EVENTS[dialect] if k in kinds and k != "ping"), where + ": its events")


def one(door, pair, to, table):
    source, body = pair["dialect"], dict(pair["body"], model=to)
    where = "%s to %s" % (pair["from"], to)
    whole = not pair["stream"]
    want = None
    if pair["status"] == 200:
        want = answered(source, [pair["reply"]] if whole else
                        [d for d in pair["stream"] if isinstance(d, dict)], whole)
    up.forget()
    steps = plan_for(pair, to, want or {"text": "", "think": "", "calls": [], "stop": "stop", "usage": None})
    if pair["status"] == 503:           # absorbed: it comes once
        steps[0]["fields"] = {"Retry-After": "0"}
        steps.append({"parts": [["text", "Here again."]], "blind": to == source})
    up.plan("as-" + to, *steps)
    status, fields, data = door.ask(PATH[source], body)
    rows = up.asked("as-" + to)
    if status == 400 and not rows:
        message = json.loads(data)["error"]["message"]
        check(pair["status"] == 400 or to != source and any(f in message for f in table.get(source, {}).get(to, []) +
                                   ["is empty", "nothing but"]), where + ": refused by name", message)
        return "refused"
    if not check(rows and not rows[0]["refused"], where + ": the upstream takes it",
                 "%s %s %s" % (rows and rows[0]["refused"], status, data[:300])):
        return "failed"
    if to != source:
        check(said(to, rows[0]["body"]) == said(source, body) and
              tools(to, rows[0]["body"]) == tools(source, body), where + ": it is asked the same",
              json.dumps(rows[0]["body"])[:600])
    if pair["status"] == 503:
        check(status == 200 and b"again." in data and len(rows) == 2, where + ": absorbed", str(data[:200]))
        return "absorbed"
    if pair["status"] != 200:
        message, code = words_of(pair["reply"])
        mine, mine_code = words_of(json.loads(data))
        check(status == pair["status"] and mine == message and (not code or mine_code == code or to != source),
              where + ": the error's words", "%s %s" % (status, data[:300]))
        return "errors"
    if not check(status == 200 and fields.get("content-type", "").startswith(
            "application/json" if whole else "text/event-stream"), where + ": answered",
            "%s %s" % (status, data[:300])):
        return "failed"
    try:
        got = read(pair, status, fields, data)
    except ERRORS as e:
        check(want is None, where + ": the package raises where it failed", repr(e))
        return "raised"
    except Exception as e:
        check(False, where + ": the package reads it", "%r %s" % (e, data[:600]))
        return "failed"
    have = {"text": got.text, "think": got.think, "calls": got.calls,
            "stop": {"match": "stop"}.get(got.stop, got.stop), "usage": got.usage}
    want = dict(want)
    if want["usage"] is None or got.usage is None and not (body.get("stream_options") or {}).get(
            "include_usage") and source == "chat" and not whole:
        want["usage"] = have["usage"] = None
    check(have == want, where, "%s\n  not %s" % (have, want))
    same_keys(pair, [json.loads(data)] if whole else lines(data), where)
    return "answered"


def main():
    table, count = refused(), {}
    accepts = ["tools", "images", "schema", "reasoning"]
    with Door([upstream("up-" + d, name, up.url, keys=["env:UP_KEY"]) for d, name in NAMES.items()],
              [model(d, "up-" + d, accepts=accepts, context=300000, max_output=200000) for d in NAMES], {"UP_KEY": "sk-up-1"}) as door:
        for pair in recorded():
            if pair["status"] is None:  # the recording ended while the server was silent
                continue
            for to in NAMES:
                end = one(door, pair, to, table)
                count[end] = count.get(end, 0) + 1
        rows, made = door.rows(sum(up.total.values())), sum(up.total.values())
        check(len(rows) == made, "a row for each attempt", "%d %d" % (len(rows), made))
    print("pairs: " + ", ".join("%s %d" % c for c in sorted(count.items())))
    check(count.get("answered", 0) > 250, "enough were answered")
    sys.exit(croft.done())


if __name__ == "__main__":
    main()
