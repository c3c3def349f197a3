#!/usr/bin/env python3
"""serve.py - `croft serve` over real sockets: shapes, refusals, streams in company, limits, ends.

    tests/api/serve.py           from the root of the repository; $CROFT names another program

What the `openai` package makes of it is tests/serve/openai_package.py, run with build-venv/ where
that has the package.  Models are the bundled stories260K and tiny random ones.  Nothing asserts how
long a thing took.  Ends with the line "N passed, M failed".
"""
import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[0] = os.path.join(HERE, "../lib")
sys.path.append(HERE)                   # last: its http.py is not the library's
import croft
import serving
from answer import CHATML, ENV, R1, STORY, run, tmp, with_template
from croft import check

LLAMA = "tests/golden/llama31-nano/model-f32.gguf"
V3 = "tests/golden/v3-nano/model-f32.gguf"
WAIT = 120                              # seconds; only a server that hangs takes that long
VENV = "build-venv/bin/python"
LONG = {"max_tokens": 100000, "logit_bias": {"1": -100, "2": -100}, "temperature": 0}


class Server(serving.Server):
    """A server of its own; `with` ends it and checks how."""

    def __init__(self, model, *options, tls=None):
        super().__init__(model, *options, env=ENV, tls=tls)

    def ask(self, method, path, body=None, **fields):
        """(status, {field: value}, body as JSON or text)"""
        status, got, text = super().ask(method, path, body, {k.replace("_", "-"): v for k, v in fields.items()})
        return status, got, json.loads(text) if text[:1] in ("{", "[") else text

    def post(self, path, body, **fields):
        return self.ask("POST", path, body, **fields)

    def complete(self, **body):
        return self.post("/v1/completions", body)[2]

    def metrics(self):
        text = self.ask("GET", "/metrics")[2]
        return {k: float(v) for k, v in re.findall(r"^croft_(\S+) (\S+)$", text, re.M)}

    def wait_for(self, what, test):
        end = time.monotonic() + WAIT
        now = None
        while time.monotonic() < end:
            now = self.metrics()
            if test(now):
                return check(True, what)
            time.sleep(0.01)
        return check(False, what, str(now))

    def steps_at_rest(self):
        """The steps done once nothing runs: an answer can be out before its last step is counted."""
        end, last = time.monotonic() + WAIT, None
        while time.monotonic() < end:
            now = self.metrics()
            if last == now["steps_total"] and now["work_sequences"] == 0:
                return last
            last = now["steps_total"]
            time.sleep(0.05)
        return last

    def stream(self, path, body, **fields):
        """A connection whose reply is a stream that has begun."""
        c = self.connection()
        c.request("POST", path, json.dumps(dict(body, stream=True)), fields)
        return c, c.getresponse()


def events(r):
    """The data of a stream's events; [DONE] is the string."""
    out = []
    for line in r.read().decode().split("\n"):
        if line.startswith("data: "):
            out.append(line[6:] if line[6:] == "[DONE]" else json.loads(line[6:]))
    return out


def streamed(s, path, body):
    c, r = s.stream(path, body)
    got = events(r)
    c.close()
    return got


def text_of(got):
    return "".join(c.get("text", c.get("delta", {}).get("content") or "")
                   for e in got if e != "[DONE]" for c in e.get("choices", []))


def answer_of(reply):
    return reply["choices"][0]["text"]


def alone(model, prompt, seed, n, temp=1, *options):
    """What `croft run` makes of it."""
    p = run("run", model, prompt, "--raw", "--temp", temp, "--top-p", 1, "--top-k", 0, "--min-p", 0,
            "--seed", seed, "-n", n, "--json", *options)
    return json.loads(p.stdout)


# --- shapes --------------------------------------------------------------------------------------

