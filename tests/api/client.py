"""client.py - the client of src/http against servers that misbehave: slow, endless, huge, closed half
way, unknown, uncertified.  The client is tests/http/fetch.c.

    tests/api/client.py [build/croft]       the client is beside the program: build/fetch, or $FETCH

Nothing here asserts how long a thing took: each test waits for an end, and the end's kind is what
counts.  The names resolve by no network: .invalid never exists."""
import atexit
import email.utils
import json
import os
import resource
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
import croft
from croft import check

FETCH = os.environ.get("FETCH", os.path.join(os.path.dirname(croft.CROFT), "fetch"))
HOME = tempfile.mkdtemp(prefix="croft-client-")
atexit.register(shutil.rmtree, HOME, True)
WAIT = 120                              # seconds; only a client that hangs takes that long
PIECE = b"0123456789abcdef" * 4096      # 64 KiB
HASH_START, HASH_PRIME = 0xcbf29ce484222325, 0x100000001b3


def hash_of(data):
    h = HASH_START
    for b in data:
        h = (h ^ b) * HASH_PRIME & 0xffffffffffffffff
    return "%016x" % h


class StandIn:
    """A server in this process: a path is a function that gets the socket and the request."""

    def __init__(self, context=None, path=None):
        self.context, self.requests, self.connections = context, [], 0
        self.sent = 0                   # bytes of the endless stream that the system took
        if path:
            self.s = socket.socket(socket.AF_UNIX)
            self.s.bind(path)
        else:
            self.s = socket.create_server(("127.0.0.1", 0))
        self.s.listen(128)
        self.port = None if path else self.s.getsockname()[1]
        self.url = "http%s://127.0.0.1:%s" % ("s" if context else "", self.port)
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            s, _ = self.s.accept()
            self.connections += 1
            threading.Thread(target=self.serve, args=(s,), daemon=True).start()

    def serve(self, s):
        try:
            if self.context:
                s = self.context.wrap_socket(s, server_side=True)
            with s:
                while self.one(s):
                    pass
        except (OSError, ssl.SSLError):
            pass

    def one(self, s):
        head = b""
        while b"\r\n\r\n" not in head:
            piece = s.recv(1)
            if not piece:
                return False
            head += piece
            if head == b"\x16":         # TLS, where none is spoken
                s.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                return False
        lines = head.decode("latin1").split("\r\n")
        method, target, _ = lines[0].split(" ")
        fields = {k.lower(): v.strip() for k, v in (x.split(":", 1) for x in lines[1:] if x)}
        body = b""
        while len(body) < int(fields.get("content-length", 0)):
            body += s.recv(65536)
        self.requests.append((method, target, fields, body))
        name = target.split("?")[0].rsplit("/", 1)[1]
        return getattr(self, "on_" + name)(s, method, body)

    @staticmethod
    def reply(s, body, *fields, status="200 OK"):
        more = "".join(f + "\r\n" for f in fields).encode()
        s.sendall(b"HTTP/1.1 %s\r\n%sContent-Length: %d\r\n\r\n%s" %
                  (status.encode(), more, len(body), body))
        return True

    def on_hello(self, s, method, body):
        return self.reply(s, b"hello\n", "Content-Type: text/plain", "X-Own:  spaces around \t")

    def on_echo(self, s, method, body):
        return self.reply(s, method.encode() + b" " + body)

    def on_chunked(self, s, method, body):
        s.sendall(b"HTTP/1.1 103 Early Hints\r\nX-Own: early\r\n\r\n"
                  b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for i in range(300):
            s.sendall(b"%x\r\n%s\r\n" % (i + 1, b"x" * (i + 1)))
        s.sendall(b"0\r\nX-Own: trailer\r\n\r\n")
        return True

    def on_until_close(self, s, method, body):
        s.sendall(b"HTTP/1.0 200 OK\r\n\r\nall there is")

    def on_redirect(self, s, method, body):
        return self.reply(s, b"", "Location: " + self.url + "/hello", status="302 Found")

    def on_busy(self, s, method, body):
        return self.reply(s, b"busy", "Retry-After: 7", status="429 Too Many Requests")

    def on_busy_ms(self, s, method, body):
        return self.reply(s, b"", "Retry-After: 7", "retry-after-ms: 1500", status="429 Slow")

    def on_busy_date(self, s, method, body):
        when = email.utils.formatdate(time.time() + 3600, usegmt=True)
        return self.reply(s, b"", "Retry-After: " + when, status="503 Later")

    def on_busy_long(self, s, method, body):
        return self.reply(s, b"", "Retry-After: 99999999999", status="503 Later")

    def on_busy_word(self, s, method, body):
        return self.reply(s, b"", "Retry-After: soon", status="503 Later")

    def on_silent(self, s, method, body):
        return s.recv(1) and None

    def on_slow_head(self, s, method, body):
        s.sendall(b"HTTP/1.1 200 OK\r\n")
        while True:
            s.sendall(b"X: y\r\n")
            time.sleep(0.02)

    def on_interim(self, s, method, body):
        while True:
            s.sendall(b"HTTP/1.1 102 Processing\r\n\r\n")
            time.sleep(0.02)

    def on_stalls(self, s, method, body):
        s.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nbegin")
        return s.recv(1) and None

    def on_slow_body(self, s, method, body):
        s.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            s.sendall(b"x")
            time.sleep(0.02)

    def on_endless(self, s, method, body):
        s.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            s.sendall(PIECE)

    def on_big(self, s, method, body):
        """64 MiB, and how many of them the system has taken."""
        s.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (1024 * len(PIECE)))
        for _ in range(1024):
            s.sendall(PIECE)
            self.sent += len(PIECE)
        return True

    def on_long_line(self, s, method, body):
        s.sendall(b"HTTP/1.1 200 OK\r\nX-Long: ")
        for _ in range(1600):
            s.sendall(PIECE)

    def on_many_fields(self, s, method, body):
        s.sendall(b"HTTP/1.1 200 OK\r\n")
        while True:
            s.sendall(b"X-Many: field\r\n" * 100)

    def on_long_event(self, s, method, body):
        s.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: ")
        for _ in range(1600):
            s.sendall(PIECE)

    def on_events(self, s, method, body):
        text = b": hi\n\nevent: a\ndata: 1\n\ndata: 2\r\ndata: 3\r\n\r\ndata: [DONE]\n\ndata: lost"
        s.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n"
                  b"Transfer-Encoding: chunked\r\n\r\n")
        for b in text:
            s.sendall(b"1\r\n%c\r\n" % b)
        s.sendall(b"0\r\n\r\n")
        return True

    def on_many_events(self, s, method, body):
        text = b"".join(b"data: %d\n\n" % i for i in range(20000))
        return self.reply(s, text, "Content-Type: text/event-stream")

    def on_closed(self, s, method, body):
        return None

    def on_half(self, s, method, body):
        s.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")

    def on_half_chunked(self, s, method, body):
        s.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n64\r\nhalf")

    def on_half_head(self, s, method, body):
        s.sendall(b"HTTP/1.1 200 OK\r\nContent-Le")

    def on_reset(self, s, method, body):
        s.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    def on_bad_chunk(self, s, method, body):
        s.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")
        return s.recv(1) and None

    def on_not_http(self, s, method, body):
        s.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")
        return s.recv(1) and None

    def on_no_colon(self, s, method, body):
        s.sendall(b"HTTP/1.1 200 OK\r\nno colon here\r\n\r\n")
        return s.recv(1) and None

    def on_bad_length(self, s, method, body):
        s.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: x\r\n\r\nhalf")
        return s.recv(1) and None

    def on_switch(self, s, method, body):
        s.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n")
        return s.recv(1) and None


