"""ledger_many.py - four gateways on one ledger, 200 clients of which some leave, and things that go wrong:
gateways and PostgreSQL killed, clocks that jump, a full disk.

    tests/gateway/ledger_many.py [build/croft] [--seconds N] [--seed N] [--clients N] [--on postgres|sqlite]

Each attempt that the stand-ins saw has one row; exact rows are what their meters say, estimated ones are of
calls that were cut, and after `croft gateway reconcile` with the stand-ins' bill all are equal.  Hard
budgets are never overshot, soft ones by no more than the calls in flight; one gateway alone can use 95 % of
a limit.  Nothing here asserts how long a thing took.
"""
import argparse
import contextlib
import ctypes
import json
import mmap
import os
import random
import re
import resource
import shutil
import signal
import socket
import sqlite3
import struct
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
if len(sys.argv) > 1 and not sys.argv[1].startswith("--"):
    os.environ["CROFT"] = sys.argv.pop(1)
from doors import STATES, Door, check, croft, model, upstream
from ledger_judge import bill, charged, judge, overshot
import postgres
import saying
import standins

WAIT = 120                              # seconds; only what hangs takes that long
DAY = 86400
GATES = 4
HARD = {"tight": {"tokens": 20000}, "minute": {"requests": 150}, "dollars": {"cost": 40 * 10**9},
        "four": {"requests": 200}, "four-tokens": {"tokens": 120000}, "one": {"requests": 100},
        "one-tokens": {"tokens": 100000}, "one-dollars": {"cost": 200 * 10**9}}
SOFT = {"wide": {"requests": 100}, "four-soft": {"requests": 150}}
PERIOD = {"tight": "day", "minute": "minute", "dollars": "day", "wide": "hour"}
TORTURED = ("tight", "minute", "dollars", "wide", "none")
COLUMNS = ("id", "process", "request", "upstream_id", "key_id", "charges", "state", "reconciled", "begun", "requests",
           "prompt", "completion", "cache_read", "cost")
FULL = 4096                             # bytes: no file can grow beyond it


class Meter(standins.Standin):
    """A stand-in that forgets what it was sent and keeps whose request it was."""

    def __init__(self, flaky=None):
        super().__init__()
        self.flaky, self.at = flaky, 0

    def next_step(self, model):
        if self.flaky and model == "as-flaky":
            return dict(flaky_step(self.flaky), lenient=True)
        return super().next_step(model)

    def settled(self):
        """Strip what has ended; how many have not."""
        with self.lock:
            for a in self.attempts:
                if a["ended"] and a["body"] is not None:
                    a["request"] = (re.findall(r"#([\w-]+)", json.dumps(a["body"])) or [None])[0]
                    a["body"] = a["fields"] = None
            return len([a for a in self.attempts if not a["ended"]])

    def meter(self):
        self.settled()
        with self.lock:
            return [{k: a.get(k) for k in ("request", "id", "status", "ended", "usage", "sent", "kind", "refused")}
                    for a in self.attempts if a["kind"] != "probe"]


def flaky_step(r):
    n = r.randrange(8)
    return r.choice([{"status": 500}, {"status": 429}, {"close_first": True}, {"cut_at": n}, {"fail_at": n},
                     {"reset_at": r.randrange(1500)}] + 6 * [{"pace": 0.01}])


# ---- ledgers -------------------------------------------------------------------------------------

class Sqlite:
    name = "sqlite"

    def __init__(self, folder, clock):
        self.file = os.path.join(folder, "ledger.db")
        self.url, self.env = "sqlite:" + self.file, {}
        self.gate_env = clock.env

    def run(self, sql):
        db = sqlite3.connect(self.file, timeout=30)
        try:
            with db:
                return db.execute(sql).fetchall()
        finally:
            db.close()

    def close(self):
        pass


class Postgres:
    name = "postgres"

    def __init__(self, folder, clock):
        self.server = postgres.Server(os.path.join(folder, "pg"), env=clock.env)
        self.lacks = self.server.lacks
        self.url, self.env, self.gate_env = "env:CROFT_LEDGER", {"CROFT_LEDGER": self.server.url("croft")}, {}
        if not self.lacks:
            self.server.psql("postgres", "CREATE DATABASE croft")

    def run(self, sql):
        p = self.server.psql("croft", sql)
        if p.returncode:
            raise OSError(p.stderr)
        return [tuple(int(c) if c.lstrip("-").isdigit() else c for c in line.split("|"))
                for line in p.stdout.splitlines()]

    def close(self):
        self.server.stop()


