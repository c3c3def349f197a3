#!/usr/bin/env python3
"""openai_client.py - the `openai` package in front of src/wire: what it sends is read, what it is
answered it accepts, in its types and through its accumulators.

There is no server: the package's transport hands the body it would send to the pipe, and gives the
pipe's bytes back.  Needs the package openai.
"""
import json
import os
import struct
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
import croft
import wire

import httpx2
import openai

ROUTES = {"/v1/chat/completions": "chat", "/v1/completions": "completions",
          "/v1/embeddings": "embeddings"}
MODELS = [{"id": "a", "owner": "croft", "created": 5, "n_ctx": 4096}, {"id": "b", "owner": "o"}]
VECTORS = [[0.1, -2.0], [1.5, 3e-20]]


class Server:
    """Answers with `events`; `sent` is the last neutral request."""

    def __init__(self):
        self.events, self.sent = [], None

    def embeddings(self):
        body = {"embed": VECTORS, "base64": self.sent["base64"]}
        return httpx2.Response(200, content=wire.pipe(body))

    def handle(self, request):
        path, body = request.url.path, request.content.decode()
        if path == "/v1/models":
            return httpx2.Response(200, content=wire.pipe({"models": MODELS}))
        if path == "/v1/models/a":
            return httpx2.Response(200, content=wire.pipe({"model": MODELS[0]}))
        dialect = ROUTES[path]
        self.sent = wire.parse(dialect, body)
        if "error" in self.sent:
            headers = {"x-should-retry": "true" if self.sent["retry"] else "false"}
            return httpx2.Response(self.sent["status"], json=self.sent["error"], headers=headers)
        if dialect == "embeddings":
            return self.embeddings()
        kind = "text/event-stream" if self.sent["stream"] else "application/json"
        out = wire.write(dialect, body, self.events, {"fingerprint": "fp_1", "created": 7, "id": "9"})
        return httpx2.Response(200, content=out, headers={"content-type": kind})


def client_of(strict):
    transport = httpx2.MockTransport(server.handle)
    return openai.OpenAI(api_key="none", base_url="http://localhost/v1", max_retries=0,
                         _strict_response_validation=strict,
                         http_client=httpx2.Client(transport=transport))


server = Server()
client = client_of(True)
# The types of /v1/completions know no null where the API has one: for the log probability of a
# prompt's first token, and for the finish_reason of a chunk that is not the last; those of
# /v1/embeddings know no base64.
lenient = client_of(False)
ASK = {"model": "m", "messages": [{"role": "developer", "content": "Be brief."},
                                  {"role": "user", "content": "Hi"}]}


def token(text, p, *others):
    return {"text": text, "logprob": p, "top": [{"text": t, "logprob": q} for t, q in others]}


def answer(choice=0, finish="stop"):
    return [{"kind": "think", "choice": choice, "text": "hm"},
            {"kind": "text", "choice": choice, "text": "h\u00e9 ",
             "logprobs": [token("h\u00e9 ", -0.25, ("h\u00e9 ", -0.25), ("x", -3))]},
            {"kind": "text", "choice": choice, "hex": "f09f98",
             "logprobs": [{"hex": "f09f98", "logprob": -0.5}]},
            {"kind": "text", "choice": choice, "hex": "80",
             "logprobs": [{"hex": "80", "logprob": -0.125}]},
            {"kind": "end", "choice": choice, "finish": finish}]


DONE = {"kind": "done", "usage": {"prompt": 9, "cached": 8, "answer": 4, "think": 1}}
BEGIN = {"kind": "begin"}
TEXT = "h\u00e9 \U0001f600"


