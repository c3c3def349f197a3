"""canary.py - requests with a canary in each place where text can be, through a running gateway: none
may be found at an upstream that the rules forbid for its labels, nor in an error that they forbid, nor
anywhere in the log, the metrics, the audit log, the ledger and the state folder.

    python3 tests/gateway/canary.py [--requests N] [--seed N]
    python3 tests/gateway/canary.py --seed N --show NUMBER      that request of it
    python3 tests/gateway/canary.py --count build-canary/counts [--until N] [--seconds S]

build/canary makes the requests (all clients' dialects, streamed and whole, labels by key, team, head,
metadata and detectors) and is the upstreams (two of each dialect), which answer well, fail, cut and
lie.  What may go where is worked out here, for every set of labels, by an evaluator that shares nothing
with croft; the configuration is read again and again meanwhile, with other rules, an other order of
labels, models and groups, and now and then one that is refuted.  Then the same through
build/croft_unguarded, whose decision is always yes: each place and each label must be caught; and by a
key whose name is a canary, each of the other hiding places.

With --count the requests add up over runs in that file, a line "requests leaks seed commit" for each
batch of 50,000.
"""
import argparse
import contextlib
import glob
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from doors import Door, croft, check, model, upstream

BUILD = os.path.dirname(croft.CROFT)
BATCH, EVERY, CLIENTS = 50000, 2000, 192
LABELS = ["la", "lb", "lc", "ld", "le", "lg", "unscanned"]      # as build/canary counts them
KINDS = ["call", "fallback", "retry", "continuation", "count_tokens", "embeddings"]
DEEDS = ["well", "500", "400", "429", "503", "404", "413", "error in 200", "garbage", "no head", "reset",
         "error first", "error late", "cut first", "cut late"]
DIALECTS = ["chat", "messages", "responses", "completions", "embeddings", "count_tokens"]
PLACES = {"s": "system", "u": "user", "h": "history", "t": "tool", "p": "parameters", "a": "arguments",
          "d": "call id", "r": "result", "m": "metadata", "i": "image", "x": "unknown field",
          "y": "identifiers", "q": "stop", "b": "anthropic-beta", "w": "head"}
WORDS = {"operator": ["self", "us-inc", "eu-gmbh"], "country": ["us", "de", "cn"],
         "retention": ["none", "30d"], "origin": ["us", "cn"]}
N_UP, N_MODEL, N_VERSION = 6, 8, 40
MARK = b"zq7k"


# ---- configurations -------------------------------------------------------------------------------

def make_where(r, conf):
    where = {}
    for a in r.sample(sorted(WORDS), r.choice([1, 1, 2])):
        where[a] = r.sample(WORDS[a], r.randint(1, len(WORDS[a]) - 1))
    if r.random() < 0.3:
        where = {"model": r.sample([m["name"] for m in conf["models"]], 3)}
    if r.random() < 0.2:
        where = {"upstream": r.sample([u["name"] for u in conf["upstreams"]], 2)}
    return where


def make_rule(r, conf, name, when):
    rule = {"name": name, "when": when}
    if r.random() < 0.4:
        rule["paths"] = r.sample(KINDS, r.randint(1, 3))
    rule["except" if r.random() < 0.3 else "where"] = make_where(r, conf)
    return rule


def make_rules(r, conf, word):
    """Forbidding ones: more labels never let through more, so that what is known of a text is enough."""
    rules = [make_rule(r, conf, "%s_%s" % (word, label), [label]) for label in LABELS]
    rules += [make_rule(r, conf, "%s_two%d" % (word, i), r.sample(LABELS, 2)) for i in range(2)]
    rules.append({"name": word + "_words", "when": [r.choice(LABELS[:5])], "paths": ["error"]})
    rules.append({"name": word + "_kept", "when": [r.choice(LABELS)], "paths": ["kept_aside"]})
    return rules


def make_base(r, ports, mark):
    dialects = ["chat", "responses", "anthropic"]
    conf = {"upstreams": [], "models": []}
    for i in range(N_UP):
        conf["upstreams"].append(upstream(
            "u%d" % i, dialects[i % 3], "http://127.0.0.1:%d" % ports[i],
            **{a: r.choice(WORDS[a]) for a in ("operator", "country", "retention")}))
    for i in range(N_MODEL):
        accepts = ["tools", "images", "schema", "reasoning"] + (["continue"] if r.random() < 0.7 else [])
        if i % N_UP % 3 == 0:
            accepts += ["completions", "embeddings"]
        conf["models"].append(model("m%d" % i, "u%d" % (i % N_UP), accepts=accepts, aliases=["alias%d" % i],
                                    origin=r.choice(WORDS["origin"])))
    conf["labels"] = [{"name": "l" + c, "patterns": ["zq7k%s[a-z][0-9a-f]{8}" % c]} for c in "abcd"]
    conf["labels"] += [{"name": "le", "detectors": ["email"]}, {"name": "lg"}]
    conf["labels"][r.randrange(6)]["strict"] = True
    if mark != "x":
        for u in conf["upstreams"]:
            u["name"] = mark + u["name"]
        for m in conf["models"]:
            m["upstream"] = mark + m["upstream"]
    conf["teams"] = [{"name": "t%d" % i, "keys": ["k%d" % (2 + i)], "labels": [label]}
                     for i, label in enumerate(("lg", "la"))]
    return conf


