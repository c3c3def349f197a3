"""upstreams.py - a gateway before upstreams that misbehave (standins.py): the right error or the next
member of the group, one end to the client, one settlement for each attempt that the upstream saw, a
metric.

    tests/gateway/upstreams.py [build/croft] [--all]

--all: the connection is reset behind each byte of an answer, not behind some.  Nothing here asserts
how long a thing took.
"""
import json
import os
import re
import shutil
import ssl
import subprocess
import sys
import tempfile
import threading

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
ALL = "--all" in sys.argv
for arg in sys.argv[1:]:
    if not arg.startswith("--"):
        os.environ["CROFT"] = arg
from doors import Door, changed, croft, check, free_port, model, upstream
import saying
import standins

NAMES = {"chat": "chat", "responses": "responses", "messages": "anthropic"}
PATH = {"chat": "/v1/chat/completions", "messages": "/v1/messages", "responses": "/v1/responses"}
HELLO = "Gr\u00fc\u00dfe an \u4e16\u754c \U0001f600"
SAID = "You said: " + HELLO
SHORT = {"connect": "500ms", "first_byte": "400ms", "idle": "400ms", "total": "20s"}
BRIEF = dict(SHORT, first_byte="5s", idle="5s", total="1s")
# A sanitizer keeps what is freed, up to 256 MB of it.
MEMORY = (900 if "asan" in croft.CROFT else 200) << 20
trap = standins.Standin()               # nobody may ask this one


def error_of(dialect, message="The stand-in is out of order."):
    return saying.error_body(dialect, 500, message)


# name, step, timeouts, what the client gets: "next" (the next member answers), "broken" (text, then
# an error), "whole" (nothing is wrong), "either"
def cases(dialect):
    yield from [("status-%d" % s, {"status": s}, None, "next") for s in (401, 403, 404, 408, 500, 502, 503, 529)]
    yield "status-429", {"status": 429}, None, "next"
    yield "spent", {"status": 429, "body": saying.error_body(
        dialect, 429, "You exceeded your current quota.", "insufficient_quota", "insufficient_quota"
        if dialect != "messages" else "rate_limit_error")}, None, "next"
    yield "error-in-200", {"status": 200, "body": error_of(dialect)}, None, "next"
    yield "wrong-type", {"status": 200, "body": "<html>hi</html>", "type": "text/html"}, None, "next"
    yield "no-json", {"status": 200, "body": "{\"id\": "}, None, "next"
    yield "redirect", {"status": 302, "body": "", "fields": {"Location": trap.url + "/v1/models"}}, None, "next"
    yield "closed", {"close_first": True}, None, "next"
    yield "reset-head", {"reset_at": 30}, None, "next"
    yield "silent", {"silent": True}, SHORT, "next"
    yield "slow-head", {"slow": 0.05}, SHORT, "next"
    yield "error-first", {"fail_at": 0}, None, "next"
    yield "cut-first", {"cut_at": 0}, None, "next"
    yield "stall-first", {"stall_at": 0}, SHORT, "next"
    yield "long-line", {"long_line": 100 << 20}, None, "next"
    yield "gzip", {"gzip": True}, None, "next"
    yield "error-late", {"fail_at": 2}, None, "broken"
    yield "cut-late", {"cut_at": 2}, None, "broken"
    yield "stall-late", {"stall_at": 2}, SHORT, "broken"
    yield "endless", {"endless": True, "pace": 0.01}, BRIEF, "broken"
    yield "bytes", {"bytes": 1}, None, "whole"
    yield "crlf", {"eol": "\r\n"}, None, "whole"
    yield "cr", {"eol": "\r"}, None, "whole"
    yield "no-usage", {"no_usage": True}, None, "whole"
    yield "usage-twice", {"usage_twice": True}, None, "whole"
    yield "usage-negative", {"usage": {"prompt": -5, "cached": 0, "written": 0, "answer": -9, "think": 0}}, None, \
        "whole"
    yield "glued", {"glue": True}, None, "either"
    yield "two-ends", {"done": 2}, None, "whole"
    yield "no-end", {"done": 0}, None, "either"


