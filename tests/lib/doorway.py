"""doorway.py - what the tests of a running gateway share: small stand-in upstreams, and `croft gateway` before them."""
import http.client
import http.server
import json
import os
import signal
import socket
import subprocess
import tempfile
import threading
import time

import croft

WAIT = 30                               # seconds; only a gateway that hangs takes that long
DIALECTS = ("chat", "responses", "anthropic")
ROUTES = {"chat": "/v1/chat/completions", "responses": "/v1/responses", "anthropic": "/v1/messages"}


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def until(what, seconds=WAIT):
    """Whether it becomes true."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if what():
            return True
        time.sleep(0.01)
    return bool(what())


class Upstream:
    """A server of one dialect that says the words it is told to, and keeps what it was asked.

    plan: a list of what the next requests get; empty: an answer.  A string: see `Handler.answer`.
    """

    def __init__(self, dialect, words=("Hello", " there")):
        self.dialect, self.words, self.asked, self.plan = dialect, list(words), [], []
        self.heads, self.closed, self.go = [], threading.Event(), threading.Event()
        self.usage, self.n_put = (11, 7), 0
        self.content = None             # of an answer in Anthropic's dialect: its blocks in place of the words
        upstream = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args):
                pass

            def do_GET(self):
                self.reply(200, {"object": "list", "data": []})

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                upstream.asked.append((self.path, body))
                upstream.heads.append({k.lower(): v for k, v in self.headers.items()})
                upstream.answer(self, body)

            def reply(self, status, body, **fields):
                text = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(text)))
                for k, v in fields.items():
                    self.send_header(k.replace("_", "-"), v)
                self.end_headers()
                self.wfile.write(text)

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

            def handle_error(self, *args):
                upstream.closed.set()

        self.server = Server(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def url(self):
        return "http://127.0.0.1:%d%s" % (self.port, "" if self.dialect == "anthropic" else "/v1")

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    # -- answers

    def answer(self, h, body):
        plan = self.plan.pop(0) if self.plan else "answer"
        if plan.startswith("status "):
            status, *more = plan.split()[1:]
            fields = {"Retry_After": more[0]} if more else {}
            kind = {"402": "billing_error", "429": "rate_limit_error"}.get(status, "api_error")
            h.reply(int(status), {"type": "error", "error": {"type": kind, "message": "told to fail"}}, **fields)
        elif plan == "nonsense":
            h.reply(200, {"what": "Say"})
        elif h.path.endswith("/count_tokens"):
            h.reply(200, {"input_tokens": 42})
        elif h.path.endswith("/embeddings"):
            h.reply(200, {"object": "list", "model": body["model"], "usage": {"prompt_tokens": 3, "total_tokens": 3},
                          "data": [{"object": "embedding", "index": 0, "embedding": [0.5, -0.25]}]})
        elif h.path.endswith("/v1/completions"):
            h.reply(200, {"id": "cmpl-1", "object": "text_completion", "model": body["model"],
                          "choices": [{"index": 0, "text": "".join(self.words), "finish_reason": "stop"}],
                          "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}})
        elif body.get("stream"):
            self.stream(h, body, plan)
        else:
            h.reply(200, self.whole(body, "".join(self.words)))

    def counts(self):
        a, b = self.usage
        if self.dialect == "chat":
            return {"prompt_tokens": a, "completion_tokens": b, "total_tokens": a + b}
        return {"input_tokens": a, "output_tokens": b}

    def whole(self, body, text):
        if self.dialect == "chat":
            return {"id": "chatcmpl-up", "object": "chat.completion", "created": 1, "model": body["model"],
                    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}],
                    "usage": self.counts()}
        if self.dialect == "anthropic":
            return {"id": "msg_up", "type": "message", "role": "assistant", "model": body["model"],
                    "content": self.content or [{"type": "text", "text": text}], "stop_sequence": None,
                    "stop_reason": "tool_use" if self.content else "end_turn", "usage": self.counts()}
        return {"id": "resp_up", "object": "response", "created_at": 1, "model": body["model"], "status": "completed",
                "output": [{"type": "message", "id": "msg_up", "role": "assistant", "status": "completed",
                            "content": [{"type": "output_text", "text": text, "annotations": []}]}],
                "usage": dict(self.counts(), total_tokens=sum(self.usage))}

    def events(self, body):
        if self.dialect == "chat":
            def chunk(delta, finish=None):
                return None, {"id": "chatcmpl-up", "object": "chat.completion.chunk", "created": 1, "model": body["model"],
                              "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}
            yield chunk({"role": "assistant", "content": ""})
            for w in self.words:
                yield chunk({"content": w})
            yield chunk({}, "stop")
            if body.get("stream_options", {}).get("include_usage"):
                yield None, {"id": "chatcmpl-up", "object": "chat.completion.chunk", "created": 1,
                             "model": body["model"], "choices": [], "usage": self.counts()}
            yield None, "[DONE]"
        elif self.dialect == "anthropic":
            m = self.whole(body, "")
            m.update(content=[], stop_reason=None, usage={"input_tokens": self.usage[0], "output_tokens": 1})
            yield "message_start", {"type": "message_start", "message": m}
            for i, block in enumerate(self.content or [{"type": "text", "text": ""}]):
                yield "content_block_start", {"type": "content_block_start", "index": i, "content_block": self.begun(block)}
                for delta in self.deltas(block):
                    yield "content_block_delta", {"type": "content_block_delta", "index": i, "delta": delta}
                yield "content_block_stop", {"type": "content_block_stop", "index": i}
            yield "message_delta", {"type": "message_delta", "delta": {"stop_reason": "tool_use" if self.content else "end_turn",
                                                                       "stop_sequence": None}, "usage": {"output_tokens": self.usage[1]}}
            yield "message_stop", {"type": "message_stop"}
        else:
            r, text = self.whole(body, "".join(self.words)), "".join(self.words)
            part = {"type": "output_text", "text": "", "annotations": []}
            at = {"output_index": 0, "content_index": 0, "item_id": "msg_up"}
            said = [("response.created", {"response": dict(r, status="in_progress", output=[], usage=None)}),
                    ("response.output_item.added", {"output_index": 0, "item": dict(r["output"][0], content=[], status="in_progress")}),
                    ("response.content_part.added", dict(at, part=part))]
            said += [("response.output_text.delta", dict(at, delta=w)) for w in self.words]
            said += [("response.output_text.done", dict(at, text=text)),
                     ("response.content_part.done", dict(at, part=r["output"][0]["content"][0])),
                     ("response.output_item.done", {"output_index": 0, "item": r["output"][0]}),
                     ("response.completed", {"response": r})]
            for i, (name, data) in enumerate(said):
                yield name, dict(data, type=name, sequence_number=i)

    @staticmethod
    def begun(block):
        empty = {"text": {"text": ""}, "thinking": {"thinking": "", "signature": ""}, "tool_use": {"input": {}}}
        return dict(block, **empty[block["type"]])

    def deltas(self, block):
        if block["type"] == "text":
            return [{"type": "text_delta", "text": w} for w in self.words]
        if block["type"] == "tool_use":
            return [{"type": "input_json_delta", "partial_json": json.dumps(block["input"])}]
        return [{"type": "thinking_delta", "thinking": block["thinking"]},
                {"type": "signature_delta", "signature": block["signature"]}]

    def stream(self, h, body, plan):
        """plan: "error N": an error event behind N; "cut N": the connection ends there; "wait N": `go` is waited for;
        "hold N": the same, and then an error; "also N": an error event, and all the same the rest."""
        what, _, at = plan.partition(" ")
        h.send_response(200)
        h.send_header("Content-Type", "text/event-stream")
        h.send_header("Connection", "close")
        h.end_headers()
        h.close_connection = True
        for i, (name, data) in enumerate(self.events(body)):
            if what in ("error", "cut", "wait", "hold", "also") and i == int(at):
                end = time.monotonic() + WAIT
                while what in ("wait", "hold") and not self.go.wait(0.02) and time.monotonic() < end:
                    if self.left(h.connection):
                        self.closed.set()
                        return
                if what in ("error", "hold", "also"):
                    self.put(h, "error", {"type": "error", "error": {"type": "overloaded_error", "message": "no more"}})
                if what not in ("wait", "also"):
                    return
            self.put(h, name, data)

    @staticmethod
    def left(connection):
        try:
            return connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
        except BlockingIOError:
            return False
        except OSError:
            return True

    def put(self, h, name, data):
        self.n_put += 1
        text = data if isinstance(data, str) else json.dumps(data)
        h.wfile.write((("event: %s\n" % name if name else "") + "data: %s\n\n" % text).encode())
        h.wfile.flush()


class Gateway:
    """`croft gateway` with a configuration; `with` ends it and checks how."""

    def __init__(self, text, env=None, start=True, state=""):
        self.state = state              # more of that section
        self.folder = tempfile.TemporaryDirectory(prefix="croft-door-")
        self.port = free_port()
        self.path = os.path.join(self.folder.name, "croft.yaml")
        self.log_path = os.path.join(self.folder.name, "stderr")
        self.env = dict(os.environ, **(env or {}))
        self.write(text)
        self.p = None
        if start:
            self.start()

    def write(self, text):
        state = os.path.join(self.folder.name, "state")
        os.makedirs(state, exist_ok=True)
        head = ("listen:\n  address: 127.0.0.1:%d\n  log: {file: %s/access.log}\nstate:\n  folder: %s\n  operator: self\n%s"
                % (self.port, self.folder.name, state, self.state))
        if "ledger:" not in text:
            head += "ledger:\n  url: sqlite:%s/ledger.db\n" % self.folder.name
        with open(self.path, "w") as f:
            f.write(head + text)

    def start(self):
        self.p = subprocess.Popen([croft.CROFT, "gateway", "-c", self.path], stdin=subprocess.DEVNULL,
                                  stdout=open(self.log_path, "a"), stderr=subprocess.STDOUT, env=self.env)
        up = until(lambda: self.p.poll() is not None or "Ctrl-C ends" in self.log())
        croft.check(up and self.p.poll() is None, "the gateway starts", self.log()[-800:])
        until(lambda: self.p.poll() is not None or self.ask("GET", "/health")[0] == 200)

    def log(self):
        with open(self.log_path) as f:
            return f.read()

    def file(self, name):
        with open(os.path.join(self.folder.name, name)) as f:
            return f.read()

    def __enter__(self):
        return self

    def __exit__(self, *why):
        if self.p and self.p.poll() is None:
            self.p.send_signal(signal.SIGTERM)
        try:
            code = self.p.wait(WAIT) if self.p else 0
        except subprocess.TimeoutExpired:
            self.p.kill()
            code = "killed"
        croft.check(code == 0, "the gateway ends well", "%s %s" % (code, self.log()[-2000:]))
        self.folder.cleanup()

    def connection(self):
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=WAIT)

    def ask(self, method, path, body=None, fields=None):
        """(status, {field: value}, text)"""
        c = self.connection()
        c.request(method, path, json.dumps(body) if body is not None else None, fields or {})
        r = c.getresponse()
        text = r.read().decode()
        c.close()
        return r.status, {k.lower(): v for k, v in r.getheaders()}, text

    def run(self, *args):
        return subprocess.run([croft.CROFT, *args], capture_output=True, text=True, timeout=WAIT, env=self.env)

    def sums(self, by="model"):
        p = self.run("gateway", "ledger", "-c", self.path, "--by", by, "--json")
        return {row[by]: row for row in json.loads(p.stdout)} if p.returncode == 0 else p.stderr


def events(text):
    """[(name, data)] of a stream's text; comments are left out."""
    out = []
    for block in text.split("\n\n"):
        name, data = "message", []
        for line in block.split("\n"):
            if line.startswith("event:"):
                name = line[6:].strip()
            elif line.startswith("data:"):
                data.append(line[5:].strip())
        if data:
            out.append((name, "\n".join(data)))
    return out


