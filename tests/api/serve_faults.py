#!/usr/bin/env python3
"""serve_faults.py - `croft serve` beside thousands of slow clients and readers, clients that vanish, and 50 times too many.

    tests/api/serve_faults.py           from the root of the repository; $CROFT names another program

What others cost is counted in the engine's own rows and steps, never in seconds.  The crowd is a process of its own.  Where
the system gives fewer descriptors there are fewer of them, which is said.  Ends with the line "N passed, M failed".
"""
import json
import os
import re
import resource
import selectors
import socket
import struct
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[0] = os.path.join(HERE, "../lib")
import croft
import serving
from croft import check

STORY = "models/stories260K.gguf"
WAIT = 240                              # seconds; only a server that hangs takes that long
BAN = {"1": -100, "2": -100}            # no end
HEAD = "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


def descriptors():
    """As many as the system gives; a part of them stays for all else."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard - 200 if hard != resource.RLIM_INFINITY else 1 << 20


def request(body, **more):
    body = json.dumps(dict({"temperature": 0, "logit_bias": BAN}, **body))
    fields = "".join("%s: %s\r\n" % f for f in more.items())
    return (HEAD + fields + "Content-Length: %d\r\n\r\n%s" % (len(body), body)).encode()


def connect(port, small=False):
    s = socket.socket()
    s.settimeout(WAIT)
    if small:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    s.connect(("127.0.0.1", port))
    return s


# --- the crowd: a process of its own -------------------------------------------------------------

def crowd_slow(port, n):
    """n clients that send a byte a second of heads and bodies that would never be whole; until standard input ends."""
    text = [b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\nX-Long: " + b"y" * 500,
            request({"prompt": "z" * 400, "max_tokens": 400})]
    held, sent = [], []
    for i in range(n):
        held.append(connect(port))
        held[-1].setblocking(False)
        sent.append(0)
        if i % 2:                       # half of them are at their bodies
            sent[-1] = text[1].index(b"\r\n\r\n") + 4
            held[-1].send(text[1][:sent[-1]])
    print("ready", flush=True)
    poll = selectors.DefaultSelector()
    poll.register(sys.stdin, selectors.EVENT_READ)
    while not poll.select(1):
        for i, s in enumerate(held):
            try:
                s.send(text[i % 2][sent[i]:sent[i] + 1])
                sent[i] += 1
            except OSError:             # its time was over: another one comes
                s.close()
                held[i], sent[i] = connect(port), 0
                held[i].setblocking(False)


def crowd_readers(port, n):
    """n streams of which a byte a second is read, of long ones 4 KiB (who takes less than one is cut off after half a minute); at
    the end some of them whole.  Prints how many of these were whole, and the longest time in which nothing was read."""
    held, last, gap = [], time.monotonic(), 0
    for i in range(n):
        held.append(connect(port, small=True))
        long = i % 50 == 0
        held[-1].sendall(request({"prompt": "Once %d" % i, "max_tokens": 900 if long else 8, "stream": True, "logprobs": 5}))
        held[-1].recv(1)
    print("ready", flush=True)
    poll = selectors.DefaultSelector()
    poll.register(sys.stdin, selectors.EVENT_READ)
    while not poll.select(1):
        for i, s in enumerate(held):
            s.recv(1 if i % 50 else 4096)
        gap, last = max(gap, time.monotonic() - last), time.monotonic()
    whole = most = 0
    gap = max(gap, time.monotonic() - last)
    for s in held[::10]:
        got = b""
        while b"data: [DONE]" not in got[-40:]:
            piece = s.recv(65536)
            if not piece:
                break
            got += piece
        whole += b"data: [DONE]" in got[-40:]
        most = max(most, len(got))
    print(json.dumps([whole, len(held[::10]), most, gap]), flush=True)


class Crowd:
    def __init__(self, kind, port, n):
        self.p = subprocess.Popen([sys.executable, os.path.abspath(__file__), kind, str(port), str(n)], text=True,
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        check(self.p.stdout.readline() == "ready\n", "the crowd is there: %d %s" % (n, kind))

    def end(self):
        out = self.p.communicate("\n", timeout=WAIT)[0]
        check(self.p.returncode == 0, "the crowd ends by itself")
        return out


# --- those that count ----------------------------------------------------------------------------

class Server(serving.Server):
    def metrics(self):
        text = self.ask("GET", "/metrics")[2]
        return {k: float(v) for k, v in re.findall(r"^croft_(\S+) (\S+)$", text, re.M)}

    def at_rest(self):
        """The metrics once nothing is in work: an answer can be out before its last step is counted."""
        end, last = time.monotonic() + WAIT, None
        while time.monotonic() < end:
            now = self.metrics()
            if last == now["steps_total"] and now["work_sequences"] + now["queue_sequences"] == 0:
                return now
            last = now["steps_total"]
            time.sleep(0.1)
        check(False, "the engine comes to rest", str(now))
        return now


def answer(s):
    """(status, reply) of a reply that is not streamed."""
    got = b""
    while b"\r\n\r\n" not in got:
        got += s.recv(65536) or b"\r\n\r\n"
    head, body = got.split(b"\r\n\r\n", 1)
    n = int((re.search(rb"content-length: (\d+)", head.lower()) or [0, 0])[1])
    while len(body) < n:
        piece = s.recv(65536)
        if not piece:
            break
        body += piece
    return int(head.split()[1]), json.loads(body), head.decode().lower()


def rows_of(replies):
    """The rows that answers cost: what of their prompts was not shared, and every token but the last."""
    u = [r["usage"] for r in replies]
    return sum(x["prompt_tokens"] - x["prompt_tokens_details"]["cached_tokens"] + x["completion_tokens"] - 1 for x in u)


def eight(server, tag):
    """Eight clients at once: their replies, the rows and steps of all."""
    before = server.at_rest()
    held = [connect(server.port) for _ in range(8)]
    for i, s in enumerate(held):
        s.sendall(request({"prompt": "%s %d" % (tag, i), "max_tokens": 1500}))
    got = [answer(s) for s in held]
    for s in held:
        s.close()
    after = server.at_rest()
    check(all(status == 200 and r["usage"]["completion_tokens"] == 1500 for status, r, _ in got), "eight whole answers, " + tag,
          str([(g[0], str(g[1])[:100]) for g in got]))
    return [r for _, r, _ in got], after["rows_total"] - before["rows_total"], after["steps_total"] - before["steps_total"]


def texts(replies):
    return [r["choices"][0]["text"] for r in replies]


def crowds(room):
    n_slow, n_readers = min(2000, room // 3), min(1000, room // 3)
    print("serve_faults: %d slow clients, %d slow readers" % (n_slow, n_readers))
    with Server(STORY, "--ctx-size", 4096, "--parallel", 16, "--queue", 4096, "--draft", "off") as s:
        quiet, rows, steps = eight(s, "Tom")
        check(rows == rows_of(quiet), "rows are what the answers need", str((rows, rows_of(quiet))))
        slow = Crowd("slow", s.port, n_slow)
        check(s.metrics()["connections"] > n_slow, "they are all connected", str(s.metrics()["connections"]))
        loud, rows_loud, steps_loud = eight(s, "Tim")
        again = eight(s, "Tom")
        check(texts(again[0]) == texts(quiet), "and change no answer")
        slow.end()
        check(rows_loud == rows_of(loud), "slow clients cost no row", str((rows_loud, rows_of(loud))))
        check(steps_loud <= 1.15 * steps, "and no step: the eight share theirs", str((steps_loud, steps)))
        readers = Crowd("readers", s.port, n_readers)
        now = s.at_rest()
        check(now["connections"] > n_readers and now['requests_total{end="done"}'] >= n_readers,
              "their answers are made, and wait for them", str(now))
        loud, rows_loud, steps_loud = eight(s, "Sam")
        check(rows_loud == rows_of(loud) and steps_loud <= 1.15 * steps, "slow readers cost the others no row and no step",
              str((rows_loud, rows_of(loud), steps_loud, steps)))
        whole, n, most, gap = json.loads(readers.end())
        if whole < n and gap > 10:      # a machine that stood still read nothing either
            croft.skip("slow-readers", "for %.0f seconds nothing was read here" % gap)
        else:
            check(whole == n and most > 100 << 10, "who reads slowly gets it whole", str((whole, n, most, gap)))


def vanish():
    with Server(STORY, "--ctx-size", "100k", "--parallel", 2, "--draft", "off") as s:
        s.ask("POST", "/v1/completions", {"prompt": "Once", "max_tokens": 1})
        before = s.at_rest()
        long = request({"prompt": "Once upon a time", "max_tokens": 90000, "stream": True})
        for i in range(120):
            c = connect(s.port)
            if i % 2:                   # a reset in place of an end
                c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            c.sendall((long[:30], long[:-9], long, long, long * 2, b"")[i % 6])
            if i % 6 == 3:
                c.recv(2000)
            c.close()
        end, now = time.monotonic() + WAIT, s.at_rest()
        while now["connections"] > 1 and time.monotonic() < end:
            now = s.at_rest()
        check(now["connections"] == 1 and now["kv_pages_used"] <= before["kv_pages_used"] + 2, "nothing is left of them", str(now))
        check(now['requests_total{end="client_left"}'] >= 20 and now["answer_tokens_total"] < 120 * 90000 / 10,
              "their answers were ended", str(now))
        status, _, text = s.ask("POST", "/v1/completions", {"prompt": "Once", "max_tokens": 5})
        check(status == 200 and json.loads(text)["usage"]["completion_tokens"] == 5, "and it goes on")


def overload(room):
    """Fifty times what it can hold, at once and again: refusals cost no row, and what was begun is ended."""
    n_hold, n = 4 + 8, min(50 * 12, room // 3)
    with Server(STORY, "--ctx-size", 2048, "--parallel", 4, "--queue", 8, "--draft", "off") as s:
        held = [connect(s.port) for _ in range(n)]
        for i, c in enumerate(held):
            c.sendall(request({"prompt": "A word %d" % i, "max_tokens": 600}, **{"x-request-id": "n-%d" % i}))
        got = [answer(c) for c in held]
        for c in held:
            c.close()
        now = s.at_rest()
        done = [r for status, r, _ in got if status == 200]
        refused = [(r, head) for status, r, head in got if status == 429]
        check(len(done) >= n_hold and len(refused) >= n // 2 and len(done) + len(refused) == n, "answered or told to come again",
              str((len(done), len(refused), n)))
        check(all(r["error"]["code"] == "queue_full" and int(re.search(r"retry-after: (\d+)", head)[1]) >= 1
                  for r, head in refused), "each with a time")
        check(now["rows_total"] == rows_of(done), "refusals cost no row", str((now["rows_total"], rows_of(done))))
        ended = {k: now['requests_total{end="%s"}' % k] for k in ("done", "client_left", "deadline", "failed", "queue_full")}
        begun = sum(ended.values()) - ended["queue_full"]
        check(ended["done"] >= 0.95 * begun and all(r["usage"]["completion_tokens"] == 600 for r in done),
              "what was begun was ended", str(ended))
        print("serve_faults: of %d at once %d were answered, %d refused" % (n, len(done), len(refused)))


def main():
    room = descriptors()
    if sys.argv[1:2] == ["slow"]:
        return crowd_slow(int(sys.argv[2]), int(sys.argv[3]))
    if sys.argv[1:2] == ["readers"]:
        return crowd_readers(int(sys.argv[2]), int(sys.argv[3]))
    crowds(room)
    vanish()
    overload(room)
    sys.exit(croft.done())


if __name__ == "__main__":
    main()
