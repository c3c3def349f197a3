#!/usr/bin/env python3
"""bench_serve.py - `croft bench serve` against a stand-in server whose counts are known, and against a
real `croft serve`.

    tests/api/bench_serve.py     from the root of the repository; $CROFT names another program

Counts are asserted, never times.  Ends with the line "N passed, M failed".
"""
import sys

HERE = sys.path.pop(0)                  # its http.py is not the library's
import http.server
import json
import os
import pty
import re
import signal
import subprocess
import threading
import time

sys.path[:0] = [os.path.join(HERE, "../lib"), HERE]
import croft
from answer import CHATML, ENV, STORY, tmp, with_template
from croft import check
from serve import Server

WAIT = 120
KEY = "sk-very-secret-42"


class StandIn(http.server.ThreadingHTTPServer):
    """Two tokens a word and ten around them; answers max_tokens pieces.  What goes wrong is set by
    the test: fail(i) is what to do with request i."""
    daemon_threads = True
    request_queue_size = 512

    def __init__(self, key=None, fail=None, usage=True, hold=0):
        super().__init__(("127.0.0.1", 0), Handler)
        self.key, self.fail, self.usage, self.hold = key, fail or (lambda i: None), usage, hold
        self.lock = threading.Condition()
        self.asked, self.running, self.most, self.probes = [], 0, 0, 0
        self.url = "http://127.0.0.1:%d" % self.server_port
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, request, address):
        pass                            # clients that leave


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def answer(self, status, body, *fields):
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def allowed(self):
        key = self.server.key
        if key and self.headers.get("Authorization") != "Bearer " + key:
            self.answer(401, {"error": {"message": "no such key"}})
            return False
        return True

    def do_GET(self):
        if self.allowed():
            self.answer(200, {"data": [{"id": "first"}, {"id": "second"}]} if self.path == "/v1/models" else {})

    def do_POST(self):
        s = self.server
        ask = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if not self.allowed():
            return
        chat = self.path == "/v1/chat/completions"
        assert chat or self.path == "/v1/completions", self.path
        text = ask["messages"][-1]["content"] if chat else ask["prompt"]
        usage = {"prompt_tokens": 2 * len(text.split()) + 10, "completion_tokens": ask["max_tokens"],
                 "prompt_tokens_details": {"cached_tokens": 3}}
        if not ask.get("stream"):
            s.probes += 1
            self.answer(200, {"usage": usage} if s.usage else {})
            return
        with s.lock:
            i = len(s.asked)
            s.asked.append((self.path, ask, text))
            s.running += 1
            s.most = max(s.most, s.running)
            s.lock.notify_all()
            if s.hold:                  # nobody is answered before so many are there
                s.lock.wait_for(lambda: len(s.asked) >= s.hold, WAIT)
        try:
            self.stream(chat, ask, usage, s.fail(i))
        finally:
            with s.lock:
                s.running -= 1

    def event(self, data):
        text = b"data: %s\n\n" % (data if isinstance(data, bytes) else json.dumps(data).encode())
        self.wfile.write(b"%x\r\n%s\r\n" % (len(text), text))

    def stream(self, chat, ask, usage, fail):
        if isinstance(fail, int):
            self.answer(fail, {"error": {"message": "status %d for a test" % fail}})
            return
        if fail == "whole":
            self.answer(200, {"choices": []})
            return
        if fail == "closed":            # in its head: without a byte it would be asked again
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Ty")
            self.close_connection = True
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        if chat:
            self.event({"choices": [{"delta": {"role": "assistant", "content": ""}}]})
        for i in range(ask["max_tokens"]):
            if fail == "half" and i == 2:
                self.close_connection = True
                return
            self.event({"choices": [{"delta": {"content": "a "}} if chat else {"text": "a "}]})
        if fail == "event":
            self.event({"error": {"message": "out of luck"}})
        if self.server.usage:
            self.event({"choices": [], "usage": usage})
        if fail != "no_done":
            self.event(b"[DONE]")
        self.wfile.write(b"0\r\n\r\n")


def start(url, *options, env=None, **more):
    return subprocess.Popen([croft.CROFT, "bench", "serve", url, *map(str, options)],
                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            text=True, env=dict(ENV, **(env or {})), **more)


def bench(url, *options, status=0, env=None):
    p = start(url, *options, env=env)
    try:
        out, bad = p.communicate(timeout=WAIT)
    except subprocess.TimeoutExpired:
        p.kill()
        out, bad = p.communicate()
    check(p.returncode == status, "bench serve %s" % (options,), "exit %s: %s" % (p.returncode, bad[-800:]))
    check(KEY not in out + bad, "no key is shown")
    return out, bad


