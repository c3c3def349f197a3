#!/usr/bin/env python3
"""record.py - what lm-eval makes of three small tasks with transformers, for tests/api/lm_eval.py and tests/long/lm_eval.py.

    PYTHON tests/data/lm_eval/record.py     from the root of the repository; PYTHON has torch, transformers, lm-eval[api]

First the tasks are written (choice.json, last.json, write.json): sentences, and beside plain words what the model itself
would say next, so that some continuations are greedy ones.  Where two tokens are nearly equal the sentence is left out: what
is recorded must not hang on rounding.  Then lm-eval runs them with `--model hf` in float32, and what it asked and got goes to
recorded.json.
"""
import json
import logging
import os
import sys

os.environ.update(HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1", TOKENIZERS_PARALLELISM="false")
sys.dont_write_bytecode = True
import lm_eval
import torch
import transformers
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager

HERE = "tests/data/lm_eval"
MODEL = "tests/golden/llama31-nano"
GAP = 0.01                              # between the two best logits of a step
SENTENCES = """The old man sat by the fire and
She opened the door, and there was
It was a dark night, and the wind
The children ran down to the river to
He looked at her for a long time without
In the morning the ship was gone, and
My mother told me that I should never
The horse stopped in the middle of the
When the bell rang, all the people
There was a letter on the table, and it
The boy who had lost his dog went
Nobody in the house knew where the key
The king gave him a ring and said that
After the rain the garden smelled of
They walked for three days before they
The doctor shook his head and left the
Her brother had a small boat, and every
The road was long, and the stones were
I was so tired that I could not
The cat jumped over the wall and
At last the light of the town
The two sisters had not spoken since
He bought a loaf of bread and a
The teacher asked me a question, and I
What the captain wrote in his book that
The bridge was broken, so we
Snow had fallen on the hills, and the
The letter began with the words of a
We heard the sound of a drum from the
The little girl with the red coat said""".split("\n")
WORDS = [" a stone", " the sea", " nothing at all", " his hat", " to sleep", " three birds"]


class Asked(HFLM):
    """lm-eval's own, with what it was asked and what came of it."""

    def __init__(self, **more):
        super().__init__(**more)
        self.scored, self.written = [], []

    def _loglikelihood_tokens(self, requests, *args, **more):
        out = super()._loglikelihood_tokens(requests, *args, **more)
        self.scored += [dict(context=c, continuation=n, loglikelihood=round(float(ll), 6), is_greedy=bool(greedy))
                        for (_, c, n), (ll, greedy) in zip(requests, out)]
        return out

    def generate_until(self, requests, *args, **more):
        out = super().generate_until(requests, *args, **more)
        for r, text in zip(requests, out):
            context, how = r.args
            self.written.append(dict(context=context, ids=self.tok_encode(context), until=how["until"],
                                     max_gen_toks=how["max_gen_toks"], text=text))
        return out


def greedy(model, ids, n):
    """n greedy tokens, and the smallest gap between the two best on the way."""
    ids, gap = list(ids), float("inf")
    with torch.no_grad():
        for _ in range(n):
            best = torch.topk(model(torch.tensor([ids])).logits[0, -1], 2).values
            gap = min(gap, float(best[0] - best[1]))
            ids.append(int(model(torch.tensor([ids])).logits[0, -1].argmax()))
    return ids[-n:], gap


def write_tasks(lm):
    encode = lambda text: lm.tokenizer(text, add_special_tokens=False).input_ids
    choice, last, write = [], [], []
    for i, sentence in enumerate(SENTENCES):
        said, gap = greedy(lm.model, encode(sentence), 24)
        if gap < GAP:
            continue
        begin = lm.tokenizer.decode(said[:3])
        same = encode(sentence + begin) == encode(sentence) + said[:3]
        words = [WORDS[(i + k) % len(WORDS)] for k in range(3)]
        if same:
            words.insert(i % 4, begin)
        choice.append(dict(text=sentence, choices=words, answer=i % 4 if same and i % 3 else (i + 1) % len(words)))
        last.append(dict(text=sentence, last=begin if same and i % 2 else words[0]))
        until = lm.tokenizer.decode(said[:16]).split("e")[0]
        write.append(dict(text=sentence, answer=until if i % 3 else "a word"))
    for name, docs in (("choice", choice), ("last", last), ("write", write)):
        with open("%s/%s.json" % (HERE, name), "w") as f:
            f.write("[\n" + ",\n".join(json.dumps(d) for d in docs) + "\n]\n")


def main():
    logging.disable(logging.WARNING)
    lm = Asked(pretrained=MODEL, dtype="float32", device="cpu", batch_size=1, add_bos_token=False)
    write_tasks(lm)
    got = lm_eval.simple_evaluate(model=lm, tasks=["croft_choice", "croft_last", "croft_write"], bootstrap_iters=0,
                                  task_manager=TaskManager(include_path=HERE, include_defaults=False))
    results = {task: {k.split(",")[0]: v for k, v in r.items() if "," in k and "stderr" not in k and isinstance(v, float)}
               for task, r in got["results"].items()}
    out = dict(versions=dict(lm_eval=lm_eval.__version__, transformers=transformers.__version__,
                             torch=torch.__version__.split("+")[0]), model=MODEL, results=results)
    with open(HERE + "/recorded.json", "w") as f:
        f.write(json.dumps(out)[:-1])
        for name, rows in (("scored", lm.scored), ("written", lm.written)):
            f.write(',\n"%s": [\n' % name + ",\n".join(json.dumps(r) for r in rows) + "\n]")
        f.write("}\n")
    print(json.dumps(results), len(lm.scored), sum(r["is_greedy"] for r in lm.scored), len(lm.written))


if __name__ == "__main__":
    main()