def start(*options, **more):
    args = [FETCH] + ["%s=%s" % (k, v) for k, v in more.items()] + list(options)
    return subprocess.Popen(args, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            text=True, env=dict(os.environ, http_proxy="http://127.0.0.1:1",
                                                HTTP_PROXY="http://127.0.0.1:1", NO_PROXY=""))


def fetch(*options, **more):
    """The lines of a run, as JSON."""
    p = start(*options, **more)
    try:
        out, bad = p.communicate(timeout=WAIT)
    except subprocess.TimeoutExpired:
        p.kill()
        out, bad = p.communicate()
        bad = "killed: " + bad
    check(p.returncode == 0, "fetch ends well: %s" % (options or more,), bad[-2000:])
    return [json.loads(x) if x[0] == "{" else x for x in out.splitlines()]


def one(url, *options, **more):
    got = fetch(*options, url=url, **more)
    check(len(got) == 1 and isinstance(got[0], dict), url + ": one end", str(got)[:500])
    return got[0] if got and isinstance(got[0], dict) else {"end": None, "text": "", "reason": ""}


def ends(url, end, *options, **more):
    got = one(url, *options, **more)
    check(got.get("end") == end, "%s ends with %s" % (url.rsplit("/", 1)[1], end), str(got)[:500])
    check(end == "ok" or got["reason"], "%s says why" % url, str(got)[:500])
    return got


