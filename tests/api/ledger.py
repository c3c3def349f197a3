"""ledger.py - the ledger as gateways use it (tests/store/store_drive.c), in SQLite and in a PostgreSQL
started here: sums, limits over processes, kill -9, a database that goes, a full disk, clock steps;
and `croft gateway ledger` and `reconcile` on what that left.  LEDGER_BACKEND=sqlite leaves PostgreSQL out."""
import fcntl
import json
import os
import random
import resource
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
import croft
import postgres
from croft import check

DRIVE = os.environ.get("STORE_DRIVE", os.path.join(os.path.dirname(croft.CROFT), "store_drive"))
TEMP = tempfile.TemporaryDirectory(prefix="croft-ledger-")
os.chmod(TEMP.name, 0o755)
ENV = dict(os.environ)
RANDOM = random.Random(8)
PRICES = {"claude-sonnet-4-5": {"litellm_provider": "anthropic", "mode": "chat",
                                "input_cost_per_token": 3e-06, "output_cost_per_token": 1.5e-05}}
ROWS = ("SELECT id, state, requests, prompt + completion, cost, charges, upstream_id, process, request "
        "FROM attempts ORDER BY id")


class Sqlite:
    name = "sqlite"

    def __init__(self, folder):
        self.file = os.path.join(folder, "ledger.db")
        self.url = "sqlite:" + self.file

    def rows(self, sql):
        db = sqlite3.connect(self.file, timeout=20)
        try:
            return db.execute(sql).fetchall()
        finally:
            db.close()


class Postgres:
    name = "postgres"
    count = 0

    def __init__(self, folder):
        Postgres.count += 1
        self.base = "ledger%d" % Postgres.count
        SERVER.psql("postgres", "CREATE DATABASE " + self.base)
        ENV["LEDGER_" + self.base] = SERVER.url(self.base)
        self.url = "env:LEDGER_" + self.base

    def rows(self, sql):
        out = SERVER.psql(self.base, sql).stdout
        return [tuple(int(c) if c.lstrip("-").isdigit() else c for c in line.split("|"))
                for line in out.splitlines()]


def drive(url, folder, *args, wait=True, **more):
    command = [DRIVE, "calls", "url=" + url, "state=" + os.path.join(folder, "state"), *args]
    if not wait:
        p = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENV, **more)
        fcntl.fcntl(p.stdout, 1031, 1 << 20)    # F_SETPIPE_SZ: it must not wait for us
        return p
    p = subprocess.run(command, capture_output=True, text=True, env=ENV, timeout=120, **more)
    if p.returncode:
        return {"died": p.returncode, "stderr": p.stderr[-500:]}
    return json.loads(p.stdout.splitlines()[-1])


def one(db, sql):
    got = db.rows(sql)
    return got[0][0] if got else None


def consistent(db, name, limit=None):
    """Sums are those of the rows; nothing is open; no budget is overshot."""
    rows = db.rows(ROWS)
    used = [sum(r[3] for r in rows if r[1] in (1, 2)), sum(r[4] for r in rows if r[1] in (1, 2)),
            sum(r[2] for r in rows if r[1] in (1, 2))]
    spend = db.rows("SELECT COALESCE(SUM(tokens), 0), COALESCE(SUM(cost), 0), COALESCE(SUM(requests), 0) FROM spend")
    budget = db.rows("SELECT COALESCE(SUM(tokens), 0), COALESCE(SUM(cost), 0), COALESCE(SUM(requests), 0) "
                     "FROM budget_use")
    check(list(spend[0]) == used, name + ": spend is the sum of the rows", "%r %r" % (spend, used))
    check(list(budget[0]) == used, name + ": so is what the budget used", "%r %r" % (budget, used))
    check(not [r for r in rows if r[1] == 0], name + ": nothing is open")
    check(len({r[0] for r in rows}) == len(rows), name + ": ids are unique")
    if limit is not None:
        check(used[0] <= limit, name + ": the limit holds", "%d of %d" % (used[0], limit))
    return rows


def folder_of(name):
    path = os.path.join(TEMP.name, name)
    os.mkdir(path)
    return path