def ask(door, client, name, stream=True, text=HELLO, **more):
    body = {"model": name, "stream": stream}
    if client == "responses":
        body["input"] = text
    else:
        body["messages"] = [{"role": "user", "content": text}]
    if client == "messages":
        body["max_tokens"] = 1000
    return door.ask(PATH[client], dict(body, **more))


def seen(client, data):
    """The text of a stream, and its ends in order."""
    text, ends = "", []
    for line in data.decode().replace("\r\n", "\n").split("\n"):
        if not line.startswith("data:"):
            continue
        line = line[5:].strip()
        if line == "[DONE]":
            ends.append("done")
            continue
        e = json.loads(line)
        kind = e.get("type")
        if e.get("error") and kind in (None, "error") or kind in ("error", "response.failed"):
            ends.append("error")
        elif kind in ("message_stop", "response.completed", "response.incomplete"):
            ends.append("done")
        elif kind == "response.output_text.delta":
            text += e["delta"]
        elif kind == "content_block_delta":
            text += e["delta"].get("text", "")
        elif client == "chat" and e.get("choices"):
            text += e["choices"][0]["delta"].get("content") or ""
    return text, ends


def whole_text(client, data):
    r = json.loads(data)
    if client == "chat":
        return r["choices"][0]["message"]["content"]
    if client == "messages":
        return "".join(b.get("text", "") for b in r["content"])
    return "".join(c["text"] for i in r["output"] if i["type"] == "message" for c in i["content"])


def error_shape(client, data):
    """An error in the client's own words: its message."""
    e = json.loads(data)
    if client == "messages":
        return e["error"]["message"] if e.get("type") == "error" and "type" in e["error"] else None
    return e["error"]["message"] if set(e["error"]) >= {"message", "type", "param", "code"} else None


def settled(up, door, name, where):
    """A row for each attempt that the stand-in saw, none open, none twice."""
    attempts = up.asked("as-" + name)
    for _ in range(200):
        rows = [r for r in door.read_rows() if r["upstream"] == "u-" + name]
        if len([r for r in rows if r["state"] not in ("void", "open")]) >= len(attempts) and \
                not [r for r in rows if r["state"] == "open"]:
            break
        standins.time.sleep(0.02)
    sent = [r for r in rows if r["state"] != "void"]
    check(len(sent) == len(attempts) and not [r for r in rows if r["state"] == "open"],
          where + ": one settlement for each attempt", "%s %s" % ([r["state"] for r in rows],
                                                                  [a["ended"] for a in attempts]))
    return sent, attempts


def no_secrets(text, where):
    check(not re.search(r"sk-up|127\.0\.0\.1|/tmp/|0x[0-9a-f]{6}|as-m-|\bu-", text), where + ": says nothing of "
          "the inside", text[:300])


