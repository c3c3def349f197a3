"""standins.py - upstreams for the tests of a gateway: strict about what they are asked, honest about
what they count, and as bad as a test wants.  Shares nothing with croft.

    python3 tests/gateway/standins.py [PORT]      on 127.0.0.1; prints "port N"

One server speaks chat, responses, messages (with count_tokens), completions, embeddings and models;
what the model says follows from the request (saying.py).  A *plan* says how a model misbehaves: a list
of steps, one an attempt, the last for all that follow.  A step has any of

    parts        what is said: [["text", "..."], ["think", "..."], ["call", name, arguments, id]]
    end, usage   in place of those that follow from what is said
    status, body, fields    an error, or a whole reply of that status (fields: more of its head)
    whole, events           a reply, or the data lines of a stream, as recorded
    lenient      the shape of the request is not looked at; blind: nor is anything else
    fail_at N    an error event after N pieces (with these `words`)
    cut_at N     the connection is closed there
    stall_at N   nothing more comes after N           silent       no head ever comes
    endless      pieces without end                   long_line N  one line of N bytes
    lockstep     the next piece when step() was called for the last
    pace S       seconds between pieces               slow S       seconds between bytes of the head
    head_at MS   the head waits for that time of a clock that tick() sets; rest_at MS: what is visible, too
    timed        [[ms, text], ...]: what is written, as it is, at these times
    bytes N      written N bytes at a time            eol          the end of a line in the stream
    glue         two events' lines without an empty line between
    done N       how many ends of the stream          no_usage, usage_twice
    reset_at N   the connection is reset after N bytes of the reply
    close_first  the connection is closed without a byte
    type         the content type                     gzip         a content encoding

Every attempt is one row of the meter, with the tokens that really left: GET /meter; POST /plan
{"model": steps}; POST /step {"model": name} hands in a turn of lock-step; POST /forget empties all.
"""
import sys

import gzip
import json
import os
import select
import socket
import ssl
import struct
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import saying
import strict

ROUTES = {"/v1/chat/completions": "chat", "/v1/responses": "responses", "/v1/messages": "messages",
          "/v1/messages/count_tokens": "count", "/v1/completions": "completions",
          "/v1/embeddings": "embeddings"}
WAIT = 120                              # seconds; only a test that fails waits as long
VISIBLE = ("think", "text", "call")
KEEP = ("n", "kind", "model", "status", "stream", "usage", "sent", "ended", "id", "refused", "key", "step")


class Gone(Exception):
    """The client left."""


class Standin:
    def __init__(self, keys=("sk-up-1",), context=None, port=0, secret=b"of this stand-in alone"):
        self.keys, self.context = list(keys), context
        self.seals = strict.Seals(secret)
        self.lock = threading.Condition()
        self.plans, self.turns, self.attempts = {}, {}, []
        self.total = {}                 # kind: attempts ever; forget() leaves it
        self.endless_bytes = 0
        self.now = 0                    # ms, of tick()
        self.closing = False
        self.socket = socket.create_server(("127.0.0.1", port), backlog=512)
        self.port = self.socket.getsockname()[1]
        self.url = "http%s://127.0.0.1:%d" % ("s" if context else "", self.port)
        threading.Thread(target=self.accept, daemon=True).start()

    # -- for tests

    def plan(self, model, *steps):
        with self.lock:
            self.plans[model] = list(steps)
            self.turns.pop(model, None)

    def tick(self, ms):
        with self.lock:
            self.now = ms
            self.lock.notify_all()

    def step(self, model):
        with self.lock:
            self.turns[model] = self.turns.get(model, 0) + 1
            self.lock.notify_all()

    def forget(self, model=None):
        """All, or what was planned for and asked of one model."""
        with self.lock:
            for kept in (self.plans, self.turns):
                for name in [n for n in kept if model in (None, n)]:
                    del kept[name]
            self.attempts[:] = [a for a in self.attempts if model not in (None, a["model"])]

    def asked(self, model=None):
        """The rows of a model's attempts, bodies and fields with them."""
        with self.lock:
            return [a for a in self.attempts if model in (None, a["model"])]

    def wait(self, test, seconds=WAIT):
        """Wait until test(attempts) holds."""
        with self.lock:
            return self.lock.wait_for(lambda: test(self.attempts), seconds)

    def ended(self, n, model=None):
        """Wait until n attempts have ended; their rows."""
        def there(rows):
            return len([a for a in rows if a["ended"] and model in (None, a["model"])]) >= n
        self.wait(there)
        return self.asked(model)

    def close(self):
        self.closing = True
        self.socket.close()

    # -- connections

    def accept(self):
        while True:
            try:
                s, _ = self.socket.accept()
            except OSError:
                return
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self.serve, args=(s,), daemon=True).start()

    def serve(self, s):
        try:
            if self.context:
                s = self.context.wrap_socket(s, server_side=True)
            with s:
                rest = b""
                while rest is not None and not self.closing:
                    rest = Call(self, s).run(rest)
        except (OSError, ssl.SSLError, Gone):
            pass

    def next_step(self, model):
        steps = self.plans.get(model) or [{}]
        return steps.pop(0) if len(steps) > 1 else steps[0]

    def rows(self):
        return [{k: a[k] for k in KEEP} for a in self.attempts]