def whole_replies(s):
    got = ends(s.url + "/hello", "ok")
    check(got["status"] == 200 and got["text"] == "hello\n" and got["heads"] == 1, "a plain reply", str(got))
    check(got["own"] == "spaces around" and got["type"] == "text/plain", "its fields", str(got))
    got = ends(s.url + "/chunked", "ok")
    check(got["bytes"] == 300 * 301 / 2 and got["heads"] == 1, "chunks behind early hints", str(got))
    check(got["own"] is None, "neither an interim reply's field nor a trailer counts", str(got))
    check(ends(s.url + "/until_close", "ok")["text"] == "all there is", "a body until the end")
    got = ends(s.url + "/hello", "ok", method="HEAD")
    check(got["status"] == 200 and got["bytes"] == 0, "HEAD has no body", str(got))
    got = ends(s.url + "/echo", "ok", "field=Content-Type:application/json", "field=X-Empty:",
               body='{"a": 1}')
    check(got["text"] == 'POST {"a": 1}', "a body is sent", str(got))
    method, _, fields, _ = s.requests[-1]
    check(fields.get("content-type") == "application/json" and fields.get("x-empty") == "",
          "the fields that were given", str(fields))
    check(not {"expect", "accept-encoding", "authorization", "cookie"} & set(fields), "no others", str(fields))
    ends(s.url + "/echo", "ok", body="x")
    check("content-type" not in s.requests[-1][2], "no type is made up", str(s.requests[-1][2]))
    check(ends(s.url + "/echo", "ok", method="DELETE")["text"] == "DELETE ", "any method")
    big = "x" * 120000
    check(ends(s.url + "/echo", "ok", body=big)["bytes"] == 5 + len(big), "a larger body")
    n = len(s.requests)
    check(ends(s.url + "/redirect", "ok")["status"] == 302, "a redirect is a reply")
    check(len(s.requests) == n + 1, "and is not followed")


def retry_after(s):
    got = ends(s.url + "/busy", "ok")
    check(got["status"] == 429 and got["retry_after_ms"] == 7000, "seconds", str(got))
    check(ends(s.url + "/busy_ms", "ok")["retry_after_ms"] == 1500, "milliseconds")
    check(0 < ends(s.url + "/busy_date", "ok")["retry_after_ms"] <= 3600000, "a date")
    check(ends(s.url + "/busy_long", "ok")["retry_after_ms"] == 86400000, "a day at most")
    check(ends(s.url + "/busy_word", "ok")["retry_after_ms"] == -1, "a word is none")
    check(ends(s.url + "/hello", "ok")["retry_after_ms"] == -1, "nor is silence")


def connections(s):
    before = s.connections
    got = fetch(url=s.url + "/hello", times=20)
    check([g["end"] for g in got] == ["ok"] * 20 and s.connections == before + 1,
          "twenty requests on one connection", str(s.connections - before))
    before = s.connections
    got = fetch(url=s.url + "/hello", together=40)
    check([g["end"] for g in got] == ["ok"] * 40 and s.connections <= before + 40, "forty at once")
    got = fetch(url=s.url + "/half", times=3)
    check([g["end"] for g in got] == ["closed"] * 3, "a connection that was cut is not used again", str(got))
    path = os.path.join(HOME, "a b.sock")
    u = StandIn(path=path)
    got = ends("http+unix://" + path.replace("/", "%2F").replace(" ", "%20") + "/hello", "ok")
    check(got["text"] == "hello\n" and u.requests[0][2]["host"] == "localhost", "a socket in the file system")
    ends("http+unix://%2Fnowhere.sock/hello", "connect")


