"""door.py - `croft gateway -c FILE` before small stand-in upstreams: its life, requests, failures, budgets, policy."""
import json
import os
import re
import signal
import socket
import sqlite3
import sys
import threading
import time

sys.path[0] = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib")
import http.client
import croft
import doorway
from croft import check
from doorway import DIALECTS, ROUTES, WAIT, Gateway, Upstream, body_of, said, until

ACCEPTS = {"chat": "tools, images, schema, reasoning, continue, completions, embeddings",
           "responses": "tools, images, schema, reasoning", "anthropic": "tools, images, schema, reasoning, continue"}
PRICES = {"there": {"litellm_provider": "x", "mode": "chat", "input_cost_per_token": 1e-6, "output_cost_per_token": 2e-6}}


def conf(ups, more="", models="", each="", prices=None):
    """One model m_NAME at each upstream; groups and the rest in `more`."""
    out = "prices:\n  files: [%s]\n" % prices if prices else ""
    out += "upstreams:\n"
    for name, u in ups.items():
        out += "  - {name: %s, dialect: %s, url: '%s', operator: op_%s%s}\n" % (name, u.dialect, u.url(), name, each)
    out += "models:\n"
    for name, u in ups.items():
        out += "  - {name: m_%s, upstream: %s, as: there, context: 100000, max_output: 1000, accepts: [%s]}\n" % (
            name, name, ACCEPTS[u.dialect])
    return out + models + more


def group(*members):
    return "groups:\n  - name: best\n    members: [%s]\n" % ", ".join("{model: m_%s}" % m for m in members)


def post(g, dialect, model="best", stream=False, fields=None, **more):
    return g.ask("POST", ROUTES[dialect], body_of(dialect, model, stream=stream, **more), fields)


def two_fields(g, name, *values):
    """A request that has a field of its head twice."""
    c = g.connection()
    body = json.dumps(body_of("chat", "best", stream=False))
    c.putrequest("POST", ROUTES["chat"])
    for value in values:
        c.putheader(name, value)
    c.putheader("Content-Length", str(len(body)))
    c.endheaders(body.encode())
    r = c.getresponse()
    out = r.read().decode()
    c.close()
    return r.status, out


def settled(g, n):
    """The sums over all models, when n attempts are settled."""
    def total():
        rows = g.sums().values()
        return {k: sum(r[k] for r in rows) for k in ("attempts", "exact", "estimated", "open", "prompt_tokens",
                                                     "completion_tokens")}
    until(lambda: total()["attempts"] == n and not total()["open"], 10)
    return total()


def rows(g):
    """The audit log's decisions."""
    folder = os.path.join(g.folder.name, "state", "audit")
    out = []
    for name in sorted(os.listdir(folder)):
        if name.endswith(".log"):
            with open(os.path.join(folder, name)) as f:
                out += [json.loads(line.split(" ", 1)[1])["row"] for line in f]
    return [r for r in out if "decision" in r]


def pairs():
    ups = {d: Upstream(d) for d in DIALECTS}
    with open(os.path.join(croft_tmp(), "prices.json"), "w") as f:
        json.dump(PRICES, f)
    with Gateway(conf(ups, prices=f.name)) as g:
        n = 0
        for d in DIALECTS:
            for to in DIALECTS:
                for stream in (False, True):
                    status, head, text = post(g, d, "m_" + to, stream)
                    n += 1
                    name = "%s before %s%s" % (d, to, ", streamed" if stream else "")
                    check(status == 200 and said(d, stream, text) == ("Hello there", (11, 7), 1), name, text[:800])
                    check(head["x-croft-model"] == "m_" + to and "x-request-id" in head, name + ": who answered", str(head))
                    cost = head.get("x-croft-cost") if not stream else re.search(r": x-croft-cost: (\S+)\n\n", text)[1]
                    check(cost == "0.000025", name + ": for how much", str(cost))
        last = ups["anthropic"].heads[-1]
        check(last.get("anthropic-version") == "2023-06-01" and "authorization" not in last, "heads of Anthropic", str(last))
        check(ups["chat"].asked[-1][1]["model"] == "there", "the upstream's own name of the model")
        t = settled(g, n)
        check((t["exact"], t["prompt_tokens"], t["completion_tokens"]) == (n, 11 * n, 7 * n), "the ledger has each once", str(t))
        usd = sum(float(r["usd"]) for r in g.sums().values())
        check(abs(usd - n * 25e-6) < 1e-9, "and what they cost", str(usd))
        check(len(rows(g)) == n and all(r["decision"] == "call" for r in rows(g)), "and the audit log a row for each")
        p = g.run("gateway", "explain", head["x-request-id"], "-c", g.path)
        check(p.returncode == 0 and "m_anthropic at anthropic" in p.stdout and "attempt " in p.stdout, "explained",
              p.stdout + p.stderr)
        p = g.run("audit", "verify", os.path.join(g.folder.name, "state", "audit"))
        check(p.returncode == 0, "which is whole", p.stdout + p.stderr)
        others(g, ups)
        lines = [json.loads(x) for x in g.file("access.log").splitlines()]
        check(len(lines) >= n and "Say hello" not in g.file("access.log") + g.log(), "the access log has no prompts")
        status, _, text = g.ask("GET", "/metrics")
        check(status == 200 and 'croft_gateway_settled_total{state="exact"} ' in text and "croft_gateway_dollars_total" in text,
              "metrics", text[:300])
    for u in ups.values():
        u.close()