class Call:
    """One request on a connection."""

    def __init__(self, server, s):
        self.server, self.s, self.row, self.step = server, s, None, {}
        self.written, self.chunked = 0, False

    def run(self, rest):
        """Answer one request; what was read beyond it, or None when the connection ends."""
        while b"\r\n\r\n" not in rest:
            piece = self.s.recv(65536)
            if not piece:
                return None
            rest += piece
        head, _, rest = rest.partition(b"\r\n\r\n")
        lines = head.decode("latin1").split("\r\n")
        self.method, self.target, _ = lines[0].split(" ")
        self.fields = {}
        for line in lines[1:]:
            name, _, value = line.partition(":")
            assert name.lower() not in self.fields, "a field twice: " + name
            self.fields[name.lower()] = value.strip()
        if "expect" in self.fields:
            self.s.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        n = int(self.fields.get("content-length", 0))
        body = bytearray(rest[:n])
        rest = rest[n:]
        while len(body) < n:
            piece = self.s.recv(1 << 20)
            if not piece:
                return None
            body += piece
        kept = self.dispatch(bytes(body))
        return rest if kept and self.fields.get("connection", "").lower() != "close" else None

    def dispatch(self, body):
        path = self.target.partition("?")[0]
        if path in ROUTES and self.method == "POST":
            return self.attempt(ROUTES[path], body)
        if path == "/meter":
            with self.server.lock:
                return self.reply(200, self.server.rows())
        if path == "/plan":
            for model, steps in json.loads(body).items():
                self.server.plan(model, *steps)
            return self.reply(200, {})
        if path == "/step":
            self.server.step(json.loads(body)["model"])
            return self.reply(200, {})
        if path == "/forget":
            self.server.forget()
            return self.reply(200, {})
        if path in ("/v1/models", "/health"):
            with self.server.lock:
                self.server.attempts.append(self.new_row("probe", None))
                self.server.attempts[-1]["ended"] = "whole"
            return self.reply(200, {"object": "list", "data": []})
        return self.reply(404, {"error": {"message": "no such route: " + path, "type": "x",
                                          "param": None, "code": None}})

    def new_row(self, kind, body):
        body = body if isinstance(body, dict) else {}
        return {"n": len(self.server.attempts), "kind": kind, "model": body.get("model"),
                "status": None, "stream": bool(body.get("stream")), "usage": None, "sent": 0,
                "ended": None, "id": None, "refused": None, "key": self.key(), "body": body,
                "fields": self.fields, "target": self.target, "step": None}

    def key(self):
        bearer = self.fields.get("authorization", "")
        return bearer[7:] if bearer.startswith("Bearer ") else self.fields.get("x-api-key")

    # -- one attempt

    def attempt(self, kind, raw):
        try:
            body = json.loads(raw.decode())
        except ValueError:
            body = None
        with self.server.lock:
            self.row = self.new_row(kind, body)
            self.step = self.server.next_step(self.row["model"])
            self.row["step"] = sorted(self.step)
            self.server.attempts.append(self.row)
            self.server.total[kind] = self.server.total.get(kind, 0) + 1
            self.server.lock.notify_all()
        try:
            kept = self.answer(kind, body)
            self.end("whole" if self.row["status"] == 200 else "error")
            return kept
        except strict.Refused as e:
            self.row["refused"] = str(e)
            kept = self.reply(e.status, saying.error_body(kind, e.status, str(e), e.code))
            self.end("refused")
            return kept
        except (Gone, OSError):
            self.end("gone")
            raise
        finally:
            self.end("broken")          # unless it has ended

    def end(self, how):
        with self.server.lock:
            if self.row["ended"] is None:
                self.row["ended"] = how
                self.server.lock.notify_all()

    def allowed(self, kind):
        if kind in ("messages", "count"):
            strict.need(self.fields.get("anthropic-version"), "anthropic-version: header is required")
        strict.need(self.key() in self.server.keys, "no such key", status=401, code="invalid_api_key")
        strict.need(self.fields.get("content-type", "").startswith("application/json"),
                    "content-type", status=415)

    def answer(self, kind, body):
        step = self.step
        if step.get("close_first"):
            self.end("cut")
            return False
        if step.get("silent"):
            self.until_left()
        if step.get("pace") and not body.get("stream"):
            self.pause(step["pace"])
        self.allowed(kind)
        strict.need(isinstance(body, dict), "the body is no JSON object")
        self.due(step.get("head_at", 0))
        if "status" in step:
            status = step["status"]
            text = step.get("body", saying.error_body(kind, status, "The stand-in says %d." % status,
                                                      step.get("code")))
            return self.reply(status, text, step.get("fields"), step.get("type"))
        if not step.get("blind"):
            strict.check(kind, body, self.server.seals, not step.get("lenient"))
        about = saying.About(kind, body, self.server.seals)
        self.row["id"] = about.id
        if kind == "count":
            n = len(saying.pieces(json.dumps(body["messages"])))
            return self.reply(200, {"input_tokens": n})
        if kind == "embeddings":
            out = step.get("whole") or saying.embeddings(about, body)
            self.row["usage"] = dict(prompt=out["usage"]["prompt_tokens"], cached=0, written=0,
                                     answer=0, think=0)
            return self.reply(200, out)
        said = saying.answer_to(kind, body, step.get("parts"))
        for name in ("end", "usage"):
            said[name] = step.get(name, said[name])
        self.row["usage"] = said["usage"]
        if "whole" in step or not body.get("stream"):
            out = step.get("whole") or saying.WHOLE[kind](about, said)
            self.row["sent"] = said["usage"]["answer"]
            return self.reply(200, out, step.get("fields"), step.get("type"))
        if "timed" in step:
            return self.timed(step["timed"])
        if "events" in step:
            events = [("end", None if kind == "chat" or data[0] != "{" else
                       json.loads(data).get("type"), data) for data in step["events"]]
        else:
            events = saying.STREAM[kind](about, said)
        return self.stream(kind, about, events)

    # -- replies

    def raw(self, data):
        step = self.step
        if "reset_at" in step and self.written + len(data) >= step["reset_at"]:
            self.s.sendall(data[:max(0, step["reset_at"] - self.written)])
            self.s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.end("cut")
            raise Gone
        n = step.get("bytes") or len(data) or 1
        for i in range(0, len(data), n):
            self.s.sendall(data[i:i + n])
        self.written += len(data)

    def reply(self, status, body, fields=None, kind=None):
        data = body if isinstance(body, bytes) else body.encode() if isinstance(body, str) else \
            json.dumps(body).encode()
        if self.row:
            self.row["status"] = status
        self.head(status, kind or "application/json",
                  dict(fields or {}, **{"Content-Length": str(len(data))}))
        self.raw(data)
        return True

    def head(self, status, kind, fields):
        words = {200: "OK", 302: "Found", 400: "Bad Request", 401: "Unauthorized", 404: "Not Found",
                 429: "Too Many Requests", 500: "Internal Server Error", 503: "Service Unavailable"}
        text = "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nX-Request-Id: req_s%d\r\n%s\r\n" % (
            status, words.get(status, "Status"), kind, self.row["n"] if self.row else 0,
            "".join("%s: %s\r\n" % f for f in fields.items()))
        if not self.step.get("slow"):
            self.raw(text.encode())
            return
        for b in text.encode():
            self.raw(bytes([b]))
            self.pause(self.step["slow"])

    def chunk(self, data):
        self.raw(b"%x\r\n%s\r\n" % (len(data), data) if self.chunked else data)

    def stream(self, kind, about, events):
        step, row = self.step, self.row
        row["status"] = 200
        self.chunked = True
        fields = {"Transfer-Encoding": "chunked"}
        if step.get("gzip"):
            fields["Content-Encoding"] = "gzip"
        self.head(200, step.get("type") or "text/event-stream", fields)
        if step.get("long_line"):
            self.long_line(step["long_line"])
        events = self.bent(kind, about, events)
        eol = step.get("eol", "\n")
        for i, (what, name, data) in enumerate(events):
            if what in VISIBLE:
                self.visible(kind, about)
            text = ("event: %s%s" % (name, eol) if name else "") + "data: " + data + eol
            if not (step.get("glue") and i % 2 == 0):
                text += eol
            data = text.encode()
            self.chunk(gzip.compress(data) if step.get("gzip") else data)
            row["sent"] += what in VISIBLE
            if what == "error":
                self.end("failed")
        self.raw(b"0\r\n\r\n")
        return True

    def due(self, ms):
        with self.server.lock:
            self.server.lock.wait_for(lambda: self.server.now >= ms, WAIT)

    def timed(self, frames):
        self.row["status"] = 200
        self.chunked = True
        self.head(200, "text/event-stream", {"Transfer-Encoding": "chunked"})
        for ms, text in frames:
            self.due(ms)
            self.chunk(text.encode())
        self.raw(b"0\r\n\r\n")
        return True

    def bent(self, kind, about, events):
        """The events as the step wants them."""
        step = self.step
        if step.get("endless"):
            # what began before the first piece, then that piece for ever
            first = next(i for i, e in enumerate(events) if e[0] in VISIBLE)
            yield from events[:first]
            while True:
                self.server.endless_bytes = self.written
                yield events[first]
        n = 0
        for e in events:
            if e[0] in VISIBLE or e[0] == "end":
                self.due(step.get("rest_at", 0))
            if e[0] in VISIBLE:
                n += 1
            # at a number of pieces: as soon as the next event would come
            at = n - 1 if e[0] in VISIBLE else n
            late = e[0] in VISIBLE or e[0] in ("end", "done", "seal")
            if late and step.get("fail_at") is not None and at >= step["fail_at"]:
                yield from saying.error_events(about, step.get("words", "The stand-in fails here."))
                return
            if e[0] == "done" and "done" in step:
                for _ in range(step["done"]):
                    yield e
                return
            has_usage = '"usage":' in e[2].replace('"usage": null', "") and e[0] in ("end", "done")
            if has_usage and step.get("no_usage"):
                if kind in ("chat", "completions"):
                    continue
                value = json.loads(e[2])
                (value.get("response") or value).pop("usage", None)
                e = (e[0], e[1], json.dumps(value))
            if has_usage and step.get("usage_twice") and e[0] == "end":
                yield e
            yield e

    def visible(self, kind, about):
        """Before each piece: what happens here, if anything."""
        step, n = self.step, self.row["sent"]
        if step.get("cut_at") == n:
            self.end("cut")
            raise Gone
        if step.get("stall_at") == n:
            self.until_left()
        if step.get("lockstep") and n:
            self.lockstep(n)
        if step.get("pace"):
            self.pause(step["pace"])

    def lockstep(self, n):
        server, model = self.server, self.row["model"]
        with server.lock:
            good = server.lock.wait_for(lambda: server.turns.get(model, 0) >= n, 20)
        if not good:
            self.end("starved")
            raise Gone

    def long_line(self, n):
        self.raw(b"%x\r\n" % (n + 8) + b"data: {\"")
        piece = b"x" * 65536
        for _ in range(n // len(piece)):
            self.raw(piece)
        self.end("gone")
        raise Gone

    def pause(self, seconds):
        """Sleep, unless the client leaves."""
        if select.select([self.s], [], [], seconds)[0] and not self.s.recv(1, 0 if self.server.context
                                                                            else socket.MSG_PEEK):
            raise Gone

    def until_left(self):
        while True:
            self.pause(WAIT)
            raise Gone


def main():
    server = Standin(port=int(sys.argv[1]) if len(sys.argv) > 1 else 0)
    print("port %d" % server.port, flush=True)
    while True:
        time.sleep(3600)


if __name__ == "__main__":
    main()
