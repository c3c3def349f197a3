"""talks.py - the packages `openai` and `anthropic` as a person uses them, one class for each dialect
that a client speaks, all with one face.

A talk is a conversation: ask() adds what the model answered to it, as the package gave it, and
result() what its tools returned.
"""
import json

import anthropic
import openai

WAIT = 60


class Failed(Exception):
    """A response that failed: its package says only that there was no end."""


class Answer:
    def __init__(self, text, think, calls, stop, usage, id_, model, headers=None):
        self.text, self.think, self.calls, self.stop = text, think, calls, stop
        self.usage, self.id, self.model, self.headers = usage, id_, model, headers

    def __repr__(self):
        return "%r" % vars(self)


def plain(value):
    """A package's object as it is sent again."""
    return value.model_dump(exclude_unset=True, exclude_none=True, mode="json")


class Talk:
    """tools: [(name, description, schema)]; schema: of the answer; http: a client of the package's
    own kind, in place of one that connects; more: fields as they are."""

    def __init__(self, base, key, model, tools=None, think=False, schema=None, strict=True, http=None,
                 **more):
        self.model, self.tools, self.think, self.schema = model, tools, think, schema
        self.more, self.turns = more, []
        self.client = self.package(api_key=key, base_url=base + self.prefix, max_retries=0, timeout=WAIT,
                                   _strict_response_validation=strict,
                                   http_client=http)

    def user(self, text):
        self.turns.append({"role": "user", "content": text})
        return self

    def ask(self, stream=True, on_piece=None, **more):
        fields = dict(self.fields(), **self.more, **more)
        return self.streamed(fields, on_piece or (lambda: None)) if stream else self.whole(fields)


class Chat(Talk):
    package, prefix, dialect = openai.OpenAI, "/v1", "chat"
    stops = {"stop": "stop", "length": "length", "tool_calls": "calls"}

    def fields(self):
        out = {"model": self.model, "messages": self.turns}
        if self.tools:
            out["tools"] = [{"type": "function", "function": {"name": n, "description": d, "parameters": s}}
                            for n, d, s in self.tools]
        if self.think:
            out["reasoning_effort"] = "medium"
        if self.schema:
            out["response_format"] = {"type": "json_schema", "json_schema": {
                "name": "answer", "schema": self.schema, "strict": True}}
        return out

    def result(self, call, text):
        self.turns.append({"role": "tool", "tool_call_id": call[0], "content": text})

    def whole(self, fields):
        raw = self.client.chat.completions.with_raw_response.create(**fields)
        r = raw.parse()
        think = getattr(r.choices[0].message, "reasoning_content", None) or ""
        return self.answer(r, think, raw.headers)

    def streamed(self, fields, on_piece):
        think = ""
        fields.pop("response_format", None) if self.schema is None else None
        with self.client.chat.completions.stream(stream_options={"include_usage": True}, **fields) as s:
            for event in s:
                if event.type != "chunk" or not event.chunk.choices:
                    continue
                d = event.chunk.choices[0].delta
                more = getattr(d, "reasoning_content", None) or ""
                think += more
                if d.content or more or any(c.function.arguments for c in d.tool_calls or []):
                    on_piece()
            return self.answer(s.get_final_completion(), think)

    def answer(self, r, think, headers=None):
        m, u = r.choices[0].message, r.usage
        self.turns.append({k: v for k, v in plain(m).items() if k in ("role", "content", "tool_calls")})
        for c in self.turns[-1].get("tool_calls", []):
            c["function"].pop("parsed_arguments", None)
            c.pop("index", None)
        return Answer(m.content or "", think, [(c.id, c.function.name, json.loads(c.function.arguments))
                                               for c in m.tool_calls or []],
                      self.stops.get(r.choices[0].finish_reason), u and
                      (u.prompt_tokens, (u.prompt_tokens_details and
                                         u.prompt_tokens_details.cached_tokens) or 0,
                       u.completion_tokens), r.id, r.model, headers)