def others(g, ups):
    """Routes beside the three."""
    status, _, text = g.ask("GET", "/v1/models")
    check(status == 200 and [m["id"] for m in json.loads(text)["data"]] == ["m_" + d for d in DIALECTS], "models", text)
    check(g.ask("GET", "/v1/models/m_chat")[0] == 200 and g.ask("GET", "/v1/models/none")[0] == 404, "one model")
    count = {"model": "m_anthropic", "messages": [{"role": "user", "content": "Say hello."}]}
    status, head, text = g.ask("POST", "/v1/messages/count_tokens", count)
    check(status == 200 and json.loads(text) == {"input_tokens": 42}, "tokens are counted by the upstream", text)
    check("max_tokens" not in ups["anthropic"].asked[-1][1], "which is asked for no more", str(ups["anthropic"].asked[-1]))
    status, head, text = g.ask("POST", "/v1/messages/count_tokens", dict(count, model="m_chat"))
    check(status == 200 and json.loads(text)["input_tokens"] > 0 and "estimate" in head.get("x-croft-note", ""),
          "or estimated, and that is said", text + str(head))
    status, head, text = g.ask("POST", "/v1/completions", {"model": "m_chat", "prompt": "Say"})
    check(status == 200 and json.loads(text)["choices"][0]["text"] == "Hello there", "completions pass", text)
    status, head, text = g.ask("POST", "/v1/embeddings", {"model": "m_chat", "input": "Say"})
    check(status == 200 and json.loads(text)["data"][0]["embedding"] == [0.5, -0.25], "embeddings pass", text)
    check(head.get("x-croft-cost") == "0.000003", "for what they cost", str(head))
    for path, word in (("completions", "prompt"), ("embeddings", "input")):
        ups["chat"].plan = ["nonsense"] * 3
        status, _, text = g.ask("POST", "/v1/" + path, {"model": "m_chat", word: "Say"})
        check(status == 502 and "what" not in text, path + " that are none are no answer", "%d %s" % (status, text))
        ups["chat"].plan = []
    status, _, text = g.ask("POST", "/v1/completions", {"model": "m_anthropic", "prompt": "Say"})
    check(status == 400, "completions of an upstream without them are refused", text)
    status, _, text = post(g, "chat", "none")
    check(status == 404 and json.loads(text)["error"]["code"] == "model_not_found", "a model that is not there", text)
    status, _, text = post(g, "anthropic", "none")
    check(status == 404 and json.loads(text)["type"] == "error", "in the dialect of who asks", text)
    status, head, text = g.ask("POST", "/v1/chat/completions", {"model": "m_anthropic", "messages": [
        {"role": "user", "content": "Hi"}], "logit_bias": {"5": 1}, "presence_penalty": 0.5})
    check(status in (200, 400), "a field that cannot be carried is noted or refused", text)
    check(status != 200 or "dropped: " in head.get("x-croft-note", ""), "by its name", str(head))


def croft_tmp():
    global FOLDER
    if not FOLDER:
        import tempfile
        FOLDER = tempfile.TemporaryDirectory(prefix="croft-door-")
    return FOLDER.name


FOLDER = None


