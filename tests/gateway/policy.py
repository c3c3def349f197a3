"""policy.py - the verdict of `croft gateway check` against a walk over everything that can happen.

  policy.py [--all]     every 50th of 2,000 mutants, or all

20 configurations, made from a seed, are mutated: rules moved, dropped, turned round, conditions
changed, members shuffled, abilities taken, lines of `never` added.  The evaluator here shares nothing
with croft: it goes through all sets of labels, everything a request can name, every order of a
weighted group, and step by step through what may answer, fail or be absent.  Verdicts must be equal,
and each counter-example must be one that the walk saw, with the fewest labels and then the fewest
failures that the walk found.
"""
import copy
import itertools
import json
import os
import random
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
import croft
from croft import check

N_CONFIG, N_MUTANT = 20, 2000
MODEL_PATHS = ["call", "fallback", "retry", "continuation", "count_tokens", "embeddings"]
PATHS = MODEL_PATHS + ["kept_aside", "kept_ledger", "log", "trace", "error"]
ATTRS = ["operator", "country", "retention", "origin", "base", "licence"]
WORDS = {"operator": ["self", "us-inc", "eu-gmbh"], "country": ["us", "de", "cn"],
         "retention": ["none", "30d"], "origin": ["us", "cn"], "base": ["llama", "qwen"],
         "licence": ["mit", "closed"]}


class Walk:
    """Everything that one configuration lets happen."""

    def __init__(self, conf):
        self.conf = conf
        self.models = {m["name"]: m for m in conf["models"]}
        self.upstreams = {u["name"]: u for u in conf["upstreams"]}
        self.labels = [x["name"] for x in conf["labels"]]
        self.broken = {}                # never -> set of (labels, failures, path, sink)

    def attributes(self, model, sink):
        if model is None:
            section = {"log": self.conf["listen"].get("log", {}),
                       "trace": self.conf["listen"].get("trace", {}),
                       "state": self.conf["state"], "ledger": self.conf["ledger"], "client": {}}[sink]
            out = {a: section.get(a) for a in ("operator", "country", "retention")}
            out["upstream"] = sink
            return out
        m, u = self.models[model], self.upstreams[sink]
        out = {a: u.get(a) for a in ("operator", "country", "retention", "dialect")}
        out.update({a: m.get(a) for a in ("origin", "base", "licence")})
        out.update(model=model, upstream=sink)
        return out

    @staticmethod
    def matches(where, attributes):
        return all(attributes.get(a) in values for a, values in where.items())

    def holds(self, rule, labels, path, attributes):
        return (set(rule.get("when", [])) <= labels and path in rule.get("paths", PATHS)
                and self.matches(rule.get("where", {}), attributes)
                and not (rule.get("except") and self.matches(rule["except"], attributes)))

    def send(self, labels, path, model, failed):
        """May text go?  If it may, note what is broken by it."""
        sink = {"kept_aside": "state", "kept_ledger": "ledger", "log": "log", "trace": "trace", "error": "client"}.get(path)
        attributes = (self.attributes(None, sink) if sink
                      else self.attributes(model, self.models[model]["upstream"]))
        for rule in self.conf["rules"]:
            if self.holds(rule, labels, path, attributes):
                if rule["action"] == "forbid":
                    return False
                break
        for never in self.conf["never"]:
            if self.holds(never, labels, path, attributes):
                self.broken.setdefault(never["name"], set()).add(
                    (frozenset(labels), tuple(failed), path, attributes["upstream"]))
        return True

    def able(self, model, what):
        return what in self.models[model].get("accepts", [])

    def kept(self, labels, model, failed):
        if self.able(model, "reasoning"):
            self.send(labels, "kept_aside", None, failed)
            if self.conf["state"].get("kept") == "ledger":
                self.send(labels, "kept_ledger", None, failed)

    def go_on(self, labels, order, at, failed):
        """The answer of order[at] broke off: from there on, who continues it."""
        for i in range(at, len(order)):
            model = order[i]
            if self.able(model, "continue") and self.send(labels, "continuation", model, failed):
                self.kept(labels, model, failed)
                failed = failed + [model]

    def got_it(self, labels, order, at, failed):
        """order[at] has the text: it answers, is tried again, breaks off, or fails for good."""
        model = order[at]
        self.kept(labels, model, failed)
        self.send(labels, "retry", model, failed + [model])
        self.go_on(labels, order, at, failed + [model])
        failed = failed + [model]
        for i in range(at + 1, len(order)):
            if self.send(labels, "fallback", order[i], failed):
                self.got_it(labels, order, i, failed)
                return                  # a later one is reached when this one fails too

    def request(self, labels, order):
        failed = []
        for i, model in enumerate(order):
            if self.send(labels, "call", model, failed):
                self.got_it(labels, order, i, failed)
                failed = failed + [model]       # it cannot be had: the next is called
        failed = []
        for model in order:
            dialect = self.upstreams[self.models[model]["upstream"]]["dialect"]
            if dialect == "anthropic" and self.send(labels, "count_tokens", model, failed):
                failed = failed + [model]
        failed = []
        for model in order:
            if self.able(model, "embeddings") and self.send(labels, "embeddings", model, failed):
                failed = failed + [model]

    def orders(self):
        for name in self.models:
            yield [name]
        groups = {g["name"]: g for g in self.conf["groups"]}

        def opened(group):
            for m in group["members"]:
                if m["model"] in groups:
                    yield from opened(groups[m["model"]])
                else:
                    yield self.named(m["model"])

        for g in groups.values():
            members = list(dict.fromkeys(opened(g)))
            if g.get("order") == "weighted":
                for n in range(1, len(members) + 1):    # the others cannot be had
                    yield from (list(p) for p in itertools.permutations(members, n))
            else:
                yield members

    def named(self, name):
        for m in self.conf["models"]:
            if name == m["name"] or name in m.get("aliases", []):
                return m["name"]
        raise KeyError(name)

    def run(self):
        orders = list(self.orders())
        for n in range(len(self.labels) + 1):
            for labels in itertools.combinations(self.labels, n):
                labels = set(labels)
                for path in ("log", "trace"):
                    section = self.conf["listen"].get(path)
                    if section and section.get("text"):
                        self.send(labels, path, None, [])
                self.send(labels, "error", None, [])
                for order in orders:
                    self.request(labels, order)
        return self.broken


