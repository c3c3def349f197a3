#!/usr/bin/env python3
"""verify.py - receipts of `croft serve`, and `croft verify`: answers in company are what each is alone, and a receipt
that was changed, or is of other weights, another adapter, instruction set or build, is told which.

    tests/api/verify.py          from the root of the repository; $CROFT names another program

Models are the bundled stories260K and tiny random ones.  Ends with the line "N passed, M failed".
"""
import hashlib
import json
import os
import sys
import tempfile
import threading

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[0] = os.path.join(HERE, "../lib")
sys.path.append(HERE)                   # last: its http.py is not the library's
import croft
import serving
from answer import CHATML, with_template
from croft import check

STORY = "models/stories260K.gguf"
LLAMA = "tests/golden/llama31-nano"
V3 = "tests/golden/v3-nano/model-f32.gguf"
CACHE = tempfile.mkdtemp(prefix="croft-verify-")
ENV = dict(os.environ, CROFT_CACHE=CACHE, XDG_CONFIG_HOME=CACHE)
ASK = {"prompt": "Once upon a time", "max_tokens": 12, "seed": 3, "stop": ["dog"]}


def summed(receipt):
    """The receipt with the sum of what it says, as docs/receipts.md has it."""
    rest = {k: v for k, v in receipt.items() if k != "sha256"}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return dict(rest, sha256=hashlib.sha256(text.encode()).hexdigest())


def verify(receipts, *args):
    if isinstance(receipts, dict):
        receipts = [receipts]
    return serving.verify([r if isinstance(r, str) else json.dumps(r) for r in receipts], *args, env=ENV)


def one(server, body=ASK, path="/v1/completions"):
    status, fields, text = server.ask("POST", path, body, {"x-croft-receipt": "1"})
    check(status == 200 and len(fields.get("x-croft-receipt", "")) == 32, "an answer names its receipt", str(fields))
    status, receipt = server.receipt(fields["x-croft-receipt"])
    check(status == 200, "and it is there", receipt[:300])
    return json.loads(text), json.loads(receipt)


def forms(s):
    reply, r = one(s)
    check(r["croft_receipt"] == 1 and reply["id"] == "cmpl-" + r["id"], "a receipt has the answer's id", str(r)[:300])
    check(json.loads(r["request"]) == ASK and r["route"] == "completions", "the stored request", r["request"])
    check(r["seed"] == 3 and r["kv_type"] == "f16" and r["exact"] is False and r["adapter"] is None, "arithmetic", str(r)[:200])
    check(r["isa"] in croft.levels() and set(r["build"]) == {"version", "commit", "compiler"}, "level and build")
    check(len(r["answers"][0]["tokens"]) == reply["usage"]["completion_tokens"] and
          len(r["prompts"][0]["ids"]) == reply["usage"]["prompt_tokens"], "every token", str(r["answers"]))
    check(len(r["model"]["tensors"]) > 40 and all(len(t.split()[2]) == 64 for t in r["model"]["tensors"].values()),
          "a checksum of each tensor")
    check(summed(r) == r, "its sum, as it is documented")
    kept = os.listdir(CACHE + "/sums")
    check(len(kept) == 1, "checksums are kept for the files", str(kept))
    for no in ({}, {"x-croft-receipt": "0"}, {"x-croft-receipt": "false"}):
        check("x-croft-receipt" not in s.ask("POST", "/v1/completions", ASK, no)[1], "none unless asked for")
    status, _, text = s.ask("GET", "/v1/receipts/" + "0" * 32)
    check(status == 404 and json.loads(text)["error"]["code"] == "receipt_not_found", "no such receipt", text)
    p = verify(r, STORY)
    check(p.returncode == 0 and p.stdout == "%s is the same: 12 tokens\n" % r["id"], "it is made again", p.stdout + p.stderr)
    pretty = os.path.join(CACHE, "pretty.json")
    with open(pretty, "w") as f:
        json.dump(r, f, indent=1)
    p = croft.run(["verify", pretty, STORY], env=ENV)
    check(p.returncode == 0, "laid out in another way too", p.stdout + p.stderr)
    packed = os.path.join(CACHE, "packed.gguf")
    check(croft.run(["pack", STORY, "-o", packed], env=ENV).returncode == 0, "the model is packed")
    for how in ((packed,), (STORY, "--threads", 1), (STORY, "--pack", "off", "--batch-size", 3)):
        p = verify(r, *how)
        check(p.returncode == 0, "made again by %s" % (how,), p.stdout + p.stderr)
    reply, nothing = one(s, {"prompt": "Once", "max_tokens": 0, "echo": True})
    p = verify(nothing, STORY)
    check(p.returncode == 0 and ": 0 tokens" in p.stdout, "an answer of no tokens", p.stdout + p.stderr)
    return r


