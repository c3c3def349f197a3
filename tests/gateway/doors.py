"""doors.py - a running `croft gateway` for the tests, and what it leaves behind: ledger, audit log,
metrics, log.

A configuration is a dict; it is written as JSON, which is YAML.
"""
import contextlib
import http.client
import json
import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.parse

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
import croft
from croft import check

WAIT = 120                              # seconds; only a gateway that hangs takes that long
STATES = ("open", "exact", "estimated", "void")
# Dollars a token, and the same in 10^-12 dollar: read, from a cache, into a cache, said.
RATES = {"prompt": 1000000, "cached": 100000, "written": 1250000, "answer": 2000000}
PRICE = {"input_cost_per_token": 1e-06, "cache_read_input_token_cost": 1e-07,
         "cache_creation_input_token_cost": 1.25e-06, "output_cost_per_token": 2e-06,
         "litellm_provider": "openai", "mode": "chat"}
ALL = ["tools", "images", "schema", "reasoning"]


def cost_of(usage):
    """What a usage of the stand-ins costs, in 10^-12 dollar."""
    plain = usage["prompt"] - usage["cached"] - usage["written"]
    return (plain * RATES["prompt"] + usage["cached"] * RATES["cached"] +
            usage["written"] * RATES["written"] + usage["answer"] * RATES["answer"])


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def upstream(name, dialect, url, **more):
    """An entry of `upstreams`; keys are env:KEY_<name>, _1, ... in the order of `keys`."""
    out = {"name": name, "dialect": dialect, "url": url if dialect == "anthropic" else url + "/v1",
           "timeouts": {"connect": "2s", "first_byte": "20s", "idle": "20s", "total": "60s"}}
    out.update(more)
    return out


def model(name, at, **more):
    """An entry of `models`: the upstream calls it as-NAME, its price is everybody's."""
    out = {"name": name, "upstream": at, "as": "as-" + name, "price": "priced", "context": 100000,
           "max_output": 8000, "accepts": ALL}
    out.update(more)
    return out


