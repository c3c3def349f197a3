#!/usr/bin/env python3
"""bench.py - croft bench as a user runs it: what it counts, its JSON, its turns with a peer.

    tests/api/bench.py [build/croft]          from the root of the repository

No test here looks at how long something took.
"""
import html.parser
import json
import os
import stat
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from croft import check, done, run

STORIES = "models/stories260K.gguf"
V3 = "tests/golden/v3-nano/model-f32.gguf"
CEILING_KEYS = {"threads", "rounds", "read", "read_plain", "read_prefetched", "read_bytes", "int8",
                "f32", "raised"}
FOLDER = tempfile.mkdtemp(prefix="croft-bench-")


def bench(name, model, *options):
    """The JSON of a run that must succeed, or {} after a failed check."""
    p = run(["bench", model, "--json", "-q", *options])
    if not check(p.returncode == 0, name, p.stderr[-300:]):
        return {}
    return json.loads(p.stdout)


def refused(name, error_id, words, *options, status=2, model=STORIES):
    p = run(["bench", model, *options])
    check(p.returncode == status and p.stderr.endswith("[E-%s]\n" % error_id) and p.stdout == ""
          and all(w in p.stderr for w in words), name, "%d %s" % (p.returncode, p.stderr))


def counted(profile, what, layer=None, part="main", key="bytes"):
    """The sum of a count over the records of an operation (None: all of them), for one step."""
    total = sum(r.get(part, {}).get(key, 0) for r in profile["records"]
                if what in (None, r["op"]) and layer in (None, r["layer"]))
    return total / profile["steps"]


# --- rows ------------------------------------------------------------------------------------

j = bench("lists", STORIES, "-p", "16,40", "-n", "4", "-d", "0,8", "-b", "8,32", "-t", "1,2",
          "-r", "2")
rows = j.get("rows", [])
keys = [(r["threads"], r["test"], r["n"], r["depth"], r.get("batch")) for r in rows]
want = []
for t in (1, 2):
    want += [(t, "prefill", n, d, b) for b in (8, 32) for d in (0, 8) for n in (16, 40)]
    want += [(t, "decode", 4, d, None) for d in (0, 8)]
check(keys == want, "a row for every combination, by threads", str(keys))
check(all(len(r["runs"]) == 2 and r["min"] <= r["tok_per_s"] <= r["max"] for r in rows),
      "each row has its runs and their median")
check("ceilings" not in j and all("profile" not in r for r in rows), "nothing more than asked for")
check({"croft", "commit", "machine", "isa", "kv_type", "exact", "model", "all_logits"} <= set(j),
      "the head says what was measured", str(list(j)))
check(j.get("threads") == 1 and j["model"]["weight_bytes"] == 1171200, "threads, weight bytes")

for name, error, words, options in [
        ("an empty list", "BENCH-10", ["--n-prompt"], ["-p", "1,,2"]),
        ("a list that goes on too long", "BENCH-11", ["32"], ["-d", ",".join("1" * 33)]),
        ("too many threads", "BENCH-10", ["--threads"], ["-t", "2000"]),
        ("nothing to measure", "BENCH-14", [], ["-p", "0", "-n", "0"]),
        ("a level of another machine's", "OPT-04", ["--isa"], ["--isa", "avx1024"])]:
    p = run(["bench", STORIES, *options])
    if name.startswith("a level"):
        check(p.returncode == 2 and "--isa" in p.stderr, name, p.stderr)
    else:
        refused(name, error, words, *options, status=1 if error == "BENCH-11" else 2)

# --- profile: what is counted ------------------------------------------------------------------

j = bench("profile", STORIES, "-p", "12", "-n", "3", "-d", "5", "-b", "8", "-r", "2", "--profile",
          "--no-ceilings")
