"""silence.py - recorded pairs in which an upstream falls silent, and clients that give up on silence,
with a gateway between them whose clock is set forward (fake_clock.c): minutes pass at once.

    build-venv/bin/python tests/gateway/silence.py [build/croft]

Every pair is in work at the same time, before an upstream of each dialect.  The upstreams follow the
recorded times; where the recording ended because the client had left, they answer after all.  A
client is one of those that were recorded: it knows how long it waits for a head and for bytes, and
whether a comment is any sign of life to it.  Whoever waits 10 seconds behind a head must get
something, whoever has none in 25 must get one.
"""
import json
import os
import re
import select
import socket
import struct
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import pairs
from pairs import up
from doors import Door, croft, check, model, upstream
from recorded import NAMES
import saying
from said import answered

SHIM = os.path.join(croft.ROOT, "build/fake_clock.so")
STEP, SLOW, BEAT, OPEN, FAILS = 5000, 500, 10000, 25000, 40000     # ms of the fake clock
WAIT = 60                               # seconds of the real one; only a test that fails waits so long
# Milliseconds without a head, and without a byte behind it (clients.md): Node's fetch gives up at 300 s.
PATIENCE = {"claude-code": (600000, 300000), "qwen-code": (120000, 300000), "codex": (300000, 300000)}
LAST = {"text": "Here at last.", "think": "", "calls": [], "stop": "stop", "usage": None}
UPSTREAMS = {"connect": "5m", "first_byte": "1h", "idle": "1h", "total": "2h"}


class Clock:
    def __init__(self):
        self.file = tempfile.NamedTemporaryFile(prefix="croft-clock-")
        self.set(0)

    def set(self, ms):
        self.now = ms
        self.file.seek(0)
        self.file.write(struct.pack("=q", ms * 1000000))
        self.file.flush()
        up.tick(ms)

    def env(self):
        out = {"LD_PRELOAD": SHIM, "FAKE_CLOCK": self.file.name}
        more = os.environ.get("ASAN_OPTIONS", "")
        out["ASAN_OPTIONS"] = ":".join(filter(None, (more, "verify_asan_link_order=0")))
        return out


class Client:
    """One request, read as it comes."""

    def __init__(self, door, pair, name, body):
        self.pair, self.name, self.where = pair, name, "%s as %s" % (pair["from"], name)
        self.patience = PATIENCE.get(pair["client"], (300000, 300000))
        if "idle20" in pair["from"]:
            self.patience = (300000, 20000)
        self.blind = pair["client"] == "codex"      # to comments
        self.raw, self.head, self.data, self.done, self.last, self.n_seen = b"", None, b"", False, 0, 0
        data = json.dumps(dict(body, model=name)).encode()
        head = dict(pair["head"], **{"content-type": "application/json", "authorization": "Bearer " + door.token,
                                     "content-length": str(len(data)), "host": "x"})
        self.s = socket.create_connection(("127.0.0.1", door.port))
        self.s.sendall(("POST %s HTTP/1.1\r\n%s\r\n" % (pair["path"], "".join(
            "%s: %s\r\n" % f for f in head.items()))).encode() + data)

    def must_hear(self, now):
        return not self.done and now - self.last >= (BEAT if self.head else OPEN)

    def read(self, now, seconds=0):
        """What is there; False: nothing came in so many real seconds."""
        if not select.select([self.s], [], [], seconds)[0]:
            return False
        piece = self.s.recv(1 << 20)
        if not piece:
            check(False, self.where + ": ends as it should", str(self.raw[-200:]))
            self.done = True
            return True
        self.raw += piece
        had_head = self.head is not None
        if self.head is None and b"\r\n\r\n" in self.raw:
            text, _, self.raw = self.raw.partition(b"\r\n\r\n")
            lines = text.decode().split("\r\n")
            self.status = int(lines[0].split(" ")[1])
            self.head = {k.lower(): v for k, _, v in (line.partition(": ") for line in lines[1:])}
        if self.head is not None:
            self.take_body()
        signs = self.data.count(b"\ndata: ") + self.data.startswith(b"data: ") if self.blind else \
            len(self.data) + (self.head is not None)
        if signs > self.n_seen or self.done or had_head != (self.head is not None):
            limit = self.patience[1 if had_head else 0]
            check(now - self.last < limit, self.where + ": it did not give up", "%d ms" % (now - self.last))
            self.last, self.n_seen = now, signs
        return True

    def take_body(self):
        if "content-length" in self.head:
            self.data, self.raw = self.data + self.raw, b""
            self.done = len(self.data) >= int(self.head["content-length"])
        while "content-length" not in self.head and b"\r\n" in self.raw:
            size, _, rest = self.raw.partition(b"\r\n")
            n = int(size, 16)
            if len(rest) < n + 2:
                break
            self.data, self.raw = self.data + rest[:n], rest[n + 2:]
            self.done = self.done or n == 0


# ---- what the upstreams do ----------------------------------------------------------------------

def frame(event):
    _, name, data = event
    if name is None and isinstance(data, str) and data.startswith(":"):
        return data + "\n\n"
    return ("event: %s\n" % name if name else "") + "data: %s\n\n" % (
        data if isinstance(data, str) else json.dumps(data))


def silent_ms(pair):
    """How long the upstream is silent where the recording does not say: its name does."""
    named = re.search(r"/D_(?:idle)?(\d+)", pair["from"])
    return max(pair["ms"] or 0, int(named[1]) * 1000 if named else 40000)


