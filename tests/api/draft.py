#!/usr/bin/env python3
"""draft.py - drafted tokens as a person and a script meet them: they change nothing but the time.

    tests/api/draft.py          from the root of the repository; $CROFT names another program

Each case runs with --draft off and with drafters, and every byte of what was said, with ids,
log-probabilities and reasons, must be the same.  Ends with the line "N passed, M failed".
"""
import hashlib
import itertools
import json
import os
import re
import signal
import struct
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import croft
import hf_folder
from answer import CHATML, ENV, R1, STORY, expect, run, tmp, with_template
from croft import check

SMOL = "tests/golden/smollm-nano/model-f32.gguf"
QWEN2 = "tests/golden/qwen2-nano/model-f32.gguf"
QWEN3 = "tests/golden/qwen3-nano"
LLAMA = "tests/golden/llama31-nano"
V3 = "tests/golden/v3-nano/model-f32-mtp.gguf"
V3_FOLDER = "tests/golden/v3-nano"
SUMS = {"drafted": 0, "accepted": 0}


def answer(*args):
    """What `run --json` says, without its times; and what was drafted."""
    p = run("run", *args, "--json", "-q")
    if p.returncode != 0:
        return "exit %d: %s" % (p.returncode, p.stderr[-300:]), None
    j = json.loads(p.stdout)
    del j["timing"]
    return j, j.pop("drafts")


def same(name, args, *ways):
    """Plain decoding and each of the ways; the drafts of the last."""
    plain, none = answer(*args, "--draft", "off")
    check(isinstance(plain, dict) and none["drafted"] == 0, name + ": plain", str(plain)[:300])
    drafts = None
    for way in ways:
        got, drafts = answer(*args, "--draft", *way)
        check(got == plain, "%s: --draft %s says the same" % (name, " ".join(map(str, way))),
              "%s\n%s" % (str(plain)[:1500], str(got)[:1500]))
        if drafts:
            tokens = (drafts["tokens_per_step"] or 0) * drafts["steps"]
            check(drafts["drafted"] >= drafts["accepted"] >= 0 and
                  abs(tokens - drafts["steps"] - drafts["accepted"]) < 1e-6,
                  name + ": the counts add up", str(drafts))
            for key in SUMS:
                SUMS[key] += drafts[key]
    return drafts


LOOKUP, AUTO, MTP = ("lookup",), ("auto",), ("mtp",)


def model(path, *more):
    return ("model", "--draft-model", path, *more)


SAMPLERS = (
    ["--temp", "0"],
    ["--temp", "0", "--repeat-penalty", "1.3", "--repeat-last-n", "24"],
    ["--temp", "0.3"],
    ["--temp", "0.8", "--top-k", "0", "--top-p", "0.9", "--min-p", "0"],
    ["--temp", "0.7", "--dry-multiplier", "0.8", "--presence-penalty", "0.3"],
    ["--mirostat", "2", "--mirostat-ent", "2"],
    ["--temp", "1", "--xtc-probability", "0.5", "--xtc-threshold", "0.05", "--typical", "0.9"],
)


def test_samplers():
    text = "One day a cat saw a dog. The cat saw a big dog. One day a"
    for m, ways in ((STORY, (LOOKUP, AUTO, model(STORY, "--draft-max", 3))),
                    (QWEN2, (LOOKUP, model(QWEN2), model(QWEN3))),
                    (SMOL, (LOOKUP, ("lookup", "--draft-max", 2, "-b", 2), model(SMOL))),
                    (V3, (LOOKUP, MTP, AUTO, ("mtp", "--draft-max", 4)))):
        for seed, sampler in enumerate(SAMPLERS):
            same("%s %s" % (os.path.basename(m), " ".join(sampler)),
                 [m, "--raw", text, "-n", "48", "-c", "256", "--seed", seed + 5, "--logprobs", "4",
                  *sampler], *ways)


def test_itself():
    """A model that drafts for itself is always right, whatever the sampler."""
    for seed, sampler in enumerate(SAMPLERS):
        d = same("stories for themselves, " + " ".join(sampler),
                 [STORY, "--raw", "Once upon a time", "-n", "60", "-c", "256", "--seed", seed,
                  *sampler], model(STORY))
        check(d and d["accepted"] == d["drafted"] > 30, "every draft is taken", str(d))
    d = same("one row a step leaves no room for drafts",
             [STORY, "--raw", "Once upon a time", "-n", "30", "--temp", "0", "-b", "1", "--seed", 1],
             LOOKUP, model(STORY))
    check(d and d["drafted"] == 0, "and none is made", str(d))