class Clock:
    """The wall clock of what is started with `env`."""

    def __init__(self, folder):
        path = os.path.join(folder, "clock")
        with open(path, "wb") as f:
            f.write(bytes(mmap.PAGESIZE))
        with open(path, "r+b") as f:
            self.page = mmap.mmap(f.fileno(), mmap.PAGESIZE)
        self.env = {"CLOCK_STEP": path, "LD_PRELOAD": os.path.join(os.path.dirname(croft.CROFT), "clock_step.so")}

    def step(self, seconds):
        ctypes.c_int64.from_buffer(self.page).value = seconds


# ---- gateways ------------------------------------------------------------------------------------

def low_port(r):
    """One that the system gives to nobody by itself, also while no gateway has it."""
    for port in r.sample(range(10000, 20000), 1000):
        with socket.socket() as s, contextlib.suppress(OSError):
            s.bind(("127.0.0.1", port))
            return port
    sys.exit("no port is free")


def ignore_file_size():
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)   # as on a disk that is full: an error, no signal


class Gate(Door):
    """A gateway that is started when it is told to, as often as that takes."""

    def __init__(self, *args, **more):
        self.ready = False
        super().__init__(*args, key=False, wait=False, **more)
        self.ready = True

    def start(self, wait=True):
        if self.ready:
            self.p = subprocess.Popen([croft.CROFT, "gateway", "-c", self.path], stdin=subprocess.DEVNULL,
                                      stdout=self.out, stderr=self.out, env=self.env, preexec_fn=ignore_file_size)

    def begin(self):
        """Without its database it does not start."""
        end = time.monotonic() + WAIT
        while time.monotonic() < end:
            if self.p is None or self.p.poll() is not None:
                self.start()
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", self.port), 5).close()
                return
            time.sleep(0.05)
        check(False, "the gateway starts", self.said()[-800:])

    def process(self):
        """Its name in the ledger: the file that it holds locked."""
        with contextlib.suppress(OSError):
            for fd in os.listdir("/proc/%d/fd" % self.p.pid):
                with contextlib.suppress(OSError):
                    m = re.search(r"/run/(g[0-9a-f]{16})$", os.readlink("/proc/%d/fd/%s" % (self.p.pid, fd)))
                    if m:
                        return m[1]
        return None


def budget(name, mode, limit):
    limit = dict(limit)
    if "cost" in limit:
        limit["dollars"] = "%.12f" % (limit.pop("cost") / 10**12)
    return {"name": name, "key": name, "period": PERIOD.get(name, "month"), "mode": mode, "limit": limit}


