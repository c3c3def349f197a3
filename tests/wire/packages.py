#!/usr/bin/env python3
"""packages.py - the packages `openai` and `anthropic` on both ends of what src/wire carries: requests
written for an upstream fit their types, and answers pass their strict readers and accumulators.

There is no server: a package's transport gets the bytes that the pipe wrote.  Pairs are the recorded
ones.  Needs the packages openai and anthropic.
"""
import gzip
import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
import croft
import wire

import anthropic
import httpx2
import openai
import pydantic
from anthropic.types.message_create_params import MessageCreateParamsNonStreaming
from openai.types.chat.completion_create_params import CompletionCreateParamsNonStreaming
from openai.types.responses.response_create_params import ResponseCreateParamsNonStreaming

TYPES = {"chat": pydantic.TypeAdapter(CompletionCreateParamsNonStreaming),
         "messages": pydantic.TypeAdapter(MessageCreateParamsNonStreaming),
         "responses": pydantic.TypeAdapter(ResponseCreateParamsNonStreaming)}
USER = [{"role": "user", "content": "a"}]
reply = {"body": b"", "kind": "", "status": 200}


def handle(_):
    return httpx2.Response(reply["status"], content=reply["body"],
                           headers={"content-type": reply["kind"]})


def client(package, base):
    return package(api_key="none", base_url=base, max_retries=0, _strict_response_validation=True,
                   http_client=httpx2.Client(transport=httpx2.MockTransport(handle)))


ANTHROPIC = client(anthropic.Anthropic, "http://localhost")
OPENAI = client(openai.OpenAI, "http://localhost/v1")


def through_messages(stream):
    ask = {"model": "m", "max_tokens": 9, "messages": USER}
    if stream:
        with ANTHROPIC.messages.stream(**ask) as s:
            m = s.get_final_message()
    else:
        m = ANTHROPIC.messages.create(**ask)
    of = {kind: [b for b in m.content if b.type == kind] for kind in ("text", "thinking", "tool_use")}
    return ("".join(b.text for b in of["text"]), "".join(b.thinking for b in of["thinking"]),
            [(b.id, b.name, b.input) for b in of["tool_use"]], m.stop_reason, m.usage.output_tokens)


def through_responses(stream):
    if stream:
        with OPENAI.responses.stream(model="m", input="a") as s:
            r = s.get_final_response()
    else:
        r = OPENAI.responses.create(model="m", input="a")
    calls = [i for i in r.output if i.type == "function_call"]
    return (r.output_text, "".join(c.text for i in r.output if i.type == "reasoning" for c in i.summary),
            [(i.call_id, i.name, json.loads(i.arguments or "{}")) for i in calls], r.status,
            r.usage.output_tokens)


def through_chat(stream):
    ask = {"model": "m", "messages": USER}
    if stream:
        with OPENAI.chat.completions.stream(stream_options={"include_usage": True}, **ask) as s:
            r = s.get_final_completion()
    else:
        r = OPENAI.chat.completions.create(**ask)
    m = r.choices[0].message
    return (m.content or "", None if stream else getattr(m, "reasoning_content", ""),
            [(c.id, c.function.name, json.loads(c.function.arguments or "{}"))
             for c in m.tool_calls or []], r.choices[0].finish_reason, r.usage.completion_tokens)


THROUGH = {"chat": through_chat, "messages": through_messages, "responses": through_responses}
ENDS = {"stop": ("stop", "end_turn", "completed"), "length": ("length", "max_tokens", "incomplete"),
        "calls": ("tool_calls", "tool_use", "completed"),
        "match": ("stop", "stop_sequence", "completed")}


def check_request(pair):
    for to in TYPES:
        got = json.loads(wire.pipe({"carry": pair["dialect"], "to": to, "thoughts": True,
                                    "body": json.dumps(pair["body"])}))
        if to == pair["dialect"] or "error" in got:
            continue
        body = json.loads(got["body"])
        body.pop("stream", None)            # the type of one that is not streamed
        body.pop("stream_options", None)
        for message in body["messages"] if to == "chat" else []:
            message.pop("reasoning_content", None)      # of other servers
        try:
            TYPES[to].validate_python(body)
            croft.check(True, "fits")
        except pydantic.ValidationError as e:
            croft.check(False, "%s, sent as %s, fits the package's type" % (pair["from"], to),
                        str(e)[:500])


def check_answer(pair):
    stream = bool(pair["stream"])
    data = {"stream": [d if isinstance(d, str) else json.dumps(d) for d in pair["stream"]]} \
        if stream else {"whole": json.dumps(pair["reply"])}
    for to in THROUGH:
        got = json.loads(wire.pipe({"hear": pair["dialect"], "write": to, **data}))
        said, where = got["said"], "%s, answered as %s" % (pair["from"], to)
        reply.update(body=got["reply"].encode(), kind="text/event-stream" if stream else
                     "application/json")
        if "fail" in said and to == "responses":        # its package raises for `error` alone
            croft.check("response.failed" in got["reply"], where + ": failed")
            continue
        try:
            text, think, calls, end, used = THROUGH[to](stream)
        except openai.LengthFinishReasonError:
            croft.check(to == "chat" and said["end"] == "length", where + ": too long")
            continue
        except (openai.APIError, anthropic.APIError) as e:
            croft.check("fail" in said, where + ": raises", str(e.__cause__ or e)[:400])
            continue
        want = [c.partition("=") for c in said.get("calls", "").split(";") if c]
        croft.check(text == said.get("text", "") and think in (None, said.get("think", "")) and
                    [c[:2] for c in calls] == [(c[0], c[2]) for c in want] and
                    end in ENDS[said["end"]] and used == said.get("usage", [0] * 5)[3], where,
                    "%s\n%s" % ((text, think, calls, end, used), said))


count = 0
with gzip.open(os.path.join(wire.DATA, "carry.jsonl.gz"), "rt") as f:
    for pair in map(json.loads, f):
        check_request(pair)
        if pair["stream"] or (pair["status"] == 200 and pair["reply"]):
            check_answer(pair)
            count += 1
croft.check(count > 100, "recorded answers: %d" % count)
sys.exit(croft.done())