def failures():
    """Retries, the next member, errors before and behind what is visible, on all three dialects' streams."""
    ups = {"a": Upstream("chat", ["From", " A"]), "b": Upstream("anthropic", ["From", " B"])}
    n = 0
    with Gateway(conf(ups, group("a", "b"))) as g:
        ups["a"].plan = ["status 503"]
        status, head, text = post(g, "chat")
        check(status == 200 and said("chat", 0, text)[0] in ("From B", "From A"), "an error of the first is mended", text)
        n += len(ups["a"].asked) + len(ups["b"].asked)
        before = len(ups["a"].asked), len(ups["b"].asked)
        ups["a"].plan = ["status 400"]
        status, _, text = post(g, "chat")
        check(status == 400 and len(ups["a"].asked) == before[0] + 1 and len(ups["b"].asked) == before[1],
              "a request that is wrong is asked once", text)
        n += 1
        ups["a"].plan = ["error 1", "error 1", "error 1"]
        for d in DIALECTS:
            count = len(ups["a"].asked) + len(ups["b"].asked)
            ups["a"].plan = ["error 1"] * 3
            status, head, text = post(g, d, stream=True)
            words, _, ends = said(d, True, text)
            check(status == 200 and words == "From B" and ends == 1,
                  "an error before anything visible goes on at the next: " + d, text[:1500])
            n += len(ups["a"].asked) + len(ups["b"].asked) - count
        ups["a"].plan = []
        t = settled(g, n)
        check(t["attempts"] == n, "a row for each attempt that the upstreams saw", "%s %d" % (t, n))
        kinds = {r["decision"] for r in rows(g)}
        check("fallback" in kinds, "the audit log says how text came there", str(kinds))
    for u in ups.values():
        u.close()
    ups = {"a": Upstream("chat", ["One", " two", " three"]), "r": Upstream("responses", ["One", " two", " three"])}
    with Gateway(conf(ups).replace(", continue", "")) as g:
        for d, to, at in (("chat", "a", 3), ("responses", "a", 3), ("anthropic", "a", 3), ("responses", "r", 5)):
            ups[to].plan = ["cut %d" % at]
            status, _, text = post(g, d, "m_" + to, stream=True)
            ends = [e for e in doorway.events(text) if e[1].startswith('{"error"') or e[1] == "[DONE]" or e[0] in (
                "error", "response.failed", "response.completed", "message_stop")]
            ids = set(re.findall(r'"id": ?"(resp_[^"]*)"', text))
            check(len(ids) == (d == "responses"), "under the id that it began with", str(ids))
            check(status == 200 and len(ends) == 1 and "error" in ends[0][1], "behind it one error is said: " + d, text[-900:])
        t = settled(g, 4)
        check((t["exact"], t["estimated"]) == (0, 4), "what was cut is estimated", str(t))
    for u in ups.values():
        u.close()
    with Gateway(conf({"a": ups["a"]})) as g:
        status, head, text = post(g, "chat", "m_a")
        check(status in (502, 503) and json.loads(text)["error"]["type"] == "server_error", "nobody there", text)
        t = settled(g, 0)
        check(t["attempts"] == 0, "costs nothing", str(t))


def told():
    """An answer whose end came, and not its last event, is whole: it is neither an error nor said again."""
    ups = {"a": Upstream("chat", ["One", " two"]), "m": Upstream("anthropic", ["One", " two"])}
    with Gateway(conf(ups)) as g:
        for to, at in (("a", 4), ("m", 6)):
            for what in ("cut", "error", "also"):
                for d in DIALECTS:
                    ups[to].plan = ["%s %d" % (what, at)]
                    status, _, text = post(g, d, "m_" + to, stream=True)
                    words, _, ends = said(d, True, text)
                    check(status == 200 and (words, ends) == ("One two", 1) and "error" not in text.replace('"error":null', ""),
                          "%s before the last event: %s before %s" % (what, d, to), text[-1500:])
        t = settled(g, 18)
        check(t["exact"] == 9 and t["estimated"] == 9, "exact where the usage came", str(t))
    for u in ups.values():
        u.close()


def able():
    """The first member that can have a field is asked; with none the field is refused by its name."""
    ups = {"b": Upstream("anthropic", ["From", " B"]), "a": Upstream("chat", ["From", " A"])}
    with Gateway(conf(ups, group("b", "a"))) as g:
        status, head, text = post(g, "chat", logit_bias={"5": 1})
        check(status == 200 and head["x-croft-model"] == "m_a", "a field that the first refuses", "%s %s" % (text, head))
        check(ups["a"].asked[-1][1]["logit_bias"] == {"5": 1} and not ups["b"].asked, "goes where it can")
        passed = until(lambda: rows(g)) and rows(g)[-1]["passed"]
        check(passed == [{"model": "m_b", "why": "field", "rule": None}], "and the log says so", str(passed))
        status, _, text = post(g, "chat", "m_b", logit_bias={"5": 1})
        check(status == 400 and json.loads(text)["error"]["param"] == "logit_bias", "or is refused by its name", text)
    for u in ups.values():
        u.close()


def continued():
    ups = {"a": Upstream("chat", ["One", " two", " three"]), "b": Upstream("chat", [" and", " more"])}
    with Gateway(conf(ups, group("a", "b"))) as g:
        ups["a"].plan = ["cut 3", "status 500", "status 500", "status 500"]
        status, _, text = post(g, "chat", stream=True)
        words, _, ends = said("chat", True, text)
        check(status == 200 and words == "One two and more" and ends == 1, "a text that broke off is continued", text)
        last = ups["b"].asked[-1][1]["messages"][-1]
        check(last == {"role": "assistant", "content": "One two"}, "from where it was", str(last))
    for u in ups.values():
        u.close()


