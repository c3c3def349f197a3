"""pairs.py - what real clients sent and were answered, recorded, through a gateway before upstreams of
each dialect: the accumulators of the packages `openai` and `anthropic` find the recorded text,
reasoning, arguments, stop reason and usage, and each key without which a client fails is there, in
the recorded order.

    build-venv/bin/python tests/gateway/pairs.py [build/croft]

Where an upstream speaks another dialect than the client, it is strict and says the same in its own
words (standins.py); what docs/carrying.md says of each field must be so: carried, dropped and noted,
kept, or refused by its name.  Pairs in which somebody falls silent are silence.py's.  Needs the
packages of tests/requirements.txt.
"""
import http.client
import json
import os
import re
import socket
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
if len(sys.argv) > 1:
    os.environ["CROFT"] = sys.argv[1]
from doors import Door, croft, check, model, upstream
from recorded import ENDS, EVENTS, NAMES, NEEDED, OTHERS, Table, pairs, settings, thoughts
import saying
import standins
from said import answered, said, said_so_far, tools
from talks import ERRORS, Chat, Messages, Responses
import httpx2
import openai

TALK = {"chat": Chat, "messages": Messages, "responses": Responses}
OVERFLOW = {"chat": r"maximum context length is 131072 tokens\. However, .* 140000",
            "messages": r"^prompt is too long: 140000 tokens > 131072 maximum$"}
up = standins.Standin()
table = Table()


class Way:
    """To an upstream of one dialect, on a connection and with a key of its own."""

    def __init__(self, door, to, name):
        self.door, self.to, self.name, self.there = door, to, name, "as-" + name
        self.count, self.kept, self.thought = {}, 0, set()
        self.key = door.new_key("to-" + name)
        self.connection = door.connection()
        while door.ask("/v1/models", None, self.key, "GET")[0] == 401:
            time.sleep(0.05)            # a new key is known in time

    def ask(self, pair, method, path, body=None):
        head = dict(pair["head"], **{"content-type": "application/json"})
        head.update({"x-api-key": self.key} if pair["key"] == "x-api-key" else
                    {"authorization": "Bearer " + self.key})
        if "upgrade" in head:
            head["connection"] = "Upgrade"
        try:
            self.connection.request(method, path, body and json.dumps(body), head)
            r = self.connection.getresponse()
            return r.status, r.headers, r.read()
        except http.client.HTTPException as e:
            check(False, "%s to %s: an answer" % (pair["from"], self.to), repr(e))
            self.connection.close()
            return 0, {}, b""

    def add(self, word):
        self.count[word] = self.count.get(word, 0) + 1


# ---- what the upstream says ---------------------------------------------------------------------

def words_of(reply):
    error = (reply or {}).get("error") or {}
    return error.get("message", ""), error.get("code") or (error.get("details") or {}).get("error_code")


def error_step(pair, to):
    if to == pair["dialect"]:
        return {"status": pair["status"], "body": pair["reply"], "blind": True}
    message, code = words_of(pair["reply"])
    if pair["scenario"] == "C":
        message, code = {"messages": ("prompt is too long: 140000 tokens > 131072 maximum", None)}.get(
            to, ("This model's maximum context length is 131072 tokens. However, your request has 140000 "
                 "input tokens. Please reduce the length of the messages.", "context_length_exceeded"))
    return {"status": pair["status"], "body": saying.error_body(to, pair["status"], message, code)}


def parts_of(want):
    parts = [("think", want["think"])] * bool(want["think"]) + [("text", want["text"])] * bool(want["text"])
    return parts + [("call", name, args, re.sub(r"[^\w-]", "_", id_)) for id_, name, args in want["calls"]]


def answer_step(pair, to, want):
    """As recorded, or the same in the upstream's own dialect."""
    if to == pair["dialect"]:
        return dict({"events": [d if isinstance(d, str) else json.dumps(d) for d in pair["events"]]}
                    if pair["events"] else {"whole": pair["reply"]}, blind=True)
    step = {"parts": parts_of(want), "end": want["stop"]}
    if want["usage"]:
        step["usage"] = {"prompt": want["usage"][0], "cached": want["usage"][1], "written": 0,
                         "answer": want["usage"][2], "think": 0}
    return step