prefill, decode = (r["profile"] for r in j.get("rows", [{"profile": {}}] * 2))
if prefill:
    check(prefill["steps"] == 4 and decode["steps"] == 6, "steps of all runs are counted")
    # All weights but the norms once; of the embedding one row.
    weights = 1171200 - 11 * 64 * 4 - 512 * 64 * 4
    check(counted(decode, None) - counted(decode, "attn") - counted(decode, "embed") == weights,
          "a decode step reads the model's weights once", str(counted(decode, None)))
    check(counted(decode, "embed") == 64 * 4, "and one row of the embedding")
    # 5 layers of K and V rows of 4 heads of 8 in f16, at 6, 7 and 8 tokens.
    check(counted(decode, "attn") == 5 * (6 + 7 + 8) / 3 * 2 * 32 * 2, "and the KV it attends to",
          str(counted(decode, "attn")))
    check(counted(decode, "attn", key="f32") == 5 * (6 + 7 + 8) / 3 * 4 * 8 * 8,
          "attention's operations", str(counted(decode, "attn", key="f32")))
    check(counted(decode, "qkv", layer=0, key="f32") == 2 * 64 * (64 + 32 + 32), "a product's")
    check(counted(prefill, "qkv", layer=4, key="f32") == 2 * 64 * 128 * 12 / 2,
          "a chunk's operations are its tokens'")
    check(counted(prefill, "qkv", layer=4) == 64 * 128 * 4, "a chunk reads weights once")
    check(counted(prefill, "head") == 512 * 64 * 4 / 2, "one row in two chunks has logits")
    for r in j["rows"]:
        spent = sum(x["ns"] for x in r["profile"]["records"]) * 1e-9
        whole = sum(r["n"] / rate for rate in r["runs"])
        check(0.2 * whole < spent <= whole, "the operations add up to the steps: " + r["test"],
              "%g of %g" % (spent, whole))

j = bench("all logits", STORIES, "-p", "12", "-n", "0", "-b", "8", "-r", "1", "--profile",
          "--no-ceilings", "--all-logits")
if j:
    p = j["rows"][0]["profile"]
    check(j["all_logits"] is True and counted(p, "head", key="f32") == 2 * 512 * 64 * 12 / 2,
          "every row's logits are computed")
    check(counted(p, "head") == 512 * 64 * 4, "with weights that each chunk reads once")

j = bench("latent attention, experts", V3, "-p", "4", "-n", "1", "-d", "4", "-r", "1",
          "--profile", "--no-ceilings")
if j:
    prefill, decode = (r["profile"] for r in j["rows"])
    half = 4 * 16 * 32 * 4              # W_UK, and W_UV: heads, head size, latent, f32
    check(counted(decode, "qkv", 1) == 4 * (64 * 24 + 64 * 40 + 24 * 96), "q_a, kv_a, q_b")
    check([counted(decode, "mla", 1, part) for part in ("first", "main", "last")]
          == [half, 5 * 2 * (32 + 8), half], "absorbed: W_UK, latents, W_UV")
    check([counted(decode, "mla", 1, part, "f32") for part in ("first", "main", "last")]
          == [half / 2, 2 * 4 * 5 * (2 * 32 + 8), half / 2], "absorbed: operations")
    check(counted(prefill, "mla", 1, "first") == 2 * half and
          counted(prefill, "mla", 1, "first", "f32") == 8 * half, "expanded: keys, values")
    check(counted(prefill, "mla", 1, "main", "f32") == 2 * 4 * (5 + 6 + 7 + 8) * (16 + 8 + 16),
          "expanded: operations")
    check(counted(decode, "gate_up", 0) == 2 * 64 * 128 * 4, "the dense layer's FFN")
    check(counted(decode, "gate_up", 1) == 2 * 2 * 64 * 32 * 4 and
          counted(decode, "down", 1) == 2 * 64 * 32 * 4, "a token reads its two experts")
    check(counted(prefill, "gate_up", 1, key="f32") == 4 * 2 * 2 * 2 * 64 * 32 and
          2 * 2 * 64 * 32 * 4 <= counted(prefill, "gate_up", 1) <= 8 * 2 * 64 * 32 * 4,
          "a chunk computes all choices, and reads each expert once")
    check(counted(decode, "shared_gate_up", 1) == 2 * 64 * 32 * 4 and
          counted(decode, "router", 1) == 64 * 8 * 4, "shared experts, router")

