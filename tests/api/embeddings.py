#!/usr/bin/env python3
"""embeddings.py - /v1/embeddings of `croft serve` against the hidden rows that transformers computed.

    tests/api/embeddings.py      from the root of the repository; $CROFT names another program

Models are the tiny random ones of tests/golden and the bundled stories260K.  What the `openai` package makes of the
route is tests/serve/openai_package.py.  Ends with the line "N passed, M failed".
"""
import base64
import json
import math
import os
import shutil
import struct
import sys
import threading

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[0] = os.path.join(HERE, "../lib")
sys.path.append(HERE)                   # last: its http.py is not the library's
import croft
import serving
from answer import run, tmp, with_number
from croft import check

STORY = "models/stories260K.gguf"
GOLDEN = "tests/golden/%s-nano"
# Largest difference of a number of a vector of length 1: in f32, and with the kernels and the KV type of every day.
EXACT, FAST = 5e-6, 3e-3


def golden(name):
    """Ids and their hidden rows after the final norm, by transformers."""
    v = croft.read_vectors(GOLDEN % name + "/golden.safetensors")
    n, d = v["hidden_a.final_norm"][0]
    rows = v["hidden_a.final_norm"][1]
    return list(v["ids_a"][1]), [list(rows[i * d:(i + 1) * d]) for i in range(n)]


def unit(x):
    length = math.sqrt(sum(v * v for v in x))
    return [v / length for v in x]


def pooled(rows, how):
    if how == "mean":
        return unit([sum(c) for c in zip(*rows)])
    return unit(rows[0] if how == "cls" else rows[-1])


def embed(s, status=200, **body):
    got, _, text = s.ask("POST", "/v1/embeddings", body)
    check(got == status, "status %d of %s" % (status, str(body)[:80]), "%s %s" % (got, text[:300]))
    return json.loads(text)


def vectors(reply):
    return [d["embedding"] for d in reply["data"]]


def far(a, b):
    return max(abs(x - y) for x, y in zip(a, b)) if len(a) == len(b) else math.inf


def against_transformers():
    for name in ("llama31", "qwen3", "v3", "v2-lite"):
        ids, rows = golden(name)
        for how in ("last", "mean", "cls"):
            for options, most in ((("--exact",), EXACT), ((), FAST)):
                with serving.Server(GOLDEN % name + "/model-f32.gguf", "--ctx-size", 64, "--pooling", how,
                                    "--batch-size", 16, *options) as s:
                    got = vectors(embed(s, input=ids))[0]
                    want = pooled(rows, how)
                    check(far(got, want) <= most, "%s %s %s is that of transformers" % (name, how, options),
                          "%g" % far(got, want))
                    part = vectors(embed(s, input=ids[:17]))[0]
                    check(far(part, pooled(rows[:17], how)) <= most, "%s %s, a part" % (name, how))
                    check(how == "cls" or far(part, got) > most, "%s %s: and they differ" % (name, how))


def forms(s):
    ids = [[(7 * i + k * k) % 480 + 5 for k in range(3 + 9 * i)] for i in range(6)]
    many = embed(s, input=ids, model="text-embedding-3-small")
    check(many["object"] == "list" and many["model"] == "stories260K" and
          [(d["object"], d["index"]) for d in many["data"]] == [("embedding", i) for i in range(6)], "a list", str(many)[:200])
    n = sum(map(len, ids))
    check(many["usage"] == {"prompt_tokens": n, "total_tokens": n}, "usage", str(many["usage"]))
    check(all(abs(sum(v * v for v in x) - 1) < 1e-5 for x in vectors(many)), "each of length 1")
    check([vectors(embed(s, input=one))[0] for one in ids] == vectors(many), "together they are what each is alone")
    packed = embed(s, input=ids, encoding_format="base64")
    as_f32 = [list(struct.unpack("<%df" % len(x), base64.b64decode(d, validate=True)))
              for x, d in zip(vectors(many), vectors(packed))]
    check(all(struct.pack("<%df" % len(x), *x) == struct.pack("<%df" % len(x), *y)
              for x, y in zip(as_f32, vectors(many))), "base64 holds the same floats")
    short = vectors(embed(s, input=ids[2], dimensions=8))[0]
    check(far(short, unit(vectors(many)[2][:8])) < 1e-6, "dimensions: the first ones, of length 1 again", str(short))
    text = "Once upon a time"
    with_bos = json.loads(s.ask("POST", "/tokenize", {"content": text, "add_special": True})[2])["tokens"]
    both = vectors(embed(s, input=[text, "The dog"]))
    check(both[0] == vectors(embed(s, input=with_bos))[0] and both[0] != both[1], "a text is its tokens")
    check(both == vectors(embed(s, input=[text, "The dog"])), "and the same again")
    long = vectors(embed(s, input=[5] * 128))
    check(len(long) == 1, "a text as long as the context")