# ---- what the client finds ----------------------------------------------------------------------

def read(pair, status, kind, data):
    """What the package makes of the bytes."""
    def handle(_):
        return httpx2.Response(status, content=data, headers={"content-type": kind})

    talk = TALK[pair["dialect"]]("http://x", "k", "m", strict=False,
                                 http=httpx2.Client(transport=httpx2.MockTransport(handle)))
    try:
        return talk.user("a").ask(bool(pair["events"]))
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
    want, have = keys_in(pair["said"]), keys_in(values)
    gone = [k for k in NEEDED[dialect] if k in want and k not in have]
    check(not gone, where + ": no needed key is missing", str(gone))
    turned = [(k, b) for k in NEEDED[dialect] if k in have and k in want for b in NEEDED[dialect]
              if any(b in before for before in want[k]) and not any(k in before for before in want.get(b, []))
              and any(k in before for before in have.get(b, []))]
    check(not turned, where + ": in the recorded order", str(turned))
    if pair["events"]:
        kinds = [d.get("type") for d in pair["said"]]
        mine = [d.get("type") for d in values]
        check(all(k in mine for k in EVENTS[dialect] if k in kinds and k != "ping"), where + ": its events")


# ---- what the upstream was asked ----------------------------------------------------------------

def turns(rows):
    """Within a turn, what was said and then the calls: chat has no other order."""
    out = []
    for row in rows:
        at = len(out)
        while row[0] == "assistant" and at and out[at - 1][0] == "call":
            at -= 1
        if at < len(out) and at and out[at - 1][0] == "assistant":
            out[at - 1] = ("assistant",) + tuple(a + b for a, b in zip(out[at - 1][1:], row[1:]))
        else:
            out.insert(at, row)
    return out


def same_request(way, pair, row, fields, where):
    """What the table says of each field is what happened to it."""
    source, body, sent = pair["dialect"], pair["body"], row["body"]
    check(turns(said(way.to, sent)) == turns(said(source, body)) and tools(way.to, sent) == tools(source, body),
          where + ": it is asked the same", json.dumps(sent)[:600])
    mine, theirs = settings(source, body), settings(way.to, sent)
    thinks = (sent.get("thinking") or {}).get("type") == "adaptive"
    wrong = {k: (v, theirs[k]) for k, v in mine.items() if v is not None and theirs[k] != v and
             not (k == "max" and way.to == "responses" and v < 16 == theirs[k]) and
             not (k in ("temperature", "top_p") and thinks and theirs[k] is None)}
    check(not wrong, where + ": its settings are carried", str(wrong))
    if pair["status"] != 200:           # an error has no note
        return
    note = (fields.get("x-croft-note") or "").partition("dropped: ")[2]
    notes = set(note.split(", ")) - {""}
    want = table.dropped(source, way.to, body)
    check(want <= notes, where + ": what is dropped is noted", "%s of %s" % (want - notes, notes))
    stray = {n for n in notes - want if not table.may_note(source, way.to, body, n)}
    check(not stray, where + ": and nothing else", str(stray))
    back, had = thoughts(way.to, sent), thoughts(source, body)
    if table.verdict(source, way.to, ENDS[source]) == "carried":
        check("".join(back) == "".join(had) or "reasoning" in notes, where + ": thinking is carried", str((back, had)))
    else:
        check(way.thought.issuperset(back), where + ": thinking that comes back was the model's", str((back, had)))
        way.kept += len(back)


def refused_by_name(way, pair, status, data, where):
    source = pair["dialect"]
    message = json.loads(data)["error"]["message"]
    names = table.refused(source, way.to, pair["body"])
    good = any(f in message for f in names) or "is empty" in message or "nothing but" in message
    check(pair["status"] == 400 or way.to != source and good, where + ": refused by name", message)
    way.add("refused")


