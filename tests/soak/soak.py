#!/usr/bin/env python3
"""soak.py - `croft serve` under mixed load for hours: its memory must be flat.

    tests/soak/soak.py HOURS [--leak]   from the root of the repository: `make soak HOURS=2`

All kinds of requests, streamed and whole, with receipts, refusals, embeddings, clients that leave.  A quarter of the time,
and at least until the bounded stores are full (receipts kept, pages of whole texts), is warm-up; then the anonymous memory
of the process (RssAnon) may grow by less than 1 MiB an hour (slope.py).  After it the same for a quarter of the time with
build/leak.so, which loses 8 MiB an hour: that must be found.  --leak: that part alone.
"""
import json
import os
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[0] = os.path.join(HERE, "../lib")
sys.path.append(HERE)
import croft
import serving
import slope
from croft import check

STORY = "models/stories260K.gguf"
LEAK = 8 << 20                          # bytes an hour
EVERY = 2.0                             # seconds between samples


def anonymous(pid):
    with open("/proc/%d/status" % pid) as f:
        return next(int(line.split()[1]) << 10 for line in f if line.startswith("RssAnon"))


class Load:
    """Clients that ask until they are told to end; what cannot be as it was is counted."""

    def __init__(self, server, n_client):
        self.server, self.stop, self.n, self.bad, self.lock = server, False, 0, [], threading.Lock()
        self.threads = [threading.Thread(target=self.client) for _ in range(n_client)]
        for t in self.threads:
            t.start()

    def take(self):
        with self.lock:
            self.n += 1
            return self.n

    def one(self, i):
        path, body = serving.mix(i % 5000, 500)
        if i % 7 == 3:
            self.server.leave(path, dict(body, n=1, best_of=1, max_tokens=300))
        elif i % 13 == 5:
            return self.server.ask("POST", "/v1/embeddings", {"input": ["text %d" % i, "b"]})[0] == 200
        elif i % 13 == 7:
            return self.server.ask("POST", "/v1/completions", {"prompt": "a" * 100000})[0] == 400
        elif i % 13 == 9:
            return self.server.ask("POST", "/tokenize", {"content": "Once upon a time " * 50})[0] == 200
        return self.server.ask("POST", path, body, {"x-croft-receipt": "1"})[0] in (200, 429)

    def client(self):
        while not self.stop:
            i = self.take()
            try:
                good = self.one(i)
            except OSError as e:
                good = False
                self.bad.append("%d: %s" % (i, e))
            if not good:
                self.bad.append(str(i))

    def end(self):
        self.stop = True
        for t in self.threads:
            t.join()


def run(hours, leak):
    """[(seconds, bytes)] behind the warm-up."""
    env = dict(os.environ)
    if leak:
        env.update(LD_PRELOAD=os.path.abspath("build/leak.so"), LEAK_BYTES=str(LEAK // 3600))
    points, seconds = [], hours * 3600
    with serving.Server(STORY, "--ctx-size", 512, "--parallel", 8, env=env) as s:
        load, begin = Load(s, 8), time.monotonic()
        while time.monotonic() - begin < seconds or load.n < 100:
            time.sleep(min(EVERY, seconds / 50))
            points.append((time.monotonic() - begin, anonymous(s.p.pid), load.n))
        load.end()
    check(not load.bad, "every request got what it should", str(load.bad[:5]))
    # receipts fill 4,096 places: until three times as many were asked for, or a quarter of the time
    warm = next((i for i, (t, _, n) in enumerate(points) if t > seconds / 4 and n > 12000), len(points) // 2)
    print("soak: %d requests in %.2f h%s, warm after %d, memory then %.1f MiB, at the end %.1f MiB" %
          (load.n, points[-1][0] / 3600, ", losing memory" if leak else "", points[warm][2], points[warm][1] / 2**20,
           points[-1][1] / 2**20), flush=True)
    return [(t, v) for t, v, _ in points[warm:]]


def told(name, points, want):
    verdict, per_hour, error = slope.judge(points)
    print("soak: %s: %.2f MiB an hour, give or take %.2f: %s" % (name, per_hour, error, verdict), flush=True)
    check(verdict == want, name + " is told to be " + want, "%s, %.2f MiB an hour, give or take %.2f" % (verdict, per_hour, error))


def main():
    hours = float(sys.argv[1])
    subprocess.run(["make", "--no-print-directory", "build/leak.so"], check=True)
    if "--leak" not in sys.argv:
        told("a server", run(hours, False), "flat")
    told("one that loses %d MiB an hour" % (LEAK >> 20), run(hours / 4 if "--leak" not in sys.argv else hours, True), "grows")
    sys.exit(croft.done())


if __name__ == "__main__":
    main()