def check_usage(usage, what):
    croft.check((usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (9, 4, 13) and
                usage.prompt_tokens_details.cached_tokens == 8 and
                usage.completion_tokens_details.reasoning_tokens == 1, what + ": usage")


def check_chat():
    server.events = [BEGIN] + answer(0) + answer(1, "length") + [DONE]
    got = client.chat.completions.create(**ASK, n=2, logprobs=True, top_logprobs=2, seed=5,
                                         stop=["a", "b"], logit_bias={"7": -100}, temperature=0,
                                         max_completion_tokens=12, metadata={"k": "v"}, user="u",
                                         top_p=0.5, frequency_penalty=-1, presence_penalty=2,
                                         prompt_cache_key="p", reasoning_effort="none",
                                         extra_body={"top_k": 9, "min_p": 0.25})
    sent = server.sent
    croft.check([sent[k] for k in ("user", "top_p", "frequency_penalty", "presence_penalty",
                                   "cache_key", "effort", "top_k", "min_p", "stream")] ==
                ["u", 0.5, -1.0, 2.0, "p", 1, 9, 0.25, False], "chat: more fields", str(sent))
    croft.check((sent["n"], sent["seed"], sent["stop"], sent["logit_bias"], sent["temperature"],
                 sent["max_tok"], sent["metadata"], sent["top_logprobs"]) ==
                (2, 5, ["a", "b"], {"7": -100.0}, 0.0, 12, {"k": "v"}, 2), "chat: fields", str(sent))
    croft.check([m["role"] for m in sent["messages"]] == ["developer", "user"], "chat: roles")
    croft.check([c.message.content for c in got.choices] == [TEXT, TEXT] and
                [c.finish_reason for c in got.choices] == ["stop", "length"], "chat: choices")
    croft.check(got.choices[0].message.reasoning_content == "hm", "chat: reasoning")
    tokens = got.choices[1].logprobs.content
    croft.check([t.logprob for t in tokens] == [-0.25, -0.5, -0.125] and
                tokens[0].top_logprobs[0].logprob == tokens[0].logprob and
                bytes(b for t in tokens for b in t.bytes).decode() == TEXT, "chat: log probabilities")
    croft.check((got.id, got.created, got.system_fingerprint) == ("chatcmpl-9", 7, "fp_1"),
                "chat: head")
    check_usage(got.usage, "chat")


def check_chat_stream():
    server.events = [BEGIN] + answer(0) + answer(1, "length") + [DONE]
    text, think, ends, usage = ["", ""], ["", ""], [None, None], []
    for chunk in client.chat.completions.create(**ASK, n=2, stream=True,
                                                stream_options={"include_usage": True}):
        usage += [chunk.usage] if chunk.usage else []
        for choice in chunk.choices:
            text[choice.index] += choice.delta.content or ""
            think[choice.index] += getattr(choice.delta, "reasoning_content", None) or ""
            ends[choice.index] = choice.finish_reason or ends[choice.index]
    croft.check((text, think, ends) == ([TEXT, TEXT], ["hm", "hm"], ["stop", "length"]),
                "stream: pieces", str((text, think, ends)))
    croft.check(len(usage) == 1, "stream: usage once")
    check_usage(usage[0], "stream")
    server.events = [BEGIN] + answer(0) + answer(1) + [DONE]        # it raises on "length" itself
    with client.chat.completions.stream(**ASK, n=2, logprobs=True,
                                        stream_options={"include_usage": True}) as stream:
        kinds = {event.type for event in stream}
        whole = stream.get_final_completion()
    croft.check({"content.delta", "content.done", "logprobs.content.delta"} <= kinds,
                "accumulator: events", str(kinds))
    croft.check([c.message.content for c in whole.choices] == [TEXT, TEXT] and
                [c.finish_reason for c in whole.choices] == ["stop", "stop"] and
                [len(c.logprobs.content) for c in whole.choices] == [3, 3], "accumulator: choices")
    check_usage(whole.usage, "accumulator")


def check_completions():
    first = {"kind": "text", "text": "Hi", "logprobs": [{"text": "Hi", "logprob": None}]}
    server.events = [BEGIN, first] + answer(0)[1:] + [DONE]
    got = lenient.completions.create(model="m", prompt=[1, 2, 3], echo=True, logprobs=2, suffix="s",
                                     max_tokens=0)
    croft.check(server.sent["prompts"] == [[1, 2, 3]] and server.sent["echo"] and
                server.sent["max_tok"] == 0 and server.sent["suffix"] == "s", "completions: fields")
    lp = got.choices[0].logprobs
    croft.check(got.choices[0].text == "Hi" + TEXT, "completions: text")
    croft.check(lp.tokens == ["Hi", "h\u00e9 ", "bytes:\\xf0\\x9f\\x98", "bytes:\\x80"] and
                lp.token_logprobs == [None, -0.25, -0.5, -0.125] and lp.text_offset == [0, 2, 5, 6] and
                lp.top_logprobs[1] == {"h\u00e9 ": -0.25, "x": -3.0} and
                max(lp.top_logprobs[1].values()) == lp.token_logprobs[1], "completions: logprobs",
                str(lp))
    check_usage(got.usage, "completions")
    server.events = [BEGIN] + answer(0) + [DONE]
    same = dict(token("x", -2, ("y", -1), ("x", -2), ("y", -3)), kind="text")
    server.events = [BEGIN, dict(same, logprobs=[same]), answer(0)[-1], DONE]
    got = client.completions.create(model="m", prompt="a", logprobs=3)
    croft.check(got.choices[0].logprobs.top_logprobs == [{"y": -1.0, "x": -2.0}],
                "completions: two tokens of one text are one key, the likelier")
    server.events = [BEGIN] + answer(0) + [DONE]
    got = client.completions.create(model="m", prompt=["a"], logprobs=1)
    croft.check(got.choices[0].logprobs.top_logprobs[0] == {"h\u00e9 ": -0.25, "x": -3.0} and
                got.choices[0].finish_reason == "stop", "completions: strictly")
    chunks = list(lenient.completions.create(model="m", prompt="a", stream=True,
                                             stream_options={"include_usage": True}))
    croft.check("".join(c.text for k in chunks for c in k.choices) == "hm" + TEXT and
                chunks[-2].choices[0].finish_reason == "stop", "completions: stream")
    check_usage(chunks[-1].usage, "completions: stream")


def check_embeddings():
    near = [list(struct.unpack("<2f", struct.pack("<2f", *v))) for v in VECTORS]
    got = lenient.embeddings.create(model="m", input=["a", "b"], dimensions=2)
    croft.check(server.sent["base64"] and server.sent["dimensions"] == 2, "embeddings: base64 asked")
    croft.check([list(map(float, d.embedding)) for d in got.data] == near, "embeddings: base64")
    got = client.embeddings.create(model="m", input=[[1, 2], [3]], encoding_format="float")
    croft.check(server.sent["prompts"] == [[1, 2], [3]], "embeddings: ids")
    croft.check([list(struct.unpack("<2f", struct.pack("<2f", *d.embedding))) for d in got.data] ==
                near, "embeddings: float")


def check_models():
    croft.check([m.id for m in client.models.list()] == ["a", "b"], "models: list")
    croft.check(client.models.retrieve("a").owned_by == "croft", "models: one")


def refusal(call, **fields):
    try:
        call(**fields)
    except openai.APIStatusError as e:
        return e
    return None


def check_errors():
    for fields, param, code in (
            ({"temperature": 3}, "temperature", "decimal_above_max_value"),
            ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools",
             "unsupported_parameter"),
            ({"response_format": {"type": "json_object"}}, "response_format",
             "unsupported_parameter"),
            ({"extra_body": {"n": "two"}}, "n", "invalid_type")):
        e = refusal(client.chat.completions.create, **ASK, **fields)
        croft.check(isinstance(e, openai.BadRequestError) and e.param == param and e.code == code and
                    e.type == "invalid_request_error" and param in e.message, "refused: " + param,
                    str(e))
    server.events = [BEGIN] + answer(0)[:2] + [{"kind": "fail", "error": "SERVER"}]
    text = ""
    try:
        for chunk in client.chat.completions.create(**ASK, stream=True):
            text += chunk.choices[0].delta.content or ""
        croft.check(False, "an error inside a stream is raised")
    except openai.APIError as e:
        croft.check(e.code == "server_error" and text == "h\u00e9 ", "an error inside a stream",
                    str(e))


def check_unknown():
    server.events = [BEGIN] + answer(0) + [DONE]
    client.chat.completions.create(**ASK, extra_body={"x_mine": 1, "stream_options": {"y": 2}})
    croft.check(server.sent["unknown"] == ["x_mine", "stream_options.y"], "unknown fields are named",
                str(server.sent["unknown"]))


for check in (check_chat, check_chat_stream, check_completions, check_embeddings, check_models,
              check_errors, check_unknown):
    check()
sys.exit(croft.done())