def differs(r, what, want, change=None, sum_too=True, args=(STORY,)):
    """`croft verify` of a changed receipt says so, by that error."""
    forged = json.loads(json.dumps(r))
    if change:
        change(forged)
    p = verify(summed(forged) if sum_too else forged, *args)
    ids = [w.rstrip("]\n") for w in p.stderr.split("[E-")[1:]]
    check(p.returncode == 1 and ids == [want], what, "exit %d, %s" % (p.returncode, p.stdout + p.stderr))
    return p.stderr


def changes(r):
    def set_to(*path_and_value):
        *path, key, value = path_and_value

        def change(forged):
            for step in path:
                forged = forged[step]
            forged[key] = value
        return change
    tokens = r["answers"][0]["tokens"]
    other = tokens[:3] + [tokens[3] + 1] + tokens[4:]
    differs(r, "a changed token", "REPLAY-03", set_to("answers", 0, "tokens", other), sum_too=False)
    differs(r, "a changed request", "REPLAY-03", set_to("request", "{}"), sum_too=False)
    differs(r, "a token forged with its sum", "REPLAY-07", set_to("answers", 0, "tokens", other))
    differs(r, "a token too few", "REPLAY-08", set_to("answers", 0, "tokens", tokens[:-1]))
    differs(r, "another end", "REPLAY-08", set_to("answers", 0, "finish", "stop"))
    differs(r, "another seed", "REPLAY-11", set_to("answers", 0, "seed", 4))
    differs(r, "another request", "REPLAY-12", set_to("request", json.dumps(dict(ASK, prompt="Once"))))
    differs(r, "another sampler", "REPLAY-13", set_to("request", json.dumps(dict(ASK, temperature=0.5))))
    differs(r, "a request that is refused", "REPLAY-06", set_to("request", json.dumps(dict(ASK, n=0))))
    differs(r, "a member less", "REPLAY-04", lambda forged: forged.pop("n_ctx"))
    differs(r, "no receipt", "REPLAY-02", lambda forged: forged.pop("croft_receipt"))
    said = differs(r, "other weights", "RECEIPT-02", args=(V3,))
    check("'stories260K'" in said, "and which", said)
    lacks = "neon" if "avx2" in croft.levels() else "avx2"
    differs(r, "an instruction set that is not here", "VERIFY-04", set_to("isa", lacks))
    p = verify([r, summed(dict(r, kv_type="q8_0")), summed(dict(r, isa="ref"))], STORY)
    check(p.returncode == 1 and p.stdout.count("is the same") == 1 and "KV type 'q8_0'" in p.stdout and
          "instruction set 'ref'" in p.stdout and "[E-VERIFY-06]" in p.stderr, "each of several is told", p.stdout + p.stderr)
    build = dict(r["build"], commit="elsewhere")
    p = verify(summed(dict(r, build=build)), STORY)
    check(p.returncode == 0 and "another build" in p.stderr, "another build with the same tokens is said", p.stderr)
    said = differs(r, "another build with others", "REPLAY-07",
                   lambda f: (set_to("build", build)(f), set_to("answers", 0, "tokens", other)(f)))
    check("another build" in said and "elsewhere" in said, "is told as that", said)
    p = verify(r, STORY, "--kv-type", "q8_0")
    check(p.returncode == 2 and "VERIFY-02" in p.stderr, "an option against the receipt is refused", p.stderr)
    p = verify(["{}", "[1]"], STORY)
    check(p.returncode == 1 and "REPLAY-02" in p.stderr, "a file of something else", p.stderr)


def levels():
    """At each instruction set, and with --exact and another KV type."""
    made = []
    for options in [("--isa", level) for level in croft.levels()] + [("--exact",), ("--kv-type", "bf16")]:
        with serving.Server(STORY, "--ctx-size", 256, *options, env=ENV) as s:
            made.append(one(s)[1])
    for r in made:
        p = verify(r, STORY)
        check(p.returncode == 0, "made again as it was made: %s %s exact %s" % (r["isa"], r["kv_type"], r["exact"]),
              p.stdout + p.stderr)


