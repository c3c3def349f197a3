#!/usr/bin/env python3
"""schema.py - what src/wire writes fits OpenAI's own document, closed: nothing missing, nothing
misspelt.  Where croft says more than the document (EXTRA), or the API does other than its document
says (the completions route), it is said here.  Needs the package jsonschema.
"""
import base64
import itertools
import json
import os
import struct
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
import croft
import wire

import jsonschema

# Beyond the document: what clients of other servers read.
EXTRA = {"reasoning_content", "max_model_len", "context_length"}
EXTRA_OF = {"model": {"max_input_tokens", "max_tokens", "type", "display_name", "created_at"},
            "list": {"has_more", "first_id", "last_id"}}
# Fields of requests that the document has and croft does not know: ignored and named in the log.
UNKNOWN = {"chat": {"moderation", "prompt_cache_options"}, "completions": set(), "embeddings": set()}

with open(os.path.join(wire.DATA, "openapi.json")) as f:
    DOCUMENT = json.load(f)


def without_extra(value):
    if isinstance(value, list):
        return [without_extra(v) for v in value]
    if isinstance(value, dict):
        extra = EXTRA | EXTRA_OF.get(value.get("object"), set())
        return {k: without_extra(v) for k, v in value.items() if k not in extra}
    return value


def errors_of(name, value):
    schema = {"$ref": "#/$defs/" + name, "$defs": DOCUMENT["$defs"]}
    return ["%s: %s" % (e.json_path, e.message[:200]) for e in
            jsonschema.Draft202012Validator(schema).iter_errors(without_extra(value))]


def fits(name, value, what):
    wrong = errors_of(name, value)
    croft.check(not wrong, "%s is a %s" % (what, name), str(wrong[:3]))


def control():
    """The schema does refuse: each key taken away or misspelt, where the document needs it."""
    good = json.loads(wire.write("chat", CHAT, EVENTS))
    for key in ("id", "object", "created", "model", "choices"):
        bad = {k: v for k, v in good.items() if k != key}
        croft.check(errors_of("CreateChatCompletionResponse", bad), "control: without " + key)
        croft.check(errors_of("CreateChatCompletionResponse", dict(bad, **{key + "s": good[key]})),
                    "control: %ss" % key)


CHAT = {"messages": [{"role": "user", "content": "a"}]}
TOKEN = {"text": "h\u00e9", "logprob": -0.25, "top": [{"text": "x", "logprob": -3}, {"hex": "e282",
                                                                                   "logprob": -4}]}
EVENTS = [{"kind": "begin"}, {"kind": "think", "text": "hm"},
          {"kind": "text", "text": "h\u00e9", "logprobs": [TOKEN]},
          {"kind": "text", "hex": "e282", "logprobs": [{"hex": "e282", "logprob": -1}]},
          {"kind": "end", "finish": "length"},
          {"kind": "done", "usage": {"prompt": 4, "cached": 3, "answer": 2, "think": 1}}]


def for_choices(n):
    """The same for n choices, one after the other."""
    middle = [dict(e, choice=i) for i in range(n) for e in EVENTS[1:-1]]
    return [EVENTS[0]] + middle + [EVENTS[-1]]


def legacy(value):
    """The route /v1/completions: its document has no null where the API has one: the finish_reason
    of a chunk, the log probability of a prompt's first token, usage before the last chunk."""
    value = json.loads(json.dumps(value))
    if value.get("usage", 0) is None:
        del value["usage"]
    for choice in value["choices"]:
        choice["finish_reason"] = choice["finish_reason"] or "stop"
        for key, nothing in (("token_logprobs", 0.0), ("top_logprobs", {})):
            if choice["logprobs"]:
                choice["logprobs"][key] = [nothing if v is None else v
                                           for v in choice["logprobs"][key]]
    return value


def check_chat():
    for n, logprobs, usage in itertools.product((1, 3), (False, True), (False, True)):
        body = dict(CHAT, n=n, logprobs=logprobs)
        what = "chat, n %d, logprobs %s" % (n, logprobs)
        about = {"fingerprint": "fp_1", "created": 7}
        whole = json.loads(wire.write("chat", body, for_choices(n), about))
        fits("CreateChatCompletionResponse", whole, what)
        croft.check(len(whole["choices"]) == n and
                    all(bool(c["logprobs"]) == logprobs for c in whole["choices"]), what)
        body.update(stream=True, stream_options={"include_usage": usage})
        stream, ended = wire.chunks(wire.write("chat", body, for_choices(n), about))
        croft.check(ended, what + ": [DONE]")
        for chunk in stream:
            fits("CreateChatCompletionStreamResponse", chunk, what + ", a chunk")
        croft.check([c for c in stream if c.get("usage")] == (stream[-1:] if usage else []),
                    what + ": usage once, in the last chunk")
        croft.check(all(("usage" in c) == usage for c in stream), what + ": usage when asked for")