def make_version(r, base):
    """Another order of everything, other groups, other rules; `never` says some of them again."""
    conf = json.loads(json.dumps(base))
    for name in ("upstreams", "models", "labels"):
        r.shuffle(conf[name])
    names = [m["name"] for m in conf["models"]]
    alias = {m["name"]: m["aliases"][0] for m in conf["models"]}
    pick = lambda n: [r.choice([x, alias[x]]) for x in r.sample(names, n)]
    conf["groups"] = [
        {"name": "all", "members": [{"model": x} for x in pick(N_MODEL)]},
        {"name": "three", "members": [{"model": x} for x in pick(3)]},
        {"name": "drawn", "order": "weighted", "members": [{"model": x, "weight": r.randint(1, 5)} for x in pick(5)]},
        {"name": "outer", "members": [{"model": r.choice(names)}, {"model": "three"}]}]
    forbid = make_rules(r, conf, "r")
    conf["never"] = [dict(rule, name="never_" + rule["name"]) for rule in r.sample(forbid[:9], 3)]
    conf["rules"] = [dict(rule, action="forbid") for rule in forbid]
    if r.random() < 0.5:                # decides nothing: what would have gone goes
        conf["rules"].append({"name": "rest", "action": "allow", "where": {"country": ["us", "de"]}})
    return conf


def refuted(r, conf):
    conf = json.loads(json.dumps(conf))
    conf["never"].append({"name": "nothing_at_all", "where": {"upstream": [r.choice(conf["upstreams"])["name"]]}})
    conf["rules"].insert(0, {"name": "anything", "action": "allow"})
    return conf


# ---- what may go where -----------------------------------------------------------------------------

def attributes(conf, name):
    m = next(x for x in conf["models"] if x["name"] == name)
    u = next(x for x in conf["upstreams"] if x["name"] == m["upstream"])
    out = {a: u.get(a) for a in ("operator", "country", "retention", "dialect")}
    out.update(model=name, upstream=u["name"], origin=m["origin"])
    return out


def forbids(rule, labels, path, at):
    matches = lambda where: all(at.get(a) in values for a, values in where.items())
    return (set(rule.get("when", [])) <= labels and path in rule.get("paths", [path])
            and matches(rule.get("where", {})) and not ("except" in rule and matches(rule["except"])))


def may(conf, labels, path, at):
    for rule in conf["rules"]:
        if forbids(rule, labels, path, at):
            if rule["action"] == "forbid":
                return False
            break
    return not any(forbids(line, labels, path, at) for line in conf["never"])


def sets():
    for bits in range(1 << len(LABELS)):
        yield {label for i, label in enumerate(LABELS) if bits >> i & 1}


def plan_text(keys, versions):
    lines = ["key %s %d" % (token, sum(1 << LABELS.index(x) for x in labels)) for token, labels in keys]
    lines += ["name " + n for i in range(N_MODEL) for n in ("m%d" % i, "alias%d" % i)]
    lines += ["name " + n for n in ("all", "three", "drawn", "outer", "all", "drawn", "all", "outer")]
    lines += ["model %d %d" % (i, i % N_UP) for i in range(N_MODEL)]
    for v, conf in enumerate(versions):
        for i in range(N_MODEL):
            at = attributes(conf, "m%d" % i)
            for k, kind in enumerate(KINDS):
                lines.append("go %d %d %d %s" % (v, i, k, "".join("01"[may(conf, s, kind, at)] for s in sets())))
        lines.append("error %d %s" % (v, "".join("01"[may(conf, s, "error", {"upstream": "client"})] for s in sets())))
    return "\n".join(lines) + "\n"


# ---- a batch ---------------------------------------------------------------------------------------