def adapters():
    lora = LLAMA + "/lora/adapter.gguf"
    model = LLAMA + "/model-f32.gguf"
    with serving.Server(model, "--ctx-size", 256, "--lora", lora, env=ENV) as s:
        r = one(s, {"prompt": [5, 6, 7], "max_tokens": 8})[1]
    check(len(r["adapter"]) == 64, "the adapter is in it")
    check(verify(r, model, "--lora", lora).returncode == 0, "made again with it")
    differs(r, "not without it", "RECEIPT-03", args=(model,))


def named():
    """Adapters under names are models of their own: in company, for sharing, and to verify."""
    lora, model, options = LLAMA + "/lora/adapter.gguf", LLAMA + "/model-f32.gguf", ("--temp", "0", "--raw", "-n", 12)
    names = ("--lora", "poet=" + lora, "--lora", "loud=%s/lora:2" % LLAMA)
    ask = {"prompt": "The ship that he had seen in the night was gone when the sun came up", "max_tokens": 12, "temperature": 0}
    want = {None: croft.run(["run", model, ask["prompt"], *options], env=ENV).stdout}
    for name, arg in (("poet", lora), ("loud", LLAMA + "/lora:2")):
        want[name] = croft.run(["run", model, ask["prompt"], *options, "--lora", arg], env=ENV).stdout
    check(len(set(want.values())) == 3, "three models say three things", str(want))
    made, lock = [], threading.Lock()
    with serving.Server(model, "--ctx-size", 256, "--parallel", 6, "--alias", "base", *names, env=ENV) as s:
        ids = [m["id"] for m in json.loads(s.ask("GET", "/v1/models")[2])["data"]]
        check(ids[-2:] == ["poet", "loud"] and len(ids) == 4, "they are listed", str(ids))
        check(json.loads(s.ask("GET", "/v1/models/poet")[2])["id"] == "poet", "and there by their names")

        def client(name):
            reply, r = one(s, dict(ask, model=name))
            with lock:
                made.append((name, reply, r))
        threads = [threading.Thread(target=client, args=(n,)) for n in ("poet", "base", "loud") * 4]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        for name, reply, r in made:
            key = None if name == "base" else name
            check(reply["choices"][0]["text"] + "\n" == want[key], "%s says what it says alone" % name, str((reply, want[key])))
            check(reply["model"] == (key or ids[0]) and (r["adapter"] is None) == (key is None), "and its name", str(reply)[:300])
        fresh = dict(ask, prompt="A letter lay on the table, and nobody knew who had brought it there")
        told = [s.ask("POST", "/v1/completions", dict(fresh, model=m), {"x-croft-debug": "1"})[1]["x-croft-cache"]
                for m in ("base", "poet", "poet", "loud", "base")]
        end = [t.split(": ", 1)[1].split(",")[0] for t in told]
        check(end[2] == end[4] == "all that can be" and "all that can be" not in (end[0], end[1], end[3]),
              "prompts are used again for each by itself", str(told))
        vectors = [json.loads(s.ask("POST", "/v1/embeddings", {"input": "A ship", "model": m})[2]) for m in ("base", "poet")]
        check(vectors[1]["model"] == "poet" and vectors[0]["data"] != vectors[1]["data"], "embeddings of its own")
    receipts = [r for _, _, r in made]
    p = verify(receipts, model, *names)
    check(p.returncode == 0 and p.stdout.count("is the same") == 12, "all are made again", p.stdout + p.stderr)
    poet = next(r for n, _, r in made if n == "poet")
    check(verify(poet, model, "--lora", lora).returncode == 0, "one also with its adapter alone")
    differs(poet, "not without it", "RECEIPT-03", args=(model,))
    differs(poet, "nor with another", "RECEIPT-03", args=(model, "--lora", "poet=%s:0.5" % lora))
    base = next(r for n, _, r in made if n == "base")
    differs(summed(dict(base, adapter=poet["adapter"])), "nor the base's tokens by it", "REPLAY-07", args=(model, *names))
    with serving.Server(model, "--ctx-size", 256, "--lora", lora, "--lora", "both=" + lora, env=ENV) as s:
        both = one(s, dict(ask, model="both"))[0]["choices"][0]["text"]
        check(one(s, ask)[0]["choices"][0]["text"] + "\n" == want["poet"], "one without a name always applies")
    two = croft.run(["run", model, ask["prompt"], *options, "--lora", lora, "--lora", lora], env=ENV).stdout
    check(both + "\n" == two, "also beside a named one", str((both, two)))
    p = croft.run(["run", model, "x", "--lora", "poet=" + lora], env=ENV)
    check(p.returncode == 2 and "E-LOAD-14" in p.stderr, "names are for the server", p.stderr)
    p = croft.run(["serve", model, "--port", 0, "--alias", "poet", *names], env=ENV)
    check(p.returncode == 2 and "E-SERVE-65" in p.stderr, "a name that is taken", p.stderr)