def check_completions():
    for n, logprobs in itertools.product((1, 2), (None, 0, 2)):
        body = {"prompt": ["a", "b"], "n": n, "logprobs": logprobs, "echo": True}
        events = for_choices(2 * n)
        events[2] = dict(events[2], logprobs=[{"text": "a", "logprob": None}, TOKEN])
        what = "completions, n %d, logprobs %s" % (n, logprobs)
        whole = json.loads(wire.write("completions", body, events))
        fits("CreateCompletionResponse", legacy(whole), what)
        croft.check(len(whole["choices"]) == 2 * n, what + ": choices")
        if logprobs is not None:
            croft.check(whole["choices"][0]["logprobs"]["token_logprobs"][0] is None,
                        what + ": the first token has none")
        for usage in (False, True):
            body.update(stream=True, stream_options={"include_usage": usage})
            stream, ended = wire.chunks(wire.write("completions", body, events))
            croft.check(ended, what + ": [DONE]")
            for chunk in stream:
                fits("CreateCompletionResponse", legacy(chunk), what + ", a chunk")


def check_order():
    """Keys in the order of the API, so that a person who compares sees no difference."""
    whole = json.loads(wire.write("chat", CHAT, EVENTS, {"fingerprint": "fp"}))
    croft.check(list(whole) == ["id", "object", "created", "model", "choices", "usage",
                                "service_tier", "system_fingerprint"], "chat", str(list(whole)))
    croft.check(list(whole["choices"][0]) == ["index", "message", "logprobs", "finish_reason"],
                "a choice", str(list(whole["choices"][0])))
    croft.check(list(whole["choices"][0]["message"]) == [
        "role", "content", "reasoning_content", "refusal", "annotations"], "a message")
    chunk = wire.chunks(wire.write("chat", dict(CHAT, stream=True), EVENTS, {"fingerprint": "f"}))[0][0]
    croft.check(list(chunk) == ["id", "object", "created", "model", "service_tier",
                                "system_fingerprint", "choices"], "a chunk", str(list(chunk)))


def check_rest():
    vectors = [[0.1, -2.0, 3e-20], [1.5, 0.0, -0.0]]
    out = json.loads(wire.pipe({"embed": vectors}))
    fits("CreateEmbeddingResponse", out, "embeddings")
    packed = json.loads(wire.pipe({"embed": vectors, "base64": True}))
    as_f32 = [struct.pack("<3f", *v) for v in vectors]
    croft.check([base64.b64decode(d["embedding"], validate=True) for d in packed["data"]] == as_f32,
                "base64 holds little-endian float32")
    croft.check([struct.pack("<3f", *d["embedding"]) for d in out["data"]] == as_f32,
                "decimals read back as the same float32")
    rows = [{"id": "a", "owner": "croft", "created": 5, "n_ctx": 4096}, {"id": "b", "owner": "o"}]
    fits("ListModelsResponse", json.loads(wire.pipe({"models": rows})), "the list of models")
    fits("ListModelsResponse", json.loads(wire.pipe({"models": []})), "an empty list")
    fits("Model", json.loads(wire.pipe({"model": rows[0]})), "one model")


def check_errors():
    statuses = {400, 401, 403, 404, 405, 408, 413, 415, 426, 429, 500, 502, 503, 504}
    seen = set()
    for line in json.loads(wire.pipe({"catalogue": True})):
        error = line["body"]["error"]
        fits("ErrorResponse", line["body"], "error %s" % error["code"])
        croft.check(list(error) == ["message", "type", "param", "code"] and error["message"],
                    "error %s: keys in order" % error["code"])
        retry = line["status"] in (408, 429, 500, 502, 503, 504) and error["code"] != "insufficient_quota"
        croft.check(line["retry"] == retry, "error %s: retry" % error["code"])
        seen.add(line["status"])
    croft.check(seen == statuses, "every status has an error", str(seen ^ statuses))


def check_fields():
    for dialect, names in DOCUMENT["requests"].items():
        known = {n for n in json.loads(wire.pipe({"fields": dialect})) if "." not in n}
        croft.check(set(names) - known == UNKNOWN[dialect], dialect + ": the document's fields",
                    str((set(names) - known) ^ UNKNOWN[dialect]))


for check in (control, check_chat, check_completions, check_order, check_rest, check_errors,
              check_fields):
    check()
sys.exit(croft.done())
