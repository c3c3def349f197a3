#!/usr/bin/env python3
"""serve_speed.py - `croft serve` beside llama-server under the same load, in turns; measures and is no test.

    tests/bench/serve_speed.py MODEL [--peer FOLDER] [--clients 1,4,16,64] [--prompt-tokens 128] [--max-tokens 64]
                               [--rounds 3] [--peer-flags '-fa on -b 2048'].. [--json FILE]

FOLDER is what tools/build-llama makes.  The load is `croft bench serve URL`, closed loop, the same prompts by the same seed,
answers of fixed length.  In each round every server is started, warmed by a request, measured at every number of clients, and
ended; figures are medians over the rounds.  --peer-flags may be repeated: each is a peer of its own, and at each number of
clients the best of them counts (by total tokens/s; the time to the first token is that peer's too).  At last what `croft bench`
predicts for the same mix: a request costs its prompt at prefill's speed and its answer at that of so many sequences at once, at
the depth in the middle of the answer.
"""
import argparse
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
import croft

START_S = 600                           # until a server must answer


def get(url, body=None):
    request = urllib.request.Request(url, body and json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=START_S) as r:
        return json.load(r)


class Server:
    """A server of its own for one round; `with` ends it."""

    def __init__(self, command, port=None):
        self.log = tempfile.NamedTemporaryFile("w+", suffix=".log")
        self.p = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        end = time.monotonic() + START_S
        while time.monotonic() < end and self.p.poll() is None:
            m = port or re.search(r"answers at http://127.0.0.1:(\d+)", open(self.log.name).read())
            if m:
                self.url = "http://127.0.0.1:%s" % (port or m[1])
                try:
                    get(self.url + "/health")
                    return
                except (urllib.error.URLError, OSError):
                    pass
            time.sleep(0.05)
        self.p.kill()
        sys.exit("serve_speed: it does not start: %s\n%s" % (" ".join(command), open(self.log.name).read()[-2000:]))

    def __enter__(self):
        return self

    def __exit__(self, *why):
        self.p.send_signal(signal.SIGTERM)
        try:
            self.p.wait(30)
        except subprocess.TimeoutExpired:
            self.p.kill()
            self.p.wait()


def free_port():
    import socket
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def commands(a):
    """{name: function that gives (command, port)}"""
    most, room = max(a.levels), 2 * a.prompt_tokens + a.max_tokens + 512
    out = {"croft": lambda: ([croft.CROFT, "serve", a.model, "--port", "0", "--parallel", str(most), "--ctx-size", str(room), "-t",
                              str(a.threads), *a.croft_flags.split()], None)}
    for i, flags in enumerate(a.peer_flags if a.peer else []):
        def peer(flags=flags):
            port = free_port()
            return [os.path.join(a.peer, "llama-server"), "-m", a.model, "--host", "127.0.0.1", "--port", str(port), "-t",
                    str(a.threads), "-tb", str(a.threads), "--parallel", str(most), "-c", str(room * most), *flags.split()], port
        out["llama-server" + (" %s" % flags if flags else "")] = peer
    return out


def fixed_length(name, url):
    """What makes answers as long as they may be."""
    if name != "croft":
        return {"ignore_eos": True, "cache_prompt": False}
    return {"logit_bias": {str(i): -100 for i in get(url + "/tokenizer_info")["end_token_ids"]}}


def measure(name, s, a):
    """{clients: level of croft bench serve}"""
    extra = dict(fixed_length(name, s.url), temperature=0)
    get(s.url + "/v1/completions", dict({"prompt": "warm", "max_tokens": 8}, **extra))
    p = subprocess.run([croft.CROFT, "bench", "serve", s.url, "--clients", ",".join(map(str, a.levels)), "--api", "completions",
                        "--prompt-tokens", str(a.prompt_tokens), "--max-tokens", str(a.max_tokens), "--seed", str(a.seed),
                        "--extra-body", json.dumps(extra), "--json", "-q"] + (["--requests", str(a.requests)] if a.requests else []),
                       capture_output=True, text=True)
    if p.returncode:
        sys.exit("serve_speed: %s: %s" % (name, p.stderr[-2000:]))
    levels = json.loads(p.stdout)["levels"]
    for level in levels:
        if level["failed"] or level["output_tokens"] != level["ok"] * a.max_tokens:
            print("serve_speed: %s at %d clients: %d failed, %d answer tokens of %d" %
                  (name, level["clients"], level["failed"], level["output_tokens"], level["ok"] * a.max_tokens), flush=True)
    return {level["clients"]: level for level in levels}