def refused_before_sending():
    for url, *options in (("ftp://localhost/",), ("localhost:80",), ("http://a b/",), ("http://me:hunter2@h/",),
                          ("http+unix://%2/x",), ("http+unix:///x",), ("http://%s/" % ("x" * 9000),),
                          ("http://localhost/", "field=A B:c"), ("http://localhost/", "field=A:b\r\nC: d"),
                          ("http://localhost/", "method=GET /")):
        got = fetch(*options, url=url)
        check(len(got) == 1 and got[0].get("error") == "arg", "%s %s is refused" % (url[:40], options), str(got))
        check("hunter2" not in got[0].get("text", ""), "and its secret is not said")


def no_connection():
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    ends("http://127.0.0.1:%d/hello" % port, "connect")
    ends("http://does-not-exist.invalid/hello", "dns", connect_ms=3000)
    got = fetch(url="http://does-not-exist.invalid/hello", cancel=0)
    check(got and got[0]["end"] == "cancelled", "a name's look-up is left behind", str(got))
    full = socket.create_server(("127.0.0.1", 0), backlog=0)
    waiting = []
    for _ in range(4):                  # until its queue is full
        c = socket.socket()
        c.setblocking(False)
        c.connect_ex(full.getsockname())
        waiting.append(c)
    time.sleep(0.05)
    ends("http://127.0.0.1:%d/hello" % full.getsockname()[1], "connect", connect_ms=300)


def deadlines(s):
    ends(s.url + "/silent", "first_byte", first_byte_ms=200)
    ends(s.url + "/slow_head", "first_byte", first_byte_ms=400)
    ends(s.url + "/interim", "first_byte", first_byte_ms=400)
    got = ends(s.url + "/stalls", "idle", idle_ms=200)
    check(got["text"] == "begin" and "0.2 s" in got["reason"], "what came is handed over", str(got))
    ends(s.url + "/slow_body", "total", idle_ms=5000, total_ms=500)
    ends(s.url + "/slow_head", "total", total_ms=300)
    ends(s.url + "/endless", "total", total_ms=300)


def sizes(s):
    ends(s.url + "/long_line", "too_large")
    ends(s.url + "/many_fields", "too_large")
    got = ends(s.url + "/endless", "too_large", body_max=1000000)
    check(got["bytes"] <= 1000000, "nothing beyond the bound is handed over", str(got))
    ends(s.url + "/long_event", "too_large", events=1)
    ends(s.url + "/long_event", "too_large", events=1, event_max=5000000)
    check(ends(s.url + "/hello", "ok", body_max=6)["bytes"] == 6, "the bound itself is allowed")
    ends(s.url + "/hello", "too_large", body_max=5)


def bad_replies(s):
    for name in ("closed", "half", "half_chunked", "half_head", "reset"):
        ends(s.url + "/" + name, "closed")
    for name in ("bad_chunk", "not_http", "no_colon", "bad_length", "switch"):
        ends(s.url + "/" + name, "protocol")


def events(s):
    got = ends(s.url + "/events", "ok", events=1)
    check(got["text"] == "a=1;=2\n3;=[DONE];" and got["events"] == 3, "events from single bytes", str(got))
    got = ends(s.url + "/events", "ok")
    check(got["events"] == 0 and got["text"].startswith(": hi"), "without the call they are a body", str(got))
    check(ends(s.url + "/hello", "ok", events=1)["text"] == "hello\n", "and another type stays one")
    whole = ends(s.url + "/many_events", "ok", events=1)
    check(whole["events"] == 20000, "many events", str(whole)[:300])
    got = paused(s, "/many_events", events=1, pause=7)
    check(got["events"] == 20000 and got["hash"] == whole["hash"], "a pause inside a piece loses none", str(got))


