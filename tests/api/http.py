"""http.py - src/http over real sockets: what smugglers send, slow and vanishing clients, limits, streams,
keys, TLS, draining.  The server is tests/http/echo_server.c with short deadlines.

    tests/api/http.py [build/croft]         the server is beside the program: build/echo_server,
                                        or $SERVER

Nothing here asserts how long a thing took: a test waits for an answer or an end, and a server that
gives none fails it by a time-out far above any deadline."""
import atexit
import json
import os
import re
import resource
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import warnings

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
import croft
from croft import check

SERVER = os.environ.get("SERVER", os.path.join(os.path.dirname(croft.CROFT), "echo_server"))
HOME = tempfile.mkdtemp(prefix="croft-http-")
WAIT = 60                               # seconds; only a server that hangs takes that long
HOST = b"Host: localhost\r\n"


class Server:
    def __init__(self, *options, descriptors=None):
        def limit():
            if descriptors:
                resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, descriptors))
        self.log_path = os.path.join(HOME, "log-%d" % time.monotonic_ns())
        with open(self.log_path, "w") as log:
            self.p = subprocess.Popen([SERVER, *options], stdout=subprocess.PIPE, stderr=log, text=True,
                                      preexec_fn=limit)
        atexit.register(self.p.kill)
        self.ports = []
        for line in self.p.stdout:
            if line == "ready\n":
                break
            self.ports.append(int(line.split()[1]))

    def connect(self, i=0, host="127.0.0.1"):
        s = socket.create_connection((host, self.ports[i]), timeout=WAIT)
        return s

    def ask(self, data, i=0):
        """All bytes the server sends until it ends the connection."""
        with self.connect(i) as s:
            s.sendall(data)
            return everything(s)

    def status(self):
        return json.loads(self.ask(get("/status", close=True)).split(b"\r\n\r\n", 1)[1])

    def wait_for(self, what, test):
        """Until the server's counters say so."""
        end = time.monotonic() + WAIT
        while time.monotonic() < end:
            now = self.status()
            if "error" not in now and test(now):
                return check(True, what)
            time.sleep(0.01)
        return check(False, what, str(now))

    def log(self):
        with open(self.log_path) as f:
            return f.read()

    def end(self, signo=signal.SIGTERM):
        self.p.send_signal(signo)
        out = self.p.stdout.read()
        code = self.p.wait(WAIT)
        check(code == 0 and out == "done\n", "the server ends well", "%d %s" % (code, self.log()[-3000:]))


def get(path, *fields, close=False):
    more = b"".join(f.encode() + b"\r\n" for f in fields) + (b"Connection: close\r\n" if close else b"")
    return b"GET %s HTTP/1.1\r\n" % path.encode() + HOST + more + b"\r\n"


def post(path, body, *fields):
    more = b"".join(f.encode() + b"\r\n" for f in fields)
    return (b"POST %s HTTP/1.1\r\n" % path.encode() + HOST + more +
            b"Content-Length: %d\r\n\r\n" % len(body) + body)


def chunks(*pieces):
    return b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in pieces) + b"0\r\n\r\n"


def everything(s):
    out = b""
    while True:
        try:
            piece = s.recv(65536)
        except ConnectionResetError:
            return out + b"<reset>"
        if not piece:
            return out
        out += piece


def replies(data):
    """[(status, {field: value}, body)] of a connection's bytes, and what is left over."""
    out, at = [], 0
    while True:
        end = data.find(b"\r\n\r\n", at)
        lines = data[at:end].decode("latin1").split("\r\n") if end >= 0 else [""]
        m = re.match(r"HTTP/1\.1 (\d+) ", lines[0])
        if not m:
            return out, data[at:]
        fields = {k.lower(): v for k, v in (line.split(": ", 1) for line in lines[1:])}
        at, body = end + 4, []
        if "content-length" in fields:
            body.append(data[at:at + int(fields["content-length"])])
            at += len(body[0])
        while fields.get("transfer-encoding") == "chunked":
            line = data.index(b"\r\n", at)
            n = int(data[at:line], 16)
            body.append(data[line + 2:line + 2 + n])
            at = line + n + 4
            if n == 0:
                break
        out.append((int(m[1]), fields, b"".join(body)))


def statuses(data):
    return [r[0] for r in replies(data)[0]]


