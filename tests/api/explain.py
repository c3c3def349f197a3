"""explain.py - `croft gateway explain`: what a gateway's ledger and audit log know of a request; what would become
of one that is not sent."""
import json
import os
import sqlite3
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
import croft
from croft import check

HOME = tempfile.TemporaryDirectory(prefix="croft-explain-")
CONFIG = os.path.join(HOME.name, "croft.yaml")
TEXT = """
listen: {address: 127.0.0.1:4010}
state: {folder: %(home)s}
ledger: {url: 'sqlite:%(home)s/ledger.db'}
prices: {files: ['%(home)s/prices.json']}
upstreams:
  - {name: own, dialect: chat, url: 'http://127.0.0.1:1/v1'}
  - {name: far, dialect: anthropic, url: 'https://far.example', country: us, keys: ['env:NOT_SET_A', 'env:NOT_SET_B']}
models:
  - {name: near, upstream: own, context: 1000, price: free, accepts: [tools, continue]}
  - {name: away, upstream: far, price: m, accepts: [tools, images, reasoning]}
groups:
  - {name: best, members: [{model: near}, {model: away}]}
labels:
  - {name: personal, strict: true, detectors: [email]}
  - {name: secret, patterns: ['TICKET-[0-9]+']}
rules:
  - {name: stay, action: forbid, when: [personal], where: {country: [us]}}
  - {name: quiet, action: forbid, when: [secret], paths: [fallback]}
never:
  - {name: abroad, when: [personal], where: {country: [us]}}
teams:
  - {name: research, labels: [personal]}
"""
PRICES = {"m": {"input_cost_per_token": 1e-06, "output_cost_per_token": 5e-06},
          "free": {"input_cost_per_token": 0, "output_cost_per_token": 0}}


def croft_run(*args, stdin=""):
    return subprocess.run([croft.CROFT, *args], input=stdin, capture_output=True, text=True, timeout=60)


def explain(*args, stdin=""):
    return croft_run("gateway", "explain", *args, "-c", CONFIG, stdin=stdin)


def refused(p, status, code, name):
    check(p.returncode == status and "[E-%s]" % code in p.stderr and not p.stdout, name,
          "%d %r %r" % (p.returncode, p.stdout, p.stderr))


def attempt(number, request, **fields):
    row = {"id": "g1-%d" % number, "process": "g1", "request": request, "upstream": "own", "upstream_id": "",
           "key_id": "laptop", "team": "research", "model": "near", "tags": "red", "charges": "", "state": 1,
           "begun": 1793000000000, "ended": 1793000001500, "requests": 1, "worst_prompt": 100,
           "worst_completion": 200, "worst_cost": 5000000000, "prompt": 12, "completion": 34, "cost": 1234000000}
    return dict(row, **fields)


def fill():
    db = sqlite3.connect(os.path.join(HOME.name, "ledger.db"))
    rows = [attempt(1, "r-1", state=2, upstream_id="up\x1b[31m1"),
            attempt(2, "r-1", upstream_id="resp_2", model="away"),
            attempt(3, "r-2", state=0, ended=0, cost=0)]
    for row in rows:
        db.execute("INSERT INTO attempts (%s) VALUES (%s)" % (", ".join(row), ", ".join("?" * len(row))),
                   list(row.values()))
    db.commit()
    db.close()
    folder = os.path.join(HOME.name, "audit")
    os.mkdir(folder)
    decisions = [{"decision": "call", "request": "r-1", "key": "laptop", "asked": "best", "labels": ["personal"],
                  "model": "near", "upstream": "own", "rule": "home",
                  "passed": [{"model": "away", "why": "rule", "rule": "stay"}]},
                 {"decision": "refused", "request": "r-3", "key": "laptop", "asked": "x \"request\":\"r-1\"",
                  "labels": [], "why": "no_model", "passed": []}]
    with open(os.path.join(folder, "g1.log"), "w") as f:
        for n, row in enumerate(decisions):
            f.write("%s {\"n\":%d,\"t\":1793000000123,\"row\":%s}\n" % ("0" * 64, n, json.dumps(
                row, separators=(",", ":"))))
        f.write("0" * 64 + ' {"n":9,"t":1,"row":{"request":"r-1","torn')