# --- several sequences, several rows of one -----------------------------------------------------

j = bench("sequences and rows", STORIES, "-p", "4", "-n", "2", "-d", "5", "-r", "2", "--parallel",
          "1,3", "--rows", "1,2", "--profile", "--no-ceilings")
rows = {(r["parallel"], r["rows"]): r for r in j.get("rows", []) if r["test"] == "decode"}
if j:
    check(list(rows) == [(1, 1), (1, 2), (3, 1), (3, 2)], "a row for every combination",
          str(list(rows)))
    check("parallel" not in j["rows"][0] and "rows" not in j["rows"][0], "prompts have neither")
one = rows.get((1, 1))
for (n_seq, n_each), r in rows.items():
    name, n, p = "%d sequences of %d rows: " % (n_seq, n_each), n_seq * n_each, r["profile"]
    check(p["steps"] == 4 and r["n"] == 2, name + "n steps each run")
    check(abs(r["step_ms"] * r["tok_per_s"] / n / 1e3 - 1) < 1e-9, name + "all rows' tokens count")
    check(("step_cost" in r) == (n > 1) and (n == 1 or abs(
        r["step_cost"] * one["step_ms"] / r["step_ms"] - 1) < 1e-9), name + "beside one row's step")
    check(counted(p, None) - counted(p, "attn") - counted(p, "embed") == weights,
          name + "weights are read once", str(counted(p, None)))
    check(counted(p, "embed") == n * 64 * 4 and counted(p, "head", key="f32") == 2 * 512 * 64 * n,
          name + "every row has logits")
    # Each sequence's keys and values once, up to its last row's own.
    seen = sum(5 + n_each * (i + 1) for i in range(2)) / 2
    check(counted(p, "attn") == 5 * n_seq * seen * 2 * 32 * 2, name + "each has its own KV",
          str(counted(p, "attn")))
    pairs = sum(6 + i for i in range(2 * n_each)) / 2
    check(counted(p, "attn", key="f32") == 5 * n_seq * pairs * 4 * 8 * 8, name + "rows stand in order",
          str(counted(p, "attn", key="f32")))
    spent = sum(x["ns"] for x in p["records"]) * 1e-9
    whole = sum(2 * n / rate for rate in r["runs"])
    check(0.2 * whole < spent <= whole, name + "the rate is that of the steps",
          "%g of %g" % (spent, whole))

once = bench("a shared prompt", STORIES, "-p", "0", "-n", "2", "-d", "200,10", "-r", "2", "--parallel",
             "1,3", "--shared-prompt", "--profile", "--no-ceilings")