def refused(server, name, data, status, code):
    """One refusal of the catalogue, then the end of the connection."""
    raw = server.ask(data)
    got, rest = replies(raw)
    ok = len(got) == 1 and got[0][0] == status and not rest and got[0][1].get("connection") == "close"
    ok = ok and json.loads(got[0][2])["error"]["code"] == code
    check(ok, name, raw[:300].decode("latin1"))


def smuggled(server):
    """Whatever two servers could cut differently: refused, and nothing after it is answered."""
    second = get("/hello")
    line = b"POST /echo HTTP/1.1\r\n" + HOST
    te, cl = b"Transfer-Encoding: chunked\r\n", b"Content-Length: 6\r\n"
    for name, data, status, code in [
        ("CL and TE", line + cl + te + b"\r\n0\r\n\r\nX", 400, "bad_length"),
        ("TE and CL", line + te + cl + b"\r\n0\r\n\r\nX", 400, "bad_length"),
        ("two CL", line + cl + cl + b"\r\nabcdef", 400, "repeated_field"),
        ("CL list", line + b"Content-Length: 6, 6\r\n\r\nabcdef", 400, "bad_length"),
        ("CL with sign", line + b"Content-Length: +6\r\n\r\nabcdef", 400, "bad_length"),
        ("TE in disguise", line + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 400, "bad_coding"),
        ("TE before a colon", line + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n", 400, "bad_field"),
        ("folded field", line + b"X: a\r\n b\r\n\r\n", 400, "bad_field"),
        ("bare LF", b"GET /hello HTTP/1.1\nHost: localhost\n\n", 400, "bad_line_end"),
        ("bare CR", line + b"X: a\rb\r\n\r\n", 400, "bad_line_end"),
        ("NUL", line + b"X: a\0b\r\n\r\n", 400, "bad_line_end"),
        ("HTTP/1.0 chunked", b"POST /echo HTTP/1.0\r\n" + te + b"\r\n0\r\n\r\n", 400, "bad_coding"),
        ("chunk extension", line + te + b"\r\n1;a=b\r\nx\r\n0\r\n\r\n", 400, "bad_chunk"),
        ("chunk size -2", line + te + b"\r\n-2\r\nx\r\n0\r\n\r\n", 400, "bad_chunk"),
        ("chunk size 0x1", line + te + b"\r\n0x1\r\nx\r\n0\r\n\r\n", 400, "bad_chunk"),
        ("chunk with bare LF", line + te + b"\r\n1\nx\n0\n\n", 400, "bad_chunk"),
        ("chunk too short", line + te + b"\r\n2\r\nx\r\n0\r\n\r\n", 400, "bad_chunk"),
        ("trailer", line + te + b"\r\n0\r\nX: y\r\n\r\n", 400, "bad_chunk"),
        ("two Hosts", b"GET / HTTP/1.1\r\n" + HOST + HOST + b"\r\n", 400, "repeated_field"),
        ("no Host", b"GET / HTTP/1.1\r\n\r\n", 400, "bad_host"),
        ("another host's target", b"GET http://evil/hello HTTP/1.1\r\n" + HOST + b"\r\n", 400, "bad_target"),
        ("HTTP/2 preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "bad_version"),
        ("TLS to a plain port", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 50 + b"\n", 400,
         "bad_line_end"),
        ("two Authorizations", get("/hello", "Authorization: a", "Authorization: b"), 400, "repeated_field"),
    ]:
        refused(server, name, data + second, status, code)


def limits(server):
    refused(server, "a long request line", b"GET /" + b"a" * 9000, 414, "target_too_long")
    refused(server, "many fields", b"GET / HTTP/1.1\r\n" + HOST + b"X: y\r\n" * 101 + b"\r\n", 431,
            "head_too_long")
    refused(server, "a long head", b"GET / HTTP/1.1\r\n" + HOST + (b"X: " + b"y" * 8000 + b"\r\n") * 5, 431,
            "head_too_long")
    refused(server, "a body over the route's limit", post("/small", b"123456789"), 413, "body_too_large")
    refused(server, "a chunked body over it", b"POST /small HTTP/1.1\r\n" + HOST +
            b"Transfer-Encoding: chunked\r\n\r\n" + chunks(b"12345", b"6789"), 413, "body_too_large")
    refused(server, "a body where none is taken", b"GET /hello HTTP/1.1\r\n" + HOST +
            b"Content-Length: 1\r\n\r\nx", 413, "body_too_large")
    refused(server, "a huge declared body", b"POST /echo HTTP/1.1\r\n" + HOST +
            b"Content-Length: 999999999999999\r\n\r\n", 413, "body_too_large")
    refused(server, "a compressed body", post("/echo", b"xx", "Content-Encoding: gzip"), 415, "encoded_body")
    refused(server, "Expect something", post("/echo", b"xx", "Expect: tea"), 417, "bad_expect")
    check(statuses(server.ask(post("/small", b"12345678", "Connection: close"))) == [200],
          "a body at the limit")
    # What is refused before its body was read is still answered when the client sends all of it.
    with server.connect() as s:
        s.sendall(b"POST /small HTTP/1.1\r\n" + HOST + b"Content-Length: 3000000\r\n\r\n")
        try:
            s.sendall(b"x" * 3000000)
        except OSError:
            pass
        check(statuses(everything(s)) == [413], "413 reaches a client that sends on")


def paths(server):
    for path in ("/hello", "//hello", "/hello/", "/%68ello", "http://localhost/hello", "/hello?x=1"):
        raw = server.ask(get(path, close=True))
        check(statuses(raw) == [200] and raw.endswith(b"hello\n"), "path " + path, raw[:100].decode())
    for path in ("/HELLO", "/hello/x", "/hell", "/models", "/models%2fx", "/models/a/b"):
        check(statuses(server.ask(get(path, close=True))) == [404], "no path " + path)
    for path in ("/../hello", "/a/%2e%2e/hello", "/hello%00", "/hello\\", "/%zz"):
        check(statuses(server.ask(get(path))) == [400], "bad path " + path)
    raw = server.ask(get("/models/a%2Fb%20c", close=True))
    check(replies(raw)[0][0][2] == b"a/b c", "a parameter is decoded")
    got = replies(server.ask(b"DELETE /hello HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n"))[0][0]
    check(got[0] == 405 and got[1]["allow"] == "GET, HEAD", "405 says what is allowed", str(got))
    got = replies(server.ask(get("/who", close=True)))[0][0]
    check(got[0] == 401 and got[1]["www-authenticate"] == "Bearer", "401 without keys", str(got))
    for host in ("127.0.0.1:1", "[::1]", "LOCALHOST:99", "10.1.2.3"):
        check(statuses(server.ask(b"GET /hello HTTP/1.1\r\nHost: " + host.encode() +
                                  b"\r\nConnection: close\r\n\r\n")) == [200], "Host " + host)
    check(statuses(server.ask(b"GET /hello HTTP/1.1\r\nHost: rebound.example\r\nConnection: close\r\n\r\n"))
          == [421], "a name that is not ours")


def kept(server):
    """Keep-alive and pipelining: in order, also behind a reply that comes later."""
    many = get("/later") + post("/echo", b"one") + get("/hello") + b"HEAD /hello HTTP/1.1\r\n" + HOST + \
        b"\r\n"
    with server.connect() as s:
        s.sendall(many + get("/models/last", close=True))
        raw = everything(s)
    parts = raw.split(b"HTTP/1.1 200 OK")[1:]
    bodies = [p.split(b"\r\n\r\n", 1)[1] for p in parts]
    check(bodies == [b"later\n", b"one", b"hello\n", b"", b"last"], "pipelined replies in order",
          str(bodies))
    check(b"Content-Length: 6\r\n" in parts[3], "HEAD has the length of GET")
    with server.connect() as s:
        for i in range(200):
            s.sendall(get("/hello"))
            got = b""
            while not got.endswith(b"hello\n"):
                got += s.recv(4096)
        check(b"Connection" not in got, "200 requests on one connection")
        s.sendall(b"GET /hello HTTP/1.0\r\n\r\n")
        check(b"Connection: close" in everything(s), "HTTP/1.0 ends it")
    raw = server.ask((get("/hello") * 5000) + get("/hello", close=True))
    check(statuses(raw) == [200] * 5001, "5001 requests in one piece", str(len(statuses(raw))))
    raw = server.ask(b"GET /hello HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" + get("/hello", close=True))
    check(statuses(raw) == [200, 200] and b"Connection: keep-alive" in raw, "HTTP/1.0 with keep-alive")
    with server.connect() as s:
        s.sendall(get("/hello"))
        s.shutdown(socket.SHUT_WR)
        check(statuses(everything(s)) == [200], "a client that sends no more is answered")


def bodies(server):
    big = os.urandom(1 << 20)
    raw = server.ask(post("/echo", big, "Connection: close"))
    check(replies(raw)[0][0][2] == big, "a body of 1 MiB comes back")
    raw = server.ask(b"POST /echo HTTP/1.1\r\n" + HOST +
                     b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n" +
                     chunks(*(big[i:i + 1000] for i in range(0, len(big), 1000))))
    check(replies(raw)[0][0][2] == big, "in chunks too")
    request = b"POST /echo HTTP/1.1\r\n" + HOST + \
        b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks(b"hello", b" ", b"world")
    with server.connect() as s:
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for i in range(len(request)):
            s.sendall(request[i:i + 1])
        check(replies(everything(s))[0][0][2] == b"hello world", "byte by byte")
    with server.connect() as s:
        s.sendall(b"POST /echo HTTP/1.1\r\n" + HOST + b"Expect: 100-continue\r\nContent-Length: 2\r\n"
                  b"Connection: close\r\n\r\n")
        got = s.recv(4096)
        check(got == b"HTTP/1.1 100 Continue\r\n\r\n", "100 before the body", str(got))
        s.sendall(b"ok")
        check(everything(s).endswith(b"ok"), "then the reply")
    raw = server.ask(b"POST /small HTTP/1.1\r\n" + HOST +
                     b"Expect: 100-continue\r\nContent-Length: 9\r\n\r\n")
    check(statuses(raw) == [413], "a refusal instead of 100")


def ids(server):
    got = replies(server.ask(get("/hello", "x-request-id: abc-1.2_3", close=True)))[0][0][1]
    check(got["x-request-id"] == "abc-1.2_3", "an id is taken")
    for bad in ("a b", "x" * 65, "a;b"):
        got = replies(server.ask(get("/hello", "x-request-id: " + bad, close=True)))[0][0][1]
        check(re.fullmatch("[0-9a-f]{32}", got["x-request-id"]), "or made instead of " + bad, str(got))
    raw = server.ask(b"nonsense\r\n\r\n")
    got = replies(raw)[0][0]
    check(json.loads(got[2])["error"]["request_id"] == got[1]["x-request-id"], "also of what is no request")


def events(raw):
    body = replies(raw)[0][0][2].decode()
    return [json.loads(line[6:])["n"] for line in body.split("\n") if line.startswith("data: ")]


def streams(server):
    raw = server.ask(get("/stream/10", close=True))
    got = replies(raw)[0][0]
    check(events(raw) == list(range(10)), "a stream of 10")
    check(got[1]["content-type"] == "text/event-stream" and got[1]["x-accel-buffering"] == "no"
          and "no-transform" in got[1]["cache-control"], "its fields", str(got[1]))
    raw = server.ask(b"GET /stream/3 HTTP/1.0\r\n\r\n")
    check(b"chunked" not in raw and raw.count(b"data: ") == 3, "HTTP/1.0: until the end of the connection")
    raw = server.ask(b"HEAD /stream/3 HTTP/1.1\r\n" + HOST + b"\r\n" + get("/hello", close=True))
    check(raw.count(b"data: ") == 0 and raw.endswith(b"hello\n"), "HEAD of a stream has no body")
    # More than the sockets hold: the producer has to wait for a reader that comes late.
    n = 200000
    before = server.status()["rooms"]
    with server.connect() as s:
        s.sendall(get("/stream/%d" % n, close=True))
        server.wait_for("other clients are served meanwhile", lambda now: now["connections"] >= 2)
        raw = everything(s)
    check(events(raw) == list(range(n)), "a stream longer than every buffer is whole")
    check(server.status()["rooms"] > before, "its producer waited for room")


def vanishing(server):
    before = server.status()["client"]
    with server.connect() as s:
        s.sendall(get("/silent"))
        got = s.recv(4096)
        while b": \n\n" not in got:
            got += s.recv(4096)
        check(True, "a silent stream has a heartbeat")
    server.wait_for("a client that leaves is noticed", lambda now: now["client"] == before + 1)
    many = [server.connect() for _ in range(50)]
    for s in many:
        s.sendall(get("/silent"))
    for s in many:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        s.close()
    server.wait_for("50 that reset too", lambda now: now["client"] == before + 51)
    for s in [server.connect() for _ in range(50)]:
        s.sendall(get("/later"))
        s.close()
    with server.connect() as s:
        s.sendall(b"POST /echo HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\n\r\nab")
    server.wait_for("nothing is left of them", lambda now: now["connections"] == 1)
    raw = server.ask(get("/queue", close=True))
    check(json.loads(replies(raw)[0][0][2])["refused_posts"] > 0, "the queue of other threads is bounded")


def slow():
    """Deadlines are sums: a byte now and then postpones nothing."""
    server = Server("listen=127.0.0.1", "head_ms=150", "body_ms=150", "idle_ms=150", "write_ms=150",
                    "linger_ms=100", "rate_min=100000")
    def drip(s, data):
        try:
            for i in range(len(data)):
                s.sendall(data[i:i + 1])
                time.sleep(0.01)
        except OSError:
            pass
    for name, first, rest in [
        ("head", b"", b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"y" * 4000),
        ("body", b"POST /echo HTTP/1.1\r\n" + HOST + b"Content-Length: 5000\r\n\r\n", b"z" * 4000),
        ("chunked body", b"POST /echo HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n",
         b"1\r\nz\r\n" * 800),
    ]:
        with server.connect() as s:
            s.sendall(first)
            t = threading.Thread(target=drip, args=(s, rest))
            t.start()
            raw = everything(s)
            t.join()
        check(statuses(raw)[:1] == [408], "a slow " + name + " is ended", raw[:100].decode())
    with server.connect() as s:
        check(everything(s) == b"", "a client that says nothing is ended")
    with server.connect() as s:
        s.sendall(get("/hello"))
        check(statuses(everything(s)) == [200], "an idle connection is ended")
    before = server.status()["slow"]
    with server.connect() as s:
        s.sendall(get("/stream/2000000"))
        server.wait_for("a reader that takes nothing is cut off", lambda now: now["slow"] == before + 1)
    with server.connect() as s:
        s.sendall(get("/flood"))
        server.wait_for("what nobody holds back is cut off", lambda now: now["slow"] == before + 2)
    crowd = [server.connect() for _ in range(300)]
    for s in crowd:
        s.sendall(b"GET /hello HTT")
    check(statuses(server.ask(get("/hello", close=True))) == [200],
          "others are served beside 300 half heads")
    check(all(statuses(everything(s)) == [408] for s in crowd), "which all end")
    server.end()


def piled():
    """What waits of all together has a limit: who left most of it unread is cut off, the others get theirs whole."""
    server = Server("listen=127.0.0.1", "output_max=%d" % (64 << 20), "output_total_max=%d" % (24 << 20))
    held = []
    for kb in (6000, 14000, 9000):
        s = socket.socket()
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        s.settimeout(WAIT)
        s.connect(("127.0.0.1", server.ports[0]))
        s.sendall(get("/pile/%d" % kb, close=True))
        s.recv(100, socket.MSG_PEEK)
        held.append(s)
    server.wait_for("one is cut off", lambda now: now["connections"] == 3)
    got = [len(everything(s)) for s in held]
    check(got[0] > 6000 << 10 and got[2] > 9000 << 10 and got[1] < 14000 << 10, "the one with most, and no other", str(got))
    check(statuses(server.ask(get("/hello", close=True))) == [200], "and then there is room")
    server.end()


def crowded():
    server = Server("listen=127.0.0.1", "conn_max=4", "body_total_max=1000")
    held = [server.connect() for _ in range(4)]
    for s in held:
        s.sendall(get("/hello"))
        s.recv(4096)
    got = replies(server.ask(get("/hello")))[0][0]
    check(got[0] == 503 and got[1]["retry-after"] == "1" and got[1]["connection"] == "close",
          "one connection too many: 503", str(got))
    for s in held:
        s.close()
    server.wait_for("then there is room again", lambda now: now["connections"] == 1)
    check(statuses(server.ask(post("/echo", b"x" * 1001))) == [503], "bodies together have a limit")
    check(statuses(server.ask(post("/echo", b"x" * 1000, "Connection: close"))) == [200],
          "and no memory of it")
    server.end()


def fronted():
    """Behind a proxy, under a base path, and asked by pages."""
    server = Server("listen=127.0.0.1", "proxy=127.0.0.1", "base=/croft", "host=croft.example",
                    "origin=https://app.example")

    def reply(path, *fields, method="GET"):
        raw = server.ask(get(path, *fields, close=True).replace(b"GET", method.encode(), 1))
        return replies(raw)[0][0]
    check(reply("/croft/hello")[0] == 200 and reply("//croft//")[0] == 200, "under the base path")
    check(reply("/hello")[0] == 404 and reply("/croft/croft/hello")[0] == 404, "and nowhere else")
    for value, peer in [("9.9.9.9", "9.9.9.9"), ("1.1.1.1, 9.9.9.9", "9.9.9.9"), ("::2", "::2"),
                        ("1.1.1.1, 9.9.9.9 , 127.0.0.1", "9.9.9.9"), ("junk", "127.0.0.1"), ("", "127.0.0.1"),
                        ("9.9.9.9, junk", "127.0.0.1"), (",,", "127.0.0.1")]:
        raw = server.ask(post("/croft/echo", b"x", "X-Forwarded-For: " + value, "Connection: close"))
        got = replies(raw)[0][0][1]
        check(got["x-peer"] == peer and got["x-loopback"] == "no", "forwarded for %r" % value, str(got))
    raw = server.ask(post("/croft/echo", b"x", "X-Forwarded-For: 1.1.1.1", "X-Forwarded-For: 9.9.9.9",
                          "Connection: close"))
    check(replies(raw)[0][0][1]["x-peer"] == "9.9.9.9", "the field the proxy added counts")
    check(reply("/croft/hello", "Origin: https://evil.example")[0] == 403, "a page of another origin")
    check(reply("/croft/hello", "Origin: null")[0] == 403, "a page without one")
    check(reply("/croft/hello", "Origin: http://localhost.evil.example")[0] == 403, "one that resembles ours")
    got = reply("/croft/hello", "Origin: http://localhost")
    check(got[0] == 200 and "access-control-allow-origin" not in got[1], "our own page")
    got = reply("/croft/hello", "Origin: https://app.example")
    check(got[0] == 200 and got[1]["access-control-allow-origin"] == "https://app.example"
          and got[1]["vary"] == "Origin", "a page that was listed", str(got))
    ask = ("Access-Control-Request-Method: POST", "Access-Control-Request-Headers: authorization, x-y")
    got = reply("/croft/who", "Origin: https://app.example", *ask, method="OPTIONS")
    check(got[0] == 204 and "POST" in got[1]["access-control-allow-methods"]
          and got[1]["access-control-allow-headers"] == "authorization, x-y", "its preflight", str(got))
    check(reply("/croft/who", "Origin: https://evil.example", *ask, method="OPTIONS")[0] == 403, "another's")
    check(reply("/croft/nothing", "Origin: https://app.example", *ask, method="OPTIONS")[0] == 404, "of nothing")
    check(reply("/croft/who", method="OPTIONS")[0] == 405, "OPTIONS from no page")
    raw = server.ask(b"GET /croft/hello HTTP/1.1\r\nHost: Croft.example:81\r\nConnection: close\r\n\r\n")
    check(statuses(raw) == [200], "a name of ours in Host")
    server.end()
    check('"peer":"9.9.9.9"' in server.log(), "the log names the client", server.log()[:300])
    server = Server("listen=127.0.0.1")
    raw = server.ask(post("/echo", b"x", "X-Forwarded-For: 9.9.9.9", "Connection: close"))
    check(replies(raw)[0][0][1]["x-peer"] == "127.0.0.1", "nobody else is believed")
    server.end()


def without_descriptors():
    """More clients than the system lets the server have: it rests, and goes on when some have left."""
    server = Server("listen=127.0.0.1", descriptors=24)
    crowd = [server.connect() for _ in range(60)]
    crowd[0].sendall(get("/hello"))
    check(b"hello" in crowd[0].recv(4096), "those it has are served")
    last = crowd.pop()
    for s in crowd:
        s.close()
    last.sendall(get("/hello", close=True))
    check(statuses(everything(last)) == [200], "the last is served when others left")
    server.end()


def keyed():
    """Every route by every kind of caller: no key opens what its scope does not."""
    path = os.path.join(HOME, "keys.json")
    def key(*args):
        return subprocess.run([croft.CROFT, "key", *args, "--key-file", path, "-q"], capture_output=True,
                              text=True, check=True).stdout.strip()
    tokens = {"infer": key("add", "infer"), "admin": key("add", "admin", "--scope", "admin"),
              "metrics": key("add", "metrics", "--scope", "metrics"),
              "expired": key("add", "expired", "--expires", "2020-01-01"), "revoked": key("add", "revoked"),
              "junk": "junk", "none": None}
    tokens["cut"] = tokens["infer"][:-1]
    tokens["other"] = tokens["infer"].replace("infer", "admin")
    key("revoke", "revoked")
    server = Server("listen=127.0.0.1", "keys=" + path)
    for caller, token in tokens.items():
        for method, route, scope in [("GET", "/who", "infer"), ("POST", "/who", "infer"),
                                     ("POST", "/admin", "admin")]:
            for spelling in ("%s", "/%s", "%s/", "http://localhost%s", "%s?x=/hello"):
                for field in ("Authorization: Bearer %s", "x-api-key: %s"):
                    fields = [field % token] if token else []
                    data = get(spelling % route, *fields, close=True).replace(b"GET", method.encode(), 1)
                    want = (200 if caller == scope else
                            403 if caller in ("infer", "admin", "metrics") else 401)
                    got = statuses(server.ask(data))
                    check(got == [want], "%s %s as %s" % (method, spelling % route, caller), str(got))
    raw = server.ask(post("/admin", b"x" * 200, "Expect: 100-continue"))
    check(statuses(raw) == [401], "no key: refused before the body")
    raw = server.ask(get("/who", "x-api-key: " + tokens["infer"], close=True))
    check(raw.endswith(b"infer"), "the handler knows whose key it is")
    key("revoke", "infer")
    server.p.send_signal(signal.SIGHUP)
    end = time.monotonic() + WAIT
    while statuses(server.ask(get("/who", "x-api-key: " + tokens["infer"], close=True))) == [200] \
            and time.monotonic() < end:
        time.sleep(0.01)
    check(statuses(server.ask(get("/who", "x-api-key: " + tokens["infer"], close=True))) == [401],
          "SIGHUP: a revoked key is refused")
    server.ask(get("/hello?token=" + tokens["admin"], "Cookie: " + tokens["admin"], close=True))
    server.end()
    log = server.log()
    lines = [json.loads(line) for line in log.splitlines()]
    check(lines and all(t not in log for t in tokens.values() if t and t != "junk"), "no key is in the log")
    check(any(x["key"] == "admin" and x["route"] == "/admin" and x["status"] == 200 and x["end"] == "done"
              for x in lines), "the log has route, status and the key's id", log[:300])


def secured():
    def certificate(name):
        cert, key = (os.path.join(HOME, name + end) for end in (".pem", ".key"))
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out",
                        cert, "-days", "2", "-subj", "/CN=" + name,
                        "-addext", "subjectAltName=DNS:localhost"],
                       check=True, capture_output=True)
        return cert, key
    if not shutil.which("openssl"):
        return croft.skip("TLS", "the openssl program is not installed")
    cert, key = certificate("first")
    server = Server("cert=" + cert, "key=" + key, "tls=127.0.0.1", "listen=127.0.0.1", "head_ms=1000")
    def connect(ca, **more):
        context = ssl.create_default_context(cafile=ca)
        for name, value in more.items():
            setattr(context, name, value)
        return context.wrap_socket(server.connect(), server_hostname="localhost")
    big = os.urandom(1 << 20)
    with connect(cert) as s:
        check(s.version() == "TLSv1.3", "TLS 1.3", s.version())
        s.sendall(get("/hello") + post("/echo", big, "Connection: close"))
        got = replies(everything(s))[0]
        check([g[0] for g in got] == [200, 200] and got[1][2] == big, "requests over TLS")
    with connect(cert, maximum_version=ssl.TLSVersion.TLSv1_2) as s:
        s.sendall(get("/stream/20000", close=True))
        raw = everything(s)
        check(s.version() == "TLSv1.2" and events(raw) == list(range(20000)), "TLS 1.2, a long stream")
    with connect(cert) as s:
        s.sendall(b"GET /stream/5 HTTP/1.0\r\n\r\n")
        check(everything(s).count(b"data: ") == 5, "its end is said, not just a closed connection")
    try:
        warnings.simplefilter("ignore", DeprecationWarning)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
        context.wrap_socket(server.connect())
        check(False, "TLS 1.1 is refused")
    except (ssl.SSLError, OSError):
        check(True, "TLS 1.1 is refused")
    with server.connect() as s:
        s.sendall(get("/hello"))
        check(b"HTTP" not in everything(s), "plain HTTP to a TLS port")
    with server.connect() as s:
        check(everything(s) == b"", "a handshake that never comes is ended")
    before = server.ask(get("/status", close=True), 1)
    check(statuses(before) == [200], "a plain port beside it")
    other, other_key = certificate("second")
    with connect(cert) as held:
        os.replace(other, cert)
        os.replace(other_key, key)
        server.p.send_signal(signal.SIGHUP)
        end, served = time.monotonic() + WAIT, False
        while not served and time.monotonic() < end:
            try:
                connect(cert).close()
                served = True
            except ssl.SSLError:
                time.sleep(0.01)
        check(served, "SIGHUP: the new certificate is served")
        held.sendall(get("/hello", close=True))
        check(statuses(everything(held)) == [200], "a connection under the old one goes on")
    with open(cert, "w") as f:
        f.write("no certificate\n")
    server.p.send_signal(signal.SIGHUP)
    check(statuses(server.ask(get("/hello", close=True), 1)) == [200], "a bad certificate changes nothing")
    server.end()
    check("TLS-03" in server.log(), "and is said", server.log()[-300:])


