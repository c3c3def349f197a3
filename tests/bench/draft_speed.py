#!/usr/bin/env python3
"""draft_speed.py - what drafting is worth: tokens a step, drafts taken, speed-up over plain decoding.

    tests/bench/draft_speed.py [--model NAME].. [--draft auto] [--prompts 12] [--turns 3] [-n 256]

Code edits (functions of tests/data/draft), summaries (articles of tests/data/wikitext2), and stories,
whose text hardly repeats.  For each prompt plain decoding and drafting take turns, and the best time
of each counts; both must say the same.  Measures and is no test, but for that.  The models are those
of tools/get-model.  --more OPTION.. goes to croft as it is: --more=--draft-model=small.gguf
"""
import argparse
import json
import os
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
import croft

STORIES = ("a lighthouse keeper who collects storms", "a mouse that learns to read",
           "two rivals who open a bakery", "the last train before the snow", "a map that changes",
           "a violin nobody could play", "an island that moves at night", "a clock that ran backwards",
           "a gardener on the moon", "a letter that came thirty years late", "a bridge of glass",
           "a town without colours")


def code_edits(n):
    with open("tests/data/draft/functions.jsonl") as f:
        functions = [json.loads(line) for line in f]
    for i in range(n):
        a, b = functions[2 * i % len(functions)], functions[(2 * i + 1) % len(functions)]
        ask = ("Rename the function `%s` to `%s_new`" % (a["name"], a["name"]),
               "Rename the argument `%s` of `%s` to `value`" % (a["argument"], a["name"]),
               "Add a line `print(\"%s\")` at the start of the body of `%s`" % (a["name"], a["name"]))
        yield ("%s in this Python code, change nothing else, and give the whole code again.\n\n"
               "```python\n%s\n\n%s```\n" % (ask[i % 3], a["code"], b["code"]))


def articles():
    """[text]: the long articles of the corpus, each cut at a paragraph near 2500 bytes."""
    out, now = [], []
    with open("tests/data/wikitext2/wiki.test.raw") as f:
        for line in f:
            title = line.startswith(" = ") and not line.startswith(" = = ")
            if title and sum(map(len, now)) > 2500:
                out.append(now)
            now = [] if title else now + [line.strip()]
    texts = []
    for lines in out:
        text = ""
        for line in lines:
            if line and not line.startswith("=") and len(text) + len(line) < 3000:
                text += line + "\n"
        texts.append(text)
    return texts


def summaries(n):
    texts = articles()
    for i in range(n):
        yield "Summarize this text in a few sentences:\n\n" + texts[i % len(texts)]


def stories(n):
    for i in range(n):
        yield "Write a story about %s." % STORIES[i % len(STORIES)]


def answer(model, prompt, draft, options):
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as f:
        f.write(prompt)
        f.flush()
        p = croft.run(["run", model, "-f", f.name, "--json", "-q", "-c", "4096", "--seed", "1",
                       "--draft", draft, *options])
    if p.returncode != 0:
        sys.exit(p.stderr)
    return json.loads(p.stdout)


def measure(model, name, prompts, temp, args):
    best, sums, n_tok, differ = {"plain": 0.0, "draft": 0.0}, {}, 0, 0
    for prompt in prompts:
        times, said, j = {}, {}, None
        for _ in range(args.turns):
            for way, draft in (("plain", "off"), ("draft", args.draft)):
                more = args.more if way == "draft" else []
                j = answer(model, prompt, draft, ["-n", args.n, "--temp", temp, *more])
                times[way] = min(times.get(way, 1e9), j["timing"]["answer_s"])
                said[way] = [t["id"] for t in j["tokens"]]
        differ += said["plain"] != said["draft"]
        n_tok += len(said["draft"])
        for way in best:
            best[way] += times[way]
        for key in ("steps", "drafted", "accepted"):
            sums[key] = sums.get(key, 0) + j["drafts"][key]
    print("%-34s %-10s %5d tok  %7.1f -> %7.1f tok/s  %5.2fx  %5.2f tok/step  %4d of %4d drafts (%2.0f %%)%s"
          % (os.path.basename(model)[:34], name, n_tok, n_tok / best["plain"], n_tok / best["draft"],
             best["plain"] / best["draft"], 1 + sums["accepted"] / max(1, sums["steps"]),
             sums["accepted"], sums["drafted"],
             100 * sums["accepted"] / max(1, sums["drafted"]),
             "" if not differ else "  DIFFERS in %d answers" % differ), flush=True)
    return differ


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--model", action="append")
    p.add_argument("--draft", default="auto")
    p.add_argument("--prompts", type=int, default=12)
    p.add_argument("--turns", type=int, default=3)
    p.add_argument("--only", default="edits,summaries,stories")
    p.add_argument("--more", action="append", default=[])
    p.add_argument("-n", type=int, default=256)
    args = p.parse_args()
    sets = {"edits": (code_edits, 0), "summaries": (summaries, 0), "stories": (stories, 0.8)}
    differ = 0
    for model in args.model or ["smollm2", "qwen2.5-coder"]:
        for name in args.only.split(","):
            make, temp = sets[name]
            differ += measure(model, name, list(make(args.prompts)), temp, args)
    return 1 if differ else 0


if __name__ == "__main__":
    sys.exit(main())