def said(dialect, stream, text):
    """The answer's words, its usage (in, out), and how many terminal events there were."""
    if not stream:
        body = json.loads(text)
        if dialect == "chat":
            return body["choices"][0]["message"]["content"], (body["usage"]["prompt_tokens"], body["usage"]["completion_tokens"]), 1
        u = body["usage"]["input_tokens"], body["usage"]["output_tokens"]
        if dialect == "anthropic":
            return "".join(b.get("text", "") for b in body["content"]), u, 1
        return "".join(p["text"] for o in body["output"] if o["type"] == "message" for p in o["content"]), u, 1
    words, usage, ends = "", None, 0
    for name, data in events(text):
        if data == "[DONE]":
            ends += 1
            continue
        e = json.loads(data)
        if dialect == "chat":
            for c in e["choices"]:
                words += c["delta"].get("content") or ""
            if e.get("usage"):
                usage = e["usage"]["prompt_tokens"], e["usage"]["completion_tokens"]
        elif dialect == "anthropic":
            words += e.get("delta", {}).get("text", "")
            if name == "message_start":
                first = e["message"]["usage"]["input_tokens"]
            if name == "message_delta":
                usage = e["usage"].get("input_tokens", first) or first, e["usage"]["output_tokens"]
            ends += name in ("message_stop", "error")
        else:
            words += e.get("delta", "") if name == "response.output_text.delta" else ""
            if name == "response.completed":
                usage = e["response"]["usage"]["input_tokens"], e["response"]["usage"]["output_tokens"]
            ends += name in ("response.completed", "response.failed", "error")
    return words, usage, ends


def body_of(dialect, model, text="Say hello.", stream=False, **more):
    if dialect == "responses":
        body = {"model": model, "input": text}
    else:
        body = {"model": model, "messages": [{"role": "user", "content": text}]}
        if dialect == "anthropic":
            body["max_tokens"] = 100
    if stream:
        body["stream"] = True
        if dialect == "chat":
            body["stream_options"] = {"include_usage": True}
    body.update(more)
    return body