def leaving():
    """A client that leaves, a drain, a reload while a stream runs."""
    u = Upstream("chat", ["One", " two", " three"])
    g = Gateway(conf({"a": u}))
    with g:
        u.plan = ["wait 2"]
        c = g.connection()
        c.request("POST", ROUTES["chat"], json.dumps(body_of("chat", "m_a", stream=True)), {})
        r = c.getresponse()
        got = b""
        while b"One" not in got:
            got += r.read1(4096)
        c.sock.shutdown(socket.SHUT_RDWR)
        r.close()
        c.close()
        check(u.closed.wait(WAIT), "a client that leaves closes its upstream")
        t = settled(g, 1)
        check((t["estimated"], t["exact"]) == (1, 0), "which is settled as estimated", str(t))

        u.plan, body = ["wait 2"], []
        reader = threading.Thread(target=lambda: body.append(post(g, "chat", "m_a", stream=True)))
        reader.start()
        check(until(lambda: len(u.asked) == 2), "another stream begins")
        with open(g.path) as f:
            old = f.read()
        with open(g.path, "w") as f:
            f.write(old.replace("name: m_a", "name: m_b"))
        g.p.send_signal(signal.SIGHUP)
        check(until(lambda: "read again" in g.log()), "SIGHUP reads the file again", g.log())
        check(post(g, "chat", "m_a")[0] == 404 and post(g, "chat", "m_b")[0] == 200, "which holds for new requests")
        with open(g.path, "w") as f:
            f.write(old + "never:\n  - {name: nowhere, where: {operator: [op_a]}}\n")
        g.p.send_signal(signal.SIGHUP)
        check(until(lambda: "stays as it was" in g.log()) and "DOOR-06" in g.log(), "a file that is refuted does not", g.log())
        check(post(g, "chat", "m_b")[0] == 200, "and the one before goes on")
        g.p.send_signal(signal.SIGTERM)
        check(until(lambda: "no new requests" in g.log()), "SIGTERM drains")
        time.sleep(0.1)
        check(g.p.poll() is None, "while a stream runs")
        u.go.set()
        reader.join(WAIT)
        check(body and said("chat", True, body[0][2])[0] == "One two three", "which ends whole", str(body)[:500])
        check(g.p.wait(WAIT) == 0, "and so does the gateway", g.log())
        sums = g.sums()
        check(sum(r["exact"] for r in sums.values()) == 3 and not sum(r["open"] for r in sums.values()), "all settled", str(sums))
        with sqlite3.connect(os.path.join(g.folder.name, "ledger.db")) as db:
            n = db.execute("SELECT COUNT(*) FROM heads").fetchone()[0]
        check(n >= 1, "the ledger has a head of the audit log", str(n))
    u.close()


def reloaded():
    """The ledger goes on when the configuration that opened it is gone."""
    u = Upstream("chat", ["Hi"])
    g = Gateway(conf({"a": u}))
    with g:
        with open(g.path) as f:
            old = f.read()
        with open(g.path, "w") as f:
            f.write(old.replace("name: m_a", "name: m_b"))
        g.p.send_signal(signal.SIGHUP)
        check(until(lambda: "read again" in g.log()), "a gateway without requests is reloaded", g.log())

        def beats():
            with sqlite3.connect(os.path.join(g.folder.name, "ledger.db")) as db:
                return db.execute("SELECT MAX(beats) FROM processes").fetchone()[0]

        n = beats()
        check(until(lambda: beats() >= n + 2), "and its ledger hears of it", g.log())
        check(post(g, "chat", "m_b")[0] == 200, "and it answers")
    u.close()