def failed_as_said(way, pair, status, fields, data, n_asked, where):
    """An error of the upstream's: absorbed, or the recorded words."""
    if pair["status"] == 503:
        check(status == 200 and b"again." in data and n_asked == 2, where + ": absorbed", str(data[:200]))
        return "absorbed"
    message, code = words_of(pair["reply"])
    mine, mine_code = words_of(json.loads(data))
    if pair["scenario"] == "C":
        of = "messages" if pair["dialect"] == "messages" else "chat"
        check(status == 400 and re.search(OVERFLOW[of], mine) and (of == "messages" or mine_code == code),
              where + ": an overflow that the client knows", "%s %s" % (status, data[:300]))
        return "overflows"
    check(status == pair["status"] and mine == message and (not code or mine_code == code or
                                                            way.to != pair["dialect"]),
          where + ": the error's words", "%s %s" % (status, data[:300]))
    return "errors"


def broken_off(way, pair, status, fields, data, n_asked, want, where):
    """An error event inside the stream, behind what was visible: no word twice, and one end."""
    events = lines(data)
    ends = [e for e in events if e.get("error") or e.get("type") in ("error", "response.failed")]
    check(status == 200 and n_asked == 1 and len(ends) == 1 and events[-1] is ends[0] and b"[DONE]" not in data,
          where + ": one error event, the last", "%s %s %s" % (status, n_asked, data[-400:]))
    check("engine stopped" in json.dumps(ends), where + ": in the upstream's words", str(ends))
    have = said_so_far(pair["dialect"], [e for e in events if e not in ends])
    check(have == want, where + ": what was said before", "%s\n  not %s" % (have, want))
    try:
        got = read(pair, status, fields["content-type"], data)
        check(False, where + ": the package raises", repr(got))
    except ERRORS:
        pass
    return "broken off"


def goes_on(way, pair, broke):
    """Where the model accepts it the partial text is continued: no error, no word twice."""
    name, parts = way.name + "-more", parts_of(broke)
    where = "%s to %s" % (pair["from"], name)
    up.forget("as-" + name)
    up.plan("as-" + name, {"parts": parts, "fail_at": sum(len(saying.part_pieces(p)) for p in parts), "blind": True},
            {"parts": [["text", " And on."]], "end": "stop", "blind": True})
    status, fields, data = way.ask(pair, "POST", pair["path"], dict(pair["body"], model=name))
    rows = up.asked("as-" + name)
    check(len(rows) == 2 and rows[1]["body"]["messages"][-1] == {"role": "assistant", "content": broke["text"]},
          where + ": asked to go on", json.dumps([r["body"]["messages"][-1] for r in rows]))
    try:
        got = read(pair, status, fields["content-type"], data)
        check((got.text, got.think, got.stop) == (broke["text"] + " And on.", broke["think"], "stop"),
              where + ": as one answer", repr(got))
    except ERRORS as e:
        check(False, where + ": as one answer", "%r %s" % (e, data[-300:]))
    return "went on"


def finds(way, pair, status, fields, data, want, where):
    kind = "text/event-stream" if pair["events"] else "application/json"
    if not check(status == 200 and fields.get("content-type", "").startswith(kind), where + ": answered",
                 "%s %s" % (status, data[:300])):
        return "failed"
    try:
        got = read(pair, status, fields["content-type"], data)
    except Exception as e:
        check(False, where + ": the package reads it", "%r %s" % (e, data[:600]))
        return "failed"
    have = {"text": got.text, "think": got.think, "calls": got.calls,
            "stop": {"match": "stop"}.get(got.stop, got.stop), "usage": got.usage}
    want = dict(want)
    if want["usage"] is None or got.usage is None and pair["dialect"] == "chat" and pair["events"] and \
            not (pair["body"].get("stream_options") or {}).get("include_usage"):
        want["usage"] = have["usage"] = None
    check(have == want, where, "%s\n  not %s" % (have, want))
    same_keys(pair, lines(data) if pair["events"] else [json.loads(data)], where)
    return "answered"


# ---- pairs --------------------------------------------------------------------------------------