def past():
    p = explain("r-1", "--json")
    told = json.loads(p.stdout)
    check([a["id"] for a in told["attempts"]] == ["g1-1", "g1-2"], "all attempts of a request", p.stdout)
    two = told["attempts"][1]
    check((two["state"], two["usd"], two["worst_usd"], two["ms"], two["prompt_tokens"], two["model"])
          == ("exact", "0.001234", "0.005", 1500, 12, "away"), "what an attempt was", str(two))
    check(len(told["decisions"]) == 1 and told["decisions"][0]["row"]["rule"] == "home"
          and told["decisions"][0]["n"] == 0, "its decisions, whole rows alone", p.stdout)
    for other in ("g1-2", "resp_2"):
        check(json.loads(explain(other, "--json").stdout) == told, "the same by " + other)
    text = explain("r-1").stdout
    check("near at own, rule home" in text and "passed over away: rule stay" in text and "labels personal" in text
          and "$0.001234 (at most $0.005), 1500 ms" in text, "as text", text)
    check("\x1b" not in text, "an upstream's id cannot write to the terminal", repr(text))
    check("not settled; at most 100 + 200 tokens" in explain("r-2").stdout, "an open attempt")
    three = json.loads(explain("r-3", "--json").stdout)
    check(three["attempts"] == [] and three["decisions"][0]["row"]["decision"] == "refused",
          "a refused request has decisions alone", str(three))
    refused(explain("r-9"), 1, "GEXPLAIN-03", "an unknown id")
    refused(explain(), 2, "GEXPLAIN-01", "no id")
    os.rename(os.path.join(HOME.name, "audit"), os.path.join(HOME.name, "elsewhere"))
    p = explain("r-1")
    check(p.returncode == 0 and "decisions are not told" in p.stderr and "g1-1" in p.stdout,
          "without its audit log", p.stderr)


def dry(body, *args, status=0):
    p = explain("--request", "-", "--json", *args, stdin=body if isinstance(body, str) else json.dumps(body))
    check(p.returncode == status, "status %d of %s" % (status, str(body)[:80]), "%d %s" % (p.returncode, p.stderr))
    return json.loads(p.stdout)


def ask(model, text="hello", **more):
    return dict({"model": model, "messages": [{"role": "user", "content": text}], "max_tokens": 20}, **more)


def steps(told):
    return [(s["model"], s["path"]) for s in told["if_all_fail"]]


