"""serving.py - what the tests of `croft serve` share: a server of its own, requests with receipts, `croft verify`.

A mix is requests that follow from a number alone, so that a long run can go on where it ended.
"""
import http.client
import json
import os
import random
import re
import signal
import socket
import ssl
import subprocess
import tempfile
import threading
import time

import croft

WAIT = 120                              # seconds; only a server that hangs takes that long


class Server:
    """`croft serve`; `with` ends it and checks how."""

    def __init__(self, model, *options, env=None, wait=WAIT, tls=None):
        self.tls = tls
        self.log_file = tempfile.NamedTemporaryFile("w+", suffix=".log")
        self.p = subprocess.Popen([croft.CROFT, "serve", model, "--port", "0", *map(str, options)],
                                  stdin=subprocess.DEVNULL, stdout=self.log_file, stderr=self.log_file, env=env)
        self.port = self.unix = None
        end = time.monotonic() + wait
        while time.monotonic() < end and self.p.poll() is None:
            m = re.search(r"answers at (?:https?://(?:\[.*?\]|[^:]*):(\d+)|the socket (.*?);)", self.log())
            if m:
                self.port, self.unix = m[1] and int(m[1]), m[2]
                break
            time.sleep(0.01)
        croft.check(self.port or self.unix, "the server starts", self.log()[-500:])

    def log(self):
        with open(self.log_file.name) as f:
            return f.read()

    def __enter__(self):
        return self

    def __exit__(self, *why):
        if self.p.poll() is None:
            self.p.send_signal(signal.SIGTERM)
        try:
            code = self.p.wait(WAIT)
        except subprocess.TimeoutExpired:
            self.p.kill()
            code = "killed"
        croft.check(code == 0, "the server ends well", "%s %s" % (code, self.log()[-2000:]))

    def connection(self):
        if self.unix:
            c = http.client.HTTPConnection("localhost", timeout=WAIT)
            c.sock = socket.socket(socket.AF_UNIX)
            c.sock.connect(self.unix)
            return c
        if self.tls:
            return http.client.HTTPSConnection("localhost", self.port, timeout=WAIT,
                                               context=ssl.create_default_context(cafile=self.tls))
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=WAIT)

    def ask(self, method, path, body=None, fields=None):
        """(status, {field: value}, text)"""
        c = self.connection()
        if body is not None and not isinstance(body, (bytes, str)):
            body = json.dumps(body)
        c.request(method, path, body, fields or {})
        r = c.getresponse()
        text = r.read().decode()
        c.close()
        return r.status, {k.lower(): v for k, v in r.getheaders()}, text

    def receipt(self, id):
        """The receipt's text; the first one waits until the weights are read."""
        end = time.monotonic() + WAIT
        while True:
            status, fields, text = self.ask("GET", "/v1/receipts/" + id)
            if status != 503 or time.monotonic() > end:
                return status, text
            time.sleep(0.05)

    def leave(self, path, body):
        """Ask, read a little, go away."""
        c = self.connection()
        c.request("POST", path, json.dumps(dict(body, stream=True)))
        c.getresponse().read(40)
        c.close()


def mix(i, n_vocab):
    """Request number i: (path, body).  Some begin like others; lengths, samplers and forms are mixed."""
    dice = random.Random(i)
    group = random.Random("beginning %d" % dice.randrange(5))
    prompt = [group.randrange(5, n_vocab) for _ in range(group.choice((3, 70, 140)))]
    prompt = prompt[:dice.randrange(1, len(prompt) + 1)] + [dice.randrange(5, n_vocab) for _ in range(dice.randrange(1, 20))]
    body = {"prompt": prompt, "max_tokens": dice.choice((1, 5, 17, 40))}
    body.update(dice.choice(({"temperature": 0}, {"seed": i}, {}, {"temperature": 0.7, "top_p": 0.9, "seed": -i},
                             {"temperature": 1.5, "top_k": 20, "min_p": 0.02}, {"frequency_penalty": 0.7, "presence_penalty": -0.3},
                             {"logit_bias": {"7": -100, "9": 2.5}, "n": 2})))
    if dice.randrange(8) == 0:
        body["prompt"] = [prompt, prompt[:3]]
    if dice.randrange(6) == 0:
        body.update(logprobs=dice.randrange(3), echo=True)
    if dice.randrange(4) == 0:
        body["stop"] = [chr(dice.randrange(97, 123)), "zz"]
    if dice.randrange(9) == 0 and "n" not in body:
        body["best_of"] = 3
    elif dice.randrange(3) == 0:
        body["stream"] = True
    return "/v1/completions", body


def gather(server, asks, n_client=16):
    """Ask all, n_client at a time, with company that leaves: the receipts' texts, None where one is lost."""
    got, todo, lock = [None] * len(asks), list(range(len(asks))), threading.Lock()

    def client():
        while True:
            with lock:
                if not todo:
                    return
                i = todo.pop(0)
            path, body = asks[i]
            if i % 11 == 5:
                server.leave(path, dict(body, max_tokens=200, n=1))
            status, fields, text = server.ask("POST", path, body, {"x-croft-receipt": "1"})
            if status == 200 and fields.get("x-croft-receipt"):
                status, text = server.receipt(fields["x-croft-receipt"])
            if status == 200:
                got[i] = text
            else:
                print("request %d: %s %s" % (i, status, text[:300]), flush=True)
    threads = [threading.Thread(target=client) for _ in range(n_client)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    return got


def verify(receipts, *args, **more):
    """`croft verify` of texts, one a line."""
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as f:
        f.write("".join(r + "\n" for r in receipts))
        f.flush()
        return croft.run(["verify", f.name, *args], **more)