def test_ends():
    base = [STORY, "--raw", "<s>", "--temp", "0", "--seed", "1"]
    d = same("until the context is full", [*base, "-c", "100"], LOOKUP, model(STORY), AUTO)
    long = [STORY, "--raw", "<s>", "--temp", "0.9", "-c", "512", "--logprobs", "0",
            "--logit-bias", "2+20"]
    n_end = 0
    for seed in range(6):
        same("until the model ends it, seed %d" % seed, [*long, "--seed", seed], LOOKUP,
             model(STORY, "--draft-max", 9))
        n_end += answer(*long, "--seed", seed)[0]["finish_reason"] == "stop"
    check(n_end >= 2, "some of them end by themselves", str(n_end))
    for n in (0, 1, 2, 3, 5, 17):
        d = same("-n %d" % n, [*base, "-n", n, "-c", "256"], LOOKUP, model(STORY))
        check(d["drafted"] <= max(0, n - 1), "no more is drafted than is wanted", str(d))
    for stop in (["girl"], ["there was", "little"], ["e l"], ["."], ["no such text"]):
        args = list(itertools.chain(*(("--stop", s) for s in stop)))
        same("--stop %s" % stop, [*base, "-n", "60", "-c", "256", *args], LOOKUP, model(STORY))


def test_marks():
    thinker = with_template(V3, "thinker-mtp.gguf", R1)
    same("thinking", [thinker, "Hello", "-n", "40", "--seed", "1", "-c", "128"], LOOKUP, MTP, AUTO)


def test_lora():
    for m, lora in ((LLAMA, LLAMA + "/lora"), (V3_FOLDER, V3_FOLDER + "/lora")):
        ways = (LOOKUP, model(m)) if m == LLAMA else (LOOKUP, MTP)
        for sampler in (["--temp", "0"], ["--temp", "0.7"]):
            same("adapter of " + m, [m, "--raw", "abc abc abc abc", "-n", "40", "-c", "128",
                                     "--seed", "3", "--lora", lora + ":2", *sampler], *ways)


def padded(n_more):
    """qwen2-nano with rows behind its vocabulary that are as likely as a token of it."""
    source, folder = "tests/golden/qwen2-nano/", tmp("padded")
    with open(source + "model.safetensors", "rb") as f:
        header = json.loads(f.read(struct.unpack("<Q", f.read(8))[0]))
        raw = f.read()
    tensors, data = [], b""
    for name, t in header.items():
        if name == "__metadata__":
            continue
        part, shape = raw[t["data_offsets"][0]:t["data_offsets"][1]], list(t["shape"])
        if name == "model.embed_tokens.weight":
            row = len(part) // shape[0]
            part += b"".join(part[i * row:(i + 1) * row] for i in range(100, 100 + n_more))
            shape[0] += n_more
        tensors.append((name, t["dtype"], shape))
        data += part
    files = {}
    for stem in ("config", "tokenizer", "tokenizer_config"):
        with open(source + stem + ".json") as f:
            files[stem] = json.load(f)
    config = dict(files.pop("config"), vocab_size=512 + n_more)
    hf_folder.write_folder(folder, config, [tensors], [data], **files)
    return folder


def test_padding():
    """Models of one vocabulary with more rows than it has tokens draft for each other."""
    wide, beyond, drafted = padded(200), 0, 0
    for seed in range(4):
        for m, other in ((wide, QWEN2), (QWEN2, wide)):
            args = [m, "--raw", "abc abc", "-n", "60", "-c", "128", "--seed", seed, "--temp", "0.9"]
            d = same("padded: " + m, args, model(other))
            drafted += d["drafted"] if d else 0
            if m == wide:
                beyond += any(t["id"] >= 512 for t in answer(*args)[0]["tokens"])
    check(drafted > 0, "there are drafts")
    check(beyond > 0, "a token beyond the other's rows was said", str(beyond))


def digest(path):
    with open(path, "rb") as f:
        return hashlib.sha256(f.read()).hexdigest()