def measured(url, *options, **more):
    """The levels, and the whole of the JSON."""
    out, bad = bench(url, "--json", *options, **more)
    got = json.loads(out) if out else {"levels": []}
    return got["levels"], got


def words(asked):
    return [len(text.split()) for _, _, text in asked]


def closed_loop():
    s = StandIn()
    levels, got = measured(s.url, "--clients", "1,4", "--requests", 12, "--prompt-tokens", 210, "--max-tokens", 5)
    check([v["clients"] for v in levels] == [1, 4], "two levels", str(got)[:500])
    for v in levels:
        check(v["sent"] == v["ok"] == 12 and v["failed"] == v["cancelled"] == 0, "twelve of twelve", str(v))
        check(v["output_tokens"] == 60 and v["prompt_tokens"] == 12 * 210, "tokens as the usage says", str(v))
        check(v["cached_tokens"] == 36 and v["replies_without_usage"] == 0, "cached tokens", str(v))
        check(v["first_token_ms"]["n"] == v["request_ms"]["n"] == 12 and v["gap_ms"]["n"] == 48,
              "a first token each, four gaps each", str(v))
        for t in ("first_token_ms", "gap_ms", "request_ms"):
            p = [v[t][k] for k in ("p50", "p90", "p95", "p99", "max")]
            check(p == sorted(p) and p[-1] > 0, "percentiles rise", str(v[t]))
        rates = v["requests_per_s"], v["output_tokens_per_s"], v["total_tokens_per_s"]
        for rate, n in zip(rates, (12, 60, 60 + 12 * 210)):
            check(abs(rate * v["seconds"] - n) < 1e-6 * n, "rates are counts over seconds", str(v))
    check(s.probes == 2 and abs(got["tokens_per_word"] - 2) < 1e-9, "words were weighed", str(got)[:300])
    check(words(s.asked) == [100] * 24, "and counted out", str(words(s.asked)))
    check(len({t for _, _, t in s.asked}) == 24, "no prompt is sent twice")
    check(1 <= s.most <= 4, "never more at once than clients", str(s.most))
    _, ask, _ = s.asked[0]
    check(got["model"] == ask["model"] == "first", "the first model", str(ask)[:200])
    check(ask["stream_options"] == {"include_usage": True}, "usage is asked for")
    again = StandIn()
    measured(again.url + "/v1/chat/completions/", "--clients", "1,4", "--requests", 12, "--prompt-tokens", 210)
    check(sorted(t for *_, t in again.asked) == sorted(t for *_, t in s.asked), "the same seed, the same prompts")
    other = StandIn()
    measured(other.url + "/v1", "--requests", 12, "--seed", 2)
    check(not {t for *_, t in other.asked} & {t for *_, t in s.asked}, "another seed, others")
    held = StandIn(hold=16)
    levels, _ = measured(held.url, "--clients", 16, "--requests", 16)
    check(held.most == 16 and levels[0]["ok"] == 16, "as many at once as clients", str(levels))
    check(measured(StandIn().url)[0][0]["sent"] == 32, "32 requests unless told otherwise")
    check(measured(StandIn().url, "--clients", 20)[0][0]["sent"] == 80, "four a client")


def open_loop():
    s = StandIn(hold=60)
    levels, got = measured(s.url, "--rate", 2000, "--requests", 60, "--max-tokens", 2)
    v = levels[0]
    check(v["rate"] == 2000 and "clients" not in v, "a rate", str(v))
    check(v["ok"] == 60 and s.most == 60, "sixty arrive though none is answered before", str(v))
    check(measured(StandIn().url, "--rate", 5000)[0][0]["sent"] == 100, "a hundred unless told otherwise")


def for_a_time():
    s = StandIn()
    v = measured(s.url, "--duration", 0.5, "--clients", 2, "--max-tokens", 2)[0][0]
    check(v["sent"] == v["ok"] == len(s.asked) > 2 and v["cancelled"] == 0, "what was sent ends", str(v))
    v = measured(s.url, "--duration", 0.5, "--rate", 100, "--max-tokens", 2)[0][0]
    check(v["sent"] == v["ok"] > 2, "also with a rate", str(v))