class Load:
    """build/canary and what it says."""

    def __init__(self, seed, quiet=False):
        self.p = subprocess.Popen([os.path.join(BUILD, "canary"), str(seed)], stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE, stderr=subprocess.DEVNULL if quiet else None, text=True)
        self.ports = [int(x) for x in self.p.stdout.readline().split()[1:]]

    def tell(self, line):
        with contextlib.suppress(BrokenPipeError):      # it has ended: hear() says so
            self.p.stdin.write(line + "\n")
            self.p.stdin.flush()

    def hear(self):
        return self.p.stdout.readline()

    def ask(self, line):
        """Its answer; what it says of its progress is passed over.  None: it has ended meanwhile."""
        self.tell(line)
        while True:
            said = self.hear()
            if said.startswith("{") or not said:
                self.report = said
                return None
            if said.startswith("ok"):
                return said


def reload(door, conf, note):
    """Give the gateway another file; whether it says so."""
    n = door.said().count(note)
    door.config.update(conf)
    door.write()
    door.p.send_signal(signal.SIGHUP)
    end = time.monotonic() + 60
    while time.monotonic() < end and door.p.poll() is None:
        if door.said().count(note) > n:
            return True
        time.sleep(0.01)
    return False


def leads(load, door, versions, r, guarded):
    """While requests run, versions follow each other; how many did, and the report at the end."""
    version, due = 0, EVERY
    while True:
        said = load.hear()
        if said.startswith("{") or not said:
            return version, said
        if int(said.split()[1]) < due or version + 1 == len(versions):
            continue
        due += EVERY
        if guarded and version % 3 == 1:
            check(reload(door, refuted(r, versions[version]), "stays as it was"), "a refuted one is not")
        if load.ask("try %d" % (version + 1)) is None:
            return version, load.report
        version += 1
        check(reload(door, versions[version], "was read again"), "a configuration is read again")
        load.tell("at %d" % version)


def found_in(folder):
    """Files with a canary, but for what a test wrote there itself."""
    out = []
    for path in glob.glob(os.path.join(folder, "**"), recursive=True):
        if os.path.isfile(path) and not path.endswith((".yaml", "prices.json", "plan")):
            with open(path, "rb") as f:
                tail = b""
                while piece := f.read(1 << 20):
                    if MARK in tail + piece:
                        out.append(os.path.relpath(path, folder))
                        break
                    tail = piece[-8:]
    return out


class Guarded(Door):
    """A gateway with keys of several kinds; tokens: (token, labels that the key puts on)."""
    KEYS = ((), []), (("--label", "lb"), ["lb"]), ((), ["lg"]), (("--label", "lg"), ["lg", "la"]), ((), []), ((), [])

    def start(self, wait=True):
        self.tokens = [(self.new_key("k%d" % i, *how), labels) for i, (how, labels) in enumerate(self.KEYS)]
        self.tokens.append((self.new_key(self.last), []))
        self.watcher = self.new_key("watcher", "--scope", "metrics")
        super().start(wait)