def settled(kind):
    folder = folder_of(kind.name + "-settled")
    db = kind(folder)
    got = drive(db.url, folder, "calls=400", "tokens=1000000")
    check(got.get("settled") == 400 and got["failed"] == 0, kind.name + ": calls are settled", str(got))
    rows = consistent(db, kind.name)
    check(len(rows) == 400 and all(r[1] == 1 and r[6] == "up-" + r[0] for r in rows), kind.name + ": exact, each once")
    check(one(db, "SELECT COUNT(*) FROM processes") == 0 and one(db, "SELECT COUNT(*) FROM slices") == 0,
          kind.name + ": a process that leaves leaves nothing")
    got = drive(db.url, folder, "calls=7", "as=3")
    check(got.get("settled") == 7 and one(db, "SELECT COUNT(*) FROM attempts WHERE state = 3 AND cost = 0") == 7,
          kind.name + ": what was never sent costs nothing", str(got))
    consistent(db, kind.name + " void")


def limits(kind):
    folder = folder_of(kind.name + "-alone")
    db = kind(folder)
    got = drive(db.url, folder, "calls=100000", "tokens=60000", "worst=300", "used=200")
    consistent(db, kind.name + " alone", 60000)
    used = one(db, "SELECT tokens FROM budget_use")
    check(used is not None and used >= 57000 and got["refused"] > 0, kind.name + ": 95 %% is usable alone",
          "%r %r" % (used, got))
    folder = folder_of(kind.name + "-four")
    db = kind(folder)
    many = [drive(db.url, folder, "calls=100000", "tokens=80000", "worst=300", "used=200", "requests=600",
                  "patience=3000", wait=False) for _ in range(4)]
    ends = [p.communicate(timeout=120) for p in many]
    check(all(p.returncode == 0 for p in many), kind.name + ": four end", str(ends))
    consistent(db, kind.name + " four", 80000)
    used = db.rows("SELECT tokens, requests FROM budget_use")
    check(used and used[0][0] >= 60000 and used[0][1] <= 600, kind.name + ": four use most of it", str(used))
    folder = folder_of(kind.name + "-soft")
    db = kind(folder)
    got = drive(db.url, folder, "calls=300", "tokens=2000", "used=40", "hard=0", "flight=1")
    check(got.get("granted") == 300 and 240 <= got["soft"] <= 255, kind.name + ": a soft budget warns", str(got))
    consistent(db, kind.name + " soft")


def killed(kind, rounds):
    folder = folder_of(kind.name + "-killed")
    db = kind(folder)
    journalled, done = set(), set()
    for i in range(rounds):
        args = ["calls=1000000", "tokens=100000000", "print=1", "flight=%d" % RANDOM.choice([1, 8, 64])]
        if i % 3 == 2:
            args.append("open=1")
        if kind is Sqlite and i % 2:
            args.append("seldom=1")     # a program that is killed loses nothing by that
        p = drive(db.url, folder, *args, wait=False)
        time.sleep(RANDOM.uniform(0.02, 0.5))
        p.send_signal(signal.SIGKILL)
        for line in p.communicate(timeout=60)[0].splitlines(True):
            if line.endswith("\n") and line[:2] in ("J ", "S "):
                (journalled if line[0] == "J" else done).add(line[2:].strip())
    last = drive(db.url, folder, "calls=1", "tokens=100000000")
    check(last.get("settled") == 1, kind.name + ": a start after kills", str(last))
    rows = {r[0]: r for r in consistent(db, kind.name + " killed", 100000000)}
    check(len(journalled) > rounds, kind.name + ": something was journalled", str(len(journalled)))
    check(journalled <= set(rows), kind.name + ": every acknowledged attempt is there")
    check(all(rows[i][1] == 1 for i in done), kind.name + ": what was acknowledged as settled is exact")
    check(any(r[1] == 2 for r in rows.values()), kind.name + ": what was cut is estimated")
    check(all(r[3] == 100 for r in rows.values() if r[1] == 2), kind.name + ": at its worst case")
    check(one(db, "SELECT COUNT(*) FROM processes") == 0 and one(db, "SELECT COUNT(*) FROM slices") == 0,
          kind.name + ": slices of the dead return")
    return db, folder


def tight_and_killed(kind):
    """Little room, processes killed beside ones that go on: never too much."""
    folder = folder_of(kind.name + "-tight")
    db = kind(folder)
    for _ in range(4):
        two = [drive(db.url, folder, "calls=100000", "tokens=20000", "worst=300", "used=100", "patience=300",
                     "flight=8", wait=False) for _ in range(2)]
        time.sleep(RANDOM.uniform(0.05, 0.3))
        two[0].send_signal(signal.SIGKILL)
        for p in two:
            p.communicate(timeout=120)
    drive(db.url, folder, "calls=100000", "tokens=20000", "worst=300", "used=100")
    consistent(db, kind.name + " tight", 20000)