def future():
    """Secrets of upstreams are not read: none of them is set here."""
    told = dry(ask("best"))
    check(told["choice"]["first"] == "near" and told["choice"]["labels"] == [] and not told["strict"], "chosen",
          str(told))
    check(steps(told) == [("near", "call"), ("near", "retry"), ("away", "fallback"), ("away", "retry"),
                          ("away", "retry")] and told["then"] == "upstream", "attempts if all fail", str(steps(told)))
    check([s["key"] for s in told["if_all_fail"]][2:4] == ["env:NOT_SET_A", "env:NOT_SET_B"], "keys in turn",
          str(told))
    away, near = told["if_all_fail"][2], told["if_all_fail"][0]
    check(float(away["worst_usd"]) == (away["worst_prompt_tokens"] + 5 * 20) / 1e6 and near["worst_usd"] == "0",
          "the worst case of an attempt", str(away))
    told = dry(ask("best", "write to ann@mail.example"))
    check(told["choice"]["labels"] == ["personal"] and told["strict"], "a detector's label", str(told))
    one, two = told["choice"]["candidates"]
    check(one["verdict"] == "allowed" and (two["verdict"], two["rule"]) == ("rule", "stay"), "what decided", str(two))
    check(steps(told) == [("near", "call"), ("near", "retry"), ("near", "retry")], "the last one is tried twice again",
          str(steps(told)))
    told = dry(ask("best", "TICKET-77"))
    check(told["choice"]["candidates"][1]["paths"]["fallback"] == {"allowed": False, "rule": "quiet", "never": None}
          and ("away", "fallback") not in steps(told), "a rule of one path", str(told))
    told = dry(ask("best"), "--labels", "personal, unscanned")
    check(sorted(told["choice"]["labels"]) == ["personal", "unscanned"] and told["choice"]["candidates"][1]["rule"]
          == "stay", "labels that the head would name", str(told))
    told = dry(ask("best"), "--labels", "unheard", status=1)
    check(told["error"]["status"] == 400 and "unheard" in told["error"]["text"], "one that is not there", str(told))
    told = dry(ask("best", metadata={"croft_labels": "personal"}))
    check(told["choice"]["labels"] == ["personal"], "labels in metadata", str(told))
    told = dry(ask("away", "ann@mail.example"), status=1)
    check(told["choice"]["refusal"] == "Text with the label personal may not go to 'away': rule stay forbids it."
          and told["if_all_fail"] == [], "refused by a rule", str(told))
    told = dry(ask("best", tools=[{"type": "function", "function": {"name": "f"}}], messages=[
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://x.example/a.png"}}]}]))
    check(told["choice"]["candidates"][0]["lacks"] == ["images"] and told["choice"]["first"] == "away"
          and "unscanned" in told["choice"]["labels"], "what the request needs", str(told))
    told = dry(ask("best", "word " * 2000))
    check(told["choice"]["candidates"][0]["verdict"] == "context" and told["choice"]["first"] == "away", "by size",
          str(told["choice"]))
    told = dry({"model": "best", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}, "--dialect",
               "messages")
    check(told["choice"]["first"] == "near", "another dialect", str(told))
    told = dry(ask("nobody"), status=1)
    check(told["choice"]["verdict"] == "no_model", "no such model", str(told))
    told = dry('{"model": "best"', status=1)
    check(told["error"]["status"] == 400, "a body that is none", str(told))
    text = explain("--request", "-", stdin=json.dumps(ask("best", "ann@mail.example"))).stdout
    check("rule stay forbids" in text and "attempt 1  call" in text and "strict" in text, "as text", text)


def with_keys():
    for args in (["laptop", "--team", "research"], ["narrow", "--models", "away"], ["gone"],
                 ["meter", "--scope", "metrics"]):
        check(croft_run("key", "add", *args, "-c", CONFIG).returncode == 0, "a key " + args[0])
    check(croft_run("key", "revoke", "gone", "-c", CONFIG).returncode == 0, "revoked")
    told = dry(ask("best"), "--key", "laptop")
    check(told["team"] == "research" and told["choice"]["labels"] == ["personal"], "labels of the team", str(told))
    check(dry(ask("best"), "--key", "narrow", status=1)["choice"]["verdict"] == "key_scope", "out of scope")
    check(dry(ask("away"), "--key", "narrow")["choice"]["verdict"] == "allowed", "in scope")
    check(dry(ask("best"), "--key", "gone", status=1)["error"]["status"] == 401, "a revoked key")
    check(dry(ask("best"), "--key", "meter", status=1)["error"]["status"] == 403, "a key for metrics alone")
    refused(explain("--request", "-", "--key", "nobody", stdin="{}"), 2, "DOORX-01", "an unknown key")
    refused(explain("r-1", "--request", "-", stdin="{}"), 2, "GEXPLAIN-07", "two requests")


def main():
    with open(CONFIG, "w") as f:
        f.write(TEXT % {"home": HOME.name})
    with open(os.path.join(HOME.name, "prices.json"), "w") as f:
        json.dump(PRICES, f)
    future()
    refused(explain("r-1"), 3, "SQLITE-09", "a ledger that is not there")
    with_keys()
    fill()
    past()
    HOME.cleanup()
    return croft.done()


if __name__ == "__main__":
    sys.exit(main())
