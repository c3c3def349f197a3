#!/usr/bin/env python3
"""serve_proxy.py - `croft serve` behind nginx, under a path of its own and with TLS, and the first curl of the README.

    tests/api/serve_proxy.py            from the root of the repository; $CROFT names another program, $NGINX another nginx

Skipped where nginx, openssl or curl is not installed.  Ends with the line "N passed, M failed".
"""
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[0] = os.path.join(HERE, "../lib")
sys.path.append(HERE)                   # last: its http.py is not the library's
import http.client

import croft
import serving
from answer import CHATML, ENV, STORY, with_template
from croft import check

NGINX = os.environ.get("NGINX") or shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
WAIT = 120
CONF = """USER daemon off; pid FOLDER/pid; error_log FOLDER/error.log; worker_processes 1;
events { worker_connections 64; }
http {
    access_log off; client_body_temp_path FOLDER/a; proxy_temp_path FOLDER/b; fastcgi_temp_path FOLDER/c; uwsgi_temp_path FOLDER/d;
    scgi_temp_path FOLDER/e;
    upstream croft { server unix:SOCKET; keepalive 4; }
    server {
        listen 127.0.0.1:PORT ssl; server_name localhost;
        ssl_certificate FOLDER/cert.pem; ssl_certificate_key FOLDER/key.pem;
        location /croft/ {
            proxy_pass http://croft; proxy_http_version 1.1; proxy_set_header Connection "";
            proxy_set_header Host $host; proxy_set_header X-Forwarded-For $remote_addr; proxy_read_timeout 600s;
        }
    }
}
"""


def first_curl(model):
    """The command as the README has it, at the default port if that is free, else at another."""
    readme = open("README.md").read()
    command = re.search(r"^\$ (curl .*)$", readme, re.M)[1]
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        free = s.connect_ex(("127.0.0.1", 8080)) != 0
    if not shutil.which("curl"):
        return croft.skip("first-curl", "curl is not installed")
    with serving.Server(model, "--ctx-size", 512, *(("--port", 8080) if free else ()), env=ENV) as s:
        if not free:
            command = command.replace(":8080", ":%d" % s.port)
        p = subprocess.run(["sh", "-c", command.replace("curl ", "curl -s -S ", 1)], capture_output=True, text=True, timeout=WAIT)
        reply = json.loads(p.stdout) if check(p.returncode == 0, "the README's first curl", p.stderr + p.stdout) else {}
        check(reply.get("choices", [{}])[0].get("message", {}).get("content"), "is answered", p.stdout[:300])


class Proxy:
    def __init__(self, folder, unix):
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.port = s.getsockname()[1]
        # a socket in the file system is for its owner alone: nginx's workers must be that one
        user = "user root root;" if os.getuid() == 0 else ""
        text = CONF.replace("USER", user).replace("SOCKET", unix).replace("FOLDER", folder).replace("PORT", str(self.port))
        with open(folder + "/nginx.conf", "w") as f:
            f.write(text)
        self.log = open(folder + "/log", "w+")
        self.p = subprocess.Popen([NGINX, "-p", folder, "-e", folder + "/error.log", "-c", folder + "/nginx.conf"], stdout=self.log,
                                  stderr=self.log)
        self.tls = ssl.create_default_context(cafile=folder + "/cert.pem")
        end = time.monotonic() + WAIT
        while time.monotonic() < end and self.p.poll() is None:
            with socket.socket() as s:
                if s.connect_ex(("127.0.0.1", self.port)) == 0:
                    break
            time.sleep(0.02)
        check(self.p.poll() is None, "nginx runs", open(folder + "/log").read()[-600:])

    def connection(self):
        return http.client.HTTPSConnection("localhost", self.port, timeout=WAIT, context=self.tls)

    def ask(self, method, path, body=None, **fields):
        c = self.connection()
        c.request(method, path, body and json.dumps(body), fields)
        r = c.getresponse()
        text = r.read().decode()
        c.close()
        return r.status, {k.lower(): v for k, v in r.getheaders()}, text