for r in once.get("rows", []):
    alone = sum(r["depth"] + 1 + i for i in range(2)) / 2
    seen = alone * r["parallel"] - (r["parallel"] - 1) * (r["depth"] // 64 * 64)
    check(r["shared_prompt"] is True and counted(r["profile"], "attn") == 5 * seen * 2 * 32 * 2,
          "whole pages of a shared prompt are read once",
          "%s of %s" % (counted(r["profile"], "attn"), 5 * seen * 2 * 32 * 2))

several = os.path.join(FOLDER, "several.json")
with open(several, "w") as f:
    json.dump(j, f)
p = subprocess.run([sys.executable, "tests/bench/report.py", several], capture_output=True,
                   text=True)
check(p.returncode == 0 and all(w in p.stdout for w in (
    "depth 5, 3 sequences, 2 rows each", "of one row", "%.3f" % rows[3, 2]["step_ms"])),
      "the page has them", p.stderr)

j = bench("sequences and experts", V3, "-p", "0", "-n", "2", "-d", "0", "-r", "1", "--npl", "4",
          "--profile", "--no-ceilings")
if j:
    p, expert = j["rows"][0]["profile"], 2 * 64 * 32 * 4
    check(2 * expert < counted(p, "gate_up", 1) <= 8 * expert and
          counted(p, "gate_up", 1, key="f32") == 4 * 2 * expert / 2,
          "sequences are different, an expert that several chose is read once")
    check([counted(p, "mla", 1, part) for part in ("first", "main", "last")]
          == [half, 4 * 2.5 * (32 + 8) * 2, half], "latents of each, weights once",
          str([counted(p, "mla", 1, part) for part in ("first", "main", "last")]))
    check(counted(p, "router", 1) == 64 * 8 * 4, "the router once")

refused("too many rows in a step", "BENCH-27", ["4160", "--parallel"], "--parallel", "65", "--rows",
        "64", status=1)
refused("no sequence", "BENCH-10", ["--parallel"], "--parallel", "0,1")
refused("no row", "BENCH-10", ["--rows"], "--rows", "0")
p = run(["bench", STORIES, "-p", "0", "-n", "2", "--parallel", "1,2", "--rows", "3", "-r", "1", "-q"])
check(p.returncode == 0 and "decode 2 at depth 0, 2 sequences, 3 rows each" in p.stdout and
      p.stdout.count("ms a step") == 2, "the same for people", p.stdout + p.stderr)

# --- ceilings ----------------------------------------------------------------------------------

j = bench("ceilings", STORIES, "-p", "8", "-n", "2", "-t", "1", "-r", "1", "--profile")
if j:
    c = j["ceilings"][0]
    check(CEILING_KEYS <= set(c) and c["threads"] == 1 and c["rounds"] >= 5, "ceilings", str(c))
    check(c["read"] >= max(c["read_plain"], c["read_prefetched"]) > 0 and c["int8"] > 0,
          "the better way of reading counts")
    for r in j["rows"]:
        check(r["max"] <= r["ceiling_tok_per_s"] and
              abs(r["ceiling_share"] * r["ceiling_tok_per_s"] / r["tok_per_s"] - 1) < 1e-9,
              "no run is above its ceiling: " + r["test"], str(r["ceiling_tok_per_s"]))
        check(all("ceiling_ns" in x for x in r["profile"]["records"]), "each record has its own")
p = run(["bench", STORIES, "-p", "8", "-n", "2", "-t", "1", "-r", "1", "--profile", "-q"])
check(p.returncode == 0 and all(w in p.stdout for w in
      ["ceilings, 1 thread: read", "int8", "attention output", "layer 4", "outside of layers"]),
      "the same for people", p.stdout + p.stderr)

# --- compare -----------------------------------------------------------------------------------

before = os.path.join(FOLDER, "before.json")
p = run(["bench", STORIES, "-p", "8", "-n", "2", "-t", "1", "-r", "1", "--json"])
with open(before, "w") as f:
    f.write(p.stdout)
j = bench("compare", STORIES, "-p", "8", "-n", "2,3", "-t", "1", "-r", "1", "--compare", before)
check([("ratio" in r) for r in j.get("rows", [])] == [True, True, False],
      "rows that both have get a ratio", str(j.get("rows")))
then = json.loads(p.stdout)["rows"][0]["tok_per_s"]
check(abs(j["rows"][0]["ratio"] * then / j["rows"][0]["tok_per_s"] - 1) < 1e-9, "now by then")
j = bench("compare sequences", STORIES, "-p", "0", "-n", "2", "-t", "1", "-r", "1", "--parallel",
          "1,2", "--compare", before)
check([("ratio" in r) for r in j.get("rows", [])] == [True, False],
      "other sequences are another test", str(j.get("rows")))
with open(before) as f:
    old = json.load(f)
for r in old["rows"]:
    for key in ("parallel", "rows", "step_ms"):
        r.pop(key, None)
with open(os.path.join(FOLDER, "old.json"), "w") as f:
    json.dump(old, f)
j = bench("compare with a result of before", STORIES, "-p", "0", "-n", "2", "-t", "1", "-r", "1",
          "--rows", "1,2", "--compare", os.path.join(FOLDER, "old.json"))
check([("ratio" in r) for r in j.get("rows", [])] == [True, False],
      "one row of one sequence is what it had", str(j.get("rows")))
p = run(["bench", STORIES, "-p", "8", "-n", "0", "-t", "2", "-r", "1", "--compare", before])
check(p.returncode == 0 and "with 1 threads, now 2" in p.stderr, "what differs is said", p.stderr)
refused("no row in common", "BENCH-02", [before], "-p", "9", "-n", "0", "--compare", before,
        status=1)
with open(os.path.join(FOLDER, "other.json"), "w") as f:
    f.write("{}")
refused("a file of something else", "BENCH-01", ["rows"], "--compare",
        os.path.join(FOLDER, "other.json"), status=1)
refused("a file that is not there", "FILE-21", [], "--compare", FOLDER + "/none", status=3)

# --- a peer ------------------------------------------------------------------------------------

PEER = os.path.join(FOLDER, "peer")
CALLS = os.path.join(FOLDER, "calls")
FAKE = """#!/usr/bin/env python3
import json, sys
a = dict(zip(sys.argv[1::2], sys.argv[2::2]))
with open(%r, "a") as f:
    f.write(json.dumps(a) + "\\n")
speed = {"0": %s, "1": %s}
print(json.dumps([{"flash_attn": int(fa), "n_gen": gen, "avg_ts": speed[fa] / (2 if gen else 1)}
                  for fa in a["-fa"].split(",") for gen in (0, int(a["-n"]))
                  if (int(a["-n"]) if gen else int(a["-p"]))]))
"""


def fake_peer(off, on, text=None):
    os.makedirs(PEER, exist_ok=True)
    path = os.path.join(PEER, "llama-bench")
    with open(path, "w") as f:
        f.write(text or FAKE % (CALLS, off, on))
    os.chmod(path, stat.S_IRWXU)
    with open(os.path.join(PEER, "version"), "w") as f:
        f.write("fake 1.0\n")
    if os.path.exists(CALLS):
        os.remove(CALLS)


def calls():
    with open(CALLS) as f:
        return [json.loads(line) for line in f]


def distinct(numbers):
    """Repeated turns look alike: only changes count."""
    return [n for i, n in enumerate(numbers) if i == 0 or numbers[i - 1] != n]


refused("a folder without a peer", "BENCH-24", ["tools/build-llama"], "--peer", FOLDER, status=3)
fake_peer(100.0, 90.0)
j = bench("peer", STORIES, "-p", "8", "-n", "2", "-d", "4", "-t", "1", "-r", "6", "--peer", PEER,
          "--warm-ups", "1", "--all-logits", "--profile", "--no-ceilings")
if j:
    check(j["peer"] == "fake 1.0" and j["model"]["weight_bytes"] == 1171200, "version, model")
    prefill, decode = j["rows"]
    for r, speed in ((prefill, 100.0), (decode, 50.0)):
        peer = r["peer"]
        check(len(r["runs"]) == 6 and peer["runs"] == [speed] * 6 and peer["flash_attn"] is False
              and peer["other_flash_attn"] == 0.9 * speed, "the better flash attention counts",
              str(peer))
        ratios = sorted(x / speed for x in r["runs"])
        check(abs(peer["ratio"]["median"] - (ratios[2] + ratios[3]) / 2) < 1e-9 and
              abs(peer["ratio"]["low"] - ratios[0]) < 1e-9 and
              abs(peer["ratio"]["coverage"] - 0.96875) < 1e-9, "the ratio and its interval")
        check(r["others"] >= 0 and r["threads"] == 1, "others, threads")
    check(prefill["profile"]["steps"] == 6 and decode["profile"]["steps"] == 12,
          "the profile is of the runs that count")
    seen = calls()
    tests = distinct([(c["-p"], c["-n"], c["-d"], c["-t"], c["-r"], c.get("-embd")) for c in seen])
    check(tests == [("8", "0", "4", "1", "1", "1"), ("0", "2", "4", "1", "1", None)],
          "the peer is asked for the same", str(tests))
    check(all(c["-fa"] == "0,1" and c["-ctk"] == "f16" and c["-m"] == STORIES for c in seen),
          "with and without flash attention", str(seen[0]))

# The page that `make bench` makes of it.
kept = os.path.join(FOLDER, "bench.json")
with open(kept, "w") as f:
    json.dump(j, f)
p = subprocess.run([sys.executable, "tests/bench/report.py", kept, before], capture_output=True,
                   text=True)
check(p.returncode == 0 and p.stderr == "", "the report is written", p.stderr)


class Page(html.parser.HTMLParser):
    """Tags that are open and ever were, the text, and what is wrong."""
    open, seen, wrong, text = [], [], [], ""

    def handle_starttag(self, tag, attrs):
        self.seen.append(tag)
        if tag != "meta":
            self.open.append(tag)
        self.wrong += [k for k, _ in attrs if k in ("src", "href", "onload")]

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)

    def handle_data(self, data):
        self.text += data