class Door:
    """`with Door(config) as door`: a gateway on loopback, with one key `door.token`."""

    def __init__(self, upstreams, models, secrets=None, key=True, wait=True, port=None, **sections):
        self.folder = tempfile.mkdtemp(prefix="croft-door-")
        self.port = port or free_port()
        self.env = dict(os.environ, **(secrets or {}))
        self.ledger_path = os.path.join(self.folder, "ledger.db")
        self.path = os.path.join(self.folder, "croft.yaml")
        prices = os.path.join(self.folder, "prices.json")
        with open(prices, "w") as f:
            json.dump({"priced": PRICE}, f)
        self.config = {
            "listen": {"address": "127.0.0.1:%d" % self.port,
                       "log": {"file": os.path.join(self.folder, "gateway.log")}},
            "state": {"folder": os.path.join(self.folder, "state"), "operator": "self"},
            "ledger": {"url": "sqlite:" + self.ledger_path}, "prices": {"files": [prices]},
            "audit": {"sync_ms": 10}, "upstreams": upstreams, "models": models}
        for name, value in sections.items():
            if isinstance(value, dict):
                self.config.setdefault(name, {}).update(value)
            else:
                self.config[name] = value
        os.makedirs(self.config["state"]["folder"], exist_ok=True)
        self.write()
        self.p, self.token = None, None
        if key:
            self.token = self.new_key("tester")
        self.out = open(os.path.join(self.folder, "out"), "w+b")
        self.start(wait)

    def write(self):
        with open(self.path, "w") as f:
            json.dump(self.config, f, indent=1)

    def run(self, *args, text=None):
        return subprocess.run([croft.CROFT, *args], input=text, capture_output=True, text=True,
                              env=self.env, timeout=WAIT)

    def new_key(self, name, *options):
        p = self.run("key", "add", name, "-c", self.path, *options)
        check(p.returncode == 0, "croft key add %s" % name, p.stderr[-400:])
        return p.stdout.strip().split("\n")[-1].strip()

    def start(self, wait=True):
        self.p = subprocess.Popen([croft.CROFT, "gateway", "-c", self.path], stdin=subprocess.DEVNULL,
                                  stdout=self.out, stderr=self.out, env=self.env)
        end = time.monotonic() + WAIT
        while wait and time.monotonic() < end and self.p.poll() is None:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", self.port), 5).close()
                return
            time.sleep(0.02)
        check(not wait, "the gateway starts", self.said()[-800:])

    def said(self):
        with open(self.out.name, errors="replace") as f:
            return f.read()

    def log(self):
        try:
            with open(self.config["listen"]["log"]["file"]) as f:
                return [json.loads(line) for line in f if line.strip()]
        except FileNotFoundError:
            return []

    def stop(self, sig=signal.SIGTERM):
        if self.p.poll() is None:
            self.p.send_signal(sig)
        try:
            return self.p.wait(WAIT)
        except subprocess.TimeoutExpired:
            self.p.kill()
            self.p.wait()
            return "killed"

    def __enter__(self):
        return self

    def __exit__(self, *why):
        code = self.stop()
        check(code == 0, "the gateway ends well", "%s %s" % (code, self.said()[-2000:]))
        if why[0] is None:
            shutil.rmtree(self.folder, True)

    # -- asking

    @property
    def url(self):
        return "http://127.0.0.1:%d" % self.port

    def connection(self):
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=WAIT)

    def ask(self, path, body, token="", method="POST", **fields):
        """Status, head and body of one request; token None: without a key."""
        c = self.connection()
        token = self.token if token == "" else token
        head = {"Content-Type": "application/json"}
        if token:
            head["Authorization"] = "Bearer " + token
        head.update({k.replace("_", "-"): v for k, v in fields.items()})
        data = body if isinstance(body, (bytes, str)) else json.dumps(body)
        try:
            c.request(method, path, data if method == "POST" else None, head)
            r = c.getresponse()
            return r.status, r.headers, r.read()
        finally:
            c.close()

    # -- what it leaves behind

    def rows(self, settled=None):
        """The attempts of the ledger, oldest first; `settled`: wait until so many are."""
        end = time.monotonic() + WAIT
        while True:
            rows = self.read_rows()
            if settled is None or len([r for r in rows if r["state"] != "open"]) >= settled or \
                    time.monotonic() > end:
                return rows
            time.sleep(0.02)

    def read_rows(self):
        if not os.path.exists(self.ledger_path):
            return []
        db = sqlite3.connect("file:%s?mode=ro" % urllib.parse.quote(self.ledger_path), uri=True,
                             timeout=30)
        db.row_factory = sqlite3.Row
        try:
            rows = [dict(r) for r in db.execute("SELECT * FROM attempts ORDER BY begun, id")]
        except sqlite3.OperationalError:
            rows = []                   # no table yet
        finally:
            db.close()
        for r in rows:
            r["state"] = STATES[r["state"]]
        return rows

    def sums(self, by="model"):
        p = self.run("gateway", "ledger", "--by", by, "--json", "-c", self.path)
        check(p.returncode == 0, "croft gateway ledger", p.stderr[-400:])
        return json.loads(p.stdout or "[]")

    def metrics(self):
        """{(name, labels): value}"""
        status, _, text = self.ask("/metrics", None, method="GET", token=self.metrics_token())
        check(status == 200, "/metrics answers", "%s %s" % (status, text[:200]))
        out = {}
        for line in text.decode().split("\n"):
            m = re.fullmatch(r"([a-z_:0-9]+)(\{.*\})? (\S+)( \d+)?", line)
            if m and not line.startswith("#"):
                out[m[1], m[2] or ""] = float(m[3])
        return out

    def metrics_token(self):
        if not hasattr(self, "watcher"):
            self.watcher = self.new_key("watcher", "--scope", "metrics")
            end = time.monotonic() + 10         # a new key is known in time
            while time.monotonic() < end and self.ask("/metrics", None, self.watcher, "GET")[0] == 401:
                time.sleep(0.05)
        return self.watcher

    def audit_holds(self):
        p = self.run("audit", "verify", os.path.join(self.config["state"]["folder"], "audit"))
        return p.returncode == 0, p.stdout + p.stderr


def changed(before, after, word):
    """The metrics that speak of `word` and grew."""
    return {k: v - before.get(k, 0) for k, v in after.items()
            if word in k[1] and v > before.get(k, 0)}