def behind(model, folder):
    unix = folder + "/croft.sock"
    log = ("--access-log", "--trusted-proxy", "unix")
    with serving.Server(model, "--host", unix, "--base-path", "/croft", "--ctx-size", "200k", *log, env=ENV) as s:
        proxy = Proxy(folder, unix)
        try:
            ask = {"messages": [{"role": "user", "content": "Once upon a time"}], "max_tokens": 12, "seed": 4}
            status, _, text = proxy.ask("GET", "/croft/v1/models")
            check(status == 200 and json.loads(text)["data"], "models, under the path", text[:200])
            check(proxy.ask("GET", "/v1/models")[0] == 404, "and not beside it")
            status, fields, whole = proxy.ask("POST", "/croft/v1/chat/completions", ask)
            check(status == 200 and len(fields["x-request-id"]) == 32, "an answer", whole[:300])
            want = json.loads(whole)["choices"][0]["message"]["content"]
            # a stream comes piece by piece: its beginning is here long before its end could be
            c = proxy.connection()
            c.request("POST", "/croft/v1/chat/completions", json.dumps(dict(
                ask, stream=True, max_tokens=150000, temperature=0, logit_bias={"1": -100, "2": -100})))
            r = c.getresponse()
            first = r.read(400)
            now = s.ask("GET", "/croft/metrics")[2]
            check(b"data: " in first and re.search(r"^croft_work_sequences 1$", now, re.M), "a stream is not held back", str(first))
            c.sock.close()
            r.close()
            c.close()
            end = time.monotonic() + WAIT
            while time.monotonic() < end and not re.search(r"^croft_work_sequences 0$", s.ask("GET", "/croft/metrics")[2], re.M):
                time.sleep(0.02)
            check(time.monotonic() < end, "a client that leaves nginx has left croft")
            _, _, text = proxy.ask("POST", "/croft/v1/chat/completions", dict(ask, stream=True))
            got = [json.loads(l[6:]) for l in text.split("\n") if l.startswith("data: {")]
            check("".join(x["choices"][0]["delta"].get("content") or "" for x in got) == want and "data: [DONE]" in text,
                  "and a whole one says the same", text[-300:])
            many, threads = [], [threading.Thread(target=lambda: many.append(proxy.ask("POST", "/croft/v1/chat/completions", ask)[2]))
                                 for _ in range(16)]
            for t in threads:
                t.start()
            for t in threads:
                t.join()
            check([json.loads(m)["choices"][0]["message"]["content"] for m in many] == [want] * 16, "16 at once")
            status, _, text = proxy.ask("POST", "/croft/v1/chat/completions", dict(ask, temperature=9))
            check(status == 400 and json.loads(text)["error"]["param"] == "temperature", "refusals come through", text)
        finally:
            proxy.p.terminate()
            proxy.p.wait(WAIT)
    lines = [json.loads(l) for l in s.log().splitlines() if l.startswith("{")]
    check(any(l.get("peer") == "127.0.0.1" for l in lines), "the log has the client's address and not nginx's", str(lines[:2]))


def main():
    model = with_template(STORY, "serve-proxy.gguf", CHATML)
    first_curl(model)
    if not NGINX:
        croft.skip("serve-proxy", "nginx is not installed: apt-get install nginx")
        sys.exit(croft.done())
    with tempfile.TemporaryDirectory(prefix="croft-nginx-") as folder:
        os.chmod(folder, 0o755)
        made = subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", folder + "/key.pem", "-out",
                               folder + "/cert.pem", "-days", "2", "-subj", "/CN=localhost", "-addext",
                               "subjectAltName=DNS:localhost"], capture_output=True)
        if made.returncode:
            croft.skip("serve-proxy", "openssl cannot make a certificate here")
        else:
            behind(model, folder)
    sys.exit(croft.done())


if __name__ == "__main__":
    main()