def batch(seed, count, program=None, mark="x"):
    """Requests through one gateway; what is to be said of them.  mark: a part of names that are in log, metrics,
    audit log and ledger."""
    r = random.Random(seed)
    load = Load(seed, program is not None)     # leaks of a control are no news
    base = make_base(r, load.ports, mark)
    versions = [make_version(r, base) for _ in range(min(N_VERSION, 2 + count // EVERY))]
    usual, croft.CROFT = croft.CROFT, program or croft.CROFT
    Guarded.last = mark + "key"
    try:
        with Guarded(key=False, **versions[0]) as door:
            path = os.path.join(door.folder, "plan")
            with open(path, "w") as f:
                f.write(plan_text(door.tokens, versions))
            load.ask("plan " + path)
            load.tell("run %d 0 %d %d" % (door.port, count, CLIENTS))
            version, text = leads(load, door, versions, r, program is None)
            report = json.loads(text or "{}")
            report["versions"] = version
            status, _, metrics = door.ask("/metrics", None, door.watcher, "GET")
            door.stop()
            report["files"] = found_in(door.folder) + (["metrics"] if status != 200 or MARK in metrics else [])
            check(door.audit_holds()[0], "the audit log holds")
    finally:
        croft.CROFT = usual
        with contextlib.suppress(BrokenPipeError):
            load.p.stdin.close()
        load.p.wait()
    return report


def show(seed, number):
    """The bytes of a request, with words in place of keys."""
    r = random.Random(seed)
    load = Load(seed)
    version = make_version(r, make_base(r, load.ports, "x"))
    with tempfile.NamedTemporaryFile("w", suffix=".plan") as f:
        f.write(plan_text([("k%d" % i, how[1]) for i, how in enumerate(Guarded.KEYS + (((), []),))], [version]))
        f.flush()
        load.ask("plan " + f.name)
        load.tell("show %d" % number)
        print(load.p.communicate()[0])


def add(total, report):
    for name, value in report.items():
        if isinstance(value, dict):
            add(total.setdefault(name, {}), value)
        elif isinstance(value, list) and name != "files":
            total[name] = [a + b for a, b in itertools.zip_longest(total.get(name, []), value, fillvalue=0)]
        else:
            total[name] = total.get(name, type(value)()) + value
    return total


def holds(seed, report):
    """What is true of every batch."""
    name = "seed %d: " % seed
    check(report.get("requests"), name + "it ran to its end", str(report))
    for what in ("leaks", "cross", "misrouted", "broken", "unread"):
        check(report.get(what) == 0, name + "no " + what, str(report))
    check(report["files"] == [], name + "no canary in log, metrics, audit log, ledger, state", str(report["files"]))


def covers(report):
    """That what was tried was not nothing."""
    count = report["requests"]
    check(count * 0.3 < report["whole"] < count * 0.95, "many are answered, not all", str(report["whole"]))
    for what, least in (("forbidden", 50), ("refused", 300), ("failed", 1000), ("left", 100), ("echoes", 1000),
                        ("kept", 2000)):
        check(report[what] > count / least / 10, "%s: %d" % (what, report[what]))
    for words, numbers in ((KINDS, report["kinds"]), (DEEDS, report["deeds"])):
        for word, number in zip(words, numbers):
            check(number > 0, "some by " + word, str(numbers))
    pairs = report["pairs"]
    for i, client in enumerate(DIALECTS):
        for k, server in enumerate(DIALECTS[:3]):
            possible = k == 0 if i in (3, 4) else k == 1 if i == 5 else True
            for stream in (0, 1) if i < 4 else (0,):
                number = pairs[(i * 3 + k) * 2 + stream]
                check((number > 0) == possible, "%s before %s, %s: %d" % (
                    client, server, "streamed" if stream else "whole", number))
    for place, word in PLACES.items():
        if place not in "wo":
            check(report["seen"].get(place, 0) > 0, "a canary in %s is seen where it may go" % word)
    check(report["versions"] > 0, "configurations were read again", str(report["versions"]))


def control(seed):
    """The guard is off: each place and each label is caught, and what is in names is found everywhere."""
    report = batch(seed, 4000, os.path.join(BUILD, "croft_unguarded"), "zq7k")
    for place, word in PLACES.items():
        if place != "w":
            check(report["caught"].get(place, 0) > 0, "control: a canary in %s is caught" % word, str(report["caught"]))
    for label, number in zip(LABELS, report["labels_caught"]):
        check(number > 0, "control: %s is caught" % label, str(report["labels_caught"]))
    check(report["echo_caught"] > 0, "control: one in an error is caught", str(report))
    files = " ".join(report["files"])
    for word in ("gateway.log", "state/audit/", "ledger.db", "metrics"):
        check(word in files, "control: one in %s is found" % word, files)


def counted(path):
    if not os.path.exists(path):
        return 0
    with open(path) as f:
        return sum(int(line.split()[0]) for line in f if line.split()[1] == "0")


def add_up(path, until, seconds):
    """Batches until so many requests went without a leak, or the time is over."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    p = subprocess.run(["git", "describe", "--always", "--dirty", "--abbrev=9"], capture_output=True, text=True)
    commit, began, total = p.stdout.strip() or "unknown", time.monotonic(), {}
    while counted(path) < until and time.monotonic() - began < seconds:
        seed = random.SystemRandom().randrange(1 << 40)
        report = batch(seed, BATCH)
        holds(seed, report)
        with open(path, "a") as f:
            f.write("%d %d %d %s\n" % (report["requests"], report["leaks"] + len(report["files"]), seed, commit))
        add(total, report)
        print("seed %d: %d requests, %d answered, %d canaries read" % (
            seed, report["requests"], report["whole"], report["canaries"]), flush=True)
    if total:
        covers(total)
    print("%d of %d requests" % (counted(path), until), flush=True)


def main():
    p = argparse.ArgumentParser(usage=__doc__)
    p.add_argument("--requests", type=int, default=20000)
    p.add_argument("--seed", type=int)
    p.add_argument("--show", type=int)
    p.add_argument("--count")
    p.add_argument("--until", type=int, default=1000000)
    p.add_argument("--seconds", type=int, default=2100)
    a = p.parse_args()
    seed = random.SystemRandom().randrange(1 << 40) if a.seed is None else a.seed
    print("seed %d" % seed, flush=True)
    if a.show is not None:
        show(seed, a.show)
        return 0
    if a.count:
        add_up(a.count, a.until, a.seconds)
    else:
        report = batch(seed, a.requests)
        print("%d requests, %d answered, %d refused by a rule, %d canaries read, %d files of rules" % (
            report["requests"], report["whole"], report["forbidden"], report["canaries"], report["versions"] + 1))
        holds(seed, report)
        covers(report)
    control(seed)
    return croft.done()


if __name__ == "__main__":
    sys.exit(main())
