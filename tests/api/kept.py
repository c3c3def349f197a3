"""kept.py - `state.kept: ledger`: two gateways find what either of them kept aside, in one SQLite file and in one
PostgreSQL started here; who reads the database, has another key, damages or moves a row finds nothing."""
import json
import os
import sqlite3
import sys
import tempfile
import threading

sys.path[0] = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib")
import croft
import postgres
from croft import check
from doorway import ROUTES, WAIT, Gateway, Upstream, body_of, until

TEMP = tempfile.TemporaryDirectory(prefix="croft-kept-")
os.chmod(TEMP.name, 0o755)
ENV = {"KEPT_1": os.urandom(32).hex(), "KEPT_2": os.urandom(32).hex()}
KEPT = "  kept: ledger\n  kept_keys: [env:KEPT_1]\n"
THOUGHT, SEAL, CALL = "canarythought1122", "Y2FuYXJ5c2VhbA3344", "toolu_canary5566"
THINKING = {"type": "thinking", "thinking": THOUGHT, "signature": SEAL}
USE = {"type": "tool_use", "id": CALL, "name": "f", "input": {"x": 1}}
TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]
TALK = [{"role": "user", "content": "Say hello."},
        {"role": "assistant", "content": None, "tool_calls": [
            {"id": CALL, "type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}}]},
        {"role": "tool", "tool_call_id": CALL, "content": "9"}]
NAMES = "groups:\n  - {name: best, members: [{model: m_a}, {model: m_b}]}\n  - {name: other, members: [{model: m_b}, {model: m_a}]}\n"


class Sqlite:
    name = "sqlite"
    count = 0

    def __init__(self):
        Sqlite.count += 1
        self.folder = os.path.join(TEMP.name, "sqlite%d" % Sqlite.count)
        os.mkdir(self.folder)
        self.file = os.path.join(self.folder, "ledger.db")
        self.url = "sqlite:" + self.file

    def sql(self, text):
        with sqlite3.connect(self.file, timeout=20) as db:
            return [tuple(map(str, r)) for r in db.execute(text).fetchall()]

    def files(self):
        return [os.path.join(self.folder, n) for n in os.listdir(self.folder)]


class Postgres:
    name = "postgres"
    count = 0

    def __init__(self):
        Postgres.count += 1
        self.base = "kept%d" % Postgres.count
        SERVER.psql("postgres", "CREATE DATABASE " + self.base)
        ENV["LEDGER_" + self.base] = "postgres://croft:pass%%20word@127.0.0.1:%d/%s" % (SERVER.port, self.base)
        self.url = "env:LEDGER_" + self.base

    def sql(self, text):
        p = SERVER.psql(self.base, text)
        check(p.returncode == 0, "psql: " + text, p.stderr)
        return [tuple(line.split("|")) for line in p.stdout.splitlines()]

    def files(self):
        SERVER.psql(self.base, "CHECKPOINT")
        return [os.path.join(d, n) for part in ("base", "pg_wal") for d, _, names in os.walk(
            os.path.join(SERVER.home, "data", part)) for n in names]


def written(db, *words):
    """Which of the words stand in the database's own files."""
    found = set()
    for name in db.files():
        try:
            with open(name, "rb") as f:
                data = f.read()
        except FileNotFoundError:
            continue
        found |= {w for w in words if w.encode() in data}
    return found


def conf(ups, url, more=""):
    out = "ledger:\n  url: %s\nupstreams:\n" % url
    for name, u in ups.items():
        out += "  - {name: %s, dialect: %s, url: '%s'}\n" % (name, u.dialect, u.url())
    out += "models:\n"
    for name in ups:
        out += "  - {name: m_%s, upstream: %s, as: there, max_output: 1000, accepts: [tools, reasoning]}\n" % (name, name)
    return out + NAMES + more


class Two:
    """Two gateways of one ledger, which share nothing else, and their upstreams."""

    def __init__(self, db, state=KEPT, more="", keys=("ann-of-the-ledger", "bob")):
        self.ups = {"a": Upstream("anthropic"), "b": Upstream("chat"), "c": Upstream("anthropic")}
        self.text, self.state, self.db = conf(self.ups, db.url, more), state, db
        self.g = [self.gateway(), self.gateway()]
        self.token = {k: self.key("add", k) for k in keys}
        self.token["watch"] = self.key("add", "watch", "--scope", "metrics")
        for g in self.g:
            check(until(lambda g=g: g.ask("GET", "/v1/models")[0] == 401 and g.ask(
                "GET", "/metrics", fields=self.who("watch"))[0] == 200), "the keys are known")

    def gateway(self, state=None):
        return Gateway(self.text, env=ENV, state=self.state if state is None else state)

    def key(self, *args):
        p = self.g[0].run("key", *args, "-c", self.g[0].path)
        check(p.returncode == 0, "croft key " + " ".join(args), p.stderr)
        return p.stdout.strip()

    def who(self, key):
        return {"Authorization": "Bearer " + self.token[key]}

    def __enter__(self):
        return self

    def __exit__(self, *why):
        for g in self.g:
            g.__exit__()
        for u in self.ups.values():
            u.close()

    def meter(self, g, name):
        text = g.ask("GET", "/metrics", fields=self.who("watch"))[2]
        return int(float(text.split("croft_gateway_%s " % name)[-1].split("\n")[0]))

    def post(self, i, model, key="ann-of-the-ledger", dialect="chat", g=None, **more):
        """(status, who answered, what the upstream that did was asked, the text)"""
        before = {n: len(u.asked) for n, u in self.ups.items()}
        status, head, text = (g or self.g[i]).ask("POST", ROUTES[dialect], body_of(dialect, model, **more), self.who(key))
        asked = [u.asked[-1][1] for n, u in self.ups.items() if len(u.asked) > before[n]]
        return status, head.get("x-croft-model"), json.dumps(asked), text

    def begin(self, i=0, content=(THINKING, USE), n=1, **more):
        """A turn that has something to be kept: until its rows are there, n of them more."""
        was = int(self.db.sql("SELECT COUNT(*) FROM kept")[0][0])
        self.ups["a"].content = list(content)
        out = self.post(i, "m_a", tools=TOOLS, **more)
        self.ups["a"].content = None
        check(out[0] == 200 and SEAL not in out[3], "a turn is made", out[3])
        check(until(lambda: int(self.db.sql("SELECT COUNT(*) FROM kept")[0][0]) >= was + n), "and kept in the ledger")

    def result(self, i, model="other", **more):
        return self.post(i, model, messages=TALK, tools=TOOLS, **more)


def is_back(out, name, maker="m_a"):
    check(out[0] == 200 and out[1] == maker and SEAL in out[2] and THOUGHT in out[2], name, str(out))


def is_without(out, name, maker=None):
    check(out[0] == 200 and SEAL not in out[2] and THOUGHT not in out[2] and (not maker or out[1] == maker), name, str(out))


def shared(kind):
    db = kind()
    with Two(db) as two:
        name = db.name + ": "
        two.begin(0)
        is_back(two.result(1), name + "the other gateway gives thinking back to its maker")
        is_back(two.result(1, stream=True), name + "and again, from its memory")
        is_back(two.result(0), name + "and the first one does")
        is_without(two.result(1, key="bob"), name + "another key has none of it", "m_b")
        is_without(two.result(1, "m_b"), name + "nor another upstream", "m_b")
        is_without(two.result(1, "m_c"), name + "of whatever dialect", "m_c")
        two.begin(1, (THINKING, {"type": "text", "text": "Hello there"}), stream=True)
        talk = [TALK[0], {"role": "assistant", "content": "Hello there"}, {"role": "user", "content": "And?"}]
        is_back(two.post(0, "m_a", messages=talk), name + "a turn of words is found by them")
        found = written(db, THOUGHT, SEAL, CALL, "Hello there", "ann-of-the-ledger")
        check(found == {"ann-of-the-ledger"}, name + "who reads the database finds whose it is and no text", str(found))
        own(two, name)
        revoked(two, name)


def own(two, name):
    """In its own dialect the client has the seal: whose it is is what both gateways know."""
    tool = [{"name": "f", "input_schema": {"type": "object"}}]
    two.ups["a"].content = [dict(THINKING, signature="b3duc2VhbA7788"), USE]
    rows = len(two.db.sql("SELECT name FROM kept"))
    out = two.post(0, "m_a", dialect="anthropic", tools=tool)
    check(out[0] == 200 and "b3duc2VhbA7788" in out[3], name + "a client with a place for it has the seal", out[3])
    two.ups["a"].content = None
    check(until(lambda: len(two.db.sql("SELECT name FROM kept")) > rows), name + "and the ledger whose it is")
    talk = [TALK[0], {"role": "assistant", "content": [dict(THINKING, signature="b3duc2VhbA7788"), USE]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": CALL, "content": "9"}]}]
    for to, kept in (("m_c", False), ("m_a", True)):
        out = two.post(1, to, dialect="anthropic", messages=talk, tools=tool)
        check(out[0] == 200 and ("b3duc2VhbA7788" in out[2]) == kept, name + "it goes to its maker alone: " + to, str(out))


def revoked(two, name):
    check(all(two.meter(g, "kept_aside_bytes") > 0 for g in two.g), name + "both have something in memory")
    check(two.db.sql("SELECT COUNT(*) FROM kept WHERE key_id LIKE 'ann%'") != [("0",)], name + "and the ledger")
    two.key("revoke", "ann-of-the-ledger")
    check(two.db.sql("SELECT COUNT(*) FROM kept WHERE key_id LIKE 'ann%'") == [("0",)],
          name + "what was kept of a revoked key is gone with it")
    check(until(lambda: all(two.post(i, "m_b")[0] == 401 for i in (0, 1))), name + "which is refused")
    two.begin(0, key="bob")
    check(two.meter(two.g[1], "kept_aside_bytes") == 0, name + "nothing of it stays in memory")
    two.key("remove", "bob")
    check(until(lambda: two.meter(two.g[0], "kept_aside_bytes") == 0), name + "nor of one that was removed")
    check(two.db.sql("SELECT COUNT(*) FROM kept") == [("0",)], name + "nor in the ledger")


def late_revocation():
    """An answer that ends after its key was revoked leaves nothing."""
    db = Sqlite()
    with Two(db) as two:
        u = two.ups["a"]
        u.content, u.plan = [THINKING, USE], ["wait 4"]
        out = []
        t = threading.Thread(target=lambda: out.append(two.post(0, "m_a", tools=TOOLS, stream=True)))
        t.start()
        check(until(lambda: len(u.asked) == 1), "a stream begins")
        two.key("revoke", "ann-of-the-ledger")
        check(until(lambda: two.g[0].ask("GET", "/v1/models", fields=two.who("ann-of-the-ledger"))[0] == 401), "its key is revoked")
        u.go.set()
        t.join(WAIT)
        u.content = None
        check(out and out[0][0] == 200 and CALL in out[0][3], "it ends well", str(out))
        two.begin(0, key="bob")         # behind it in the ledger's queue
        left = db.sql("SELECT DISTINCT key_id FROM kept")
        check(left == [("bob",)], "and is not kept in the ledger", str(left))
        two.key("remove", "bob")
        check(until(lambda: two.meter(two.g[0], "kept_aside_bytes") == 0), "nor in memory")


def hostile(kind):
    """Rows that were changed or moved, keys that are others, and what is out of date."""
    db = kind()
    with Two(db) as two:
        name = db.name + ": "
        two.begin(0)
        two.begin(0, (THINKING, dict(USE, id="toolu_2")))
        rows = db.sql("SELECT name, sealed FROM kept ORDER BY name")
        check(len(rows) == 2, name + "two rows", str(len(rows)))
        for title, change in (("moved", lambda i: rows[1 - i][1]), ("damaged", lambda i: rows[i][1][:60] + "AAAA" + rows[i][1][64:]),
                              ("cut", lambda i: rows[i][1][:-8]), ("no seal at all", lambda i: "x"), ("empty", lambda i: "")):
            for i in (0, 1):
                db.sql("UPDATE kept SET sealed = '%s' WHERE name = '%s'" % (change(i), rows[i][0]))
            with two.gateway() as g:
                is_without(two.result(0, "m_a", g=g), name + "a row that was %s does not open" % title, "m_a")
                check(two.meter(g, "kept_shut_total") == 1, name + "which is counted", title)
        for i in (0, 1):
            db.sql("UPDATE kept SET sealed = '%s' WHERE name = '%s'" % (rows[i][1], rows[i][0]))
        for what in ("upstream = 'c'", "seal_key = '0011223344556677'", "expires = expires + 1"):
            old = what.split(" ")[0]
            was = db.sql("SELECT %s FROM kept WHERE name = '%s'" % (old, rows[0][0]))[0][0]
            db.sql("UPDATE kept SET " + what)
            with two.gateway() as g:
                for to in ("m_a", "m_c"):
                    is_without(two.result(0, to, g=g), name + "nor one with " + what, to)
            db.sql("UPDATE kept SET %s = '%s'" % (old, was) if old != "expires" else "UPDATE kept SET expires = expires - 1")
        with two.gateway(KEPT.replace("KEPT_1", "KEPT_2")) as g:
            is_without(two.result(0, "m_a", g=g), name + "who has another key finds nothing", "m_a")
        with two.gateway(KEPT.replace("[env:KEPT_1]", "[env:KEPT_2, env:KEPT_1]")) as g:
            is_back(two.result(0, g=g), name + "who has a new one and the old one does")
        with two.gateway() as g:
            is_back(two.result(0, g=g), name + "and who has it again")
        db.sql("UPDATE kept SET expires = 1")
        check(until(lambda: db.sql("SELECT COUNT(*) FROM kept") == [("0",)]), name + "expired rows are deleted")


def expired():
    db = Sqlite()
    with Two(db, state=KEPT + "  kept_for: 4s\n") as two:
        two.begin(0)
        check(until(lambda: db.sql("SELECT COUNT(*) FROM kept") == [("0",)]), "a row is there for its time")
        for i in (0, 1):
            is_without(two.result(i, "m_a"), "what is out of date is not used: %d" % i, "m_a")


def late():
    """A ledger that does not answer in time: the turn goes without thinking, and is no error."""
    db = Sqlite()
    with Two(db) as two:
        two.begin(0)
        lock = sqlite3.connect(db.file, isolation_level=None)
        lock.execute("BEGIN EXCLUSIVE")
        out = []
        t = threading.Thread(target=lambda: out.append(two.result(1, "m_a")))
        t.start()
        check(until(lambda: two.meter(two.g[1], "kept_late_total") == 1, 4), "nobody waits for it for long")
        lock.execute("ROLLBACK")
        lock.close()
        t.join(WAIT)
        is_without(out[0], "the turn goes without thinking", "m_a")
        is_back(two.result(1, "m_a"), "and the next one with it")
        lock = sqlite3.connect(db.file, isolation_level=None)
        lock.execute("BEGIN EXCLUSIVE")
        c = two.g[1].connection()       # a client that leaves while the ledger is asked
        c.request("POST", ROUTES["chat"], json.dumps(body_of("chat", "m_a", messages=[
            TALK[0], {"role": "assistant", "content": "never heard"}, TALK[0]])), two.who("bob"))
        check(until(lambda: two.meter(two.g[1], "requests") == 1), "a request waits")
        c.close()
        check(until(lambda: 'requests_total{end="client_left"} 1' in two.g[1].ask("GET", "/metrics", fields=two.who("watch"))[2]),
              "and its client leaves")
        lock.execute("ROLLBACK")
        lock.close()
        check(until(lambda: two.meter(two.g[1], "requests") == 0), "nothing of it stays")


def ruled():
    """Rules tell memory and ledger apart; the proof knows the ledger as a place."""
    label = "labels:\n  - {name: inner}\nrules:\n  - {name: r, action: forbid, when: [inner], paths: [%s]}\n"
    with Two(Sqlite(), more=label % "kept_ledger") as two:
        fields = {"metadata": {"croft_labels": "inner"}}
        two.begin(0, **fields)
        is_back(two.result(0, **fields), "text that may not lie in the ledger is in memory")
        out = two.result(1, **fields)
        is_without(out, "and at no other gateway")
        check(out[1] == "m_a", "which knows who made the call all the same", str(out))
    with Two(Sqlite(), more=label % "kept_aside") as two:
        two.begin(0, **fields)
        for i in (0, 1):
            is_back(two.result(i, **fields), "text that may not lie in memory is in the ledger: %d" % i)
        out = two.result(1)
        check(out[0] == 200, "its label is the conversation's", str(out))
    never = "labels:\n  - {name: inner}\nnever:\n  - {name: not_there, when: [inner], where: {upstream: [ledger]}}\n"
    ups = {"a": Upstream("anthropic"), "b": Upstream("chat")}
    for state, verdict in ((KEPT, "refuted"), ("  kept: memory\n", "proved")):
        g = Gateway(conf(ups, Sqlite().url, never), env=ENV, start=False, state=state)
        p = g.run("gateway", "check", "-c", g.path, "--json")
        said = json.loads(p.stdout)
        check(said["verdict"] == verdict and said["paths"]["kept_ledger"] == (verdict == "refuted"), "the proof: " + verdict, p.stdout)
        bad = said["counterexample"]
        check(not bad or (bad["path"], bad["sink"]) == ("kept_ledger", "ledger"), "which names the ledger", p.stdout)
        if bad:
            p = g.run("gateway", "-c", g.path)
            check(p.returncode == 1 and "DOOR-06" in p.stderr, "a refuted file is not loaded", p.stderr)
    for u in ups.values():
        u.close()


def refused():
    """What the file may not say of it."""
    ups = {"a": Upstream("anthropic"), "b": Upstream("chat")}
    for state, code, words in (("  kept: ledger\n", 1, "GREF-35"), ("  kept_keys: [env:KEPT_1]\n", 1, "GREF-35"),
                               ("  kept: ledger\n  kept_keys: [%s]\n" % ("ab" * 32), 1, "GREF-02"),
                               (KEPT.replace("KEPT_1", "SHORT"), 1, "SEALED-01"), (KEPT.replace("KEPT_1", "NONE"), 3, "DOOR-09"),
                               (KEPT + "  kept_for: soon\n", 1, "GREF-34")):
        g = Gateway(conf(ups, Sqlite().url), env=dict(ENV, SHORT="abcdef123456"), start=False, state=state)
        p = g.run("gateway", "-c", g.path)
        check(p.returncode == code and words in p.stderr and "ab" * 32 not in p.stderr and "abcdef123456" not in p.stderr,
              "refused: " + state, "%d %s" % (p.returncode, p.stderr))
    for u in ups.values():
        u.close()


def everything(kind):
    shared(kind)
    hostile(kind)


def main():
    global SERVER
    parts = [late_revocation, expired, late, ruled, refused]
    named = [p for p in parts if p.__name__ in sys.argv[1:]]
    for part in named or parts:
        part()
    if not named:
        everything(Sqlite)
        SERVER = postgres.Server(os.path.join(TEMP.name, "pg"))
        if SERVER.lacks:
            croft.skip("postgres", SERVER.lacks)
        else:
            try:
                everything(Postgres)
            finally:
                SERVER.stop()
    sys.exit(croft.done())


if __name__ == "__main__":
    main()
