"""guarded.py - a gateway before clients that mean no good: who may do what (T-AUTH), requests that two
servers would read differently (T-SMUGGLE), secrets that must not be found anywhere afterwards
(T-CANARY), the audit log (T-AUDIT), and the rules on input of the requests that a gateway takes.

    tests/gateway/guarded.py [build/croft]
"""
import glob
import json
import os
import re
import shutil
import socket
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
if len(sys.argv) > 1:
    os.environ["CROFT"] = sys.argv[1]
from doors import Door, croft, check, free_port, model, upstream
import standins
from upstreams import NAMES, PATH, ask

SECRETS = {"UP_1": "sk-up-canary-71f3", "UP_2": "sk-up-canary-82a4"}
PROMPT, ARGUMENT, RESULT, SYSTEM = "canaryprompt5512", "canaryargument6623", "canaryresult7734", "canarysystem8845"
up = standins.Standin(keys=list(SECRETS.values()))
trap = standins.Standin()               # nobody may ask this one
OPEN = {"/health", "/health/live", "/health/ready"}


def routes():
    """[(method, path, scope)] of the gateway's own table."""
    out = []
    for table in glob.glob(os.path.join(croft.ROOT, "src/door/door_route.def")):
        with open(table) as f:
            out += re.findall(r'^ROUTE\("(\w+)",\s*"([^"]*)",\s*(\w+)', f.read(), re.M)
    return out


def raw(door, data, many=False):
    """The statuses of what comes back for these bytes, and all of it."""
    with socket.create_connection(("127.0.0.1", door.port), 30) as s:
        s.sendall(data)
        if not many:
            s.shutdown(socket.SHUT_WR)
        out = b""
        try:
            while len(out) < 1 << 20:
                piece = s.recv(65536)
                if not piece:
                    break
                out += piece
        except OSError:
            pass
    return [int(x) for x in re.findall(rb"HTTP/1\.1 (\d{3})", out)], out


def request(method, path, token=None, body=b"", *fields):
    lines = ["%s %s HTTP/1.1" % (method, path)]
    if not any(f.lower().startswith("host:") for f in fields):
        lines.append("Host: localhost")
    if token is not None:
        lines.append("Authorization: Bearer " + token)
    if body:
        lines += ["Content-Type: application/json", "Content-Length: %d" % len(body)]
    return ("\r\n".join(lines + list(fields)) + "\r\nConnection: close\r\n\r\n").encode() + body


def body_for(path):
    body = {"model": "m", "max_tokens": 5}
    if "embeddings" in path or "responses" in path:
        body["input"] = "hi"
    elif path.endswith("/completions") and "chat" not in path:
        body["prompt"] = "hi"
    else:
        body["messages"] = [{"role": "user", "content": "hi"}]
    return json.dumps(body).encode()


def variants(path):
    return [path, "/v1" + path, "//v1/" + path, "/v1/." + path, "/v1/.." + path, "/v1%2f" + path[1:], path + "/",
            path.upper(), "/%76%31" + path, "http://localhost/v1" + path, "/v1/x/.." + path, path + "?key=1",
            path + ";a=b", path + "%00"]


