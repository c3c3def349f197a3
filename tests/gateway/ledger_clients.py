"""ledger_clients.py - clients for ledger_many.py, many in one process: they ask, read, and some leave.

    python3 tests/gateway/ledger_clients.py < task

The task is one line of JSON; they end when their standard input does, or with their `calls`, or when
each was refused `refusals` times in a row.  A line of JSON for each request that may have been taken:
its id, who asked whom, the status, x-croft-note, and how it ended: whole; left, by the client; broke, by
the other side; hangs.
"""
import json
import os
import random
import socket
import struct
import sys
import threading
import time

WAIT = 120                              # seconds; only a gateway that hangs takes that long
PATH = {"chat": "/v1/chat/completions", "messages": "/v1/messages", "responses": "/v1/responses"}
ENDS = (b"[DONE]", b"message_stop", b"response.completed", b'"error"')


class Client:
    """task: ports, keys [[name, token]], models, name, seed, clients, leave (of 1), calls, refusals."""

    def __init__(self, task, n):
        self.task, self.n, self.made, self.refused = task, n, 0, 0
        self.random = random.Random("%s %s %d" % (task["seed"], task["name"], n))
        self.key = task["keys"][n % len(task["keys"])]

    def over(self):
        return STOP.is_set() or 0 < self.task["calls"] <= self.made or \
            0 < self.task["refusals"] <= self.refused

    def run(self):
        while not self.over():
            self.made += 1
            row = self.ask("%s-%d-%d" % (self.task["name"], self.n, self.made))
            if row:
                say(row)
            good = row is not None and row["status"] == 200
            self.refused = 0 if good or row is None or row["status"] not in (402, 429) else self.refused + 1
            if not good:
                time.sleep(self.random.uniform(0.05, 0.3))

    def body(self, kind, name, stream):
        text = "#%s %s" % (name, " ".join(self.random.choice(("rose", "lily", "tulip")) for _ in range(8)))
        body = {"model": self.random.choice(self.task["models"]), "stream": stream}
        if kind == "responses":
            return dict(body, input=text, max_output_tokens=64)
        return dict(body, messages=[{"role": "user", "content": text}], max_tokens=64)

    def ask(self, name):
        r = self.random
        kind, stream, port = r.choice(sorted(PATH)), r.random() < 0.8, r.choice(self.task["ports"])
        body = json.dumps(self.body(kind, name, stream)).encode()
        leave = r.choice(("bytes", "time")) if r.random() < self.task["leave"] else None
        row = {"id": name, "key": self.key[0], "port": port, "status": 0, "note": "", "end": "broke"}
        try:
            s = socket.create_connection(("127.0.0.1", port), WAIT)
        except OSError:
            return None
        with s:
            try:
                s.sendall(b"POST %s HTTP/1.1\r\nHost: door\r\nContent-Type: application/json\r\nConnection: close\r\n"
                          b"Authorization: Bearer %s\r\nx-request-id: %s\r\nContent-Length: %d\r\n\r\n%s" % (
                              PATH[kind].encode(), self.key[1].encode(), name.encode(), len(body), body))
                self.read(s, row, leave)
            except socket.timeout:
                row["end"] = "left" if leave == "time" else "hangs"
            except OSError:
                pass
            if row["end"] == "left" and r.random() < 0.5:
                s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return row

    def read(self, s, row, leave):
        got, most = b"", self.random.randrange(1500) if leave == "bytes" else 1 << 30
        if leave == "time":
            s.settimeout(self.random.uniform(0.0005, 0.3))
        while True:
            piece = s.recv(65536)
            got += piece
            if b"\r\n\r\n" in got and not row["status"]:
                self.read_head(row, got)
            if not piece:
                row["end"] = "whole" if self.is_whole(row, got) else "broke"
                return
            if len(got) > most:
                row["end"] = "left"
                return

    @staticmethod
    def read_head(row, got):
        head = got.split(b"\r\n\r\n")[0].decode("latin1").split("\r\n")
        row["status"] = int(head[0].split(" ")[1])
        for line in head[1:]:
            if line.lower().startswith("x-croft-note:"):
                row["note"] = line.partition(":")[2].strip()

    @staticmethod
    def is_whole(row, got):
        head, _, rest = got.partition(b"\r\n\r\n")
        for line in head.lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                return len(rest) == int(line.split(b":")[1])
        return any(e in rest for e in ENDS)


def say(row):
    with LOCK:
        sys.stdout.write(json.dumps(row) + "\n")
        sys.stdout.flush()


def stop_with_input():
    sys.stdin.read()
    STOP.set()


LOCK, STOP = threading.Lock(), threading.Event()
threading.excepthook = lambda args: (sys.__excepthook__(*args[:3]), os._exit(1))
if __name__ == "__main__":
    TASK = json.loads(sys.stdin.readline())
    threading.Thread(target=stop_with_input, daemon=True).start()
    threads = [threading.Thread(target=Client(TASK, i).run) for i in range(TASK["clients"])]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