def policy():
    ups = {"home": Upstream("chat", ["Home"]), "away": Upstream("anthropic", ["Away"])}
    rules = """labels:
  - {name: personal, detectors: [email], strict: true}
  - {name: secret, patterns: ['TICKET-[0-9]+']}
rules:
  - {name: stays, action: forbid, when: [personal], except: {upstream: [home, log, state, client]}}
  - {name: hidden, action: forbid, when: [secret], except: {upstream: [state, log, client]}}
never:
  - {name: leak, when: [personal], where: {upstream: [away]}}
"""
    with Gateway(conf(ups, group("away", "home") + rules)) as g:
        check(said("chat", 0, post(g, "chat")[2])[0] == "Away", "text without labels goes to the first")
        for text, more in (("Write to a.b@example.com", {}), ("Call f", {"tools": [{"type": "function", "function": {
                "name": "f", "description": "of a.b@example.com", "parameters": {"type": "object"}}}]})):
            status, _, out = post(g, "chat", text=text, **more)
            check(status == 200 and said("chat", 0, out)[0] == "Home", "a label found in it leads to who may", out)
        status, _, out = post(g, "chat", fields={"x-croft-labels": "personal"})
        check(status == 200 and said("chat", 0, out)[0] == "Home", "and one that is given", out)
        status, _, out = post(g, "responses", metadata={"croft_labels": "personal"})
        check(status == 200 and said("responses", 0, out)[0] == "Home", "in a head or in metadata", out)
        status, _, out = post(g, "chat", text="about TICKET-12")
        check(status == 403 and "hidden" in out and "secret" in out, "where nobody may it is refused, and by which rule", out)
        status, _, out = post(g, "anthropic", model="m_away", fields={"x-croft-labels": "personal"})
        check(status == 403 and json.loads(out)["error"]["type"] == "permission_error", "also by name", out)
        for dialect in ("chat", "anthropic"):
            status, _, out = post(g, dialect, metadata={"croft_labels": "personal", "croft_tags": "blue", "user_id": "u"})
            check(status == 200 and said(dialect, 0, out)[0] == "Home", "in metadata of each dialect: " + dialect, out)
        check(post(g, "chat", metadata={"croft_labels": "unheard"})[0] == 400 and post(g, "anthropic", metadata={
            "croft_labels": ["personal"]})[0] == 400, "one that is not there, or no text, is an error")
        sent = json.dumps(ups["home"].asked)
        check("croft_" not in sent and "user_id" in sent, "and goes no further, unlike its neighbours", sent)
        check(post(g, "chat", fields={"x-croft-labels": "unheard"})[0] == 400, "a label that is not there is an error")
        status, out = two_fields(g, "x-croft-labels", "unscanned", "personal")
        check(status == 200 and said("chat", 0, out)[0] == "Home", "a second line of the head counts", out)
        seen = json.dumps(ups["away"].asked)
        check("a.b@" not in seen and "TICKET" not in seen, "nothing of it left", seen)
        refused = [r for r in rows(g) if r["decision"] == "refused"]
        check(until(lambda: len([r for r in rows(g) if r["decision"] == "refused"]) == 2), "refusals are in the audit log", str(refused))
    for u in ups.values():
        u.close()


def money():
    u = Upstream("chat")
    with open(os.path.join(croft_tmp(), "prices.json"), "w") as f:
        json.dump(PRICES, f)
    budgets = """budgets:
  - {name: small, tag: small, period: month, mode: hard, limit: {dollars: 0.00001}}
  - {name: few, tag: few, period: minute, mode: hard, limit: {requests: 2}}
  - {name: soft, tag: soft, period: month, mode: soft, limit: {requests: 1}}
"""
    with Gateway(conf({"a": u}, budgets, prices=f.name)) as g:
        for d, want, kind in (("chat", 429, "insufficient_quota"), ("anthropic", 402, "billing_error")):
            status, head, text = post(g, d, "m_a", fields={"x-croft-tags": "small"})
            check(status == want and json.loads(text)["error"]["type"] == kind and head.get("x-should-retry") == "false",
                  "a budget that is spent: " + d, "%d %s %s" % (status, text, head))
        check(not u.asked, "asks nobody")
        got = [post(g, "chat", "m_a", fields={"x-croft-tags": "few"}) for _ in range(3)]
        late = [x for x in got if x[0] == 429]
        check(len(late) >= 1 and all(int(x[1]["retry-after"]) <= 60 and "rate_limit_exceeded" in x[2] for x in late),
              "a limit of a minute", str([x[0] for x in got]))
        def warned():
            status, head, _ = post(g, "chat", "m_a", fields={"x-croft-tags": "soft"})
            return status != 200 or "budget soft is used up" in head.get("x-croft-note", "")
        check(until(warned) and post(g, "chat", "m_a", fields={"x-croft-tags": "soft"})[0] == 200, "a soft one warns")
    u.close()
    with Gateway(conf({"a": u}, budgets)) as g:
        status, _, text = post(g, "chat", "m_a", fields={"x-croft-tags": "small"})
        check(status == 403 and "not known" in text, "no price under a budget of dollars is an error", text)


def slow():
    """A client that does not read holds its upstream up, and gets everything when it does."""
    u = Upstream("chat", ["x" * 1000] * 20000)
    with Gateway(conf({"a": u})) as g:
        for d in ("chat", "anthropic"):
            u.n_put = 0
            c = http.client.HTTPConnection("127.0.0.1", g.port, timeout=WAIT)
            c.connect()
            c.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
            c.request("POST", ROUTES[d], json.dumps(body_of(d, "m_a", stream=True)), {})
            r = c.getresponse()
            first = r.read(100)
            before = -1
            while before != u.n_put:        # until it sends no more
                before = u.n_put
                time.sleep(0.3)
            check(before < 19000, "the upstream has to wait: " + d, str(before))
            text = (first + r.read()).decode()
            c.close()
            check(text.count("x" * 1000) == 20000 and said(d, True, text)[2] == 1, "nothing is lost: " + d, str(len(text)))
    u.close()