def who_may(door):
    """T-AUTH: no key, a wrong one, one revoked, one out of date, one of other scope; each route, in each
    spelling: nothing but what is open to all answers."""
    dead = door.new_key("dead")
    p = door.run("key", "revoke", "dead", "-c", door.path)
    check(p.returncode == 0, "croft key revoke", p.stderr[-300:])
    watch = door.new_key("watch", "--scope", "metrics")
    other = door.new_key("narrow")
    for _ in range(100):                # until the new keys are known, and the dead one dead
        if door.ask("/metrics", None, watch, "GET")[0] == 200 and door.ask(
                "/v1/models", None, dead, "GET")[0] == 401:
            break
        standins.time.sleep(0.1)
    turned = door.token[:-1] + ("a" if door.token[-1] != "a" else "b")
    tokens = {"none": None, "empty": "", "junk": "croft_x_y", "sql": "' OR 1=1 --", "revoked": dead,
              "one letter off": turned, "cut": door.token[:-1], "longer": door.token + "a",
              "the upstream's": SECRETS["UP_1"], "of another scope": watch}
    table, count = routes(), 0
    check(len(table) >= 8, "the table of routes was read", str(table))
    for method, path, scope in table:
        path = re.sub(r"\{[^}]*\}", "m", path)
        body = body_for(path) if method == "POST" else b""
        for name, token in tokens.items():
            for spelt in variants(path):
                for m in {method, "HEAD", "OPTIONS"}:
                    status, out = raw(door, request(m, spelt, token, body if m == "POST" else b""))
                    fine = path in OPEN or (token == watch and scope == "KEY_METRICS") or m == "OPTIONS" and \
                        status and status[0] in (200, 204) and not re.search(rb"\r\n\r\n.", out, re.S)
                    count += 1
                    if status and status[0] < 300 and not fine:
                        check(False, "%s %s with key %s" % (m, spelt, name), str(out[:300]))
    check(count > 1000, "%d ways were tried" % count)
    for spoof in ("Host: 127.0.0.1:1", "X-Forwarded-For: 127.0.0.1", "X-Real-IP: 127.0.0.1", "Forwarded: for=127.0.0.1",
                  "X-Original-URL: /health", "X-Rewrite-URL: /health"):
        status, out = raw(door, request("GET", "/v1/models", None, b"", spoof))
        check(status and status[0] >= 400, "no key and %s" % spoof, str(out[:200]))
    status, out = raw(door, request("GET", "/v1/models", "junk", b"", "Authorization: Bearer " + door.token))
    check(status == [400] or status == [401], "two keys", str(out[:200]))
    check(not up.asked(), "nothing reached an upstream", str(len(up.asked())))
    return other


def smuggled(door):
    """T-SMUGGLE: 400, and the connection ends; nothing behind it is read."""
    body = body_for("/chat/completions")
    auth = "Authorization: Bearer " + door.token
    start = "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n%s\r\nContent-Type: application/json\r\n" % auth
    inner = request("GET", "/v1/models", door.token).decode()
    length = "Content-Length: %d\r\n" % len(body)
    text = body.decode()
    for name, data in {
            "both lengths": start + length + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + inner,
            "two lengths": start + length + "Content-Length: 0\r\n\r\n" + text + inner,
            "one length twice": start + length + length + "\r\n" + text + inner,
            "a list of lengths": start + "Content-Length: 5, 5\r\n\r\n" + text + inner,
            "a signed length": start + "Content-Length: +5\r\n\r\n" + text + inner,
            "a folded field": start + length + "X-A: b\r\n c\r\n\r\n" + text + inner,
            "bare LF": start.replace("\r\n", "\n") + length + "\n" + text + inner,
            "a space before the colon": start + "Content-Length : %d\r\n\r\n" % len(body) + text + inner,
            "a chunk size with a sign": start + "Transfer-Encoding: chunked\r\n\r\n-2\r\nab\r\n0\r\n\r\n" + inner,
            "a chunk size with 0x": start + "Transfer-Encoding: chunked\r\n\r\n0x2\r\nab\r\n0\r\n\r\n" + inner,
            "another coding": start + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n" + inner,
            "chunked twice": start + "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n" + inner,
            "a NUL in a field": start + "X-A: b\0c\r\n" + length + "\r\n" + text + inner,
            "two hosts": start + "Host: elsewhere\r\n" + length + "\r\n" + text + inner,
            "no host": start.replace("Host: localhost\r\n", "") + length + "\r\n" + text + inner}.items():
        up.forget()
        status, out = raw(door, data.encode(), True)
        check(len(status) == 1 and 400 <= status[0] < 600 and not up.asked(), name,
              "%s %s" % (status, out[:200]))
    up.forget()
    two = (start + length + "\r\n" + text).encode() * 2
    status, out = raw(door, two + request("GET", "/health"), True)
    check(status == [200, 200, 200] and len(up.asked("as-m")) == 2, "requests in one packet are answered in order",
          str(status))