def talked(way, pair):
    """Chat, messages and responses."""
    source, to = pair["dialect"], way.to
    where = "%s to %s" % (pair["from"], way.name)
    want = broke = None
    if pair["status"] == 200:
        want = answered(source, pair["said"], not pair["events"])
        way.thought.add((want or {}).get("think"))
        broke = None if want else said_so_far(source, pair["said"])
    if pair["status"] != 200:
        steps = [error_step(pair, to)]
    elif broke and to != source:
        parts = parts_of(broke)
        steps = [{"parts": parts, "fail_at": sum(len(saying.part_pieces(p)) for p in parts),
                  "words": "engine stopped"}]
    else:
        steps = [answer_step(pair, to, want)]
    if pair["status"] == 503:           # absorbed: it comes once
        steps[0]["fields"] = {"Retry-After": "0"}
        steps.append({"parts": [["text", "Here again."]], "blind": to == source})
    up.forget(way.there)
    up.plan(way.there, *steps)
    status, fields, data = way.ask(pair, "POST", pair["path"], dict(pair["body"], model=way.name))
    rows = up.asked(way.there)
    if status == 400 and not rows:
        refused_by_name(way, pair, status, data, where)
        return
    if not check(rows and not rows[0]["refused"], where + ": the upstream takes it",
                 "%s %s %s" % (rows and rows[0]["refused"], status, data[:300])):
        return
    if to != source:
        same_request(way, pair, rows[0], fields, where)
    elif to == "messages":
        check(rows[0]["fields"].get("anthropic-beta") == pair["head"].get("anthropic-beta"),
              where + ": its beta goes on", str(rows[0]["fields"]))
    if pair["status"] != 200:
        way.add(failed_as_said(way, pair, status, fields, data, len(rows), where))
    elif broke:
        way.add(broken_off(way, pair, status, fields, data, len(rows), broke, where))
        if to != "responses" and not pair["body"].get("tools"):
            way.add(goes_on(way, pair, broke))
    else:
        way.add(finds(way, pair, status, fields, data, want, where))


def left(way, pair):
    """The client went away: so does the gateway, in the same turn."""
    where = "%s to %s" % (pair["from"], way.name)
    name = way.there
    up.forget(name)
    up.plan(name, {"parts": [["text", "Some words that"]], "stall_at": 2, "blind": True})
    body = json.dumps(dict(pair["body"], model=way.name)).encode()
    with socket.create_connection(("127.0.0.1", way.door.port)) as s:
        s.sendall(("POST %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Length: %d\r\n\r\n" % (
            pair["path"], way.key, len(body))).encode() + body)
        data = b""
        while b"words" not in data:
            more = s.recv(65536)
            if not check(more, where + ": begins", str(data[-300:])):
                return
            data += more
    up.wait(lambda rows: all(r["ended"] for r in rows if r["model"] == name))
    check([r["ended"] for r in up.asked(name)] == ["gone"], where + ": the upstream is left", str(up.asked(name)))
    way.add("left")


def plain(way, pair):
    """Completions and embeddings reach those who have them, as they are."""
    where = "%s to %s" % (pair["from"], way.name)
    up.forget(way.there)
    up.plan(way.there, dict({"events": [d if isinstance(d, str) else json.dumps(d) for d in pair["events"]]}
                                 if pair["events"] else {"whole": pair["reply"]}, blind=True))
    status, _, data = way.ask(pair, "POST", pair["path"], dict(pair["body"], model=way.name))
    rows = up.asked(way.there)
    if way.to != "chat":
        check(status in (400, 404) and not rows and json.loads(data)["error"]["message"],
              where + ": an upstream without", "%s %s" % (status, data[:300]))
        way.add("refused")
        return
    check(status == 200 and len(rows) == 1 and dict(rows[0]["body"], stream_options=0) == dict(
        pair["body"], model=way.there, stream_options=0), where + ": asked as it was", str(rows))
    have = lines(data) if pair["events"] else json.loads(data)
    want = [d for d in pair["said"] if d["choices"] or (pair["body"].get("stream_options") or {}).get(
        "include_usage")] if pair["events"] else pair["reply"]
    check(have == want, where + ": answered as it was", "%s\n  not %s" % (have, want))
    way.add("answered")
    if pair["events"]:
        up.plan(way.there, {"fail_at": 2, "blind": True})
        data = way.ask(pair, "POST", pair["path"], dict(pair["body"], model=way.name))[2]
        check(["error" in d for d in lines(data)] == [False, False, True], where + ": one that fails says so", str(data))