def shapes(s):
    status, fields, body = s.ask("GET", "/v1/models", x_request_id="my-id")
    name = body["data"][0]["id"]
    check(status == 200 and body["object"] == "list" and body["data"][0]["max_model_len"] == 512,
          "the list of models", str(body))
    check(fields["x-request-id"] == "my-id", "the request's id comes back")
    for path in ("/models/" + name, "/v1/models/" + name, "/v1//models/" + name):
        check(s.ask("GET", path)[2]["id"] == name, "the model at " + path)
    status, _, body = s.ask("GET", "/v1/models/gpt-4")
    check(status == 404 and body["error"]["code"] == "model_not_found", "another model is not there")
    for path in ("/health", "/health/live", "/health/ready", "/v1/health"):
        check(s.ask("GET", path)[::2] == (200, {"status": "ok"}), path)
    check(s.ask("HEAD", "/v1/models")[0] == 200, "HEAD")
    status, _, body = s.ask("GET", "/nothing")
    check(status == 404 and body["error"]["code"] == "unknown_url", "no such path", str(body))
    status, fields, _ = s.ask("GET", "/v1/chat/completions")
    check(status == 405 and "POST" in fields["allow"], "no such method")
    props = s.ask("GET", "/props")[2]
    check(props["default_generation_settings"]["n_ctx"] == 512 and props["total_slots"] == 16, "props")
    info = s.ask("GET", "/v1/tokenizer_info")[2]
    check((info["bos_token"], info["bos_token_id"], info["eos_token"], info["eos_token_id"], info["vocab_size"]) ==
          ("<s>", 1, "</s>", 2, 512) and 2 in info["end_token_ids"] and info["fim"] is None and
          info["model_max_length"] == 512, "what the tokenizer is", str(info))
    ids = s.post("/tokenize", {"content": "Once upon a time"})[2]["tokens"]
    want = run("tokenize", STORY, "Once upon a time", "--json")
    check(ids == json.loads(want.stdout)["ids"][-len(ids):], "tokens are those of croft tokenize", want.stdout)
    special = s.post("/tokenize", {"prompt": "Once upon a time", "add_special_tokens": True})[2]
    check(special["tokens"] == [1] + ids and special["count"] == len(ids) + 1, "with BOS")
    back = s.post("/detokenize", {"tokens": ids})[2]
    check(back == {"content": "Once upon a time", "prompt": "Once upon a time"}, "and back", str(back))
    text = s.post("/apply-template", {"messages": [{"role": "user", "content": "Hi"}]})[2]["prompt"]
    check(text == "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n", "the template", text)
    for path, body, param in (("/tokenize", {"content": 1}, "content"), ("/tokenize", {}, "content"),
                              ("/tokenize", {"content": "", "add_special": 1}, "add_special"),
                              ("/detokenize", {"tokens": [1, "a"]}, "tokens"),
                              ("/detokenize", {"tokens": [99999]}, "tokens"), ("/tokenize", "[1]", None)):
        status, _, reply = s.post(path, body)
        check(status == 400 and reply["error"]["param"] == param, "%s %s" % (path, body), str(reply))


def chat(s):
    ask = {"messages": [{"role": "user", "content": "Once upon a time"}], "max_tokens": 24, "seed": 5}
    whole = s.post("/v1/chat/completions", ask)[2]
    c = whole["choices"][0]
    check(whole["object"] == "chat.completion" and c["message"]["role"] == "assistant" and
          c["finish_reason"] == "length" and whole["usage"]["completion_tokens"] == 24, "a chat", str(whole))
    got = streamed(s, "/chat/completions", dict(ask, stream_options={"include_usage": True}))
    check(got[-1] == "[DONE]" and got[0]["choices"][0]["delta"]["role"] == "assistant", "it streams", str(got[:1]))
    check(text_of(got) == c["message"]["content"], "the same text in pieces")
    usage = got[-2]["usage"]
    check(usage["prompt_tokens"] == whole["usage"]["prompt_tokens"] and got[-2]["choices"] == [], "usage at the end")
    check(usage["prompt_tokens_details"]["cached_tokens"] == usage["prompt_tokens"] - 1,
          "the prompt was not read again", str(usage))
    # the next turn takes over prompt and answer
    turn = ask["messages"] + [c["message"], {"role": "user", "content": "Go on"}]
    turn = [{k: m[k] for k in ("role", "content")} for m in turn]
    nxt = s.post("/v1/chat/completions", dict(ask, messages=turn))[2]["usage"]
    check(nxt["prompt_tokens_details"]["cached_tokens"] > usage["prompt_tokens"] - 4, "the next turn goes on", str(nxt))
    other = s.post("/v1/chat/completions", dict(ask, n=3))[2]["choices"]
    check([o["index"] for o in other] == [0, 1, 2] and other[0]["message"]["content"] == c["message"]["content"] and
          len({o["message"]["content"] for o in other}) == 3, "three answers, the first that of its seed", str(other))
    parts = [{"role": "developer", "content": [{"type": "text", "text": "Be brief."}]},
             {"role": "user", "content": [{"type": "text", "text": "Hi"}]}]
    check(s.post("/v1/chat/completions", dict(ask, messages=parts))[0] == 200, "parts, and a developer")


REFUSED = [
    ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools", "unsupported_parameter"),
    ({"response_format": {"type": "json_object"}}, "response_format", "unsupported_parameter"),
    ({"temperature": 3}, "temperature", "decimal_above_max_value"),
    ({"max_tokens": "5"}, "max_tokens", "invalid_type"),
    ({"logit_bias": {"99999": 1}}, "logit_bias", "invalid_value"),
    ({"stop": ["a\0"]}, "stop", "invalid_value"),
    ({"messages": []}, "messages", "empty_array"),
    ({"top_logprobs": 2}, "top_logprobs", "invalid_value"),
    ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]},
     "messages[0].content[0]", None),
    ({"messages": [{"role": "user", "content": "a " * 600}]}, "messages", "context_length_exceeded"),
]