def paused(s, path, check_pause=None, **more):
    """Pause, look, go on; the request's end."""
    p = start(url=s.url + path, **more)
    check(p.stdout.readline() == "paused\n", path + ": pauses")
    if check_pause:
        check_pause(p)
    out, bad = p.communicate("go\n", timeout=WAIT)
    check(p.returncode == 0 and len(out.splitlines()) == 1, path + ": ends well", bad[-2000:])
    return json.loads(out.splitlines()[0])


def memory_peak(p):
    with open("/proc/%d/status" % p.pid) as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmHWM"))


def back_pressure(s):
    seen = {}

    def look(p):
        last = -1
        while last != s.sent:           # until the server can send no more
            last = s.sent
            time.sleep(0.3)
        seen["sent"], seen["peak"] = last, memory_peak(p)
    s.sent = 0
    got = paused(s, "/big", look, pause=1000, idle_ms=250)
    check(got["end"] == "ok" and got["bytes"] == 1024 * len(PIECE), "all of it, and the pause is no idleness", str(got))
    check(seen["sent"] < 24 << 20, "the server was held up", str(seen))
    if "asan" not in FETCH:
        check(seen["peak"] < 32 << 10, "not in the client's memory", str(seen))
    plain = ends(s.url + "/big", "ok")
    check(plain["hash"] == got["hash"], "the same bytes as without a pause")


def cancelling(s):
    check(fetch(url=s.url + "/endless", cancel=0)[0]["end"] == "cancelled", "before it was sent")
    got = fetch(url=s.url + "/endless", cancel=100000)
    check(got[0]["end"] == "cancelled" and len(got) == 1, "in the middle of a body", str(got)[:300])
    got = fetch(url=s.url + "/many_events", events=1, cancel=5)
    check(got[0]["end"] == "cancelled" and got[0]["events"] == 5, "no event comes after it", str(got)[:300])
    got = fetch(url=s.url + "/endless", together=20, cancel=50000)
    check([g["end"] for g in got] == ["cancelled"] * 20, "many at once", str(got)[:300])
    got = fetch("also=" + s.url + "/hello", url=s.url + "/endless", cancel=1)
    check(sorted((g["end"], g["also"]) for g in got) == [("cancelled", False), ("ok", True)],
          "a request made inside another one's piece outlives it", str(got)[:500])


def certificate(name, *more):
    key, cert = os.path.join(HOME, name + ".key"), os.path.join(HOME, name + ".pem")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", cert,
                    "-days", "2", "-subj", "/CN=" + name, "-addext", "subjectAltName=" + more[0]],
                   check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    return cert, context


def tls(s):
    if not shutil.which("openssl"):
        croft.skip("certificates", "the program openssl is not there")
        return
    cert, context = certificate("good", "IP:127.0.0.1")
    t = StandIn(context)
    check(ends(t.url + "/hello", "ok", ca=cert)["text"] == "hello\n", "a certificate that is trusted")
    ends(t.url + "/hello", "tls")
    ends(t.url + "/hello", "tls", ca=os.path.join(HOME, "nowhere.pem"))
    other, context = certificate("other", "DNS:other.example")
    ends(StandIn(context).url + "/hello", "tls", ca=other)
    ends(s.url.replace("http:", "https:") + "/hello", "tls")
    ends(t.url.replace("https:", "http:") + "/hello", "closed")
    got = paused(t, "/big", pause=1000, ca=cert)
    check(got["end"] == "ok" and got["bytes"] == 1024 * len(PIECE), "a pause under TLS", str(got))


def proxies(s):
    got = ends("http://far.invalid/hello", "ok", proxy=s.url)
    check(got["text"] == "hello\n" and s.requests[-1][1] == "http://far.invalid/hello", "by way of a proxy",
          str(s.requests[-1]))
    ends("https://far.invalid/hello", "connect", proxy="http://127.0.0.1:1")


def main():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard), hard))
    s = StandIn()
    for part in (whole_replies, retry_after, connections, deadlines, sizes, bad_replies, events,
                 back_pressure, cancelling, tls, proxies):
        part(s)
    refused_before_sending()
    no_connection()


if __name__ == "__main__":
    main()
    sys.exit(croft.done())