def other_machine(kind):
    """A process of another state folder dies: silence is enough, later."""
    folder, elsewhere = folder_of(kind.name + "-here"), folder_of(kind.name + "-there")
    db = kind(folder)
    p = drive(db.url, elsewhere, "calls=5", "tokens=1000", "open=1", "print=1", "lease=600", wait=False)
    while p.stdout.readline()[:1] == "P":
        pass
    time.sleep(0.3)
    p.send_signal(signal.SIGKILL)
    p.communicate()
    check(one(db, "SELECT COUNT(*) FROM attempts WHERE state = 0") > 0, kind.name + ": open attempts are left")
    drive(db.url, folder, "calls=100000", "tokens=1000", "lease=600", "patience=2500", "worst=10", "used=10")
    consistent(db, kind.name + " silence", 1000)
    check(one(db, "SELECT tokens FROM budget_use") >= 950, kind.name + ": its slice returned",
          str(db.rows("SELECT * FROM budget_use")))


def clock_steps(kind):
    folder = folder_of(kind.name + "-clock")
    db = kind(folder)

    def at(seconds, **more):
        got = drive(db.url, folder, "calls=%d" % more.get("calls", 1000), "tokens=4000", "worst=40", "used=40", "span=2",
                    "clock=%d" % seconds, "patience=700")
        return got.get("settled")
    check(at(0, calls=50) == 50, "half a day's budget")
    check(at(86400) == 100, "the clock a day ahead: another day's budget")
    check(at(0) == 50, "and back: what is left of the first, not more")
    check(at(-86400) == 100, "a day earlier is a day too")
    check(at(0) == 0 and at(86400) == 0, "nothing comes back by stepping")
    consistent(db, kind.name + " clock")


def full_disk():
    folder = folder_of("full")
    db = Sqlite(folder)
    drive(db.url, folder, "calls=20", "tokens=100000000")
    size = os.path.getsize(db.file) + 150000

    def small():
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    p = drive(db.url, folder, "calls=20000", "tokens=100000000", "print=1", "flight=64", wait=False, preexec_fn=small)
    time.sleep(2.5)
    p.send_signal(signal.SIGTERM)
    out, err = p.communicate(timeout=60)
    check("the ledger" in err or "\nG " in out, "a full disk is said", err[-300:])
    rows = {r[0]: r[1] for r in db.rows(ROWS)}
    acked = [line[2:] for line in out.splitlines() if line[:2] == "J "]
    check(acked and all(i in rows for i in acked), "what was acknowledged is there", str(len(acked)))
    got = drive(db.url, folder, "calls=20", "tokens=100000000")
    check(got.get("settled") == 20, "with room again it goes on", str(got))
    consistent(db, "full")


def file_gone():
    folder = folder_of("gone")
    db = Sqlite(folder)
    p = drive(db.url, folder, "calls=1000000", "tokens=100000000", "print=1", "flight=4", wait=False)
    p.stdout.readline()
    time.sleep(0.2)
    db.rows("PRAGMA wal_checkpoint")    # the file alone has the tables from here on
    os.rename(db.file, db.file + ".away")
    time.sleep(1.0)
    mark = len(db_rows(db.file + ".away"))
    time.sleep(0.5)
    check(len(db_rows(db.file + ".away")) == mark, "nothing is journalled in a file that was taken away")
    p.send_signal(signal.SIGKILL)
    out, err = p.communicate(timeout=60)
    check("removed or replaced" in err or "\nG " in out, "that is said", err[-300:])


def db_rows(path):
    db = sqlite3.connect(path, timeout=20)
    try:
        return db.execute(ROWS).fetchall()
    finally:
        db.close()


def server_gone():
    folder = folder_of("server-gone")
    db = Postgres(folder)
    p = drive(db.url, folder, "seldom=1", wait=False)
    check("ledger.sync is of SQLite" in p.communicate(timeout=60)[1], "a PostgreSQL ledger is synced each time")
    p = drive(db.url, folder, "calls=6000", "tokens=100000000", "flight=16", "patience=20000", "print=1", wait=False)
    p.stdout.readline()
    time.sleep(0.4)
    SERVER.stop()
    time.sleep(1.2)
    check(p.poll() is None, "a gateway outlives its database")
    check(SERVER.start(), "the database comes back")
    out, err = p.communicate(timeout=120)
    got = json.loads(out.splitlines()[-1])
    check(got["granted"] == 6000 and got["settled"] + got["failed"] == 6000 and "\nG " in out,
          "calls fail while it is gone, and go on after", str(got))
    check(("does not answer" in err or not got["failed"]) and "pass" not in err, "that is said, without the address", err[-300:])
    rows = {r[0]: r for r in consistent(db, "server gone")}
    done = [line[2:] for line in out.splitlines() if line[:2] == "S "]
    check(all(rows[i][1] == 1 for i in done), "settlements that waited were written")
    ENV["LEDGER_nowhere"] = "postgres://croft:secretword@127.0.0.1:1/none"
    p = drive("env:LEDGER_nowhere", folder, wait=False)
    _, err = p.communicate(timeout=60)
    check(p.returncode == 3 and "secretword" not in err, "no database, no start", err)