def run_case(up, door, dialect, i, name, step, want):
    clients = list(NAMES)
    first, second = clients[i % 3], clients[(i + 1) % 3]
    up.plan("as-m-" + name, dict(step))
    before = door.metrics()
    for client, model_ in ((first, "g-" + name), (second, "m-" + name)):
        where = "%s before %s: %s" % (client, dialect, model_)
        status, fields, data = ask(door, client, model_)
        if status == 200:
            try:
                text, ends = seen(client, data)
            except (ValueError, KeyError) as e:
                check(False, where + ": the stream is read", "%r %s" % (e, data[:500]))
                continue
            check(len(ends) == 1, where + ": one end", "%s %s" % (ends, data[-500:]))
        if want == "next" and model_.startswith("g-"):
            check(status == 200 and text == SAID and ends == ["done"], where + ": the next one answers",
                  "%s %s" % (status, data[:400]))
        elif want == "next":
            message = None
            if status != 200:
                message = error_shape(client, data)
                no_secrets(data.decode(), where)
            # what had to be said for life's sake before the deadline is followed by an error event
            check(message and status in (429, 502, 503, 504) or name == "stall-first" and status == 200 and
                  ends == ["error"] and not text, where + ": an error", "%s %s" % (status, data[:400]))
            if name == "status-429":        # or its key rests still
                check(status in (429, 503) and fields.get("retry-after"), where + ": its status", str(status))
        elif want == "broken":
            check(status == 200 and ends == ["error"] and text and (SAID.startswith(text) or name == "endless"),
                  where + ": text, then an error", "%s %s" % (status, data[-400:]))
        elif want == "whole":
            check(status == 200 and text == SAID and ends == ["done"], where + ": nothing is wrong",
                  "%s %s" % (status, data[-400:]))
        else:
            check(status != 200 or ends == ["error"] or text == SAID, where + ": an answer or an error",
                  "%s %s" % (status, data[-400:]))
    sent, attempts = settled(up, door, "m-" + name, "%s before %s" % (name, dialect))
    ends = {k[1] for k in changed(before, door.metrics(), 'end="') if k[0].endswith("attempts_total")}
    check(len(ends) >= 1 + (want == "next") and (want != "broken" or ends != {'{end="well"}'}),
          "%s before %s: a metric" % (name, dialect), str(ends))
    if name in ("bytes", "crlf", "cr", "two-ends", "usage-twice"):
        check([(r["state"], r["completion"]) for r in sent] == [("exact", a["usage"]["answer"]) for a in attempts],
              "%s before %s: as the upstream counted" % (name, dialect), str(sent))
    if name in ("no-usage", "cut-late", "stall-late", "error-late", "endless", "usage-negative"):
        check(all(r["state"] == "estimated" and r["completion"] >= 0 for r in sent),
              "%s before %s: estimated" % (name, dialect), str(sent))
    return attempts


def misbehaving(dialect):
    up = standins.Standin()
    listed = list(cases(dialect))
    models = [("good", None)] + [("m-" + name, times) for name, _, times, _ in listed]
    ups = [upstream("u-" + n, NAMES[dialect], up.url, keys=["env:UP_KEY"], **({"timeouts": t} if t else {}))
           for n, t in models]
    with Door(ups, [model(n, "u-" + n) for n, _ in models], {"UP_KEY": "sk-up-1"},
              groups=[{"name": "g-" + name, "members": [{"model": "m-" + name}, {"model": "good"}]}
                      for name, _, _, _ in listed]) as door:
        for i, (name, step, _, want) in enumerate(listed):
            attempts = run_case(up, door, dialect, i, name, step, want)
            if name == "redirect":
                check(attempts and not trap.asked(), "credentials do not follow a redirect")
        memory = rss(door)
        check(memory < MEMORY, "100 MB lines are not kept", "%d MiB" % (memory >> 20))
        good, said = door.audit_holds()
        check(good, "the audit log holds", said)


def rss(door):
    with open("/proc/%d/status" % door.p.pid) as f:
        return int(re.search(r"VmHWM:\s+(\d+) kB", f.read())[1]) << 10


# ---- who is not there at all ---------------------------------------------------------------------

def certificate(folder, name, subject, days="2"):
    key, cert = os.path.join(folder, name + ".key"), os.path.join(folder, name + ".pem")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", cert, "-days",
                    days, "-subj", "/CN=" + name, "-addext", "subjectAltName=" + subject],
                   check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    return cert, context


