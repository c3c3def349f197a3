#!/usr/bin/env python3
"""lm_eval.py - the package lm-eval in front of `croft serve`: the tasks of tests/data/lm_eval/, by `local-completions`.

    PYTHON tests/long/lm_eval.py            PYTHON has lm-eval[api] and transformers, no torch; `make check-long PART=lm-eval`

What its `hf` model made of the same tasks with transformers is recorded (record.py beside them).
"""
import logging
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[0] = os.path.join(HERE, "../lib")
import croft
import serving
from croft import check

os.environ.update(HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1", TOKENIZERS_PARALLELISM="false")
import json
try:
    import lm_eval
    from lm_eval.tasks import TaskManager
except ImportError as e:
    croft.skip("lm-eval", "this Python lacks a package: %s" % e)
    sys.exit(croft.done())

DATA = "tests/data/lm_eval"
FOLDER = "tests/golden/llama31-nano"


def asked(samples, kind):
    """(what was asked, what came of it) of every sample, in order."""
    for task in ("croft_choice", "croft_last", "croft_write"):
        for sample in sorted(samples[task], key=lambda x: x["doc_id"]):
            for args, resps in zip(sample["arguments"], sample["resps"]):
                if (task == "croft_write") == (kind == "written"):
                    yield args, resps[0]


def run(port, tokens, n_batch, n_concurrent):
    name = "%s, %d at once, %d clients" % ("ids" if tokens else "text", n_batch, n_concurrent)
    args = dict(model="nano", base_url="http://127.0.0.1:%d/v1/completions" % port, tokenizer_backend="huggingface",
                tokenizer=FOLDER, tokenized_requests=tokens, num_concurrent=n_concurrent, max_retries=1)
    got = lm_eval.simple_evaluate(model="local-completions", model_args=args, batch_size=n_batch, bootstrap_iters=0,
                                  tasks=["croft_choice", "croft_last", "croft_write"],
                                  task_manager=TaskManager(include_path=DATA, include_defaults=False))
    with open(DATA + "/recorded.json") as f:
        want = json.load(f)
    scored, written = (list(asked(got["samples"], kind)) for kind in ("scored", "written"))
    lls = [(float(r[0]), r[1] in (True, "True")) for _, r in scored]
    worst = max(abs(ll - w["loglikelihood"]) for (ll, _), w in zip(lls, want["scored"]))
    print("lm-eval %s, %s: %d log-likelihoods, the largest difference %.2g" % (lm_eval.__version__, name, len(lls), worst))
    check(len(lls) == len(want["scored"]) and worst < 1e-3, name + ": log-likelihoods", "%g" % worst)
    check([g for _, g in lls] == [w["is_greedy"] for w in want["scored"]], name + ": which are greedy")
    check([text for _, text in written] == [w["text"] for w in want["written"]], name + ": what is written")
    for task, metrics in want["results"].items():
        for metric, value in metrics.items():
            mine = got["results"][task][metric + ",none"]
            same = abs(mine / value - 1) < 1e-3 if metric == "perplexity" else mine == value
            check(same, "%s: %s of %s" % (name, metric, task), str((mine, value)))


def main():
    logging.disable(logging.WARNING)
    with serving.Server(FOLDER + "/model-f32.gguf", "--kv-type", "f32", "--parallel", 8) as s:
        run(s.port, True, 1, 1)
        run(s.port, True, 4, 3)
    sys.exit(croft.done())


if __name__ == "__main__":
    main()
