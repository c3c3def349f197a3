#!/usr/bin/env python3
"""generated.py - conversations made by chance, from a dialect over another and back: equal up to
carry.def.

    python3 tests/wire/generated.py [N [SEED]]      N (200) of them, each over both other dialects

Only what the table carries in all directions is generated; what a body says is read by
tests/lib/said.py, which shares nothing with src/wire.
"""
import json
import os
import random
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
import croft
import said as reads
import wire

WORDS = ["sun", "\u00e9t\u00e9", "\U0001f600", "\"", "\\", "\n", "{", "}", "</think>", "data: ", "\u2028", " ",
         "null", "<|im_end|>", "7", "\t", "\x7f", "\u0001"]
EFFORTS = ["none", "low", "medium", "high", "xhigh"]


class Talk:
    """One conversation, in neutral terms, that can be spelt in every dialect."""

    def __init__(self, r):
        self.r = r
        self.n_call = 0
        self.system = self.text() if r.random() < 0.6 else None
        self.tools = [("tool_%d" % i, self.text() if r.random() < 0.7 else "", self.schema())
                      for i in range(r.randrange(4))]
        self.turns = []
        for _ in range(r.randrange(1, 6)):
            self.turn()
        self.turns.append(("user", self.parts()))
        self.temperature = r.choice([None, 0, 0.25, 1])
        self.top_p = r.choice([None, 0.5, 1])
        self.stream = r.random() < 0.5
        self.most = r.choice([16, 77, 2147483647])
        self.choice = r.choice([None, "auto", "none", "required", "named"]) if self.tools else None
        self.format = self.schema() if r.random() < 0.3 else None
        self.user = self.text() if r.random() < 0.3 else None
        # who thinks samples by itself, and a turn whose thinking is lost cannot go on with it
        plain = self.temperature is None and self.top_p is None
        self.effort = r.choice(EFFORTS) if plain and r.random() < 0.4 else None

    def text(self):
        return "".join(self.r.choice(WORDS) for _ in range(self.r.randrange(1, 9)))

    def schema(self):
        return {"type": "object", "properties": {self.text(): self.r.choice(
            [{"type": "string"}, {}, {"enum": [1, 2.5, None, self.text()]}])
            for _ in range(self.r.randrange(1, 3))}}

    def parts(self):
        out = [("text", self.text()) for _ in range(self.r.randrange(1, 3))]
        if self.r.random() < 0.2:
            out.append(("image", self.r.choice(["https://h/x.png?a=1&b", "data:image/png;base64,iVBO"])))
        return out

    def value(self, depth=2):
        kind = self.r.randrange(6 if depth else 4)
        return [None, self.r.randrange(-9, 10 ** 12), self.text(), self.r.choice([1.5, -2e-7, True]),
                [self.value(depth - 1) for _ in range(2)] if depth else 0,
                {self.text(): self.value(depth - 1)} if depth else 0][kind]

    def turn(self):
        self.turns.append(("user", self.parts()))
        if self.r.random() < 0.1:
            self.turns.append(("system", self.text()))
        while self.tools and self.r.random() < 0.5:
            calls = []
            for _ in range(self.r.randrange(1, 3)):
                self.n_call += 1
                calls.append(("call-%d_x" % self.n_call, self.r.choice(self.tools)[0],
                              {self.text(): self.value()} if self.r.random() < 0.8 else {}))
            self.turns.append(("assistant", self.text() if self.r.random() < 0.5 else None, calls))
            self.turns += [("tool", c[0], self.text()) for c in calls]
        self.turns.append(("assistant", self.text(), []))


def as_chat(t):
    def part(kind, v):
        return {"type": "text", "text": v} if kind == "text" else \
            {"type": "image_url", "image_url": {"url": v}}

    out = [{"role": "system", "content": t.system}] if t.system else []
    for turn in t.turns:
        if turn[0] == "user":
            out.append({"role": "user", "content": [part(*p) for p in turn[1]]})
        elif turn[0] == "system":
            out.append({"role": "system", "content": turn[1]})
        elif turn[0] == "tool":
            out.append({"role": "tool", "tool_call_id": turn[1], "content": turn[2]})
        else:
            m = {"role": "assistant", "content": turn[1]}
            if turn[2]:
                m["tool_calls"] = [{"id": i, "type": "function", "function": {
                    "name": n, "arguments": json.dumps(a)}} for i, n, a in turn[2]]
            out.append(m)
    body = {"messages": out, "max_completion_tokens": t.most}
    if t.tools:
        body["tools"] = [{"type": "function", "function": {"name": n, "description": d, "parameters": s}}
                         for n, d, s in t.tools]
    if t.choice:
        body["tool_choice"] = t.choice if t.choice != "named" else \
            {"type": "function", "function": {"name": t.tools[-1][0]}}
    if t.format:
        body["response_format"] = {"type": "json_schema", "json_schema": {"name": "answer",
                                                                          "schema": t.format}}
    if t.effort:
        body["reasoning_effort"] = t.effort
    return body, {"user": t.user}