def company(name, model, options, n, n_vocab):
    asks = [serving.mix(i, n_vocab) for i in range(n)]
    with serving.Server(model, "--ctx-size", 256, "--parallel", 8, *options, env=ENV) as s:
        got = serving.gather(s, asks)
    check(None not in got, name + ": every answer has a receipt")
    got = [g for g in got if g]
    many = [json.loads(g) for g in got]
    check(len({json.dumps(a["tokens"]) for r in many for a in r["answers"]}) > n // 2, name + ": and they differ")
    p = verify(got, model)
    check(p.returncode == 0 and p.stdout.count("is the same") == n, name + ": each of %d in company is what it is alone" % n,
          (p.stdout + p.stderr)[-600:])


def chats():
    """A conversation whose turns count as sampled, on a model with a template."""
    first = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 6, "temperature": 0}
    model = with_template(STORY, "verify-chat.gguf", CHATML)
    with serving.Server(model, "--ctx-size", 512, env=ENV) as s:
        reply, r = one(s, first, "/v1/chat/completions")
        if not check(set(r["prompts"][0]["kinds"]) == {"0"}, "a prompt's kinds", str(r["prompts"])):
            return
        turn = first["messages"] + [{"role": "assistant", "content": "Hello there"}, {"role": "user", "content": "Go on"}]
        nxt = one(s, dict(first, messages=turn), "/v1/chat/completions")[1]
    check("1" in nxt["prompts"][0]["kinds"], "an assistant's turn counts as sampled", str(nxt["prompts"]))
    p = verify([r, nxt], model)
    check(p.returncode == 0, "chats are made again", (p.stdout + p.stderr)[-500:])


def dated():
    """A template that tells the day: the receipt's, not today."""
    day = "{{ bos_token }}{% for m in messages %}DAY {{ m['content'] }}{% endfor %}"
    fixed, today = (with_template(STORY, name, day.replace("DAY", text)) for name, text in
                    (("verify-day.gguf", "2026-01-05"), ("verify-today.gguf", "{{ strftime_now('%Y-%m-%d') }}")))
    with serving.Server(fixed, "--ctx-size", 256, env=ENV) as s:
        r = one(s, {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 6}, "/v1/chat/completions")[1]
    differs(r, "a prompt of another day", "REPLAY-12", args=(today,))
    p = verify(summed(dict(r, created=1767614400)), today)
    check(p.returncode == 0, "made again with its own day", p.stdout + p.stderr)


def keys():
    file = os.path.join(CACHE, "keys.json")
    made = [croft.run(["key", "add", n, "--key-file", file, "-q"], env=ENV).stdout.split()[0] for n in ("a", "b")]
    with serving.Server(STORY, "--ctx-size", 256, "--keys", file, env=ENV) as s:
        auth = [{"Authorization": "Bearer " + m} for m in made]
        fields = s.ask("POST", "/v1/completions", ASK, dict(auth[0], **{"x-croft-receipt": "yes"}))[1]
        path = "/v1/receipts/" + fields["x-croft-receipt"]
        check(s.ask("GET", path, None, auth[0])[0] in (200, 503), "a receipt is its key's")
        check(s.ask("GET", path, None, auth[1])[0] == 404, "and of no other")
        check(s.ask("GET", path)[0] == 401, "nor of none")


def main():
    with serving.Server(STORY, "--ctx-size", 512, env=ENV) as s:
        r = forms(s)
    changes(r)
    levels()
    adapters()
    named()
    chats()
    dated()
    keys()
    company("stories", STORY, (), 60, 500)
    company("v3", V3, ("--kv-type", "bf16"), 40, 250)
    sys.exit(croft.done())


if __name__ == "__main__":
    main()