def bounds(door):
    """R10, R13, R15, R17, R25: what a request may be."""
    up.forget()
    base = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
    for field, value in (("n", 1000000), ("n", 0), ("max_tokens", -1), ("max_tokens", 1 << 70), ("temperature", 1e309),
                         ("temperature", -1), ("top_p", 7), ("n", 1.5), ("stream", "yes"), ("messages", 5),
                         ("messages", []), ("model", 5), ("model", None)):
        text = json.dumps(dict(base, **{field: value})).replace("Infinity", "1e999")
        status, _, data = door.ask(PATH["chat"], text)
        check(status in (400, 404) and json.loads(data)["error"]["message"], "%s: %s" % (field, value),
              "%s %s" % (status, data[:200]))
    for name, text in {"NaN": '{"model":"m","temperature":NaN,"messages":[{"role":"user","content":"a"}]}',
                       "no object": "[]", "cut": '{"model":', "empty": " ", "two": "{}{}", "twice": '{"model":"m",'
                       '"model":"other","messages":[{"role":"user","content":"a"}]}', "not UTF-8": b'{"model":"\xff"}',
                       "deep": '{"model":"m","messages":' + "[" * 100000 + "]" * 100000 + "}",
                       "half a pair": '{"model":"m","messages":[{"role":"user","content":"\\ud800"}]}'}.items():
        status, _, data = door.ask(PATH["chat"], text)
        message = json.loads(data)["error"]["message"]
        check(status == 400 and not re.search(r"/\w+/|0x[0-9a-f]{4}|\.c:", message), "%s is refused, and no more "
              "said than needed" % name, "%s %s" % (status, data[:300]))
    check(not up.asked(), "none of these was sent on")
    many = ["X-%d: a" % i for i in range(200)]
    for name, fields in (("a field of 40 KB", ["X: " + "a" * 40000]), ("200 fields", many)):
        status, out = raw(door, request("GET", "/v1/models", door.token, b"", *fields))
        check(status and 400 <= status[0] < 500, name, str(out[:100]))
    status, out = raw(door, request("POST", "/v1/chat/completions", door.token, b"", "Content-Length: 99999999999",
                                    "Content-Type: application/json"))
    check(status == [413], "a body of 100 GB", str(out[:100]))
    status, out = raw(door, request("POST", "/v1/chat/completions", door.token, body_for("/chat/completions"),
                                    "Content-Encoding: gzip"))
    check(status and status[0] in (400, 415), "a body with an encoding", str(out[:100]))
    image = [{"type": "text", "text": "see"}, {"type": "image_url", "image_url": {"url": trap.url + "/v1/models"}}]
    for to in NAMES:
        status, _, data = door.ask(PATH["chat"], dict(base, model=to, messages=[{"role": "user", "content": image}]))
        check(status == 200 and trap.url in json.dumps(up.asked("as-" + to)[-1]["body"]),
              "an image's address goes to %s as it is" % to, "%s %s" % (status, data[:200]))
    for field in ("api_base", "base_url", "api_key", "upstream", "url"):
        door.ask(PATH["chat"], dict(base, **{field: trap.url}))
    door.ask(PATH["chat"], base, X_Forwarded_Host="127.0.0.1:%d" % trap.port)
    check(not trap.asked(), "nothing in a request says where it goes")
    check(all(a["key"] in SECRETS.values() for a in up.asked()), "the upstream's key is the gateway's")
    sent = {k for a in up.asked() for k in a["fields"]}
    check(not sent & {"cookie", "x-forwarded-for", "x-croft-labels", "forwarded", "x-forwarded-host"},
          "fields of the client's head stay here", str(sent))