class Cast:
    """Everything that plays: stand-ins, a ledger, gateways, who was killed."""

    def __init__(self, ledger, folder, clock, seed):
        self.ledger, self.clock, self.random = ledger, clock, random.Random("%s %s" % (seed, ledger.name))
        self.plain, self.messages = Meter(), Meter()
        self.flaky = Meter(random.Random("%s flaky" % seed))
        self.killed, self.clients, self.said = set(), {}, []
        text = " ".join("word" for _ in range(60))
        for name, step in (("quick", {}), ("slow", {"pace": 0.02}),
                           ("big", {"parts": [["text", text]], "usage": dict(prompt=1500, cached=0, written=0, answer=60,
                                                                             think=0)})):
            self.plain.plan("as-" + name, dict(step, lenient=True))
        self.messages.plan("as-other", {"pace": 0.005, "lenient": True})
        self.gates = [self.gate(folder, i) for i in range(GATES)]
        self.tokens = {name: self.gates[0].new_key(name) for name in [*HARD, *SOFT, "none"]}

    def gate(self, folder, i):
        """The first two are of one machine: they share a state folder."""
        upstreams = [upstream("plain", "chat", self.plain.url, keys=["env:KEY_UP"]),
                     upstream("messages", "anthropic", self.messages.url, keys=["env:KEY_UP"]),
                     upstream("flaky", "chat", self.flaky.url, keys=["env:KEY_UP"])]
        models = [model("quick", "plain"), model("slow", "plain"), model("big", "plain"), model("other", "messages"),
                  model("flaky", "flaky")]
        return Gate(upstreams, models, dict(self.ledger.env, KEY_UP="sk-up-1", **self.ledger.gate_env),
                    port=low_port(random.Random()), groups=[{"name": "both", "members": [{"model": "flaky"}, {"model": "other"}]}],
                    state={"folder": os.path.join(folder, "state%d" % max(1, i))},
                    ledger={"url": self.ledger.url, "on_disconnect": "finish" if i == GATES - 1 else "cancel"},
                    budgets=[budget(n, "hard", x) for n, x in HARD.items()] +
                            [budget(n, "soft", x) for n, x in SOFT.items()])

    def begin(self, gates=None):
        for g in self.gates if gates is None else gates:
            g.begin()

    def end(self, gates=None):
        for g in self.gates if gates is None else gates:
            if g.p and g.p.poll() is None:
                code = g.stop()
                check(code == 0, "a gateway ends well", "%s %s" % (code, g.said()[-1500:]))

    def kill(self, gates):
        """At once; their names."""
        names = [g.process() for g in gates]
        for g in gates:
            g.p.kill()
        for g in gates:
            g.p.wait()
        self.killed.update(names)
        return names

    def leave(self):
        self.end()
        self.ledger.close()
        for m in (self.plain, self.messages, self.flaky):
            m.close()
        for g in self.gates:
            shutil.rmtree(g.folder, True)

    # -- clients

    def ask(self, name, keys, clients, gates=None, models=("quick", "slow", "both"), leave=0.0, calls=0, refusals=0):
        task = {"ports": [g.port for g in gates or self.gates], "keys": [[k, self.tokens[k]] for k in keys],
                "models": list(models), "name": "%s%d" % (name, len(self.clients)), "clients": clients, "leave": leave,
                "calls": calls, "refusals": refusals, "seed": self.random.random()}
        p = subprocess.Popen([sys.executable, os.path.join(HERE, "ledger_clients.py")], stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE, text=True)
        p.stdin.write(json.dumps(task) + "\n")
        p.stdin.flush()
        p.rows = []
        p.reader = threading.Thread(target=self.hear, args=(p,))
        p.reader.start()
        return p

    def hear(self, p):
        for line in p.stdout:
            row = json.loads(line)
            p.rows.append(row)
            self.clients[row["id"]] = row["end"]

    def answers(self, *asking, stop=False):
        """Wait until clients end; all that they saw."""
        for p in asking:
            if stop:
                p.stdin.close()
        for p in asking:
            check(p.wait(WAIT * 3) == 0, "clients end")
            p.reader.join()
        rows = [r for p in asking for r in p.rows]
        bad = [r for r in rows if r["end"] == "hangs" or r["status"] in (400, 401, 403, 404, 500)]
        check(not bad, "no client waits for ever, or is told what is not so", str(bad[:3]))
        self.said += rows
        return rows

    # -- the ledger

    def rows(self, name=None):
        where = " WHERE key_id = '%s'" % name if name else ""
        rows = [dict(zip(COLUMNS, r)) for r in self.ledger.run("SELECT %s FROM attempts%s" % (", ".join(COLUMNS), where))]
        for r in rows:
            r["state"] = STATES[r["state"]]
            for column in ("id", "process", "request", "upstream_id", "key_id", "charges"):
                r[column] = str(r[column])
        return rows

    def meters(self):
        return [a for m in (self.plain, self.messages, self.flaky) for a in m.meter()]

    def sums(self):
        """used + slices of each budget and period, at one moment."""
        got = self.ledger.run("SELECT budget, period, SUM(requests), SUM(tokens), SUM(cost) FROM (SELECT budget, period, "
                              "requests, tokens, cost FROM budget_use UNION ALL SELECT budget, period, requests, tokens, "
                              "cost FROM slices) x GROUP BY budget, period")
        return {(b, p): dict(requests=r, tokens=t, cost=c) for b, p, r, t, c in got}

    def quiet(self):
        """Nothing is in work any more."""
        end = time.monotonic() + WAIT
        while any(m.settled() for m in (self.plain, self.messages, self.flaky)) and time.monotonic() < end:
            time.sleep(0.05)
        while self.ledger.run("SELECT COUNT(*) FROM attempts WHERE state = 0")[0][0] and time.monotonic() < end:
            time.sleep(0.1)
        check(time.monotonic() < end, "everything is settled", str([r for r in self.rows() if r["state"] == "open"][:3]))