def crowd():
    """max_in_flight, and a queue that is fair."""
    u = Upstream("chat", ["One", " two"])
    u.plan = ["wait 1"] * 6
    with Gateway(conf({"a": u}, each=", max_in_flight: 2")) as g:
        out = []
        them = [threading.Thread(target=lambda: out.append(post(g, "chat", "m_a", stream=True))) for _ in range(6)]
        for t in them:
            t.start()
        check(until(lambda: 'upstream_waiting{upstream="a"} 4' in g.ask("GET", "/metrics")[2]), "the others wait")
        check(until(lambda: len(u.asked) == 2) and 'upstream_in_flight{upstream="a"} 2' in g.ask("GET", "/metrics")[2],
              "two at once", str(len(u.asked)))
        u.go.set()
        for t in them:
            t.join(WAIT)
        check(len(out) == 6 and all(said("chat", True, x[2])[0] == "One two" for x in out), "and then have their turn", str(out)[:300])
    u.close()


def keys():
    """Who asks, and what he may."""
    ups = {"a": Upstream("chat"), "b": Upstream("anthropic")}
    more = """labels:
  - {name: inner}
rules:
  - {name: inner_stays, action: forbid, when: [inner], where: {upstream: [b]}}
teams:
  - {name: sales, keys: [sam], models: [best, m_a]}
"""
    with Gateway(conf(ups, group("b", "a") + more)) as g:
        check(post(g, "chat")[0] == 200, "a ledger that never had a key serves this machine")

        def key(*args):
            p = g.run("key", *args, "-c", g.path)
            check(p.returncode == 0, "croft key " + " ".join(args), p.stderr)
            return p.stdout.strip()
        token, inner = key("add", "sam"), key("add", "ina", "--label", "inner", "--models", "best", "--tag", "red")
        bearer = {"Authorization": "Bearer " + token}
        check(until(lambda: post(g, "chat")[0] == 401), "and asks for one, when it has some")
        status, _, text = post(g, "anthropic")
        check(status == 401 and json.loads(text)["error"]["type"] == "authentication_error", "in either dialect", text)
        check(g.ask("GET", "/health")[0] == 200 and g.ask("GET", "/metrics")[0] == 401, "health is for everyone")
        check(post(g, "chat", fields=bearer)[0] == 200 and post(g, "anthropic", fields={"x-api-key": token})[0] == 200,
              "a key, either way")
        check(g.ask("GET", "/metrics", fields=bearer)[0] == 403, "does what it may")
        status, _, text = g.ask("GET", "/v1/models", fields=bearer)
        check([m["id"] for m in json.loads(text)["data"]] == ["best", "m_a"], "models of its team", text)
        check(post(g, "chat", "m_b", fields=bearer)[0] == 404, "and no others")
        status, head, _ = post(g, "chat", fields={"Authorization": "Bearer " + inner})
        check(status == 200 and head["x-croft-model"] == "m_a", "its labels decide", str(head))
        until(lambda: g.sums("key")["sam"]["exact"] == 2 and g.sums("key").get("ina", {}).get("exact"))
        sums = g.sums("key"), g.sums("team"), g.sums("tag")
        check(sums[0]["sam"]["attempts"] == 2 and sums[1]["sales"]["attempts"] == 2 and sums[2]["red"]["attempts"] == 1,
              "the ledger knows whose", str(sums))
        check(token not in g.log() + g.file("access.log") and '"sam"' in g.file("access.log"), "logs name keys by their ids")
        key("revoke", "sam")
        check(until(lambda: post(g, "chat", fields=bearer)[0] == 401), "a revoked key is refused soon")
    for u in ups.values():
        u.close()


def aside():
    """Signatures that a chat client has no place for go back to their maker; calls stay with who made them."""
    ups = {"a": Upstream("anthropic"), "b": Upstream("chat")}
    call = [{"type": "thinking", "thinking": "Let me see.", "signature": "c2lnbmVk"},
            {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"x": 1}}]
    ups["a"].content = call
    tools = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]
    with Gateway(conf(ups, "groups:\n  - name: best\n    members: [{model: m_a}, {model: m_b}]\n"
                      "  - name: other\n    members: [{model: m_b}, {model: m_a}]\n")) as g:
        for stream in (False, True):
            status, _, text = post(g, "chat", stream=stream, tools=tools)
            check(status == 200 and "toolu_1" in text and "c2lnbmVk" not in text, "a call is made", text)
            messages = [{"role": "user", "content": "Say hello."},
                        {"role": "assistant", "content": None, "tool_calls": [{"id": "toolu_1", "type": "function", "function": {
                            "name": "f", "arguments": '{"x": 1}'}}]},
                        {"role": "tool", "tool_call_id": "toolu_1", "content": "9"}]
            ups["a"].content = None
            status, head, text = post(g, "chat", "other", messages=messages, tools=tools)
            check(status == 200 and head["x-croft-model"] == "m_a", "its result goes to who made it", "%s %s" % (head, text))
            sent = ups["a"].asked[-1][1]["messages"][1]["content"]
            check(sent[0] == call[0] and sent[1] == call[1], "with the thinking under its signature", str(sent))
            ups["a"].content = call
        status, head, text = post(g, "chat", "m_b", messages=messages, tools=tools)
        check(status == 200 and "c2lnbmVk" not in json.dumps(ups["b"].asked), "and to nobody else", text)
    for u in ups.values():
        u.close()
    ups = {"a": Upstream("anthropic"), "b": Upstream("anthropic")}
    ups["a"].content = call
    with Gateway(conf(ups)) as g:
        tool = {"name": "f", "input_schema": {"type": "object"}}
        check("c2lnbmVk" in post(g, "anthropic", "m_a", tools=[tool])[2], "in its own dialect a client has the signature")
        messages = [{"role": "user", "content": "Say hello."}, {"role": "assistant", "content": call},
                    {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "9"}]}]
        for to, kept in (("a", True), ("b", False)):
            post(g, "anthropic", "m_" + to, messages=messages, tools=[tool])
            check(("c2lnbmVk" in json.dumps(ups[to].asked[-1])) == kept, "which goes to its maker alone: " + to,
                  str(ups[to].asked[-1]))
    for u in ups.values():
        u.close()