def as_messages(t):
    def part(kind, v):
        if kind == "text":
            return {"type": "text", "text": v}
        if v.startswith("data:"):
            return {"type": "image", "source": {"type": "base64", "media_type": "image/png",
                                                "data": v.split(",")[1]}}
        return {"type": "image", "source": {"type": "url", "url": v}}

    out = []
    for turn in t.turns:
        if turn[0] == "user":
            out.append({"role": "user", "content": [part(*p) for p in turn[1]]})
        elif turn[0] == "system":
            out.append({"role": "system", "content": turn[1]})
        elif turn[0] == "tool":
            if not (isinstance(out[-1]["content"], list) and
                    out[-1]["content"][-1]["type"] == "tool_result"):
                out.append({"role": "user", "content": []})
            out[-1]["content"].append({"type": "tool_result", "tool_use_id": turn[1],
                                       "content": turn[2]})
        else:
            blocks = [{"type": "text", "text": turn[1]}] if turn[1] else []
            out.append({"role": "assistant", "content": blocks + [
                {"type": "tool_use", "id": i, "name": n, "input": a} for i, n, a in turn[2]]})
    body = {"messages": out, "max_tokens": t.most}
    if t.system:
        body["system"] = t.system
    if t.tools:
        body["tools"] = [{"name": n, "description": d, "input_schema": s} for n, d, s in t.tools]
    if t.choice:
        kind = {"required": "any", "named": "tool"}.get(t.choice, t.choice)
        body["tool_choice"] = {"type": kind, **({"name": t.tools[-1][0]} if kind == "tool" else {})}
    if t.format:
        body["output_config"] = {"format": {"type": "json_schema", "schema": t.format}}
    if t.effort == "none":
        body["thinking"] = {"type": "disabled"}
    elif t.effort:
        body["thinking"] = {"type": "adaptive"}
        body.setdefault("output_config", {})["effort"] = t.effort
    return body, {"metadata": {"user_id": t.user} if t.user else None}


def as_responses(t):
    def part(kind, v):
        return {"type": "input_text", "text": v} if kind == "text" else \
            {"type": "input_image", "image_url": v, "detail": "auto"}

    out = []
    for turn in t.turns:
        if turn[0] == "user":
            out.append({"role": "user", "content": [part(*p) for p in turn[1]]})
        elif turn[0] == "system":
            out.append({"type": "message", "role": "system", "content": turn[1]})
        elif turn[0] == "tool":
            out.append({"type": "function_call_output", "call_id": turn[1], "output": turn[2]})
        else:
            if turn[1]:
                out.append({"type": "message", "role": "assistant", "content": [
                    {"type": "output_text", "text": turn[1], "annotations": []}]})
            out += [{"type": "function_call", "call_id": i, "name": n, "arguments": json.dumps(a)}
                    for i, n, a in turn[2]]
    body = {"input": out, "max_output_tokens": t.most}
    if t.system:
        body["instructions"] = t.system
    if t.tools:
        body["tools"] = [{"type": "function", "name": n, "description": d, "parameters": s,
                          "strict": False} for n, d, s in t.tools]
    if t.choice:
        body["tool_choice"] = t.choice if t.choice != "named" else \
            {"type": "function", "name": t.tools[-1][0]}
    if t.format:
        body["text"] = {"format": {"type": "json_schema", "name": "answer", "schema": t.format}}
    if t.effort:
        body["reasoning"] = {"effort": t.effort}
    return body, {"user": t.user}


AS = {"chat": as_chat, "messages": as_messages, "responses": as_responses}


def spell(t, dialect):
    body, more = AS[dialect](t)
    body.update(model="m", temperature=t.temperature, top_p=t.top_p, stream=t.stream, **more)
    return {k: v for k, v in body.items() if v is not None}


def settings(dialect, b):
    """Everything beside the conversation and its tools, in one spelling."""
    choice = b.get("tool_choice")
    if isinstance(choice, dict):
        name = choice.get("name") or choice.get("function", {}).get("name")
        choice = {"any": "required"}.get(choice["type"], choice["type"]) if not name else ("named", name)
    if dialect == "chat":
        form = (b.get("response_format") or {}).get("json_schema", {}).get("schema")
        effort, user, most = b.get("reasoning_effort"), b.get("user"), b.get("max_completion_tokens")
    elif dialect == "messages":
        config, thinking = b.get("output_config") or {}, b.get("thinking") or {}
        form = config.get("format", {}).get("schema")
        effort = "none" if thinking.get("type") == "disabled" else config.get("effort")
        user, most = (b.get("metadata") or {}).get("user_id"), b.get("max_tokens")
    else:
        form = (b.get("text") or {}).get("format", {}).get("schema")
        effort, user = (b.get("reasoning") or {}).get("effort"), b.get("user")
        most = b.get("max_output_tokens")
    return {"choice": choice, "format": form, "effort": effort, "user": user, "most": most,
            "temperature": b.get("temperature"), "top_p": b.get("top_p"),
            "stream": bool(b.get("stream"))}


def carry(source, to, body):
    got = json.loads(wire.pipe({"carry": source, "to": to, "body": json.dumps(body)}))
    return json.loads(got["body"]) if "body" in got else got


def check(seed, dialect):
    talk = Talk(random.Random(seed))
    body = spell(talk, dialect)
    for over in AS:
        if over == dialect:
            continue
        where = "seed %d, %s over %s" % (seed, dialect, over)
        out = carry(dialect, over, body)
        back = carry(over, dialect, out) if "error" not in out else out
        if "error" in back:
            croft.check(False, where, str(back))
            continue
        for name, b in ((over, out), (dialect, back)):
            croft.check(reads.said(name, b) == reads.said(dialect, body), where + ": conversation",
                        "%s\n%s" % (reads.said(name, b), reads.said(dialect, body)))
            croft.check(reads.tools(name, b) == reads.tools(dialect, body), where + ": tools")
            croft.check(settings(name, b) == settings(dialect, body), where + ": settings",
                        "%s\n%s" % (settings(name, b), settings(dialect, body)))


count = int(sys.argv[1]) if len(sys.argv) > 1 else 200
first = int(sys.argv[2]) if len(sys.argv) > 2 else 1
for seed in range(first, first + count):
    check(seed, sorted(AS)[seed % 3])
sys.exit(croft.done())