page = Page()
page.feed(p.stdout)
check(not page.open and not page.wrong and "script" not in page.seen,
      "the report is whole, has no scripts, and needs no other file", str(page.wrong))
check(page.seen.count("svg") == 4 and page.seen.count("h2") == 2, "plots: speeds twice, profiles",
      str(page.seen.count("svg")))
check(all(w in page.text for w in ("prefill 8 at depth 4", "fake 1.0", "gate_up", "layer 4",
                                   "100.00 (100.00 - 100.00), no fa")), "rows, peer, profile")

fake_peer(100.0, 90.0)
j = bench("peer, behind a depth", STORIES, "-p", "8,16", "-n", "2", "-d", "0,4", "-t", "1", "-r",
          "1", "--warm-ups", "0", "--peer", PEER, "--no-ceilings")
if j:
    check([(r["test"], r["n"], r["depth"], r["peer"]["tok_per_s"]) for r in j["rows"]] ==
          [("prefill", 8, 0, 100.0), ("prefill", 16, 0, 100.0), ("prefill", 8, 4, 100.0),
           ("prefill", 16, 4, 100.0), ("decode", 2, 0, 50.0), ("decode", 2, 4, 50.0)],
          "every row has its own speed", str(j["rows"]))
    check(distinct([(c["-p"], c["-n"], c["-d"]) for c in calls()]) ==
          [("8", "0", "0"), ("16", "0", "0"), ("8", "2", "4"), ("16", "0", "4"), ("0", "2", "0")],
          "a prompt and a decode behind one depth share their turns", str(calls()))