def absent():
    up = standins.Standin()
    with tempfile.TemporaryDirectory() as folder:
        others = {}
        if shutil.which("openssl"):
            right, context = certificate(folder, "right", "IP:127.0.0.1")
            wrong, named = certificate(folder, "wrong", "DNS:elsewhere.example")
            own = standins.Standin(context=context)
            elsewhere = standins.Standin(context=named)
            others = {"certified": (own.url, right), "self-signed": (own.url, None),
                      "of-another": (elsewhere.url, wrong)}
        else:
            croft.skip("certificates", "the program openssl is not there")
        places = {"refused": ("http://127.0.0.1:%d" % free_port(), None),
                  "no-name": ("http://nothing.invalid:80", None),
                  "no-tls": (up.url.replace("http:", "https:"), None), **others}
        ups = [upstream("u-m-" + n, "chat", url, keys=["env:UP_KEY"], **({"ca_file": ca} if ca else {}))
               for n, (url, ca) in places.items()] + [upstream("u-good", "chat", up.url, keys=["env:UP_KEY"])]
        with Door(ups, [model("m-" + n, "u-m-" + n) for n in places] + [model("good", "u-good")],
                  {"UP_KEY": "sk-up-1"},
                  groups=[{"name": "g-" + n, "members": [{"model": "m-" + n}, {"model": "good"}]}
                          for n in places]) as door:
            for n in places:
                before = door.metrics()
                status, fields, data = ask(door, "chat", "g-" + n)
                check(status == 200 and seen("chat", data) == (SAID, ["done"]), n + ": the next one answers",
                      "%s %s" % (status, data[:300]))
                status, fields, data = ask(door, "chat", "m-" + n, stream=False)
                if n == "certified":
                    check(status == 200 and len(own.asked()) == 2, "a certificate that is known", str(data[:300]))
                else:
                    check(status in (502, 503, 504) and error_shape("chat", data), n + ": an error",
                          "%s %s" % (status, data[:300]))
                    no_secrets(data.decode(), n)
                    sent, _ = settled(up, door, "m-" + n, n)
                    check(not sent, n + ": nothing was sent", str(sent))
                    check([k for k in changed(before, door.metrics(), 'end="') if "attempts_total" in k[0] and
                           "well" not in k[1]], n + ": a metric")
            if others:
                check(not elsewhere.asked(), "nothing is said to a stranger")


# ---- keys, continuation, resets, slow readers ---------------------------------------------------

def keys_and_rest():
    up = standins.Standin(keys=["sk-up-1", "sk-up-2"])
    ups = [upstream("u-two", "chat", up.url, keys=["env:UP_1", "env:UP_2"]),
           upstream("u-first", "chat", up.url, keys=["env:UP_1"]),
           upstream("u-second", "chat", up.url, keys=["env:UP_1"]),
           upstream("u-reset", "chat", up.url, keys=["env:UP_1"]),
           upstream("u-one", "chat", up.url, keys=["env:UP_1"], max_in_flight=1)]
    with Door(ups, [model("two", "u-two"), model("first", "u-first"), model("reset", "u-reset"),
                    model("one", "u-one"),
                    model("second", "u-second", accepts=["tools", "continue"])],
              {"UP_1": "sk-up-1", "UP_2": "sk-up-2"},
              groups=[{"name": "on", "members": [{"model": "first"}, {"model": "second"}]},
                      {"name": "away", "members": [{"model": "reset"}, {"model": "second"}]}]) as door:
        up.plan("as-two", {"status": 429, "fields": {"Retry-After": "3600"}}, {})
        got = [ask(door, "chat", "two", stream=False) for _ in range(3)]
        keys = [a["key"] for a in up.asked("as-two")]
        check([g[0] for g in got] == [200] * 3 and len(keys) == 4 and len(set(keys[1:])) == 1 and
              keys[0] != keys[1], "a key that is told 429 rests, the other goes on", "%s %s" % (keys, got[0]))

        up.plan("as-first", {"cut_at": 3})
        up.plan("as-second", {"parts": [["text", "and the rest."]]})
        for client in NAMES:
            status, _, data = ask(door, client, "on", text="one two three four")
            text, ends = seen(client, data)
            check(text == "You said: one and the rest." and ends == ["done"], client + ": it is continued",
                  "%s %s" % (text, ends))
            last = up.asked("as-second")[-1]["body"]["messages"][-1]
            check(last["role"] == "assistant" and saying.text_of(last["content"]) == "You said: one ",
                  client + ": with what was said", str(last))
        up.plan("as-first", {"parts": [["text", "I will. "], ["call", "w", {"a": "one two three"}]], "cut_at": 3})
        tool = [{"type": "function", "function": {"name": "w", "parameters": {"type": "object"}}}]
        n = len(up.asked("as-second"))
        status, _, data = ask(door, "chat", "on", tools=tool)
        check(seen("chat", data)[1] == ["error"] and len(up.asked("as-second")) == n,
              "half a call is not continued", str(data[-300:]))

        resets(up, door)
        full(up, door)
        lingering(up, door)