def step_for(pair, to):
    """The upstream's step, and what the client must find."""
    stream = bool(pair["body"].get("stream"))
    whole = not pair["cut"] and pair["status"] == 200
    if whole:
        want = answered(pair["dialect"], pair["said"], not pair["events"])
        end = pair["stream"][-1][0] if stream else pair["ms"]
        if to == pair["dialect"]:
            step = {"timed": [[e[0], frame(e)] for e in pair["stream"]]} if stream else {"whole": pair["reply"]}
            step["blind"] = True
        else:
            step = pairs.answer_step(pair, to, want)
        step.update({"head_at": pair["stream"][0][0] if stream else end}, rest_at=end)
        return step, want, end
    ms = silent_ms(pair)
    opened = stream and (pair["stream"] or "nohb" in pair["from"])
    return {"parts": [("text", LAST["text"])], "end": "stop", "head_at": 0 if opened else ms, "rest_at": ms,
            "blind": to == pair["dialect"]}, LAST, ms


def scenes():
    """(pair, upstream's dialect, body, steps, what is found, when): the recorded ones, and upstreams that
    fail behind a reply that was opened for want of any sign."""
    out = []
    for pair in pairs.pairs():
        if pair["scenario"] == "D":
            for to in NAMES:
                step, want, end = step_for(pair, to)
                out.append((pair, to, pair["body"], [step], want, end))
    ask = {"chat": {"messages": [{"role": "user", "content": "a"}]}, "responses": {"input": "a", "store": False},
           "messages": {"messages": [{"role": "user", "content": "a"}], "max_tokens": 99}}
    for dialect, path in (("chat", "/v1/chat/completions"), ("messages", "/v1/messages"),
                          ("responses", "/v1/responses")):
        for stream in (True, False):
            pair = {"from": "silent, then a failure", "client": "", "head": {}, "path": path, "dialect": dialect,
                    "body": dict(ask[dialect], stream=stream), "stream": []}
            bad = {"status": 500, "head_at": FAILS}
            well = {"parts": [("text", LAST["text"])], "end": "stop"}
            out.append((pair, dialect, pair["body"], [bad, well], LAST, FAILS + STEP))
            bad = {"status": 400, "head_at": FAILS, "body": saying.error_body(dialect, 400, "No such thing.")}
            out.append((pair, dialect, pair["body"], [bad], None, FAILS))
    return out


# ---- what the clients find ----------------------------------------------------------------------

def found(client, to, want):
    pair, stream = client.pair, bool(client.pair["body"].get("stream"))
    kind = client.head["content-type"]
    if want is None:                    # the head was gone: the error is the event, or the body
        values = pairs.lines(client.data) if stream else [json.loads(client.data)]
        check(client.status == 200 and "No such thing." in json.dumps(values[-1]) and (
            "error" in values[-1] or values[-1].get("type") == "response.failed"), client.where + ": the error",
            str(client.data[-300:]))
        return
    if want is LAST:                    # nothing of it was recorded
        pair = dict(pair, events=[0] if stream else [], said=[])

    class Way:
        pass

    Way.to = to
    pairs.finds(Way, pair, client.status, {"content-type": kind}, client.data, want, client.where)


def asked_again(names):
    rows = [r["model"] for r in up.asked()]
    return all(rows.count(name) > 1 for name in names)


def pass_time(clock, clients, again, end):
    """Until all have their answers; the clock goes on when whoever must hear something has.  False:
    somebody did not.  Where requests are asked a second time (`again`, from FAILS on) it goes slowly:
    ledger and audit log keep the real time, and are given up after 5 s of the gateway's."""
    while any(not c.done for c in clients) and clock.now < end:
        slow = clock.now >= FAILS and not asked_again(again)
        clock.set(clock.now + (SLOW if slow else STEP))
        time.sleep(0.2 if slow else 0)
        for c in clients:
            while not c.done and c.read(clock.now):
                pass
        for c in clients:
            while c.must_hear(clock.now):
                if not c.read(clock.now, WAIT):
                    check(False, "%s: a sign of life at %d ms" % (c.where, clock.now), str(c.data[-200:]))
                    return False
    return True


def finish(clients):
    for c in clients:
        while not c.done and c.read(0, WAIT):
            pass
        check(c.done, c.where + ": answered in the end", str(c.data[-300:]))


def main():
    clock, all_ = Clock(), scenes()
    names = ["%s-%d" % (to, i) for i, (_, to, *_) in enumerate(all_)]
    for name, (_, _, _, steps, _, _) in zip(names, all_):
        up.plan("as-" + name, *steps)
    with Door([upstream("up-" + d, name, up.url, keys=["env:UP_KEY"], timeouts=UPSTREAMS) for d, name in NAMES.items()],
              [model(name, "up-" + s[1], context=300000, max_output=200000) for name, s in zip(names, all_)],
              dict(clock.env(), UP_KEY="sk-up-1")) as door:
        clients = [Client(door, s[0], name, s[2]) for name, s in zip(names, all_)]
        refused = [c for c in clients if select.select([c.s], [], [], 0)[0]]
        there = up.wait(lambda rows: len({r["model"] for r in rows}) + len(refused) >= len(clients), WAIT)
        check(there, "all are asked", "%d of %d" % (len(up.asked()), len(clients)))
        again = ["as-" + name for name, s in zip(names, all_) if len(s[3]) > 1]
        if pass_time(clock, clients, again, 30000 + max(s[5] for s in all_)):
            finish(clients)
        for c, s in zip(clients, all_):
            if c.done:
                found(c, s[1], s[4])
        opened = [c for c in clients if c.head and "content-length" not in c.head]
        print("silence: %d requests, %d of them streamed or kept alive, %d s of the gateway's clock" % (
            len(clients), len(opened), clock.now // 1000))
        check(len(clients) > 140 and clock.now > 330000, "as much as was recorded")
    sys.exit(croft.done())


if __name__ == "__main__":
    main()