fake_peer(100.0, 50.0)
j = bench("peer, one way far behind", STORIES, "-p", "8", "-n", "0", "-t", "1", "--peer", PEER)
if j:
    check(len(j["rows"][0]["runs"]) == 5, "five pairs unless --repetitions says so")
    check(distinct([c["-fa"] for c in calls()]) == ["0,1", "0"] and
          "other_flash_attn" not in j["rows"][0]["peer"], "is left out after the warm-ups",
          str([c["-fa"] for c in calls()]))
fake_peer(100.0, 50.0)
j = bench("peer, quantised KV", "tests/golden/smollm-nano/model-f32.gguf", "-p", "8", "-n", "0",
          "-r", "1", "--warm-ups", "0", "--kv-type", "bf16", "--peer", PEER)
check(j and calls()[0]["-ctk"] == calls()[0]["-ctv"] == "bf16", "the KV type is the peer's too")
fake_peer(0, 0, "#!/bin/sh\necho 'what a pity' >&2\nexit 3\n")
refused("a peer that fails", "BENCH-32", ["status 3", "what a pity"], "-p", "8", "-n", "0", "-r",
        "1", "--peer", PEER, status=1)
fake_peer(0, 0, "#!/bin/sh\necho '[]'\n")
refused("a peer without an answer", "BENCH-20", [PEER], "-p", "8", "-n", "0", "-r", "1", "-q",
        "--peer", PEER, status=1)