def resets(up, door):
    """The connection is reset behind byte k of the answer: never a word twice, always one end."""
    up.plan("as-second", {"parts": [["text", "else"]]})
    for k in range(1, 1600, 1 if ALL else 43):
        for _ in range(5):              # so that its breaker does not open
            up.plan("as-reset", {})
            ask(door, "chat", "reset", text="a b")
        up.plan("as-reset", {"reset_at": k})
        status, _, data = ask(door, "chat", "away", text="a b")
        if status == 200:
            text, ends = seen("chat", data)
            good = ends == ["done"] and (text in ("else", "You said: a b") or re.fullmatch(
                r"(You )?(said: )?(a )?(b)?else", text)) or ends == ["error"] and "You said: a b".startswith(text)
        else:
            good = status in (429, 502, 503)
        if not good:
            check(False, "reset behind byte %d" % k, "%s %s" % (status, data[-400:]))
    sent, _ = settled(up, door, "reset", "resets")
    check({r["state"] for r in sent} == {"exact", "estimated"}, "resets: some were estimated")


def full(up, door):
    """One at once: the second waits its turn, and the first is not disturbed."""
    up.plan("as-one", {"stall_at": 1}, {})
    c = door.connection()
    c.request("POST", PATH["chat"], json.dumps({"model": "one", "stream": True, "messages": [
        {"role": "user", "content": "hold"}]}), {"Authorization": "Bearer " + door.token,
                                                 "Content-Type": "application/json"})
    c.getresponse().read1(10)
    d = door.connection()
    d.request("POST", PATH["chat"], json.dumps({"model": "one", "messages": [
        {"role": "user", "content": "next"}]}), {"Authorization": "Bearer " + door.token,
                                                 "Content-Type": "application/json"})
    standins.time.sleep(0.3)
    check(len(up.asked("as-one")) == 1, "max_in_flight: the second waits")
    c.close()
    r = d.getresponse()
    data = r.read()
    check(r.status == 200 and whole_text("chat", data) == "You said: next", "and gets its turn", str(data[:300]))
    d.close()


def lingering(up, door):
    """A client that reads nothing: what is behind it stops too."""
    up.plan("as-one", {"parts": [["text", "x" * 30000]], "endless": True})
    c = door.connection()
    c.request("POST", PATH["chat"], json.dumps({"model": "one", "stream": True, "messages": [
        {"role": "user", "content": "much"}]}), {"Authorization": "Bearer " + door.token,
                                                 "Content-Type": "application/json"})
    r = c.getresponse()
    r.read1(10)
    last = -1
    while up.endless_bytes != last:     # until no more goes in
        last = up.endless_bytes
        standins.time.sleep(0.5)
    check(0 < last < 24 << 20, "a slow reader holds its upstream", "%d bytes went in" % last)
    check(rss(door) < MEMORY, "and no memory")
    c.close()
    check(up.wait(lambda rows: rows[-1]["ended"] == "gone", 20), "a reader that leaves ends it")


def main():
    """All at once: most of it is waiting."""
    parts = [(misbehaving, d) for d in NAMES] + [(absent,), (keys_and_rest,)]
    threads = [threading.Thread(target=run, args=part) for part in parts]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    check(len(finished) == len(parts), "each part came to its end", str(finished))
    sys.exit(croft.done())


finished = []


def run(part, *args):
    part(*args)
    finished.append(part.__name__)


if __name__ == "__main__":
    main()