def prompts():
    s = StandIn()
    measured(s.url, "--requests", 8, "--prompt-tokens", 210, "--shared-prefix", 100)
    first = [t.split()[:50] for *_, t in s.asked]
    check(all(f == first[0] for f in first) and words(s.asked) == [100] * 8, "fifty words are shared")
    check(len({tuple(t.split()[50:]) for *_, t in s.asked}) == 8, "the rest is not")
    path = tmp("prompts.jsonl")
    with open(path, "w") as f:
        f.write('{"prompt": "one"}\n\n"two"\n{"messages": [{"role": "system", "content": "s"}, '
                '{"role": "user", "content": "three"}], "max_tokens": 9}\n')
    s = StandIn()
    levels, got = measured(s.url, "--requests", 7, "--prompts", path, "--max-tokens", 3,
                           "--extra-body", '{"temperature": 0, "ignore_eos": true}', "--model", "mine")
    check([t for *_, t in s.asked] == ["one", "two", "three", "one", "two", "three", "one"], "lines in turn")
    check(levels[0]["output_tokens"] == 5 * 3 + 2 * 9, "a line's own max_tokens", str(levels))
    check(all(a["temperature"] == 0 and a["ignore_eos"] is True and a["model"] == "mine" for _, a, _ in s.asked),
          "fields that were added", str(s.asked[0]))
    check(s.probes == 0 and got["prompts"] == 3, "nothing is weighed then")
    s = StandIn()
    levels, _ = measured(s.url, "--api", "completions", "--requests", 5, "--max-tokens", 4)
    check({p for p, *_ in s.asked} == {"/v1/completions"} and levels[0]["gap_ms"]["n"] == 15, "the other API")
    for line in ('{"messages": []}', '{"text": 1}', "{", '{"prompt": "x", "max_tokens": 0}'):
        with open(path, "w") as f:
            f.write('{"prompt": "fine"}\n' + line)
        bad = bench(s.url, "--api", "completions", "--prompts", path, status=1)[1]
        check("line 2" in bad, "a wrong line is named: " + line, bad)
    open(path, "w").close()
    bench(s.url, "--prompts", path, status=1)


def failures():
    kinds = [None, 429, "half", "event", "no_done", "whole", "closed", 500, None, 429]
    s = StandIn(fail=lambda i: kinds[i % 10])
    v = measured(s.url, "--clients", 3, "--requests", 20, "--max-tokens", 4)[0][0]
    check(v["sent"] == 20 and v["ok"] == 4 and v["failed"] == 16, "four of twenty", str(v))
    check(v["errors"] == {"429": 4, "closed": 4, "error_event": 2, "no_done": 2, "no_stream": 2, "500": 2},
          "each kind is counted", str(v["errors"]))
    check(v["output_tokens"] == 16 and v["request_ms"]["n"] == 4, "failures bring no tokens", str(v))
    check(v["first_token_ms"]["n"] == 10, "but replies that began have a first token", str(v))
    out, _ = bench(s.url, "--clients", 1, "--requests", 20, "--max-tokens", 4)
    check("4 answered" in out and "16 failed (" in out and "429: 4" in out and "for a test" in out, "as text", out)
    s = StandIn(fail=lambda i: 503)
    out, bad = bench(s.url, "--requests", 3, status=1)
    check("none of 3 requests" in bad and "status 503 for a test" in bad, "nothing answered is a failure", bad)
    check("3 failed (503: 3)" in out, "and is reported all the same", out)
    s = StandIn(usage=False)
    v, got = measured(s.url, "--requests", 3, "--max-tokens", 4, "--prompt-tokens", 50)
    check(v[0]["output_tokens"] == 12 and v[0]["replies_without_usage"] == 3, "pieces count as tokens", str(v))
    check(words(s.asked) == [50] * 3 and got["tokens_per_word"] == 1, "and words too")


def keys():
    s = StandIn(key=KEY)
    bad = bench(s.url, status=2)[1]
    check("401" in bad and "CROFT_API_KEY" in bad, "without a key", bad)
    check(measured(s.url, "--requests", 2, "--api-key", KEY)[0][0]["ok"] == 2, "with a key")
    check(measured(s.url, "--requests", 2, "-v", env={"CROFT_API_KEY": KEY})[0][0]["ok"] == 2, "of the environment")
    bench(s.url, "--api-key", KEY + "\nX: y", status=2)
    bench(s.url, "--api-key", KEY + "x", status=2)