def refusals(s):
    ask = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 2}
    steps = s.steps_at_rest()
    for change, param, code in REFUSED:
        for more in ({}, {"stream": True}):
            status, fields, body = s.post("/v1/chat/completions", dict(ask, **change, **more))
            e = body["error"] if isinstance(body, dict) else {}
            ok = status == 400 and (e["param"] or "").startswith(param) and code in (None, e["code"])
            check(ok and fields["x-should-retry"] == "false", "refused: %s" % str(change)[:60], str(body)[:300])
            if code == "context_length_exceeded":
                check(len(re.findall(r"\d+ tokens", e["message"])) == 2, "with both numbers", e["message"])
    for body, code in (({"prompt": "a", "suffix": "b"}, "unsupported_parameter"),
                       ({"prompt": "a", "n": 3, "best_of": 2}, "invalid_value"),
                       ({"prompt": "a", "best_of": 2, "stream": True}, "invalid_value"),
                       ({"prompt": [99999]}, "invalid_value"), ({"prompt": []}, "empty_array")):
        status, _, reply = s.post("/v1/completions", body)
        check(status == 400 and reply["error"]["code"] == code, "refused: %s" % body, str(reply))
    status, _, body = s.post("/v1/completions", "{")
    check(status == 400 and "error" in body, "no JSON")
    check(s.post("/v1/completions", "x", content_encoding="gzip")[0] == 415, "compressed")
    check(s.steps_at_rest() == steps, "no refusal costs a step")
    check(s.post("/v1/chat/completions", dict(ask, surprise=1))[0] == 200, "an unknown field is ignored")
    status, fields, body = s.post("/v1/chat/completions", dict(ask, model="gpt-4"))
    check(status == 200 and "gpt-4" in fields["x-croft-note"], "another model's name, with a note")
    status, fields, body = s.post("/v1/completions", {"prompt": "a", "max_tokens": 9999, "stop": "."})
    check(status == 200 and "max_tokens" in fields["x-croft-note"], "max_tokens is cut and said", str(fields))


# --- answers --------------------------------------------------------------------------------------

