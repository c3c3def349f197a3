"""batch.py - 500 questions of GSM8K through `croft run --batch` with Qwen2.5-Coder-0.5B.

Whole, then again with five SIGKILLs at random points: the same bytes.  The first lines are compared
with `croft run` alone, and tokens a second with those of one answer at a time on the first 40.
    batch.py [QUESTIONS [TOKENS]]       500 (from 100) and 200; the time taken is printed, and no test
"""
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
import croft
from croft import check

QUESTIONS = "tests/data/gsm8k/questions.jsonl"
ALONE, ONE_BY_ONE, KILLS = 3, 40, 5


def command(model, path, out, tokens, *options):
    return [croft.CROFT, "run", model, "--batch", path, "--output", out, "-n", str(tokens),
            "--seed", "1", *options]


def rate(words):
    return float(re.search(r"([0-9.]+) tok/s", words).group(1))


def whole(model, path, out, tokens, *options):
    p = subprocess.run(command(model, path, out, tokens, *options), capture_output=True, text=True,
                       stdin=subprocess.DEVNULL)
    check(p.returncode == 0, "batch " + " ".join(options), p.stderr[-400:])
    line = [l for l in p.stderr.splitlines() if "tok/s" in l]
    print(" ".join(options) or "as it is", "|", line[-1] if line else p.stderr, flush=True)
    return rate(line[-1]) if line else 0


def count(path):
    if not os.path.exists(path):
        return 0
    with open(path, "rb") as f:
        return f.read().count(b"\n")


def killed(model, path, out, tokens, n_line):
    """Kill it five times, each time after some more lines."""
    at = 0
    for left in range(KILLS, 0, -1):
        at = random.randrange(at + 1, at + 1 + max(1, (n_line - at) // (left + 1)))
        p = subprocess.Popen(command(model, path, out, tokens, "-q"), stdin=subprocess.DEVNULL)
        while p.poll() is None and count(out + ".part") < at:
            time.sleep(0.05)
        time.sleep(random.random() / 2)
        if not check(p.poll() is None, "it was still working at line %d" % at):
            return
        p.kill()
        p.wait()
        at = count(out + ".part")
        print("killed with %d lines" % at, flush=True)
    whole(model, path, out, tokens)


def main():
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 500
    tokens = int(sys.argv[2]) if len(sys.argv) > 2 else 200
    p = subprocess.run(["tools/get-model", "qwen2.5-coder"], capture_output=True, text=True)
    if p.returncode != 0:
        croft.skip("batch", p.stderr.strip().splitlines()[-1])
        return croft.done()
    model = p.stdout.strip()
    with tempfile.TemporaryDirectory() as folder, open(QUESTIONS) as f:
        lines = f.read().splitlines()[:n]
        at = lambda name: os.path.join(folder, name)
        for name, some in (("all", lines), ("few", lines[:ONE_BY_ONE])):
            with open(at(name), "w") as out:
                out.write("\n".join(some) + "\n")
        many = whole(model, at("all"), at("whole"), tokens)
        one = whole(model, at("few"), at("one"), tokens, "--parallel", "1")
        print("%.1f tok/s, %.1f one by one: %.2fx" % (many, one, many / one if one else 0), flush=True)
        killed(model, at("all"), at("killed"), tokens, len(lines))
        with open(at("whole"), "rb") as a, open(at("killed"), "rb") as b, open(at("one"), "rb") as c:
            want, got, slow = a.read(), b.read(), c.read()
        check(want == got and want.count(b"\n") == len(lines), "killed and resumed: the same bytes")
        check(want.startswith(slow), "one by one: the same bytes")
        for line, answer in list(zip(lines, want.splitlines()))[:ALONE]:
            alone = croft.run(["run", model, json.loads(line)["prompt"], "-n", tokens, "--seed", "1", "--json"])
            check(json.loads(alone.stdout)["answer"] == json.loads(answer)["text"],
                  "as alone: " + json.loads(line)["id"])
    return croft.done()


if __name__ == "__main__":
    sys.exit(main())
