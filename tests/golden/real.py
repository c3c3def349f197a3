"""real.py - SmolLM2-135M-Instruct (the default model) against transformers in float32.

Teacher-forced: the ids of a prompt and its recorded greedy continuation are given, and at each
step croft's best token is compared with the recorded one.  Where two tokens are nearly equal the
recorded gap between them decides whether a difference counts.

    real.py          the 20 prompts, with --exact and on the fast path
    real.py --full   also the perplexity of 60 chunks of wiki.test.raw, both ways

Bounds.  --exact: every step whose gap is 0.005 or more, median of the largest log-probability
error among the 20 best at most 0.005, perplexity within 0.05 %.  Fast path: at least 97.5 % of the
steps, every one whose gap is 0.6 or more, 0.19, within 0.35 % (what llama.cpp reaches).
"""
import json
import math
import os
import statistics
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
import croft
from croft import check

GOLDEN = json.load(open("tests/golden/smollm2-135m/golden.json"))
MODES = {
    "exact": dict(options=["--exact"], gap=0.005, share=0.0, top20=0.005, ppl=0.0005),
    "fast": dict(options=[], gap=0.6, share=0.975, top20=0.19, ppl=0.0035),
}


def get_model():
    """The model's path, or None after a skip line."""
    p = subprocess.run(["tools/get-model"], capture_output=True, text=True)
    if p.returncode != 0:
        croft.skip("SmolLM2-135M", "the model could not be had: " + p.stderr.strip()[-300:])
        return None
    return p.stdout.strip().splitlines()[-1]


def log_probability_error(row, last_top20):
    largest = max(row)
    log_sum = largest + math.log(sum(math.exp(x - largest) for x in row))
    return max(abs(row[i] - log_sum - lp) for i, lp in last_top20)


def teacher_forced(model, mode, prompts):
    m, steps, same, errors, beyond = MODES[mode], 0, 0, [], []
    for number, g in enumerate(prompts):
        ids, path = g["ids"], g["continuation"]
        name = "SmolLM2 %s prompt %d" % (mode, number)
        got = croft.logits(model, ids + path[:-1], *m["options"], name=name)
        if got is None:
            return
        (_, n_vocab), values = got["logits"]
        for i, token in enumerate(path):
            at = (len(ids) - 1 + i) * n_vocab
            row = values[at:at + n_vocab]
            steps += 1
            if row.index(max(row)) == token:
                same += 1
            elif g["gap"][i] >= m["gap"]:
                beyond.append("%s step %d, gap %.3f" % (name, i, g["gap"][i]))
            if i == 0:
                errors.append(log_probability_error(row, g["last_top20"]))
    share, median = same / steps, statistics.median(errors)
    print("SmolLM2 %s: %d prompts, %d steps, %.2f %% the same best token, median of the largest "
          "log-probability error %.4f" % (mode, len(prompts), steps, 100 * share, median))
    check(not beyond, "SmolLM2 %s: every step whose gap is %g or more" % (mode, m["gap"]),
          "; ".join(beyond[:5]))
    check(share >= m["share"], "SmolLM2 %s: share of equal steps" % mode, "%.4f" % share)
    check(median <= m["top20"], "SmolLM2 %s: median error of the 20 best" % mode, "%.4f" % median)


def perplexity(model, mode):
    want = GOLDEN["perplexity"]
    name = "SmolLM2 %s perplexity" % mode
    p = croft.run(["perplexity", model, "-f", "tests/data/wikitext2/wiki.test.raw", "--chunks",
                   want["chunks"], "--json", "-q"] + MODES[mode]["options"])
    if not check(p.returncode == 0, name, p.stderr[-300:]):
        return
    got = json.loads(p.stdout)
    ratio = got["perplexity"] / want["ppl"]
    print("%s: %.4f against %.4f (%+.3f %%)" % (name, got["perplexity"], want["ppl"],
                                                100 * (ratio - 1)))
    check(got["chunks"] == want["chunks"], name + " chunks", str(got["chunks"]))
    check(abs(ratio - 1) <= MODES[mode]["ppl"], name, "%.4f" % got["perplexity"])
    check(abs(got["standard_error"] / want["standard_error"] - 1) < 0.02,
          name + " standard error", "%.4f" % got["standard_error"])


def main():
    model, full = get_model(), "--full" in sys.argv
    if model:
        teacher_forced(model, "fast", GOLDEN["greedy"])
        teacher_forced(model, "exact", GOLDEN["greedy"])
        if full:
            perplexity(model, "fast")
            perplexity(model, "exact")
    return croft.done()


if __name__ == "__main__":
    sys.exit(main())