def configuration(db, folder):
    path, prices = os.path.join(folder, "croft.yaml"), os.path.join(folder, "prices.json")
    with open(prices, "w") as f:
        json.dump(PRICES, f)
    text = croft.run(["gateway", "init"]).stdout
    text = text.replace("sqlite:/var/lib/croft/ledger.db", db.url)
    text = text.replace("model_prices_and_context_window.json]", prices + "]")
    with open(path, "w") as f:
        f.write(text)
    return path


def gateway(*args, stdin=None):
    return subprocess.run([croft.CROFT, "gateway", *args], capture_output=True, text=True, env=ENV, input=stdin,
                          stdin=subprocess.DEVNULL if stdin is None else None, timeout=120)


def commands(db, folder):
    path = configuration(db, folder)
    rows = db.rows(ROWS)
    for by, names in (("key", ["laptop"]), ("team", ["research"]), ("model", ["claude"]), ("tag", ["alpha", "beta"])):
        p = gateway("ledger", "--by", by, "-c", path, "--json")
        sums = json.loads(p.stdout) if p.returncode == 0 else []
        check([s[by] for s in sums] == names and all(s["attempts"] == len(rows) for s in sums),
              db.name + ": sums by " + by, p.stdout[-300:] + p.stderr)
        cost = sum(r[4] for r in rows)
        check(sums and all(s["usd"].replace(".", "").lstrip("0") == str(cost).rstrip("0") for s in sums),
              db.name + ": exact dollars by " + by, "%r %d" % (sums, cost))
    p = gateway("ledger", "--by", "day", "-c", path, "--csv")
    check(p.stdout.startswith("day,attempts,") and p.stdout.count("\n") >= 2, db.name + ": CSV", p.stdout + p.stderr)
    p = gateway("ledger", "-c", path)
    check(p.returncode == 0 and "laptop" in p.stdout, db.name + ": text", p.stdout + p.stderr)
    check(gateway("ledger", "-c", path, "--csv", "--json").returncode == 2, "two forms are one too many")
    reconciled(db, path, rows)
    keys(db, path)


def key(path, *args, stdin=""):
    return subprocess.run([croft.CROFT, "key", *args, "-c", path], capture_output=True, text=True, env=ENV,
                          input=stdin, timeout=120)


def keys(db, path):
    """The keys in the same database, by the same statements (tests/api/key.py has the rest)."""
    if db.name == "sqlite":             # a ledger of a croft that had none yet
        old = sqlite3.connect(db.file)
        old.executescript("DROP TABLE client_keys; DROP TABLE client_keys_state; DROP TABLE kept; UPDATE croft_schema SET version = 1")
        old.close()
    p = key(path, "add", "ci", "--team", "research", "--models", "best", "--label", "secret", "--tag", "night's")
    check(p.returncode == 2 and "KEY-16" in p.stderr, db.name + ": a tag that is none", p.stderr)
    p = key(path, "add", "ci", "--team", "research", "--models", "best", "--label", "secret", "--tag", "night")
    token = p.stdout.strip()
    check(p.returncode == 0 and key(path, "check", stdin=token).stdout == "ci\n", db.name + ": a key", p.stderr)
    many = [subprocess.Popen([croft.CROFT, "key", "add", "-q", "k%d" % i, "-c", path], env=ENV,
                             stdout=subprocess.DEVNULL) for i in range(6)]
    check(all(p.wait() == 0 for p in many), db.name + ": six keys at once")
    check(key(path, "revoke", "ci").returncode == 0 and key(path, "remove", "k3").returncode == 0,
          db.name + ": revoked, removed")
    listed = {k["id"]: k for k in json.loads(key(path, "list", "--json").stdout)}
    check(sorted(listed) == ["ci", "k0", "k1", "k2", "k4", "k5"] and listed["ci"]["state"] == "revoked"
          and listed["ci"]["models"] == ["best"] and listed["ci"]["tags"] == ["night"], db.name + ": listed", str(listed))
    check("revoked" in key(path, "check", stdin=token).stderr, db.name + ": a revoked key")
    check(db.rows("SELECT version FROM client_keys_state") == [(10,)], db.name + ": each change has its number",
          str(db.rows("SELECT version FROM client_keys_state")))