def bench(a, *options):
    p = subprocess.run([croft.CROFT, "bench", a.model, "-t", str(a.threads), "--json", "-q", *map(str, options)],
                       capture_output=True, text=True)
    if p.returncode:
        sys.exit("serve_speed: croft bench: " + p.stderr[-2000:])
    return json.loads(p.stdout)["rows"]


def predict(a, seen):
    """{clients: total tokens/s}: prompts as long as they were, answers at the speed of so many at once."""
    n_prompt = round(statistics.fmean(level["prompt_tokens"] / level["ok"] for level in seen.values()))
    prefill = bench(a, "-p", n_prompt, "-n", 0)[0]["tok_per_s"]
    rows = bench(a, "-p", 0, "-n", 32, "-d", n_prompt + a.max_tokens // 2, "--parallel", ",".join(map(str, a.levels)))
    out = {}
    for row in rows:
        seconds = n_prompt / prefill + a.max_tokens / row["tok_per_s"]
        out[row["parallel"]] = (n_prompt + a.max_tokens) / seconds
    return out


def middle(levels, *path):
    values = []
    for v in levels:
        for key in path:
            v = v[key]
        values.append(v)
    return statistics.median(values)


def summary(rounds):
    """{clients: {"total", "p50", "p95", "runs"}} of [{clients: level}]"""
    return {n: {"total": middle([r[n] for r in rounds], "total_tokens_per_s"),
                "p50": middle([r[n] for r in rounds], "first_token_ms", "p50"),
                "p95": middle([r[n] for r in rounds], "first_token_ms", "p95"),
                "runs": [r[n]["total_tokens_per_s"] for r in rounds]} for n in rounds[0]}


def report(a, sums, predicted):
    print("\n%s, %d prompt and %d answer tokens, %d threads, medians of %d rounds in turns" %
          (os.path.basename(a.model), a.prompt_tokens, a.max_tokens, a.threads, a.rounds))
    print("clients  server                          total tok/s   TTFT p50   p95 ms   ratio   TTFT p95 ratio   of predicted")
    for n in a.levels:
        mine = sums["croft"][n]
        print("%7d  %-30s %12.0f %10.1f %8.1f %41.0f %%" % (n, "croft", mine["total"], mine["p50"], mine["p95"],
                                                           100 * mine["total"] / predicted[n]))
        peers = {name: s[n] for name, s in sums.items() if name != "croft"}
        best = max(peers, key=lambda name: peers[name]["total"], default=None)
        for name, s in peers.items():
            tail = "%8.2f %16.2f" % (mine["total"] / s["total"], mine["p95"] / s["p95"]) if name == best else ""
            print("%7s  %-30s %12.0f %10.1f %8.1f%s" % ("", name[:30], s["total"], s["p50"], s["p95"], tail))


def main():
    p = argparse.ArgumentParser()
    p.add_argument("model")
    p.add_argument("--peer")
    p.add_argument("--peer-flags", action="append")
    p.add_argument("--croft-flags", default="")
    p.add_argument("--clients", default="1,4,16,64")
    p.add_argument("--prompt-tokens", type=int, default=128)
    p.add_argument("--max-tokens", type=int, default=64)
    p.add_argument("--requests", type=int, default=0)
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--threads", type=int, default=os.cpu_count())
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--json")
    a = p.parse_args()
    a.levels = [int(n) for n in a.clients.split(",")]
    a.peer_flags = a.peer_flags or ["-fa on"]
    if a.peer and not os.access(os.path.join(a.peer, "llama-server"), os.X_OK):
        sys.exit("serve_speed: %s has no llama-server: tools/build-llama %s" % (a.peer, a.peer))
    rounds = {name: [] for name in commands(a)}
    for i in range(a.rounds):
        for name, command in commands(a).items():
            with Server(*command()) as s:
                rounds[name].append(measure(name, s, a))
            print("round %d, %s: %s" % (i + 1, name, ", ".join("%d: %.0f" % (n, level["total_tokens_per_s"])
                                                              for n, level in rounds[name][-1].items())), flush=True)
    predicted = predict(a, rounds["croft"][0])
    sums = {name: summary(r) for name, r in rounds.items()}
    report(a, sums, predicted)
    if a.json:
        with open(a.json, "w") as f:
            json.dump({"model": a.model, "prompt_tokens": a.prompt_tokens, "max_tokens": a.max_tokens, "threads": a.threads,
                       "servers": sums, "predicted": predicted}, f, indent=1)


if __name__ == "__main__":
    main()
