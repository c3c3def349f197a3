"""serve_verify.py - many mixed requests against `croft serve`, and each answer made again by `croft verify`.

100,000 on the golden models and 2,000 on SmolLM2, in rounds; build-serve-verify/counts has a line "model from number
commit" for each round that was verified whole, and the next run goes on behind them.  It ends after VERIFY_SECONDS (2100).

    serve_verify.py [MODEL...]      llama31, moonlight, qwen2, qwen3, smollm, v2-group, v2-lite, v3; smollm2
"""
import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
import croft
import serving
from croft import check

NANO = ("llama31", "moonlight", "qwen2", "qwen3", "smollm", "v2-group", "v2-lite", "v3")
WANTED = dict({name: 12500 for name in NANO}, smollm2=2000)
ROUND = {"smollm2": 50}                 # requests; of others 500
COUNTS = "build-serve-verify/counts"


def path_of(name):
    if name != "smollm2":
        return "tests/golden/%s-nano/model-f32.gguf" % name
    p = subprocess.run(["tools/get-model", name], capture_output=True, text=True)
    if p.returncode:
        croft.skip(name, "the model could not be had: " + p.stderr.strip()[-300:])
        return None
    return p.stdout.strip().splitlines()[-1]


def done(name):
    if not os.path.exists(COUNTS):
        return 0
    with open(COUNTS) as f:
        return sum(int(line.split()[2]) for line in f if line.split()[0] == name)


def one_round(server, name, model, first, n, commit):
    asks = [serving.mix(i, 49000 if name == "smollm2" else 250) for i in range(first, first + n)]
    got = serving.gather(server, asks)
    if not check(None not in got, "%s: a receipt for each from %d on" % (name, first)):
        return False
    p = serving.verify(got, model)
    same = p.stdout.count(" is the same: ")
    if not check(p.returncode == 0 and same == n, "%s: %d from %d on are made again" % (name, n, first),
                 (p.stdout + p.stderr)[-1500:]):
        return False
    with open(COUNTS, "a") as f:
        f.write("%s %d %d %s\n" % (name, first, n, commit))
    return True


def one_model(name, end, commit):
    first, wanted = done(name), WANTED[name]
    model = path_of(name) if first < wanted and time.monotonic() < end else None
    if model:
        with serving.Server(model, "--ctx-size", 512, "--parallel", 16, wait=600) as s:
            while first < wanted and time.monotonic() < end:
                n = min(ROUND.get(name, 500), wanted - first)
                if not one_round(s, name, model, first, n, commit):
                    break
                first += n
    print("    %s: %d of %d" % (name, done(name), wanted), flush=True)


def main():
    end = time.monotonic() + float(os.environ.get("VERIFY_SECONDS", 2100))
    commit = subprocess.run(["git", "describe", "--always", "--dirty", "--abbrev=9"], capture_output=True, text=True)
    os.makedirs(os.path.dirname(COUNTS), exist_ok=True)
    for name in sys.argv[1:] or WANTED:
        one_model(name, end, commit.stdout.strip() or "unknown")
    sys.exit(croft.done())


if __name__ == "__main__":
    main()