def reconciled(db, path, rows):
    usage = {"prompt_tokens": 11, "completion_tokens": 3}
    estimated = [r for r in rows if r[1] == 2]
    exact = next(r for r in rows if r[1] == 1)
    text = "".join(json.dumps({"id": r[0] if i % 2 else r[8], "usage": usage}) + "\n"
                   for i, r in enumerate(estimated))
    p = gateway("reconcile", "-", "-c", path, "--json", stdin=text)
    got = json.loads(p.stdout) if p.stdout else {}
    check(p.returncode == 0 and got.get("corrected") == len(estimated), db.name + ": estimates are corrected",
          p.stdout[-300:] + p.stderr)
    after = {r[0]: r for r in consistent(db, db.name + " reconciled")}
    check(all(after[r[0]][1] == 1 and after[r[0]][3:5] == (14, 11 * 3000000 + 3 * 15000000) for r in estimated),
          db.name + ": to the usage, at the price of the file")
    check(all(after[r[0]][6:] == r[6:] for r in rows), db.name + ": whose ids stay")
    p = gateway("reconcile", "-", "-c", path, "--json", stdin=text)
    check(p.returncode == 0 and json.loads(p.stdout)["equal"] == len(estimated), db.name + ": twice is once", p.stdout)
    text = "".join(json.dumps(line) + "\n" for line in (
        {"id": exact[6], "usage": usage}, {"id": "nobody", "usage": usage}, {"usage": usage}))
    p = gateway("reconcile", "-", "-c", path, stdin=text + "{\n")
    check(p.returncode == 1 and "differs" in p.stdout and "unknown" in p.stdout and p.stdout.count("not read") == 2 and
          "4 differing" in p.stdout, db.name + ": what differs is told", p.stdout + p.stderr)
    check({r[0]: r for r in db.rows(ROWS)} == after, db.name + ": and changes nothing")


def synced():
    """How often the disk is waited for: for each commit, or each second."""
    counter = os.path.join(os.path.dirname(croft.CROFT), "count_syncs.so")
    if "san" in DRIVE:                  # a sanitizer wants to be the first library
        return
    count = {}
    for seldom in (0, 1):
        folder = folder_of("synced%d" % seldom)
        p = subprocess.run([DRIVE, "calls", "url=" + Sqlite(folder).url, "state=" + folder, "calls=500", "flight=1",
                            "tokens=1000000", "seldom=%d" % seldom], capture_output=True, text=True, timeout=120,
                           env=dict(ENV, LD_PRELOAD=counter))
        count[seldom] = int(p.stderr.split()[0]) if p.stderr.endswith("syncs\n") else p.stderr
    check(count[0] >= 1000, "each commit is on disk before it is told", str(count))
    check(0 < count[1] < 200, "or each second", str(count))


def absent():
    folder = folder_of("absent")
    path = configuration(Sqlite(folder), folder)
    for args in (["ledger", "-c", path], ["reconcile", path, "-c", path]):
        p = gateway(*args)
        check(p.returncode == 3 and "SQLITE-09" in p.stderr and not p.stdout, "no ledger: exit status 3", p.stderr)
    check(not os.path.exists(os.path.join(folder, "ledger.db")), "asking makes no ledger")
    with open(os.path.join(folder, "ledger.db"), "w") as f:
        f.write("this is no database, whatever its name says" * 30)
    check(gateway("ledger", "-c", path).returncode == 1, "a file that is no ledger")
    check(gateway("ledger", "more", "-c", path).returncode == 2, "an operand too many")


def everything(kind):
    settled(kind)
    limits(kind)
    commands(*killed(kind, 12 if kind is Sqlite else 8))
    tight_and_killed(kind)
    other_machine(kind)
    clock_steps(kind)


everything(Sqlite)
full_disk()
file_gone()
synced()
absent()
if os.environ.get("LEDGER_BACKEND") == "sqlite":
    sys.exit(croft.done())
SERVER = postgres.Server(os.path.join(TEMP.name, "pg"), 8)
if SERVER.lacks:
    croft.skip("postgres", SERVER.lacks)
else:
    try:
        everything(Postgres)
        server_gone()
    finally:
        SERVER.stop()
sys.exit(croft.done())
