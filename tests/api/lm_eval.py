#!/usr/bin/env python3
"""lm_eval.py - what lm-eval's `local-completions` asks of `croft serve`, against what it gets from transformers.

The requests are those of tests/data/lm_eval/recorded.json in the form the package sends them, read as the package reads
them; the package itself is in front of the server in `make check-long PART=lm-eval` (tests/long/lm_eval.py): it brings 700 MB.
"""
import json
import os
import sys

sys.path[0] = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib")
import croft
import serving
from croft import check

DATA = "tests/data/lm_eval/"
MODEL = "tests/golden/llama31-nano/model-f32.gguf"
OPTIONS = ("--kv-type", "f32", "--parallel", 8)


def post(s, body):
    status, _, text = s.ask("POST", "/v1/completions", dict({"model": "nano", "temperature": 0, "seed": 1234}, **body))
    return json.loads(text) if check(status == 200, "a request", text[:300]) else {"choices": []}


def scores(reply, n_context):
    """As lm-eval reads them: (sum of log-probabilities, whether each token is the best)."""
    out = []
    for choice, n in zip(sorted(reply["choices"], key=lambda c: c["index"]), n_context):
        p = choice["logprobs"]
        each, best = p["token_logprobs"][n:-1], [max(t.values()) for t in p["top_logprobs"][n:-1]]
        out.append((sum(each), all(a == b for a, b in zip(each, best))))
    return out


def scored(s, rows, n_batch):
    """Every request's log-likelihood; the greedy ones."""
    got = []
    for i in range(0, len(rows), n_batch):
        part = rows[i:i + n_batch]
        reply = post(s, dict(prompt=[r["context"] + r["continuation"] for r in part], echo=True, logprobs=1, max_tokens=1))
        got += scores(reply, [len(r["context"]) for r in part])
    if not check(len(got) == len(rows), "as many as were asked, %d at once" % n_batch):
        return got
    worst = max(abs(ll - r["loglikelihood"]) for (ll, _), r in zip(got, rows))
    print("lm_eval: %d requests, %d at once, the largest difference of a log-likelihood %.2g" % (len(rows), n_batch, worst))
    check(worst < 1e-3, "log-likelihoods, %d at once" % n_batch, "%g" % worst)
    check([greedy for _, greedy in got] == [r["is_greedy"] for r in rows], "which are greedy, %d at once" % n_batch)
    return got


def accuracies(got, want):
    """Those of the tasks, from what the server said."""
    choice, last = [json.load(open(DATA + "%s.json" % name)) for name in ("choice", "last")]
    at, right, right_norm = 0, 0, 0
    for doc in choice:
        lls = [ll for ll, _ in got[at:at + len(doc["choices"])]]
        norm = [ll / len(text) for ll, text in zip(lls, doc["choices"])]
        right += lls.index(max(lls)) == doc["answer"]
        right_norm += norm.index(max(norm)) == doc["answer"]
        at += len(lls)
    greedy = sum(g for _, g in got[at:])
    check(at + len(last) == len(got), "every request is one of a task")
    check((right / len(choice), right_norm / len(choice)) == (want["croft_choice"]["acc"], want["croft_choice"]["acc_norm"]),
          "accuracies of choices", str((right, right_norm, want)))
    check(greedy / len(last) == want["croft_last"]["acc"], "accuracy of last words", str((greedy, want)))


def written(s, rows):
    for r in rows:
        reply = post(s, dict(prompt=[r["ids"]], max_tokens=r["max_gen_toks"], stop=r["until"]))
        text = [c["text"] for c in reply["choices"]]
        check(text == [r["text"]], "what is written behind " + r["context"], repr((text, r["text"])))


def main():
    with open(DATA + "recorded.json") as f:
        recorded = json.load(f)
    rows = recorded["scored"]
    check(sum(r["is_greedy"] for r in rows) > 10 and any(r["text"] for r in recorded["written"]), "the recording tells something")
    with serving.Server(MODEL, *OPTIONS) as s:
        got = scored(s, rows, 1)
        check(scored(s, rows, 6) == got, "the same to the bit in company")
        accuracies(got, recorded["results"])
        written(s, recorded["written"])
    sys.exit(croft.done())


if __name__ == "__main__":
    main()