def answers(s, model, prompt):
    for seed, temp in ((3, 1), (4, 0)):
        want = alone(model, prompt, seed, 30, temp, "--logprobs", 3)
        got = s.complete(prompt=prompt, seed=seed, temperature=temp, max_tokens=30, logprobs=3)
        c = got["choices"][0]
        check(c["text"] == want["answer"], "the answer of croft run", repr((c["text"], want["answer"])))
        probs = [t["logprob"] for t in want["tokens"]]
        mine = c["logprobs"]["token_logprobs"]
        check(len(mine) == len(probs) and all(abs(a - b) < 1e-4 for a, b in zip(mine, probs)),
              "and its log-probabilities", str((mine, probs)))
        check(all(len(t) in (3, 4) for t in c["logprobs"]["top_logprobs"]), "three alternatives")
    text = s.complete(prompt=prompt, temperature=0, max_tokens=40)["choices"][0]["text"]
    for at in (3, 10, len(text) // 2):
        stop = text[at:at + 4]
        want = text[:text.index(stop)]
        got = streamed(s, "/v1/completions", dict(prompt=prompt, temperature=0, max_tokens=40, stop=[stop, "\1"],
                                                  logprobs=0))
        check(text_of(got) == want, "a stop string is never half sent", repr((text_of(got), stop, want)))
        ends = [c["finish_reason"] for e in got[:-1] for c in e["choices"] if c["finish_reason"]]
        check(ends == ["stop"], "and the reason", str(ends))
        toks = "".join(t for e in got[:-1] for c in e["choices"] if c["logprobs"] for t in c["logprobs"]["tokens"])
        check(toks.startswith(want) and (not want or len(toks) < len(want) + 12), "and no token behind it",
              repr((toks, want)))
    each = [answer_of(s.complete(prompt=prompt, seed=60 + i, max_tokens=12)) for i in range(3)]
    many = s.complete(prompt=[prompt, prompt + " and"], seed=60, n=3, max_tokens=12)
    check([c["text"] for c in many["choices"][:3]] == each and len(many["choices"]) == 6,
          "n answers to each prompt are those of their seeds", str(many["choices"]))
    ban = s.complete(prompt=prompt, temperature=0, max_tokens=1, logprobs=0)["choices"][0]["logprobs"]["tokens"][0]
    ids = s.post("/tokenize", {"content": prompt + ban})[2]["tokens"]
    other = s.complete(prompt=prompt, temperature=0, max_tokens=1, logit_bias={str(ids[-1]): -100})
    check(answer_of(other) != ban, "logit_bias forbids a token", repr(ban))


def echoes(s, prompt):
    """Log-probabilities of a text, given when it is made and when it is read."""
    made = s.complete(prompt=prompt, temperature=0, max_tokens=20, logprobs=2, echo=True)["choices"][0]
    ids = s.post("/tokenize", {"content": prompt, "add_special": True})[2]["tokens"]
    n = len(ids)
    check(made["text"].startswith(prompt) and len(made["logprobs"]["tokens"]) == n + 20, "echo", str(made)[:300])
    check(made["logprobs"]["token_logprobs"][0] is None, "the first token has no probability")
    whole = ids + s.post("/tokenize", {"content": made["text"]})[2]["tokens"][n - 1:]
    if len(whole) != n + 20:
        return check(False, "the text's tokens are those it was made of", str((whole, made)))
    reads = [s.complete(prompt=[whole], max_tokens=m, logprobs=2, echo=True, temperature=0)["choices"][0]
             for m in (0, 1)]
    for read in reads:
        a, b = read["logprobs"]["token_logprobs"][1:n + 20], made["logprobs"]["token_logprobs"][1:]
        check(all(abs(x - y) < 2e-3 for x, y in zip(a, b)) and len(a) == len(b), "read as it was made", str((a, b)))
    check(len(reads[0]["logprobs"]["tokens"]) == n + 20 and len(reads[1]["logprobs"]["tokens"]) == n + 21,
          "max_tokens 0 reads alone")
    best = [max(t.values()) <= p + 2e-3 for t, p in zip(reads[0]["logprobs"]["top_logprobs"][n:],
                                                        reads[0]["logprobs"]["token_logprobs"][n:])]
    check(all(best), "what was greedy is the best")
    nothing = s.complete(prompt=prompt, max_tokens=0, echo=True)["choices"][0]
    check(nothing["text"] == prompt and nothing["finish_reason"] == "length", "echo of a text alone")


def company(s, name, dice):
    """16 streams at once, some with one beginning, some that leave: each is what it is alone."""
    asks = []
    for i in range(16):
        body = {"prompt": dice[(i % 3) * 40:(i % 3) * 40 + 30 + i] + [dice[i]], "max_tokens": 20 + 3 * i}
        body.update({"temperature": 0} if i % 4 == 0 else {"temperature": 1, "seed": i} if i % 4 < 3 else
                    {"temperature": 0.8, "top_p": 0.9, "seed": i, "frequency_penalty": 0.5})
        if i % 5 == 4:
            body["logprobs"] = 1
        asks.append(body)
    want = [text_of(streamed(s, "/v1/completions", b)) for b in asks]
    got = [None] * 32

    def one(i):
        got[i] = text_of(streamed(s, "/v1/completions", asks[i % 16]))

    def leave(i):
        c, r = s.stream("/v1/completions", dict(asks[i], max_tokens=400, **{"logit_bias": {"1": -100}}))
        r.read(200)
        r.close()
        c.close()
    threads = [threading.Thread(target=one, args=(i,)) for i in range(32)]
    threads += [threading.Thread(target=leave, args=(i,)) for i in range(0, 16, 3)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    wrong = [i for i in range(32) if got[i] != want[i % 16]]
    check(not wrong, name + ": 32 streams in company are those alone", str(wrong))
    check(len(set(want)) > 8, name + ": and they differ")


def thinking():
    model = with_template(STORY, "serve-r1.gguf", R1)
    ask = {"messages": [{"role": "user", "content": "Once"}], "max_tokens": 12, "temperature": 0}
    with Server(model, "--ctx-size", 256) as s:
        whole = s.post("/v1/chat/completions", ask)[2]
        m = whole["choices"][0]["message"]
        check(m["content"] == "" and len(m["reasoning_content"]) > 5, "thinking comes apart", str(m))
        check(whole["usage"]["completion_tokens_details"]["reasoning_tokens"] == 12, "and is counted")
        got = streamed(s, "/v1/chat/completions", ask)
        parts = "".join(e["choices"][0]["delta"].get("reasoning_content") or "" for e in got[:-1] if e["choices"])
        check(parts == m["reasoning_content"] and text_of(got) == "", "streamed too", repr(parts))


def best(s, prompt):
    """best_of: the best by the mean log-probability of all their tokens, the end's too, as OpenAI documents."""
    ask = {"prompt": [prompt, prompt + " and then"], "max_tokens": 60, "seed": 11, "temperature": 1.2, "stop": ["."]}
    made = s.complete(n=6, **ask)
    _, fields, chosen = s.post("/v1/completions", dict(ask, n=2, best_of=6), x_croft_receipt="1")
    status, _, r = s.ask("GET", "/v1/receipts/" + fields["x-croft-receipt"])
    while status == 503:
        time.sleep(0.05)
        status, _, r = s.ask("GET", "/v1/receipts/" + fields["x-croft-receipt"])
    means = []
    for a in r["answers"]:
        ids = r["prompts"][a["prompt"]]["ids"]
        read = s.complete(prompt=[ids + a["tokens"]], max_tokens=0, echo=True, logprobs=0)["choices"][0]
        probs = read["logprobs"]["token_logprobs"][len(ids):]
        means.append((made["choices"][len(means)]["text"], sum(probs) / len(probs)))
    check(len({len(a["tokens"]) for a in r["answers"]}) > 3, "answers of several lengths")
    check([c["index"] for c in chosen["choices"]] == [0, 1, 2, 3], "two of each prompt", str(chosen["choices"]))
    for p in (0, 1):
        left = means[6 * p:6 * p + 6]
        got = []
        for c in chosen["choices"][2 * p:2 * p + 2]:
            same = max((m for m in left if m[0] == c["text"]), key=lambda m: m[1], default=None)
            if check(same, "a chosen one is one of the six", repr(c["text"])):
                left.remove(same)
                got.append(same[1])
        # read as a prompt, a token's row is rounded otherwise than when it was drawn
        left = [mean for _, mean in left]
        check(len(got) == 2 and got[0] > got[1] - 4e-3 and got[1] > max(left) - 4e-3 and got[1] > min(left) + 0.02,
              "the two best of six, the best first", str((got, left)))
    check(chosen["usage"]["completion_tokens"] == made["usage"]["completion_tokens"], "all that was drawn is counted")
    probs = s.complete(n=1, best_of=4, logprobs=1, **ask)["choices"]
    check(len(probs) == 2 and all(c["text"].startswith("".join(c["logprobs"]["tokens"])[:len(c["text"])])
                                  for c in probs), "with its own log-probabilities", str(probs)[:300])


def filling():
    """suffix, where the vocabulary has marks to fill in between."""
    folder = tmp("fim")
    shutil.copytree("tests/golden/qwen3-nano", folder)
    with open(folder + "/tokenizer.json") as f:
        t = json.load(f)
    marks = {"prefix": 512, "suffix": 513, "middle": 514}
    for name, i in marks.items():
        t["added_tokens"].append(dict(t["added_tokens"][0], id=i, content="<|fim_%s|>" % name))
    with open(folder + "/tokenizer.json", "w") as f:
        json.dump(t, f)
    with Server(folder, "--ctx-size", 256) as s:
        check(s.ask("GET", "/tokenizer_info")[2]["fim"] == marks, "the marks are told")
        ids = [s.post("/tokenize", {"content": x})[2]["tokens"] for x in ("def f(", "return x")]
        for prompt in ("def f(", ids[0]):
            _, fields, body = s.post("/v1/completions", {"prompt": prompt, "suffix": "return x", "max_tokens": 4, "seed": 1},
                                     x_croft_receipt="1")
            status, _, r = s.ask("GET", "/v1/receipts/" + fields["x-croft-receipt"])
            while status == 503:
                time.sleep(0.05)
                status, _, r = s.ask("GET", "/v1/receipts/" + fields["x-croft-receipt"])
            check(r["prompts"][0]["ids"] == [512] + ids[0] + [513] + ids[1] + [514], "before, behind, and what stands between",
                  str(r["prompts"]))
            check(body["usage"]["completion_tokens"] == 4, "an answer", str(body))
        status, _, body = s.post("/v1/completions", {"prompt": "a", "suffix": "b", "echo": True})
        check(status == 400 and body["error"]["param"] == "echo", "no echo with it", str(body))
        check(s.complete(prompt="def f(", max_tokens=3, suffix="")["usage"]["prompt_tokens"] == len(ids[0]), "an empty one is none")


def reuse():
    """x-croft-debug: what of a prompt was computed before, at which byte and why no more."""
    def chat(*texts):
        roles = ("system", "user", "assistant", "user", "assistant")
        return {"messages": [{"role": r, "content": t} for r, t in zip(roles, texts)], "max_tokens": 1, "temperature": 0}

    def told(path, body, **fields):
        _, got, reply = s.post(path, body, x_croft_debug="1", **fields)
        usage = reply["usage"] if isinstance(reply, dict) and "usage" in reply else {}
        line = got.get("x-croft-cache", "")
        m = re.match(r"reused (\d+) of (\d+) tokens: (.*)", line)
        check(m and (int(m[1]), int(m[2])) == (usage["prompt_tokens_details"]["cached_tokens"] if "prompt_tokens_details" in usage
                                               else int(m[1]), usage["prompt_tokens"]), "as its usage says", line + str(reply)[:300])
        return m[3] if m else line
    long = "Once upon a time there was a little girl who had a red ball and a dog. "
    model = with_template("tests/golden/qwen2-nano/model-f32.gguf", "serve-reuse.gguf", CHATML)
    with Server(model, "--ctx-size", 1024, "--parallel", 4, "-v") as s:
        check(told("/v1/chat/completions", chat("Be brief.", long)).startswith("nothing of this key"), "the first of its kind")
        check(told("/v1/chat/completions", chat("Be brief.", long)) == "all that can be", "the same again")
        got = told("/v1/chat/completions", chat("Be brief.", long[:40] + "cat" + long[43:]))
        text = s.post("/apply-template", chat("Be brief.", long))[2]["prompt"]
        at = text.index(long) + 40
        m = re.fullmatch(r"what is kept goes on with another text, from token \d+, byte (\d+) \(byte (\d+) of segment (\d+), text\)", got)
        check(m and at - 8 < int(m[1]) <= at and 32 < int(m[2]) <= 40, "at which byte a text differs", "%s, want %d" % (got, at))
        got = told("/v1/chat/completions", chat("Be brief.", long, "Once"))
        check(got.startswith("nothing that is kept goes on, from token"), "the next turn", got)
        ids = s.post("/tokenize", {"content": long})[2]["tokens"]
        got = told("/v1/completions", {"prompt": [ids], "max_tokens": 1})
        check(re.fullmatch(r"what is kept goes on with another text, from token \d+", got), "of ids", got)
        got = told("/v1/completions", {"prompt": long[:30] + "?", "max_tokens": 1})
        check(re.search(r"another text, from token \d+, byte (\d+)$", got), "of a text", got)
        got = told("/v1/completions", {"prompt": long, "max_tokens": 1, "echo": True, "logprobs": 1})
        check(got == "the rows of all are wanted", "where nothing may be taken", got)
        check("red ball" not in s.log() and s.log().count(": reused ") == 6, "the log says it, without a text", s.log()[-1500:])
        c, r = s.stream("/v1/completions", {"prompt": long, "max_tokens": 4}, **{"x-croft-debug": "1"})
        lines = r.read().decode().split("\n")
        c.close()
        check(sum(l.startswith(": x-croft-cache: reused ") for l in lines) == 1 and "data: [DONE]" in lines,
              "in a stream it is a comment", str(lines)[:400])
        _, got, _ = s.post("/v1/embeddings", {"input": [long, "A"]}, x_croft_debug="1")
        check(got.get("x-croft-cache", "").startswith("prompt 0: reused "), "of embeddings", str(got))
        check("x-croft-cache" not in s.post("/v1/completions", {"prompt": long, "max_tokens": 1})[1], "only who asks is told")
    # pages for one context: what was asked first is given up
    with Server(model, "--ctx-size", 256, "--parallel", 1) as s:
        words = [("word %d " % i) * 30 for i in range(12)]
        for w in words:
            s.complete(prompt=w, max_tokens=1)
        got = told("/v1/completions", {"prompt": words[0], "max_tokens": 1})
        check(got.startswith("what was kept was given up for newer texts, from token"), "of a page that was given up", got)


# --- limits and ends ------------------------------------------------------------------------------

def leaving():
    with Server(STORY, "--ctx-size", "200k", "--parallel", 8) as s:
        s.complete(prompt="Once", max_tokens=1)
        before = s.metrics()
        held = [s.stream("/v1/completions", dict(LONG, prompt="Once upon a time %d" % i)) for i in range(4)]
        for c, r in held:
            r.read(300)
        slots = s.ask("GET", "/slots")[2]
        busy = [x for x in slots if x["is_processing"]]
        check(len(slots) == 8 and len(busy) == 4 and all(x["n_prompt_tokens"] > 3 and x["n_decoded"] > 0 and
              x["n_predict"] == 100000 for x in busy) and len({x["id_task"] for x in busy}) == 4, "slots", str(slots))
        s.wait_for("they hold pages", lambda m: m["work_sequences"] == 4 and
                   m["kv_pages_used"] >= before["kv_pages_used"] + 4)
        for c, r in held:
            r.close()
            c.close()
        s.wait_for("clients that left hold no pages", lambda m: m["work_sequences"] == 0 and
                   m["kv_pages_used"] == before["kv_pages_used"] and
                   m['requests_total{end="client_left"}'] == 4)
        steps = s.steps_at_rest()
        check(s.metrics()["steps_total"] == steps, "and cost no step")
        check(not any(x["is_processing"] for x in s.ask("GET", "/slots")[2]), "nor a slot")
        check(s.complete(prompt="Once", max_tokens=3)["usage"]["completion_tokens"] == 3, "and it goes on")


def long_requests():
    """A long prompt is read beside the others' replies: they do not wait for it."""
    text = "Once upon a time there was a little girl who had a red ball. " * 24000
    body = json.dumps({"prompt": text, "max_tokens": 1})
    head = "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body)
    with Server(STORY, "--ctx-size", "400k", "--parallel", 4) as s:
        held = []
        for _ in range(6):
            c = s.connection()
            c.connect()
            c.sock.sendall((head + body).encode())
            held.append(c.sock)
        check(s.ask("GET", "/health/live")[0] == 200, "another is answered")
        waits = len(held) - len(select.select(held, [], [], 0)[0])
        check(waits > 0, "while long ones are still being read", str(waits))
        held.pop().close()              # one leaves
        for c in held:
            got = c.recv(65536).decode()
            check(" 400 " in got and "context_length_exceeded" in got, "and refused by their tokens", got[:300])
        long = {"prompt": "Once", "max_tokens": 3, "model": "other", "seed": 1, "padding": "x" * 70000}
        status, fields, reply = s.post("/v1/completions", long, x_croft_receipt="1")
        check(status == 200 and reply["usage"]["completion_tokens"] == 3 and
              "other" in fields["x-croft-note"] and "x-croft-receipt" in fields, "one that fits is answered", str(reply)[:300])
        check(s.post("/v1/completions", "{" + " " * 70000)[0] == 400, "one that cannot be read is refused")
        check(s.post("/tokenize", {"content": "a" * (1 << 20)})[0] == 413, "what is answered at once has a bound")
        c, r = s.stream("/v1/completions", long)
        check(events(r)[-1] == "[DONE]", "and streamed")
        c.close()


def overload():
    with Server(STORY, "--ctx-size", "200k", "--parallel", 1, "--queue", 2) as s:
        c, r = s.stream("/v1/completions", dict(LONG, prompt="Once upon"))
        r.read(200)
        late = [s.stream("/v1/completions", {"prompt": "The cat", "max_tokens": 5, "seed": i}) for i in range(2)]
        check(all(r2.status == 200 for _, r2 in late), "two wait, their streams are open")
        s.wait_for("they wait", lambda m: m["queue_sequences"] == 2)
        steps = s.metrics()
        for more in ({}, {"stream": True}):
            status, fields, body = s.post("/v1/completions", {"prompt": "More", **more})
            check(status == 429 and body["error"]["code"] == "queue_full" and int(fields["retry-after"]) >= 1,
                  "the next is told to come again", str((status, fields, body)))
        check(s.ask("GET", "/health/ready")[0] == 200, "a full server is ready")
        r.close()
        c.close()
        for c2, r2 in late:
            check(events(r2)[-1] == "[DONE]", "those that waited get their answers")
            c2.close()
        check(s.metrics()['requests_total{end="queue_full"}'] == 2, "counted", str(steps))


def deadline():
    with Server(STORY, "--ctx-size", "1000k", "--deadline", 1) as s:
        status, fields, body = s.post("/v1/completions", dict(LONG, prompt="Once", max_tokens=900000))
        check(status == 504 and body["error"]["code"] == "deadline_exceeded", "too long, whole", str(body)[:200])
        got = streamed(s, "/v1/completions", dict(LONG, prompt="Once", max_tokens=900000))
        check(got[-1]["error"]["code"] == "deadline_exceeded", "too long, streamed", str(got[-1])[:200])
        s.wait_for("nothing goes on", lambda m: m["work_sequences"] == 0)


def drain():
    s = Server(STORY, "--ctx-size", "200k")
    with s:
        c, r = s.stream("/v1/completions", dict(LONG, prompt="Once", max_tokens=3000))
        first = r.read(100)
        s.p.send_signal(signal.SIGTERM)
        rest = (first + r.read()).decode()
        check(rest.rstrip().endswith("data: [DONE]") and rest.count('"text":') >= 3000,
              "SIGTERM lets a stream finish", rest[-300:])
    with Server(STORY, "--ctx-size", "200k") as s:
        c, r = s.stream("/v1/completions", dict(LONG, prompt="Once"))
        r.read(100)
        s.p.send_signal(signal.SIGINT)
        time.sleep(0.2)
        s.p.send_signal(signal.SIGINT)
        check(s.p.wait(WAIT) == 0, "the second signal ends it at once", s.log()[-300:])


def keys():
    file = tmp("serve-keys.json")

    def key(*args):
        return run("key", *args, "--key-file", file, "-q").stdout.strip().split()
    made = {n: key("add", n, *more)[0] for n, more in
            (("a", ()), ("b", ()), ("c", ("--group", "team")), ("d", ("--group", "team")), ("slow", ("--rpm", "2")),
             ("watch", ("--scope", "metrics")), ("one", ("--in-flight", "1")), ("small", ("--tpm", "40")))}
    auth = {n: "Bearer " + t for n, t in made.items()}
    ask = {"prompt": "Once upon a time there was a little girl and a dog", "max_tokens": 4}
    with Server(STORY, "--ctx-size", "100k", "--keys", file) as s:
        def cached(n):
            usage = s.post("/v1/completions", ask, Authorization=auth[n])[2]["usage"]
            return usage["prompt_tokens_details"]["cached_tokens"]
        status, fields, body = s.post("/v1/completions", ask)
        check(status == 401 and "WWW-Authenticate".lower() in fields and "API key" in body["error"]["message"],
              "without a key", str(body))
        status, _, body = s.post("/v1/completions", ask, Authorization="Bearer croft_a_" + "0" * 64)
        check(status == 401 and body["error"]["code"] == "invalid_api_key", "with a wrong one", str(body))
        check(s.post("/v1/completions", ask, x_api_key=made["b"])[0] == 200, "with x-api-key")
        check(s.ask("GET", "/health")[0] == 200, "health asks nobody")
        check(s.post("/v1/completions", ask, Authorization=auth["watch"])[0] == 403, "of another scope")
        check(s.ask("GET", "/metrics", Authorization=auth["watch"])[0] == 200 and
              s.ask("GET", "/metrics", Authorization=auth["a"])[0] == 403, "metrics are for their scope")
        check(cached("a") == 0 and cached("a") > 10, "a key finds its own prompt")
        check(cached("c") == 0 and cached("d") > 10, "a group shares, and nobody with others")
        for n, code in (("slow", "requests"), ("small", "tokens")):
            got = [s.post("/v1/completions", ask, Authorization=auth[n]) for _ in range(4)]
            check(got[0][0] == 200 and got[3][0] == 429 and got[3][2]["error"]["type"] == code and
                  int(got[3][1]["retry-after"]) >= 1, "the limit of %s a minute" % code, str(got[3]))
        c, r = s.stream("/v1/completions", dict(LONG, prompt="Once"), Authorization=auth["one"])
        r.read(100)
        check(s.post("/v1/completions", ask, Authorization=auth["one"])[0] == 429, "one at once")
        r.close()
        c.close()
        end = time.monotonic() + WAIT
        while s.post("/v1/completions", ask, Authorization=auth["one"])[0] != 200 and time.monotonic() < end:
            time.sleep(0.02)
        check(time.monotonic() < end, "and then the next")
        key("revoke", "a")
        s.p.send_signal(signal.SIGHUP)
        while s.post("/v1/completions", ask, Authorization=auth["a"])[0] != 401 and time.monotonic() < end:
            time.sleep(0.02)
        check(time.monotonic() < end, "a revoked key after SIGHUP")
        check(s.post("/v1/completions", ask, Authorization=auth["b"])[0] == 200, "and another goes on")


def options():
    p = run("serve", STORY, "--host", "0.0.0.0", "--port", 0)
    check(p.returncode == 2 and "key" in p.stderr, "no public address without keys", p.stderr)
    p = run("serve", STORY, "--tls-cert", "x", "--port", 0)
    check(p.returncode == 2, "a certificate without its key", p.stderr)
    p = run("serve", STORY, "--port", 0, "--draft", "mtp")
    check(p.returncode == 2 and "lookup" in p.stderr, "guesses of many come from their texts", p.stderr)
    p = run("serve", "no-such-model", "--port", 0)
    check(p.returncode == 3, "no such model", p.stderr)
    path = tmp("serve.sock")
    with Server(STORY, "--host", path, "--base-path", "/croft", "--alias", "tale", "--strict-models") as s:
        check(s.ask("GET", "/croft/v1/models")[2]["data"][1]["id"] == "tale", "a socket, a base path, an alias")
        check(s.ask("GET", "/v1/models")[0] == 404, "nothing beside the base path")
        status, _, body = s.post("/croft/completions", {"prompt": "a", "model": "gpt-4"})
        check(status == 404 and body["error"]["code"] == "model_not_found", "--strict-models", str(body))
        check(s.post("/croft/completions", {"prompt": "a", "model": "tale"})[0] == 200, "its own name")
        status, _, body = s.post("/croft/v1/chat/completions", {"messages": [{"role": "user", "content": "a"}]})
        check(status == 400 and "chat format" in body["error"]["message"], "a base model has no chat", str(body))
    check(not os.path.exists(path), "the socket is gone")
    with Server(STORY, "--cors-origins", "https://a.example", "--access-log") as s:
        _, fields, _ = s.ask("GET", "/v1/models", Origin="https://a.example")
        check(fields.get("access-control-allow-origin") == "https://a.example", "a page that may ask", str(fields))
        check(s.ask("GET", "/v1/models", Origin="https://b.example")[0] == 403, "a page that may not")
        check(s.ask("GET", "/v1/models", Host="evil.example")[0] == 421, "another name in Host")
        s.complete(prompt="hidden words", max_tokens=1)
    lines = [json.loads(l) for l in s.log().splitlines() if l.startswith("{")]
    check(len(lines) == 4 and "hidden" not in s.log(), "the access log, without prompts", s.log())
    with Server(STORY, "-v") as s:
        s.complete(prompt="a", max_tokens=1, surprise=1)
    check(s.log().count("surprise") == 1, "an ignored field is one line of the log", s.log())


def tls():
    cert, key = tmp("cert.pem"), tmp("key.pem")
    made = subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", cert,
                           "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"],
                          capture_output=True)
    if made.returncode:
        return croft.skip("serve-tls", "openssl cannot make a certificate here")
    with Server(STORY, "--tls-cert", cert, "--tls-key", key, tls=cert) as s:
        check(s.complete(prompt="Once", max_tokens=3)["usage"]["completion_tokens"] == 3, "over TLS")