def elsewhere():
    path = os.path.join(HOME, "socket")
    six = os.path.exists("/proc/net/if_inet6") and "lo" in open("/proc/net/if_inet6").read().split()
    server = Server("listen=127.0.0.1", *(["listen=::1"] if six else []), "unix=" + path)
    check(os.stat(path).st_mode & 0o777 == 0o600, "a socket file is its owner's")
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(WAIT)
        s.connect(path)
        s.sendall(post("/echo", b"x", "Connection: close").replace(b"localhost", b"any.name"))
        got = replies(everything(s))[0][0]
        check(got[0] == 200 and got[1]["x-peer"] == "unix", "a unix socket", str(got))
    if six:
        with server.connect(1, "::1") as s:
            s.sendall(post("/echo", b"x", "Connection: close"))
            got = replies(everything(s))[0][0]
            check(got[1]["x-peer"] == "::1" and got[1]["x-loopback"] == "yes", "IPv6", str(got))
    else:
        croft.skip("IPv6", "this machine has no ::1")
    p = subprocess.run([SERVER, "unix=" + path], capture_output=True, text=True, timeout=WAIT)
    check(p.returncode == 1 and "LISTEN-08" in p.stderr, "a socket in use is not taken away", p.stderr)
    server.p.kill()
    server.p.wait(WAIT)
    server = Server("unix=" + path)
    check(os.path.exists(path), "one that was left over is")
    server.p.send_signal(signal.SIGTERM)
    server.p.wait(WAIT)
    check(not os.path.exists(path), "and removed at the end")
    p = subprocess.run([SERVER, "listen=no.such.host.invalid"], capture_output=True, text=True, timeout=WAIT)
    check(p.returncode == 1 and "LISTEN-06" in p.stderr, "a host there is not", p.stderr)