def counted(way, pair):
    where = "%s to %s" % (pair["from"], way.name)
    up.forget(way.there)
    status, fields, data = way.ask(pair, "POST", pair["path"], dict(pair["body"], model=way.name))
    n = json.loads(data).get("input_tokens")
    rows = up.asked(way.there)
    if way.to == "messages":
        check(status == 200 and len(rows) == 1 and rows[0]["status"] == 200 and "x-croft-note" not in fields,
              where + ": the upstream counts", "%s %s" % (status, data))
    else:
        check(status == 200 and n > 0 and "estimate" in fields.get("x-croft-note", ""),
              where + ": an estimate that says so", "%s %s" % (status, data))
    way.add("counted")


def other(way, pair):
    """What asks no model."""
    where = pair["from"]
    path = pair["path"].partition("?")[0]
    if path.startswith("/v1/models/"):
        pair = dict(pair, path="/v1/models/" + way.name)
    status, fields, data = way.ask(pair, pair["method"], pair["path"], pair["body"] and dict(
        pair["body"], model=way.name))
    if pair["method"] == "HEAD":        # its client takes either
        check(status in (200, 404) and not data, where, str(status))
    elif path == "/v1/responses":
        check(status == 426, where + ": no WebSocket", "%s %s" % (status, data))
    elif path.startswith("/none/"):
        check(status == 404 and json.loads(data)["error"]["message"], where, "%s %s" % (status, data))
    else:
        have, want = json.loads(data), pair["reply"]
        check(status == 200 and set(want) - {"models"} <= set(have), where + ": its keys",
              str(set(want) - set(have)))
        if "data" in want:
            check({way.name, way.name + "-more"} <= {m["id"] for m in have["data"]} and
                  set(want["data"][0]) <= set(have["data"][0]), where + ": of each model", str(data[:600]))
    way.add("others")


def walk(way, todo):
    for pair in todo:
        if pair["dialect"] in OTHERS:
            if way.to == "chat":
                other(way, pair)
        elif pair["dialect"] == "count":
            counted(way, pair)
        elif pair["dialect"] in ("completions", "embeddings"):
            plain(way, pair)
        elif pair["cut"]:
            left(way, pair)
        else:
            talked(way, pair)


def main():
    todo = pairs()
    check(len(todo) == 477, "all that were recorded", str(len(todo)))
    mine = [p for p in todo if p["scenario"] != "D"]
    accepts = ["tools", "images", "schema", "reasoning"]
    more = {"chat": ["completions", "embeddings"]}
    clients = sorted({p["client"] for p in mine})
    halves = [[p for p in mine if p["client"] in clients[i::2]] for i in (0, 1)]
    names = [("%s-%d" % (d, i), d) for d in NAMES for i in (0, 1)]      # of models and upstreams
    models = [model(name, name, accepts=accepts + more.get(d, []), context=300000, max_output=200000)
              for name, d in names]
    models += [model(name + "-more", name, accepts=accepts + ["continue"], context=300000, max_output=200000)
               for name, d in names if d != "responses"]
    with Door([upstream(name, NAMES[d], up.url, keys=["env:UP_KEY"]) for name, d in names], models,
              {"UP_KEY": "sk-up-1"}) as door:
        ways = [Way(door, d, name) for name, d in names]
        threads = [threading.Thread(target=walk, args=(way, halves[i % 2])) for i, way in enumerate(ways)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        made = sum(up.total.values())
        rows = door.rows(made)
        check(len(rows) == made, "a row for each attempt", "%d %d" % (len(rows), made))
        for to in NAMES:
            count = {}
            for way in ways:
                for word, n in way.count.items() if way.to == to else ():
                    count[word] = count.get(word, 0) + n
            print("pairs to %s: %s" % (to, ", ".join("%s %d" % c for c in sorted(count.items()))))
            check(count.get("answered", 0) > 270, "enough were answered", str(count))
            check(any(w.kept for w in ways if w.to == to) or to == "chat", "thinking that was kept came back", to)
    sys.exit(croft.done())


if __name__ == "__main__":
    main()