def interrupted():
    s = StandIn(hold=5)
    p = start(s.url, "--clients", "4,8", "--requests", 1000, "--json")
    with s.lock:
        s.lock.wait_for(lambda: len(s.asked) == 4, WAIT)
    p.send_signal(signal.SIGINT)
    out, bad = p.communicate(timeout=WAIT)
    got = json.loads(out)
    v = got["levels"][0]
    check(p.returncode == 130 and got["interrupted"] and len(got["levels"]) == 1, "Ctrl-C ends and reports", out + bad)
    check(v["sent"] == v["cancelled"] == 4 and v["failed"] == 0, "what was on its way is no failure", str(v))


def terminal():
    """The progress line, on a terminal, with what is left."""
    s = StandIn()
    far, near = pty.openpty()
    p = subprocess.Popen([croft.CROFT, "bench", "serve", s.url, "--duration", "4", "--max-tokens", "1"],
                         stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=near, env=ENV)
    os.close(near)
    seen = b""
    while True:
        try:
            piece = os.read(far, 4096)
        except OSError:
            break
        if not piece:
            break
        seen += piece
    p.communicate(timeout=WAIT)
    os.close(far)
    check(p.returncode == 0 and re.search(rb"load: \d+ %, \d\.\d s of 4\.0 s, \d s left", seen), "progress with ETA",
          seen.decode(errors="replace"))


def refused():
    url = StandIn().url
    path = tmp("x.jsonl")
    for options in (("--clients", "2", "--rate", 3), ("--requests", 3, "--duration", 3), ("--clients", "0"),
                    ("--clients", "5000"), ("--profile",), ("-p", 5), ("--threads", 1), ("--api", "x"),
                    ("--extra-body", "[]"), ("--prompts", path, "--prompt-tokens", 4),
                    ("--prompt-tokens", 8, "--shared-prefix", 8), ("--rate", -1)):
        bench(url, *options, status=2)
    bench(url, "--prompts", "/nowhere.jsonl", status=3)
    bench("ftp://localhost", status=2)
    bench("http://127.0.0.1:1", status=1)
    p = croft.run(["bench", STORY, "--clients", "3"])
    check(p.returncode == 2 and "serve URL" in p.stderr, "a load's option is not a model's", p.stderr)
    p = croft.run(["bench", STORY, "http://localhost"])
    check(p.returncode == 2 and "one too many" in p.stderr, "a second operand", p.stderr)
    p = croft.run(["--complete", "bench", "se"])
    check(p.stdout.split("\t")[0] == "serve", "serve is completed", p.stdout)


def real_server():
    chatty = with_template(STORY, "bench-serve-chat.gguf", CHATML)
    with Server(chatty, "--ctx-size", 512, "--parallel", 8, "--alias", "tale") as s:
        url = "http://127.0.0.1:%d" % s.port
        for api in ("chat", "completions"):
            levels, got = measured(url, "--api", api, "--clients", "1,8,16", "--requests", 16, "--max-tokens", 6,
                                   "--prompt-tokens", 100, "--shared-prefix", 30,
                                   "--extra-body", '{"temperature": 0, "logit_bias": {"1": -100, "2": -100}}')
            check(len(levels) == 3, api + ": three levels", str(got)[:500])
            for v in levels:
                check(v["ok"] == 16 and v["output_tokens"] == 96, api + ": all answered, six tokens each", str(v))
                check(80 * 16 < v["prompt_tokens"] < 120 * 16, api + ": prompts of about their size", str(v))
                check(v["first_token_ms"]["n"] == 16 and v["gap_ms"]["n"] > 16, api + ": measured", str(v))
            check(levels[-1]["cached_tokens"] > 0, api + ": the shared prefix was found again", str(levels[-1]))
        v = measured(url, "--rate", 200, "--requests", 10, "--max-tokens", 3)[0][0]
        check(v["ok"] == 10, "an open loop", str(v))
        bad = bench(url, "--extra-body", '{"temperature": "hot"}', status=1)[1]
        check("400" in bad and "temperature" in bad, "a server's refusal is passed on", bad)
    path = tmp("bench.sock")
    with Server(STORY, "--ctx-size", 512, "--host", path) as s:
        v = measured("http+unix://" + path.replace("/", "%2F"), "--api", "completions", "--requests", 4)[0][0]
        check(v["ok"] == 4, "a socket in the file system", str(v))


def main():
    for part in (closed_loop, open_loop, for_a_time, prompts, failures, keys, interrupted, terminal, refused,
                 real_server):
        part()
    sys.exit(croft.done())


if __name__ == "__main__":
    main()