def drained():
    server = Server("listen=127.0.0.1", "beat_ms=20")
    idle, busy, half = server.connect(), server.connect(), server.connect()
    idle.sendall(get("/hello"))
    idle.recv(4096)
    half.sendall(b"POST /echo HTTP/1.1\r\n" + HOST + b"Content-Length: 4\r\n\r\nab")
    busy.sendall(get("/silent"))
    busy.recv(4096)
    server.p.send_signal(signal.SIGTERM)
    check(everything(idle) == b"", "draining ends idle connections")
    half.sendall(b"cd")
    raw = everything(half)
    check(statuses(raw) == [200] and b"Connection: close" in raw, "a request under way is answered")
    try:
        server.connect()
        check(False, "no new connection is taken")
    except OSError:
        check(True, "no new connection is taken")
    while b": \n\n" not in busy.recv(4096):
        pass
    check(server.p.poll() is None, "a stream goes on")
    server.p.send_signal(signal.SIGINT)
    check(not everything(busy).endswith(b"0\r\n\r\n"), "stopping cuts it, visibly")
    check(server.p.wait(WAIT) == 0, "then the server is done")


def main():
    server = Server("listen=127.0.0.1", "beat_ms=50", "linger_ms=200")
    for part in (smuggled, limits, paths, kept, bodies, ids, streams, vanishing):
        part(server)
    server.end()
    check("nonsense" not in server.log() and server.log().count("\n") > 100, "the log")
    for part in (slow, piled, crowded, fronted, without_descriptors, keyed, secured, elsewhere, drained):
        part()
    shutil.rmtree(HOME)
    return croft.done()


if __name__ == "__main__":
    sys.exit(main())