# Decoding of several sequences is measured with the peer's batched bench, all numbers of sequences
# in one process.  It may lose its last lines on the way out: this one writes nothing when it is asked
# something new, and then not the last of several.
BATCHED = """#!/usr/bin/env python3
import json, os, sys
a = dict(zip(sys.argv[1::2], sys.argv[2::2] + [""]))
with open(%r, "a+") as f:
    f.seek(0)
    new = json.dumps(a) not in f.read()
    f.write(json.dumps(a) + "\\n")
n_seq = [int(n) for n in a["-npl"].split(",")]
for n in [] if new else n_seq[:-1] or n_seq:
    print(json.dumps({"tg": int(a["-ntg"]), "pl": n, "speed_pp": 1.0,
                      "speed_tg": {"off": 50.0, "on": 45.0}[a["-fa"]] * n}) + "\\n")
"""
fake_peer(100.0, 90.0)
refused("a peer without a batched bench", "BENCH-24", ["llama-batched-bench"], "-p", "0", "-n", "2",
        "--parallel", "1", "--peer", PEER, status=3)
refused("rows of a sequence with a peer", "BENCH-37", ["--rows"], "-p", "0", "-n", "2", "--rows",
        "1,2", "--peer", PEER)
with open(os.path.join(PEER, "llama-batched-bench"), "w") as f:
    f.write(BATCHED % CALLS)
os.chmod(os.path.join(PEER, "llama-batched-bench"), stat.S_IRWXU)
j = bench("peer, sequences", STORIES, "-p", "8", "-n", "2", "-d", "0,6", "-t", "1", "-r", "2",
          "--warm-ups", "0", "--parallel", "1,3", "--profile", "--no-ceilings", "--peer", PEER)
if j:
    decode = j["rows"][2:]
    check([(r["depth"], r["parallel"], r["peer"]["tok_per_s"], r["peer"].get("other_flash_attn"))
           for r in decode] == [(0, 1, 50, 45), (0, 3, 150, 135), (6, 1, 50, 45), (6, 3, 150, 135)],
          "all sequences' tokens count, of the better flash attention", str(decode))
    check([r["peer"]["tok_per_s"] for r in j["rows"][:2]] == [100, 100], "prompts as before")
    check([r["profile"]["steps"] for r in decode] == [4] * 4, "our turns step them together")
    check(all(counted(r["profile"], "embed") == r["parallel"] * 64 * 4 for r in decode),
          "as many as the peer's")
    seen = {(c["-npp"], c["-ntg"], c["-npl"], c["-t"], int(c["-c"]) >= 3 * 8)
            for c in calls() if "-npl" in c}
    check(seen == {(d, "2", n, "1", True) for d in ("1", "6") for n in ("1,3", "3")},
          "the peer is asked for the same", str(seen))
    check(not any("-pps" in c.values() or "-pps" in c for c in calls()), "prompts of their own")
bench("peer, a shared prompt", STORIES, "-p", "0", "-n", "2", "-d", "6", "-t", "1", "-r", "1",
      "--warm-ups", "0", "--parallel", "3", "--shared-prompt", "--no-ceilings", "--peer", PEER)
check(calls()[-1].get("-pps") == "", "or one that is shared", str(calls()[-1]))
with open(os.path.join(PEER, "llama-batched-bench"), "w") as f:
    f.write("#!/bin/sh\necho\n")
refused("a peer that stays silent", "BENCH-38", ["llama-batched-bench"], "-p", "0", "-n", "2", "-q",
        "-r", "1", "--parallel", "2", "--peer", PEER, status=1)
refused("adapters", "BENCH-25", ["--lora"], "--peer", PEER, "--lora", "x.gguf")

sys.exit(done())