def test_state():
    """The kept file is the same to the byte, and goes on to the same text."""
    for m, n in ((STORY, 40), (SMOL, 33), (QWEN3, 70)):
        base = ["run", m, "--raw", "a cat and a cat and a", "--seed", "4", "-c", "256", "-q"]
        sums = set()
        for way in (("off",), LOOKUP, model(m), AUTO):
            p = run(*base, "-n", n, "--save-state", tmp("kv"), "--draft", *way)
            expect("saved with --draft " + way[0], p, 0)
            sums.add((digest(tmp("kv")), p.stdout))
        check(len(sums) == 1, m + ": drafts leave the same file", str(sums)[:300])
        after = {run("run", m, "--raw", " and", "-n", "30", "--seed", "5", "--load-state", tmp("kv"),
                     "-c", "256", "-q", "--draft", *way).stdout
                 for way in (("off",), LOOKUP, model(m), AUTO)}
        check(len(after) == 1, m + ": and it goes on to the same text", str(after)[:300])
    base = ["run", V3, "--raw", "a b a b a b", "--seed", "4", "-c", "256", "-q", "-n", "20"]
    run(*base, "--save-state", tmp("kv"), "--draft", "mtp")
    texts = set()
    for way in (MTP, AUTO):
        p = run("run", V3, "--raw", " a b", "-n", "30", "--seed", "5", "--load-state", tmp("kv"),
                "-c", "256", "-q", "--draft", *way)
        expect("the MTP layer's KV is loaded", p, 0)
        texts.add(p.stdout)
    check(len(texts) == 1, "and the text goes on", str(texts)[:300])
    expect("without the layer its KV has no place",
           run("run", V3, "--raw", "x", "--load-state", tmp("kv"), "--draft", "off"), 2,
           "E-STATE-30", "--draft auto")
    run(*base, "--save-state", tmp("kv"), "--draft", "off")
    expect("with the layer its KV is missed",
           run("run", V3, "--raw", "x", "--load-state", tmp("kv")), 2, "E-STATE-30", "--draft off")


def test_chat():
    chatml = with_template(SMOL, "chatml.gguf", CHATML)
    lines = b"word and word and word\nand word again\n/regen\n/undo\nword and word and word\n"
    wide = b"word and word and word and word and word\n" * 5
    for text, args in ((lines, ["-n", "24", "-c", "512"]),
                       (wide, ["-n", "40", "-c", "128", "--context-shift", "30"])):
        outs = {run("chat", chatml, "--seed", "2", "--temp", "0.2", *args, "--draft", *way,
                    stdin=text).stdout for way in (("off",), LOOKUP, AUTO, model(chatml))}
        check(len(outs) == 1, "a chat says the same: " + " ".join(args), str(outs)[:1500])
    said = run("chat", chatml, "--seed", "2", "--temp", "0", "-n", "60", "-c", "512",
               "--draft", "model", "--draft-model", chatml, stdin=b"word\n").stderr
    check(re.search(r"60 tokens, .* tok/s, [2-7]\.\d\d tokens a step \((\d+) of \1 drafts taken\), "
                    "context", said), "the statistics say what drafts did", said)


def test_interrupt():
    with subprocess.Popen([croft.CROFT, "run", SMOL, "Hello", "-c", "200000", "--seed", "1",
                           "--temp", "0.1", "-q", "--draft", "lookup"], env=ENV,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE) as p:
        first = os.read(p.stdout.fileno(), 1)
        p.send_signal(signal.SIGINT)
        _, said = p.communicate(timeout=120)
    check(p.returncode == 130 and first, "Ctrl-C ends it", "%s %s" % (p.returncode, said))


def test_errors():
    expect("another vocabulary: what differs", run("run", QWEN2, "x", "--draft-model", SMOL), 2,
           "E-DRAFT-11", "token ", "same family")
    expect("another size", run("run", STORY, "x", "--draft-model", QWEN2), 2, "E-DRAFT-1",
           "vocabulary")
    expect("--draft model without one", run("run", STORY, "x", "--draft", "model"), 2,
           "E-DRAFT-01", "--draft-model")
    expect("--draft mtp without the layer", run("run", STORY, "x", "--draft", "mtp"), 2,
           "E-DRAFT-04", "llama")
    expect("a draft model that is not there",
           run("run", STORY, "x", "--draft-model", tmp("none.gguf")), 3, "--draft-model")
    expect("a draft model that is not used is said",
           run("run", STORY, "x", "-n", "2", "--draft", "lookup", "--draft-model", STORY), 0,
           "--draft-model is not used")
    expect("several answers guess from their own texts",
           run("run", STORY, "x", "-n", "3", "--n", "2", "--draft", "lookup", "--draft-model", STORY), 0,
           "--draft-model is not used with --n")
    expect("too many", run("run", STORY, "x", "--draft-max", "64"), 2, "draft-max", "63")
    expect("no such way", run("run", STORY, "x", "--draft", "magic"), 2, "lookup")


def main():
    test_samplers()
    test_itself()
    test_ends()
    test_marks()
    test_lora()
    test_padding()
    test_state()
    test_chat()
    test_interrupt()
    test_errors()
    check(SUMS["drafted"] > SUMS["accepted"] > 300, "drafts were right and wrong", str(SUMS))
    return croft.done()


if __name__ == "__main__":
    sys.exit(main())