def canaries(door):
    """T-CANARY: after calls that went well and badly, no key and no word of a prompt is in any file."""
    tool = [{"type": "function", "function": {"name": "w", "parameters": {"type": "object"}}}]
    turns = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": PROMPT},
             {"role": "assistant", "content": None, "tool_calls": [{"id": "c1", "type": "function", "function": {
                 "name": "w", "arguments": json.dumps({"a": ARGUMENT})}}]},
             {"role": "tool", "tool_call_id": "c1", "content": RESULT}]
    up.forget()
    for step in ({}, {"status": 400, "body": {"error": {"message": "I cannot read " + PROMPT, "type": "x",
                                                        "param": None, "code": None}}}, {"fail_at": 2},
                 {"cut_at": 0}, {"status": 500, "body": PROMPT}):
        for to in NAMES:
            up.plan("as-" + to, dict(step))
            for stream in (True, False):
                status, _, data = door.ask(PATH["chat"], {"model": to, "messages": turns, "tools": tool,
                                                          "stream": stream})
                if status >= 500:
                    check(PROMPT not in data.decode(), "a server's error does not repeat the prompt", str(data[:200]))
    check(any(PROMPT in json.dumps(a["body"]) for a in up.asked()), "control: the upstream was told")
    door.ask(PATH["chat"], "{\"model\": \"m\", \"messages\": [" + PROMPT)
    metrics = str(door.metrics())
    watched = list(SECRETS.values()) + [door.token, door.token.rsplit("_", 1)[-1], PROMPT, ARGUMENT, RESULT, SYSTEM]
    check(not any(w in metrics for w in watched), "metrics hold no secret")
    return watched


def found_in(folder, words):
    out = []
    for path in glob.glob(os.path.join(folder, "**"), recursive=True):
        if os.path.isfile(path) and not path.endswith("croft.yaml"):
            with open(path, "rb") as f:
                data = f.read()
            out += [(os.path.basename(path), w) for w in words if w.encode() in data]
    return out


def audited(door):
    """T-AUDIT: a decision for each attempt, chained; a changed bit is found."""
    good, said = door.audit_holds()
    check(good, "the audit log holds", said)
    folder = os.path.join(door.config["state"]["folder"], "audit")
    files = [p for p in glob.glob(os.path.join(folder, "**"), recursive=True) if os.path.isfile(p)]
    lines = sum(open(p, "rb").read().count(b"\n") for p in files)
    check(lines >= len(door.rows()), "a row for each attempt", "%d lines, %d attempts" % (lines, len(door.rows())))
    largest = max(files, key=os.path.getsize)
    with open(largest, "rb") as f:
        data = bytearray(f.read())
    for at in (len(data) // 3, len(data) // 2):
        copy = folder + "-copy"
        shutil.rmtree(copy, True)
        shutil.copytree(folder, copy)
        data[at] ^= 1
        with open(os.path.join(copy, os.path.relpath(largest, folder)), "wb") as f:
            f.write(data)
        data[at] ^= 1
        p = door.run("audit", "verify", copy)
        check(p.returncode == 1, "a changed bit is found", "%d %s" % (p.returncode, p.stdout + p.stderr))
        shutil.rmtree(copy)


def refuses_to_start():
    """R21, R24: no door without a lock."""
    port = free_port()
    for name, more, secrets in (
            ("open to the network, without a key", {"listen": {"address": "0.0.0.0:%d" % port}}, SECRETS),
            ("a secret that is not there", {}, {}),
            ("a secret that is empty", {}, {"UP_1": "", "UP_2": ""})):
        door = Door([upstream("u", "chat", up.url, keys=["env:UP_1", "env:UP_2"])], [model("m", "u")], secrets,
                    key=False, wait=False, **more)
        try:
            code = door.p.wait(20)
        except subprocess.TimeoutExpired:
            code = "it runs"
        check(code in (1, 2, 3) and "[E-" in door.said(), name, "%s %s" % (code, door.said()[-300:]))
        door.stop()
        shutil.rmtree(door.folder, True)


def main():
    ups = [upstream("u-" + d, name, up.url, keys=["env:UP_1", "env:UP_2"]) for d, name in NAMES.items()]
    with Door(ups, [model(d, "u-" + d) for d in NAMES] + [model("m", "u-chat")], SECRETS) as door:
        who_may(door)
        smuggled(door)
        bounds(door)
        watched = canaries(door)
        audited(door)
        hits = found_in(door.folder, watched)
        check(not hits, "no secret in a file while it runs", str(hits))
        door.stop()
        hits = found_in(door.folder, watched)
        check(not hits, "nor afterwards", str(hits))
    refuses_to_start()
    sys.exit(croft.done())


if __name__ == "__main__":
    main()