class Responses(Talk):
    package, prefix, dialect = openai.OpenAI, "/v1", "responses"

    def fields(self):
        out = {"model": self.model, "input": self.turns, "store": False}
        if self.tools:
            out["tools"] = [{"type": "function", "name": n, "description": d, "parameters": s,
                             "strict": False} for n, d, s in self.tools]
        if self.think:
            out["reasoning"] = {"effort": "medium", "summary": "auto"}
            out["include"] = ["reasoning.encrypted_content"]
        if self.schema:
            out["text"] = {"format": {"type": "json_schema", "name": "answer", "schema": self.schema,
                                      "strict": True}}
        return out

    def result(self, call, text):
        self.turns.append({"type": "function_call_output", "call_id": call[0], "output": text})

    def whole(self, fields):
        raw = self.client.responses.with_raw_response.create(**fields)
        return self.answer(raw.parse(), raw.headers)

    def streamed(self, fields, on_piece):
        with self.client.responses.stream(**fields) as s:
            for event in s:
                if event.type.endswith(".delta") and event.delta:
                    on_piece()
                if event.type == "response.incomplete":         # for the package that is no end
                    return self.answer(event.response)
                if event.type == "response.failed":             # nor is that
                    raise Failed(event.response.error.message)
            return self.answer(s.get_final_response())

    def answer(self, r, headers=None):
        for item in r.output:
            item = plain(item)
            item.pop("parsed_arguments", None)
            for part in item.get("content", []):
                part.pop("parsed", None)
            self.turns.append(item)
        u = r.usage
        calls = [(i.call_id, i.name, json.loads(i.arguments)) for i in r.output if i.type == "function_call"]
        stop = {"completed": "calls" if calls else "stop", "incomplete": "length"}.get(r.status)
        return Answer(r.output_text, "".join(c.text for i in r.output if i.type == "reasoning"
                                             for c in i.summary), calls, stop,
                      u and (u.input_tokens, u.input_tokens_details.cached_tokens, u.output_tokens),
                      r.id, r.model, headers)


class Messages(Talk):
    package, prefix, dialect = anthropic.Anthropic, "", "messages"
    stops = {"end_turn": "stop", "max_tokens": "length", "tool_use": "calls", "stop_sequence": "match"}

    def fields(self):
        out = {"model": self.model, "max_tokens": 4000, "messages": self.turns}
        if self.tools:
            out["tools"] = [{"name": n, "description": d, "input_schema": s} for n, d, s in self.tools]
        if self.think:
            out["thinking"] = {"type": "enabled", "budget_tokens": 2000}
        if self.schema:
            out["output_config"] = {"format": {"type": "json_schema", "schema": self.schema}}
        return out

    def result(self, call, text):
        block = {"type": "tool_result", "tool_use_id": call[0], "content": text}
        if self.turns[-1]["role"] == "user":
            self.turns[-1]["content"].append(block)
        else:
            self.turns.append({"role": "user", "content": [block]})

    def whole(self, fields):
        raw = self.client.messages.with_raw_response.create(**fields)
        return self.answer(raw.parse(), raw.headers)

    def streamed(self, fields, on_piece):
        with self.client.messages.stream(**fields) as s:
            for event in s:
                if event.type == "content_block_delta" and any(
                        getattr(event.delta, k, None) for k in ("text", "thinking", "partial_json")):
                    on_piece()
            return self.answer(s.get_final_message())

    def answer(self, m, headers=None):
        content = [plain(b) for b in m.content]
        for b in content:
            b.pop("parsed_output", None)
        self.turns.append({"role": "assistant", "content": content})
        of = {kind: [b for b in m.content if b.type == kind] for kind in ("text", "thinking", "tool_use")}
        u = m.usage
        read = u.cache_read_input_tokens or 0
        return Answer("".join(b.text for b in of["text"]), "".join(b.thinking for b in of["thinking"]),
                      [(b.id, b.name, b.input) for b in of["tool_use"]], self.stops.get(m.stop_reason),
                      (u.input_tokens + read + (u.cache_creation_input_tokens or 0), read,
                       u.output_tokens), m.id, m.model, headers)


TALKS = (Chat, Responses, Messages)
ERRORS = (openai.APIError, anthropic.APIError, Failed)