def errors(s):
    for body, param, code in (({}, "input", "missing_required_parameter"), ({"input": ""}, "input", "invalid_value"),
                              ({"input": []}, "input", "empty_array"), ({"input": ["a", ""]}, "input[1]", "invalid_value"),
                              ({"input": ["a", 5]}, "input[1]", "invalid_type"), ({"input": {}}, "input", "invalid_type"),
                              ({"input": [[5], [99999]]}, "input[1]", "invalid_value"),
                              ({"input": [-1]}, "input", "integer_below_min_value"),
                              ({"input": ["a", "word " * 300]}, "input[1]", "context_length_exceeded"),
                              ({"input": "a", "dimensions": 65}, "dimensions", "integer_above_max_value"),
                              ({"input": "a", "dimensions": 0}, "dimensions", "integer_below_min_value"),
                              ({"input": "a", "dimensions": "8"}, "dimensions", "invalid_type"),
                              ({"input": "a", "encoding_format": "hex"}, "encoding_format", "invalid_value")):
        e = embed(s, 400, **body)["error"]
        check(e["param"] == param and e["code"] == code, "refused by field: %s" % str(body)[:60], str(e))


def company(s):
    """Beside chats that come and go, and prompts that begin alike."""
    ids = [[i % 3 + 5] * (20 + i) + [i + 9] for i in range(24)]
    chat = {"prompt": [7] * 40, "max_tokens": 1}
    used = [json.loads(s.ask("POST", "/v1/completions", chat)[2])["usage"]["prompt_tokens_details"]["cached_tokens"]
            for _ in range(2)]
    check(used == [0, 39], "answers share their beginnings all the same", str(used))
    want = [vectors(embed(s, input=x))[0] for x in ids]
    got = [None] * len(ids)
    asks = [serving.mix(i, 500) for i in range(24)]

    def one(i):
        s.ask("POST", asks[i][0], dict(asks[i][1], max_tokens=20))
        got[i] = vectors(embed(s, input=ids[i]))[0]
    threads = [threading.Thread(target=one, args=(i,)) for i in range(len(ids))]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    check(got == want, "in company each is what it is alone")


def metadata():
    """What the files say: GGUF's pooling_type, 1_Pooling of a folder; an option goes before."""
    def way(model, *options):
        with serving.Server(model, "--ctx-size", 64, *options) as s:
            return json.loads(s.ask("GET", "/props")[2])["pooling"]
    check(way(STORY) == "last", "the last token where nothing is said")
    for number, name in ((1, "mean"), (2, "cls"), (3, "last")):
        model = with_number(STORY, "pool-%d.gguf" % number, "llama.pooling_type", number)
        check(way(model) == name, "pooling_type %d is %s" % (number, name))
    check(way(model, "--pooling", "mean") == "mean", "an option goes before")
    ranks = with_number(STORY, "pool-4.gguf", "llama.pooling_type", 4)
    p = run("serve", ranks, "--port", 0)
    check(p.returncode == 2 and "POOLING-01" in p.stderr, "another way is refused by name", p.stderr)
    folder = tmp("folder")
    shutil.copytree(GOLDEN % "qwen3", folder)
    os.mkdir(folder + "/1_Pooling")
    for modes, want in (({"mean_tokens": True, "cls_token": False}, "mean"), ({"lasttoken": True}, "last"),
                        ({"cls_token": True}, "cls"), ({"max_tokens": True}, None),
                        ({"cls_token": True, "mean_tokens": True}, None)):
        with open(folder + "/1_Pooling/config.json", "w") as f:
            json.dump({"word_embedding_dimension": 64, **{"pooling_mode_" + k: v for k, v in modes.items()}}, f)
        if want:
            check(way(folder) == want, "1_Pooling: %s" % modes)
        else:
            p = run("serve", folder, "--port", 0)
            check(p.returncode == 2 and "POOLING-01" in p.stderr, "1_Pooling: %s is refused" % modes, p.stderr)


def main():
    against_transformers()
    for how in ("mean", "last"):
        with serving.Server(STORY, "--ctx-size", 128, "--parallel", 6, "--batch-size", 32, "--pooling", how) as s:
            forms(s)
            errors(s)
            company(s)
    metadata()
    sys.exit(croft.done())


if __name__ == "__main__":
    main()