def some(r, items, most):
    return r.sample(items, r.randint(1, min(most, len(items))))


def make_where(r, conf):
    where = {a: some(r, WORDS[a], 2) for a in r.sample(ATTRS, r.choice([0, 1, 1, 2]))}
    if r.random() < 0.2:
        where["model"] = some(r, [m["name"] for m in conf["models"]], 2)
    if r.random() < 0.15:
        where["upstream"] = some(r, [u["name"] for u in conf["upstreams"]] + ["log", "state",
                                 "ledger", "client", "trace"], 2)
    if r.random() < 0.1:
        where["dialect"] = some(r, ["chat", "anthropic", "responses"], 2)
    return where


def make_rule(r, conf, name, action):
    rule = {"name": name}
    if action:
        rule["action"] = action
    labels = [x["name"] for x in conf["labels"]]
    if r.random() < 0.85:
        rule["when"] = some(r, labels, 2)
    if r.random() < 0.35:
        rule["paths"] = some(r, PATHS, 5)
    for part, odds in (("where", 0.7), ("except", 0.4)):
        where = make_where(r, conf) if r.random() < odds else {}
        if where:
            rule[part] = where
    return rule


def make_config(r):
    conf = {"listen": {"address": "127.0.0.1:4010"}, "state": {"folder": "/tmp/none"},
            "ledger": {"url": "sqlite:/tmp/none/ledger.db"}, "upstreams": [], "models": [],
            "groups": [], "labels": [], "rules": [], "never": []}
    for sink in ("log", "trace"):
        if r.random() < 0.6:
            conf["listen"][sink] = {"file": "x", "text": r.random() < 0.7,
                                    "country": r.choice(WORDS["country"])}
    conf["state"]["operator"] = r.choice(WORDS["operator"])
    if r.random() < 0.5:
        conf["state"].update(kept="ledger", kept_keys=["env:KEPT"])
    conf["ledger"].update({a: r.choice(WORDS[a]) for a in ATTRS[:3] if r.random() < 0.6})
    for i in range(r.randint(2, 4)):
        u = {"name": "u%d" % i, "url": "https://u%d.example/v1" % i,
             "dialect": r.choice(["chat", "chat", "anthropic", "responses"])}
        u.update({a: r.choice(WORDS[a]) for a in ATTRS[:3] if r.random() < 0.8})
        conf["upstreams"].append(u)
    for i in range(r.randint(2, 4)):
        u = r.choice(conf["upstreams"])
        m = {"name": "m%d" % i, "upstream": u["name"], "aliases": ["a%d" % i]}
        accepts = [x for x in ("tools", "reasoning", "continue") if r.random() < 0.5]
        if u["dialect"] == "chat" and r.random() < 0.4:
            accepts.append("embeddings")
        if accepts:
            m["accepts"] = accepts
        m.update({a: r.choice(WORDS[a]) for a in ATTRS[3:] if r.random() < 0.8})
        conf["models"].append(m)
    names = [m["name"] for m in conf["models"]]
    for i in range(r.randint(1, 2)):
        order = r.choice(["ordered", "ordered", "weighted"])
        members = [{"model": x.replace("m", r.choice("ma"))} for x in some(r, names, 4)]
        conf["groups"].append({"name": "g%d" % i, "order": order, "members": members})
    if conf["groups"][0]["order"] == "ordered":
        conf["groups"].append({"name": "outer", "members": [{"model": r.choice(names)},
                                                            {"model": "g0"}]})
    conf["labels"] = [{"name": "l%d" % i} for i in range(r.randint(2, 5))]
    for i in range(r.randint(2, 6)):
        conf["rules"].append(make_rule(r, conf, "r%d" % i, r.choice(["allow", "forbid", "forbid"])))
    for i in range(r.randint(1, 3)):
        conf["never"].append(make_rule(r, conf, "n%d" % i, None))
    for n in conf["never"]:             # mostly true to begin with: a rule for each
        if r.random() < 0.8:
            conf["rules"].insert(0, dict(n, name="for-" + n["name"], action="forbid"))
    return conf