def waits():
    """429: the next key, then Retry-After to the client; what an upstream says of our key stays here."""
    u = Upstream("chat")
    with Gateway(conf({"a": u}, each=", keys: [env:K1, env:K2]"), env={"K1": "sk-one", "K2": "sk-two"}) as g:
        u.plan = ["status 429 30"]
        status, _, text = post(g, "chat", "m_a")
        check(status == 200 and [h["authorization"] for h in u.heads] == ["Bearer sk-one", "Bearer sk-two"], "the next key",
              "%s %s" % (text, u.heads))
        u.plan = ["status 429 30"] * 2
        status, head, text = post(g, "chat", "m_a")
        check(status == 429 and 20 <= int(head["retry-after"]) <= 30 and head["x-should-retry"] == "true",
              "no key left: the client waits", "%s %s" % (text, head))
        seen = len(u.asked)
        status, head, text = post(g, "anthropic", "m_a")
        check(status == 429 and json.loads(text)["error"]["type"] == "rate_limit_error" and len(u.asked) == seen,
              "and is told so without asking again", text)
        check({r["decision"] for r in rows(g)} == {"call", "retry"}, "the log says which was a retry", str(rows(g)))
    with Gateway(conf({"a": u}, each=", keys: [env:K1]"), env={"K1": "sk-one"}) as g:
        u.plan = ["status 401"] * 3
        status, _, text = post(g, "chat", "m_a")
        check(status in (502, 503) and "told to fail" not in text, "a key of ours that is refused is not the client's affair", text)
        with sqlite3.connect(os.path.join(g.folder.name, "ledger.db")) as db:
            check(until(lambda: db.execute("SELECT COUNT(*) FROM attempts WHERE state = 1 AND cost = 0").fetchone()[0] >= 1),
                  "an error costs nothing, and that is exact")
    g = Gateway(conf({"a": u}, each=", keys: [env:NOT_THERE]"), start=False)
    p = g.run("gateway", "-c", g.path)
    check(p.returncode == 3 and "NOT_THERE" in p.stderr, "a key that is not there", p.stderr)
    u.close()


def held():
    """The beginning of a stream is shown in time, and another attempt goes on behind it."""
    for d, first in (("chat", "chat"), ("anthropic", "anthropic"), ("anthropic", "chat"), ("responses", "responses")):
        ups = {"a": Upstream(first, ["From", " A"]), "b": Upstream("chat", ["From", " B"])}
        with Gateway(conf(ups, group("a", "b"))) as g:
            at = {"chat": 1, "anthropic": 1, "responses": 1}[first]
            ups["a"].plan = ["hold %d" % at, "hold %d" % at, "status 500", "status 500"]
            c = g.connection()
            c.request("POST", ROUTES[d], json.dumps(body_of(d, "best", stream=True)), {})
            r = c.getresponse()
            text = r.read1(4096)
            check(r.status == 200 and b"From" not in text and text, "a stream begins before its words: %s, %s" % (d, first), str(text))
            ups["a"].go.set()
            text = (text + r.read()).decode()
            c.close()
            words, _, ends = said(d, True, text)
            check(words == "From B" and ends == 1, "and goes on elsewhere: %s, %s" % (d, first), text[:2500])
            check(text.count("event: message_start") <= 1 and text.count("event: response.created") <= 1, "it begins once", text)
        for u in ups.values():
            u.close()