# ---- what goes wrong -----------------------------------------------------------------------------

def gates_killed(cast):
    some = cast.random.sample(cast.gates, cast.random.choice((1, 1, 2, GATES)))
    gone = cast.kill(some)
    time.sleep(cast.random.choice((0, 0.2)))
    cast.begin(some)
    left = cast.ledger.run("SELECT id FROM attempts WHERE state = 0 AND process IN (%s)" % ", ".join(
        "'%s'" % g for g in gone))
    check(not left, "who starts again has settled what its predecessor left open", str(left[:2]))


def database_killed(cast):
    cast.ledger.server.signal(signal.SIGKILL)
    time.sleep(cast.random.choice((0, 0.3, 1.0)))
    check(cast.ledger.server.start(), "PostgreSQL starts again")


def both_killed(cast):
    some = cast.random.sample(cast.gates, 2)
    cast.kill(some[:1])
    cast.ledger.server.signal(signal.SIGKILL)
    cast.kill(some[1:])
    check(cast.ledger.server.start(), "PostgreSQL starts again")
    cast.begin(some)


def database_stopped(cast):
    """It does not answer, and does not end either."""
    cast.ledger.server.signal(signal.SIGSTOP)
    time.sleep(12)
    cast.ledger.server.signal(signal.SIGCONT)


def clock_steps(cast):
    cast.clock.step(cast.random.choice((-DAY, DAY, 3600, -3600)))
    time.sleep(cast.random.uniform(0.5, 1.5))
    cast.clock.step(0)