def mutate(r, base):
    conf = copy.deepcopy(base)
    for _ in range(r.choice([1, 1, 2, 3])):
        kind, rules = r.randrange(8), conf["rules"]
        if kind == 0 and len(rules) > 1:
            rules.insert(r.randrange(len(rules)), rules.pop(r.randrange(len(rules))))
        elif kind == 1 and len(rules) > 1:
            rules.pop(r.randrange(len(rules)))
        elif kind == 2:
            rule = r.choice(rules)
            rule["action"] = "allow" if rule["action"] == "forbid" else "forbid"
        elif kind == 3:
            rule = r.choice(rules + conf["never"])
            rule.update(make_rule(r, conf, rule["name"], rule.get("action")))
        elif kind == 4:
            r.shuffle(r.choice(conf["groups"])["members"])
        elif kind == 5:
            m = r.choice(conf["models"])
            m["accepts"] = some(r, ["tools", "reasoning", "continue"], 3)
        elif kind == 6:
            rules.insert(r.randrange(len(rules) + 1),
                         make_rule(r, conf, "x%d" % r.randrange(10**9), r.choice(["allow", "forbid"])))
        else:
            conf["never"].append(make_rule(r, conf, "y%d" % r.randrange(10**9), None))
    return conf


def compare(conf, name, folder):
    path = os.path.join(folder, "croft.yaml")
    with open(path, "w") as f:
        json.dump(conf, f)              # JSON is YAML
    p = subprocess.run([croft.CROFT, "gateway", "check", "-c", path, "--json"],
                       capture_output=True, text=True, timeout=60)
    broken = Walk(conf).run()
    if p.returncode not in (0, 1) or not p.stdout:
        return check(False, name, "%d %s" % (p.returncode, p.stderr)), broken
    said = json.loads(p.stdout)
    ok = said["verdict"] == ("refuted" if broken else "proved") and p.returncode == bool(broken)
    ok = ok and {x["never"] for x in said["counterexamples"]} == set(broken)
    for x in said["counterexamples"] if ok else []:
        seen = broken[x["never"]]
        best = min((len(s[0]), len(s[1])) for s in seen)
        mine = (frozenset(x["labels"]), tuple(x["failures"]), x["path"], x["sink"])
        ok = ok and mine in seen and (len(mine[0]), len(mine[1])) == best
    return check(ok, name, "" if ok else json.dumps([conf, said, sorted(map(str, broken.items()))])), broken


def main():
    step = 1 if "--all" in sys.argv else 50
    refuted = 0
    bases = [make_config(random.Random("config %d" % i)) for i in range(N_CONFIG)]
    with tempfile.TemporaryDirectory(prefix="croft-policy-") as folder:
        for i in range(0, N_MUTANT, step):
            r = random.Random("mutant %d" % i)
            base = bases[i // step % N_CONFIG if step > 1 else i % N_CONFIG]
            _, broken = compare(mutate(r, base), "mutant %d" % i, folder)
            refuted += bool(broken)
    n = N_MUTANT // step
    check(n // 10 < refuted < n - n // 10, "both verdicts are there", "%d of %d" % (refuted, n))
    print("%d mutants, %d refuted" % (n, refuted))
    sys.exit(croft.done())


if __name__ == "__main__":
    main()