def finish():
    """on_disconnect: finish."""
    u = Upstream("chat", ["One", " two"])
    g = Gateway(conf({"a": u}), start=False)
    g.write("ledger:\n  url: sqlite:%s/ledger.db\n  on_disconnect: finish\n" % g.folder.name + conf({"a": u}))
    g.start()
    with g:
        u.plan = ["wait 2"]
        c = g.connection()
        c.request("POST", ROUTES["chat"], json.dumps(body_of("chat", "m_a", stream=True)), {})
        r = c.getresponse()
        r.read1(4096)
        c.sock.shutdown(socket.SHUT_RDWR)
        r.close()
        c.close()
        check(until(lambda: 'requests_total{end="client_left"} 1' in g.ask("GET", "/metrics")[2]), "a client leaves")
        check(not u.closed.is_set(), "its call goes on")
        u.go.set()
        t = settled(g, 1)
        check((t["exact"], t["completion_tokens"]) == (1, 7), "and is settled as exact", str(t))
    u.close()


def locked():
    """A ledger that cannot be written: 503, not 401, and it comes back."""
    u = Upstream("chat")
    with Gateway(conf({"a": u})) as g:
        check(post(g, "chat", "m_a")[0] == 200, "a ledger that answers")
        db = sqlite3.connect(os.path.join(g.folder.name, "ledger.db"), isolation_level=None)
        db.execute("BEGIN EXCLUSIVE")
        asked = len(u.asked)
        status, head, text = post(g, "chat", "m_a")
        check(status == 503 and "retry-after" in head and len(u.asked) == asked, "one that does not: 503, and nothing is sent", text)
        check(until(lambda: g.ask("GET", "/health/ready")[0] in (200, 503)), "health answers")
        db.execute("ROLLBACK")
        db.close()
        check(until(lambda: post(g, "chat", "m_a")[0] == 200), "and when it does again")
    u.close()


def gone():
    """A ledger that is not there."""
    g = Gateway(conf({"a": Upstream("chat")}).replace("", "", 1), start=False)
    g.write("ledger:\n  url: sqlite:/nowhere/at/all.db\n" + conf({"a": Upstream("chat")}))
    p = g.run("gateway", "-c", g.path)
    check(p.returncode == 3 and "SQLITE-07" in p.stderr, "a ledger that is not there: status 3", "%d %s" % (p.returncode, p.stderr))
    g.write(conf({"a": Upstream("chat")}))
    with open(g.path) as f:
        text = f.read().replace("address: 127.0.0.1", "address: 0.0.0.0")
    with open(g.path, "w") as f:
        f.write(text)
    p = g.run("gateway", "-c", g.path)
    check(p.returncode == 2 and "DOOR-23" in p.stderr, "open to others without a key", "%d %s" % (p.returncode, p.stderr))
    p = g.run("gateway")
    check(p.returncode == 2 and "GCMD-06" in p.stderr, "no file named", p.stderr)


def readme():
    """The configuration of the README, as it stands there."""
    folder = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../..")
    with open(os.path.join(folder, "README.md")) as f:
        text = re.search(r"```yaml\n(listen:.*?)```", f.read(), re.S)[1]
    ups = {"own": Upstream("chat", ["Own"]), "anthropic": Upstream("anthropic", ["Claude"])}
    g = Gateway("", env={"ANTHROPIC_API_KEY": "sk-test"}, start=False)
    text = text.replace("127.0.0.1:4010", "127.0.0.1:%d" % g.port).replace("http://127.0.0.1:8080/v1", ups["own"].url())
    with open(g.path, "w") as f:
        f.write(text.replace("https://api.anthropic.com", ups["anthropic"].url()).replace("croft-state", g.folder.name + "/new"))
    g.start()
    with g:
        status, _, out = post(g, "chat", "best")
        check(status == 200 and said("chat", 0, out)[0] == "Claude", "the README's first request", out)
        check(ups["anthropic"].heads[0].get("x-api-key") == "sk-test", "with the key of the environment")
        status, _, out = post(g, "anthropic", "smollm2")
        check(status == 200 and said("anthropic", 0, out)[0] == "Own", "and Anthropic's before one's own", out)
        check(g.sums()["claude"]["exact"] == 1, "in the ledger", str(g.sums()))
    for u in ups.values():
        u.close()


def one_way_out():
    folder = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../src/door")
    uses = []
    for name in sorted(os.listdir(folder)):
        if name.endswith((".c", ".h")):
            with open(os.path.join(folder, name)) as f:
                uses += [name] * len(re.findall(r"= client_send\(", f.read()))
    check(uses == ["door_leave.c"], "text leaves at one place", str(uses))


def main():
    parts = [pairs, failures, told, able, continued, waits, held, leaving, reloaded, finish, policy, keys, aside, money, slow, crowd, locked, gone,
             readme, one_way_out]
    named = [p for p in parts if p.__name__ in sys.argv[1:]]
    for part in named or parts:
        begin = time.monotonic()
        part()
        print("%s: %.1f s" % (part.__name__, time.monotonic() - begin))
    sys.exit(croft.done())


if __name__ == "__main__":
    main()