def disk_full(cast):
    """No file of a gateway can grow: nothing is asked for that cannot be written down, and then it goes on."""
    for g in cast.gates:
        resource.prlimit(g.p.pid, resource.RLIMIT_FSIZE, (FULL, resource.RLIM_INFINITY))
    until_said(cast, lambda r: r["status"] == 503, "a full disk is said")
    time.sleep(0.5)
    for g in cast.gates:
        resource.prlimit(g.p.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    until_said(cast, lambda r: r["status"] == 200, "with room again it goes on")


def until_said(cast, what, name):
    """Wait until each gateway has told a client that."""
    marks = {p: len(p.rows) for p in cast.asking}
    missing, end = {g.port for g in cast.gates}, time.monotonic() + WAIT
    while missing and time.monotonic() < end:
        for p, at in marks.items():
            missing -= {r["port"] for r in p.rows[at:] if what(r)}
        time.sleep(0.05)
    check(not missing, name, "ports %s" % missing)


FAULTS = {"postgres": [gates_killed, gates_killed, database_killed, both_killed, clock_steps],
          "sqlite": [gates_killed, gates_killed, disk_full, clock_steps]}


def tortured(cast, seconds, clients, faults):
    """Each fault once, then by chance until the time is over."""
    half = [cast.ask(name, TORTURED, clients // 2, models=("quick", "slow", "both", "other"), leave=0.15)
            for name in ("a", "b")]
    cast.asking, end = half, time.monotonic() + seconds
    plan = cast.random.sample(faults, len(faults))
    count = dict.fromkeys((f.__name__ for f in faults), 0)
    while plan or time.monotonic() < end:
        fault = plan.pop() if plan else cast.random.choice(faults)
        time.sleep(cast.random.uniform(0.2, 1.2))
        fault(cast)
        count[fault.__name__] += 1
        over = overshot(cast.sums(), HARD)
        check(not over, "used and leased are no more than the limit", str(over))
    rows = cast.answers(*half, stop=True)
    cast.quiet()
    good = [r for r in rows if r["status"] == 200 and r["end"] == "whole"]
    check(len(good) > clients, "clients are answered", "%d of %d" % (len(good), len(rows)))
    check([r for r in rows if r["end"] == "left"] and [r for r in rows if r["end"] == "broke"], "some leave, some are left")
    return count


# ---- limits in quiet -----------------------------------------------------------------------------

def used(cast, name):
    have = charged(cast.rows(name))
    return next((h for (b, _), h in have.items() if b == name), dict(requests=0, tokens=0, cost=0))


def limits(cast):
    """Four gateways share them; one alone has nearly all of them."""
    cast.begin()
    end = time.monotonic() + WAIT
    leased = "SELECT SUM(requests) FROM slices WHERE budget = 'four-soft'"
    while cast.ledger.run(leased)[0][0] > SOFT["four-soft"]["requests"] / 2 and time.monotonic() < end:
        time.sleep(0.1)
    check(time.monotonic() < end, "who is alone no more gives away what is too much")
    asking = [cast.ask("h", [n], 20, models=["big"], refusals=6) for n in ("four", "four-tokens")]
    asking.append(cast.ask("s", ["four-soft"], 40, models=["quick"], calls=8))
    cast.answers(*asking)
    cast.quiet()
    for name, what in (("four", "requests"), ("four-tokens", "tokens")):
        have, most = used(cast, name)[what], HARD[name][what]
        check(most * 0.6 <= have <= most, "four gateways use most of %s, and no more" % name, "%d of %d" % (have, most))
    told = [r for r in cast.said if r["key"] == "four-soft" and r["status"] == 200]
    plain = [r for r in told if "four-soft is used up" not in r["note"]]
    most = SOFT["four-soft"]["requests"]
    check(len(told) == 320 and most * 0.6 <= len(plain) <= most + 40,
          "a soft budget warns, late by no more than the calls in flight", "%d of %d" % (len(plain), len(told)))
    cast.end(cast.gates[1:])
    alone = ("one", "one-tokens", "one-dollars")
    cast.answers(*[cast.ask("o", [n], 8, cast.gates[:1], ["big"], refusals=4) for n in alone])
    cast.quiet()
    for name, what in zip(alone, ("requests", "tokens", "cost")):
        have, most = used(cast, name)[what], HARD[name][what]
        check(0.95 * most <= have <= most, "one gateway uses 95 %% of %s, and no more" % name, "%d of %d" % (have, most))
    cast.end()


# ---- the bill ------------------------------------------------------------------------------------

def added_up(cast, rows, name):
    """Sums in the ledger are those of its rows."""
    counted = [r for r in rows if r["state"] in ("exact", "estimated")]
    have = [sum(r["requests"] for r in counted), sum(r["prompt"] + r["completion"] for r in counted),
            sum(r["cost"] for r in counted)]
    spend = list(cast.ledger.run("SELECT SUM(requests), SUM(tokens), SUM(cost) FROM spend")[0])
    check(spend == have, name + ": spend is the sum of the rows", "%s %s" % (spend, have))
    sums = {(b, p): dict(requests=r, tokens=t, cost=c) for b, p, r, t, c in
            cast.ledger.run("SELECT budget, period, requests, tokens, cost FROM budget_use")}
    sums = {k: v for k, v in sums.items() if any(v.values())}
    due = {k: v for k, v in charged(rows).items() if any(v.values())}
    check(sums == due, name + ": so is what budgets used", str([(k, sums.get(k), due.get(k)) for k in {*sums, *due}
                                                              if sums.get(k) != due.get(k)][:3]))
    over = overshot(due, HARD)
    check(not over, name + ": no hard budget is overshot", str(over))


def reconciled(cast, pairs):
    """With the bill of the stand-ins; what they never saw is billed with nothing."""
    lines, sent = [], [(r, a) for r, a in pairs if r]
    for i, (r, a) in enumerate(sent):
        name = r["upstream_id"] if r["upstream_id"] and i % 2 else r["id"]
        lines.append(json.dumps({"id": name, "usage": saying.usage_in("chat", bill(a))}) + "\n")
    p = cast.gates[0].run("gateway", "reconcile", "-", "-c", cast.gates[0].path, "--json", text="".join(lines))
    got = json.loads(p.stdout or "{}")
    estimated = len([r for r, _ in sent if r["state"] == "estimated"])
    check(p.returncode == 0 and got.get("corrected") == estimated and got.get("equal") == len(sent) - estimated,
          "reconcile corrects what was estimated, and all else is equal",
          "%s %s %d of %d estimated" % (p.returncode, str(got)[:300], estimated, len(sent)) + p.stderr[-300:])


def judged(cast):
    rows, meters = cast.rows(), cast.meters()
    check(not [a for a in meters if a["refused"]], "stand-ins are asked what they take", str(meters[:1]))
    wrong, pairs = judge(rows, meters, cast.clients, cast.killed)
    check(not wrong, "each attempt has its row, and the row fits", "%d: %s" % (len(wrong), "\n  ".join(wrong[:4])))
    added_up(cast, rows, "before")
    reconciled(cast, pairs)
    after = cast.rows()
    wrong, _ = judge(after, meters, cast.clients, set())
    check(not wrong and not [r for r in after if r["state"] == "estimated"], "and then all are equal",
          "%d: %s" % (len(wrong), "\n  ".join(wrong[:4])))
    added_up(cast, after, "after")
    controls(cast, after, meters)
    return rows, meters


def controls(cast, rows, meters):
    """The test finds what is wrong."""
    row = next(r for r in rows if r["state"] == "exact" and r["upstream_id"] and not r["reconciled"])
    seen = next(a for a in meters if a["id"] == row["upstream_id"])
    check(len(judge(rows, meters + [dict(seen)], cast.clients, set())[0]) == 1, "control: a call counted twice is found")
    more = [dict(a, usage=dict(a["usage"], answer=a["usage"]["answer"] + 1)) if a is seen else a for a in meters]
    check(len(judge(rows, more, cast.clients, set())[0]) == 1, "control: a token too many is found")
    cast.ledger.run("DELETE FROM attempts WHERE id = '%s'" % row["id"])
    wrong, _ = judge(cast.rows(), meters, cast.clients, set())
    check(len(wrong) == 1 and "without a row" in wrong[0], "control: a row that is gone is found", str(wrong[:2]))
    full = {n: {k: v // 2 for k, v in x.items()} for n, x in HARD.items()}
    check(overshot(charged(rows), full), "control: twice a limit is found")


# ---- all of it -----------------------------------------------------------------------------------

def play(kind, args, seconds):
    with tempfile.TemporaryDirectory(prefix="croft-many-") as folder:
        os.chmod(folder, 0o755)
        clock = Clock(folder)
        ledger = kind(folder, clock)
        if getattr(ledger, "lacks", None):
            croft.skip(kind.name, ledger.lacks)
            return
        cast = Cast(ledger, folder, clock, args.seed)
        faults = FAULTS[kind.name] + ([database_stopped] if seconds >= 120 and kind is Postgres else [])
        try:
            cast.begin()
            began = time.monotonic()
            count = tortured(cast, seconds, args.clients, faults)
            print("%s: tortured for %.0f s" % (kind.name, time.monotonic() - began), flush=True)
            cast.end()
            limits(cast)
            print("%s: limits, %.0f s" % (kind.name, time.monotonic() - began), flush=True)
            rows, meters = judged(cast)
            states = {s: len([r for r in rows if r["state"] == s]) for s in STATES}
            print("%s: %d requests, %d attempts seen, rows %s, %s, %d processes killed" % (
                kind.name, len(cast.said), len(meters), states, count, len(cast.killed)), flush=True)
        finally:
            cast.leave()


def main():
    p = argparse.ArgumentParser(usage=__doc__)
    p.add_argument("--seconds", type=float, default=6)
    p.add_argument("--seed", default=str(struct.unpack("I", os.urandom(4))[0]))
    p.add_argument("--clients", type=int, default=200)
    p.add_argument("--on", choices=("postgres", "sqlite"))
    args = p.parse_args()
    print("seed %s" % args.seed, flush=True)
    for kind in (Postgres, Sqlite):
        if args.on in (None, kind.name):
            play(kind, args, args.seconds if kind is Postgres else args.seconds / 2)
    sys.exit(croft.done())


if __name__ == "__main__":
    main()