def package(model):
    """The `openai` package against a server."""
    if not os.path.exists(VENV) or subprocess.run([VENV, "-c", "import openai"], capture_output=True).returncode:
        return croft.skip("serve-openai", "build-venv/ lacks the openai package: tools/setup")
    with Server(model, "--ctx-size", "100k", "--parallel", 16) as s:
        p = subprocess.run([VENV, "tests/serve/openai_package.py", str(s.port)], capture_output=True, text=True)
        m = re.search(r"^(\d+) passed, (\d+) failed", p.stdout, re.M)
        check(m and m[2] == "0" and int(m[1]) > 20, "the openai package", p.stdout[-1500:] + p.stderr[-1500:])


def main():
    chatty = with_template(STORY, "serve-chat.gguf", CHATML)
    with Server(chatty, "--ctx-size", 512, "--parallel", 16) as s:
        shapes(s)
        chat(s)
        refusals(s)
        answers(s, STORY, "Once upon a time")
        echoes(s, "Once upon a time, there was a little")
        best(s, "Once upon a time, there was a little")
    for name, model, *more in (("llama", LLAMA), ("v3", V3, "--draft", "lookup"), ("stories", STORY),
                               ("stories, guessing", STORY, "--draft", "lookup"),
                               ("stories, without guesses", STORY, "--draft", "off")):
        with Server(model, "--ctx-size", 512, "--parallel", 12, *more) as s:
            company(s, name, [(i * i * 7 + 11 * i) % 250 + 5 for i in range(200)])
            n = s.metrics()
            check((n["guessed_tokens_total"] > 0) == ("lookup" in more) or not more,
                  name + ": guesses are counted", str(n))
    thinking()
    filling()
    reuse()
    leaving()
    long_requests()
    overload()
    deadline()
    drain()
    keys()
    options()
    tls()
    package(chatty)
    sys.exit(croft.done())


if __name__ == "__main__":
    main()
