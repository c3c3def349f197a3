"""saying.py - what the stand-in's model hears in a request and what it says, in the words of each
dialect.  Shares nothing with croft.

An answer is {"parts": [...], "end": stop|length|calls|match, "usage": {...}}.  A part is
("think", text), ("redacted", text), ("text", text) or ("call", name, arguments, id).
"""
import base64
import hashlib
import itertools
import json
import re
import struct

numbers = itertools.count(1)
ENDS = {"chat": {"match": "stop", "calls": "tool_calls"},
        "messages": {"stop": "end_turn", "length": "max_tokens", "calls": "tool_use",
                     "match": "stop_sequence"}}


# ---- hearing -----------------------------------------------------------------------------------

def text_of(content):
    if isinstance(content, str):
        return content
    return "".join(p.get("text", "") for p in content or [])


def last_turn(kind, body):
    """The text of the last turn, and the results in it."""
    if kind in ("completions", "embeddings"):
        return str(body.get("prompt", body.get("input"))), []
    rows = body["input"] if kind == "responses" else body["messages"]
    if isinstance(rows, str):
        return rows, []
    results, text = [], ""
    for row in reversed(rows):
        if row.get("role") == "tool" or row.get("type") == "function_call_output":
            results.insert(0, text_of(row.get("content", row.get("output"))))
        elif row.get("role") == "user":
            blocks = row["content"] if isinstance(row["content"], list) else []
            more = [text_of(b.get("content")) for b in blocks if b["type"] == "tool_result"]
            results = more + results
            text = text_of(row["content"])
            break
        elif results or row.get("role") == "assistant":
            break
    return text, results


def tools_of(kind, body):
    return [(f["name"], f.get("parameters", f.get("input_schema")) or {})
            for f in (t.get("function", t) for t in body.get("tools") or []) if f.get("name")]


def schema_of(kind, body):
    wish = {"chat": lambda: body.get("response_format"),
            "responses": lambda: (body.get("text") or {}).get("format"),
            "messages": lambda: (body.get("output_config") or {}).get("format")}
    wish = wish.get(kind, dict)() or {}
    return (wish.get("json_schema") or wish).get("schema") if wish.get("type") == "json_schema" else None


def thinks_in(kind, body):
    if kind == "messages":
        return (body.get("thinking") or {}).get("type") in ("enabled", "adaptive")
    effort = (body.get("reasoning") or {}).get("effort") if kind == "responses" else \
        body.get("reasoning_effort")
    return effort not in (None, "none")


def limit_of(body):
    given = [body.get(k) for k in ("max_tokens", "max_completion_tokens", "max_output_tokens")]
    return next((g for g in given if g is not None), None)


def sample(schema, root=None):
    """A value that fits."""
    root = root or schema
    if "$ref" in schema:
        return sample(root["$defs"][schema["$ref"].rsplit("/", 1)[1]], root)
    for word in ("anyOf", "oneOf"):
        if word in schema:
            return sample(schema[word][0], root)
    if "const" in schema or "enum" in schema:
        return schema.get("const", schema.get("enum", [None])[0])
    kind = schema.get("type", "object")
    if kind == "object":
        return {k: sample(s, root) for k, s in schema.get("properties", {}).items()}
    if kind == "array":
        return [sample(schema.get("items", {"type": "string"}), root)] * 2
    return {"string": "Zo\u00eb \"Q\"", "integer": 7, "number": 1.5, "boolean": True}.get(kind)


def pieces(text):
    return re.findall(r"\S+\s*|\s+", text)


def answer_to(kind, body, said=None):
    """What the model says; `said`: parts that a test wrote."""
    text, results = last_turn(kind, body)
    tools, schema, end = tools_of(kind, body), schema_of(kind, body), "stop"
    parts = [("think", "Let me see: %d words. " % len(text.split()))] if thinks_in(kind, body) else []
    forced = body.get("tool_choice") not in (None, "auto", "none") and \
        (body.get("tool_choice") or {}) != {"type": "auto"} and tools
    if said is not None:
        parts = [tuple(p) for p in said]
    elif results:
        parts.append(("text", "The tools said: " + "; ".join(results)))
    elif forced or (tools and " use " in " %s " % text):
        called = tools if "both" in text else tools[:1]
        parts += [("call", name, sample(s)) for name, s in called]
    elif schema is not None:
        parts.append(("text", json.dumps(sample(schema), ensure_ascii=False)))
    else:
        parts.append(("text", "You said: " + text))
    if any(p[0] == "call" for p in parts):
        end = "calls"
    if said is None:
        parts, end = bounded(body, parts, end)
    parts = [p if p[0] != "call" or len(p) > 3 else p + (new_call(kind),) for p in parts]
    return {"parts": parts, "end": end, "usage": count(body, parts)}


def bounded(body, parts, end):
    """Cut at what the request says ends it."""
    stops = body.get("stop") or body.get("stop_sequences") or []
    for stop in [stops] if isinstance(stops, str) else stops:
        for i, p in enumerate(parts):
            if p[0] == "text" and stop in p[1]:
                parts = parts[:i] + [("text", p[1].partition(stop)[0])]
                end = "match"
    return cut(parts, end, limit_of(body))


def cut(parts, end, limit):
    """No more pieces than that: the rest of the text is not said."""
    out, left = [], limit if limit is not None else 1 << 40
    for p in parts:
        n = len(part_pieces(p))
        if n <= left:
            out.append(p)
            left -= n
        else:
            if p[0] in ("text", "think") and left:
                out.append((p[0], "".join(pieces(p[1])[:left])))
            return out, "length"
    return out, end


def part_pieces(p):
    if p[0] == "call":
        text = json.dumps(p[2], ensure_ascii=False)
        return [text[i:i + 9] for i in range(0, len(text), 9)]
    return pieces(p[1]) if p[0] != "redacted" else [p[1]]


def count(body, parts):
    """A token is a piece; of what is read a fifth is from a cache."""
    prompt = len(pieces(json.dumps(body.get("messages", body.get("input", body.get("prompt"))))))
    n = {kind: sum(len(part_pieces(p)) for p in parts if p[0] == kind)
         for kind in ("think", "redacted", "text", "call")}
    return {"prompt": prompt, "cached": prompt // 5, "written": 0, "answer": sum(n.values()),
            "think": n["think"] + n["redacted"]}


def new_call(kind):
    return {"messages": "toolu_%08d"}.get(kind, "call_%08d") % next(numbers)


# ---- saying ------------------------------------------------------------------------------------
# A stream is a list of (kind, event name or None, data): kind is begin, think, text, call, seal,
# end or done, and each think, text and call is one token.

class About:
    """One answer: its ids, its model, what the request asked of its form."""

    def __init__(self, kind, body, seals):
        self.kind, self.body, self.seals = kind, body, seals
        self.model, self.n = body.get("model", ""), next(numbers)
        self.id = {"chat": "chatcmpl-s%08d", "responses": "resp_s%08d", "messages": "msg_s%08d",
                   "completions": "cmpl-s%08d"}.get(kind, "x%08d") % self.n
        self.created = 1700000000 + self.n


def usage_in(kind, u):
    if kind == "messages":
        out = {"input_tokens": u["prompt"] - u["cached"] - u["written"],
               "cache_read_input_tokens": u["cached"],
               "cache_creation_input_tokens": u["written"], "output_tokens": u["answer"]}
        return out
    if kind == "responses":
        return {"input_tokens": u["prompt"],
                "input_tokens_details": {"cached_tokens": u["cached"], "cache_write_tokens": u["written"]},
                "output_tokens": u["answer"],
                "output_tokens_details": {"reasoning_tokens": u["think"]},
                "total_tokens": u["prompt"] + u["answer"]}
    out = {"prompt_tokens": u["prompt"], "completion_tokens": u["answer"],
           "total_tokens": u["prompt"] + u["answer"]}
    if kind == "chat":
        out["prompt_tokens_details"] = {"cached_tokens": u["cached"]}
        out["completion_tokens_details"] = {"reasoning_tokens": u["think"]}
    return out


def joined(parts, kind):
    return "".join(p[1] for p in parts if p[0] == kind)


def dump(value):
    return json.dumps(value, ensure_ascii=False)


# chat

def chat_head(a, what):
    return {"id": a.id, "object": what, "created": a.created, "model": a.model}


def chat_whole(a, answer):
    message = {"role": "assistant", "content": joined(answer["parts"], "text") or None, "refusal": None}
    if joined(answer["parts"], "think"):
        message["reasoning_content"] = joined(answer["parts"], "think")
    calls = [{"id": p[3], "type": "function", "function": {"name": p[1], "arguments": dump(p[2])}}
             for p in answer["parts"] if p[0] == "call"]
    if calls:
        message["tool_calls"] = calls
    return dict(chat_head(a, "chat.completion"), usage=usage_in("chat", answer["usage"]), choices=[
        {"index": 0, "message": message, "logprobs": None,
         "finish_reason": ENDS["chat"].get(answer["end"], answer["end"])}])


def chat_stream(a, answer):
    head = chat_head(a, "chat.completion.chunk")
    out = []

    def put(kind, delta, end=None):
        out.append((kind, None, dump(dict(head, choices=[
            {"index": 0, "delta": delta, "logprobs": None, "finish_reason": end}]))))

    put("begin", {"role": "assistant", "content": ""})
    index = -1
    for p in answer["parts"]:
        if p[0] == "call":
            index += 1
            put("begin", {"tool_calls": [{"index": index, "id": p[3], "type": "function",
                                          "function": {"name": p[1], "arguments": ""}}]})
        for piece in part_pieces(p) if p[0] != "redacted" else []:
            put(p[0], {"think": {"reasoning_content": piece}, "text": {"content": piece}}.get(p[0]) or
                {"tool_calls": [{"index": index, "function": {"arguments": piece}}]})
    put("end", {}, ENDS["chat"].get(answer["end"], answer["end"]))
    if (a.body.get("stream_options") or {}).get("include_usage"):
        out.append(("end", None, dump(dict(head, choices=[], usage=usage_in("chat", answer["usage"])))))
    return out + [("done", None, "[DONE]")]


# completions

def completions_whole(a, answer):
    return dict(chat_head(a, "text_completion"), usage=usage_in("completions", answer["usage"]),
                choices=[{"index": 0, "text": joined(answer["parts"], "text"), "logprobs": None,
                          "finish_reason": ENDS["chat"].get(answer["end"], answer["end"])}])


def completions_stream(a, answer):
    head = chat_head(a, "text_completion")
    out = [("text", None, dump(dict(head, choices=[{"index": 0, "text": piece, "logprobs": None,
                                                    "finish_reason": None}])))
           for piece in pieces(joined(answer["parts"], "text"))]
    out.append(("end", None, dump(dict(head, choices=[{"index": 0, "text": "", "logprobs": None,
                                                       "finish_reason": ENDS["chat"].get(
                                                           answer["end"], answer["end"])}]))))
    if (a.body.get("stream_options") or {}).get("include_usage"):
        out.append(("end", None, dump(dict(head, choices=[],
                                           usage=usage_in("completions", answer["usage"])))))
    return out + [("done", None, "[DONE]")]


# messages

def block_of(a, p):
    if p[0] == "think":
        return {"type": "thinking", "thinking": p[1], "signature": a.seals.signature(a.model, p[1])}
    if p[0] == "redacted":
        return {"type": "redacted_thinking", "data": a.seals.redacted(a.model, p[1])}
    if p[0] == "call":
        return {"type": "tool_use", "id": p[3], "name": p[1], "input": p[2]}
    return {"type": "text", "text": p[1]}


def messages_whole(a, answer):
    stop = ENDS["messages"][answer["end"]]
    return {"id": a.id, "type": "message", "role": "assistant", "model": a.model,
            "content": [block_of(a, p) for p in answer["parts"]], "stop_reason": stop,
            "stop_sequence": (a.body.get("stop_sequences") or [None])[0]
            if stop == "stop_sequence" else None, "usage": usage_in("messages", answer["usage"])}


def messages_stream(a, answer):
    out = []

    def put(kind, type_, **more):
        out.append((kind, type_, dump(dict(type=type_, **more))))

    usage = usage_in("messages", answer["usage"])
    put("begin", "message_start", message={
        "id": a.id, "type": "message", "role": "assistant", "model": a.model, "content": [],
        "stop_reason": None, "stop_sequence": None, "usage": dict(usage, output_tokens=1)})
    put("begin", "ping")
    for i, p in enumerate(answer["parts"]):
        block = block_of(a, p)
        empty = {"think": {"thinking": "", "signature": ""}, "text": {"text": ""},
                 "call": {"input": {}}}.get(p[0], {})
        put("begin" if p[0] != "redacted" else "think", "content_block_start", index=i,
            content_block=dict(block, **empty))
        for piece in part_pieces(p) if p[0] != "redacted" else []:
            put(p[0], "content_block_delta", index=i, delta={
                "think": {"type": "thinking_delta", "thinking": piece},
                "text": {"type": "text_delta", "text": piece},
                "call": {"type": "input_json_delta", "partial_json": piece}}[p[0]])
        if p[0] == "think":
            put("seal", "content_block_delta", index=i,
                delta={"type": "signature_delta", "signature": block["signature"]})
        put("seal", "content_block_stop", index=i)
    whole = messages_whole(a, answer)
    put("end", "message_delta", usage={"output_tokens": usage["output_tokens"]},
        delta={"stop_reason": whole["stop_reason"], "stop_sequence": whole["stop_sequence"]})
    put("done", "message_stop")
    return out


# responses

def item_of(a, i, p):
    if p[0] in ("think", "redacted"):
        id_ = "rs_%08d%02d" % (a.n, i)
        text = p[1] if p[0] == "think" else ""
        item = {"type": "reasoning", "id": id_,
                "summary": [{"type": "summary_text", "text": text}] if text else []}
        if "reasoning.encrypted_content" in (a.body.get("include") or []):
            item["encrypted_content"] = a.seals.encrypted(a.model, id_, text)
        return item
    if p[0] == "call":
        return {"type": "function_call", "id": "fc_%08d%02d" % (a.n, i), "call_id": p[3],
                "name": p[1], "arguments": dump(p[2]), "status": "completed"}
    return {"type": "message", "id": "msg_%08d%02d" % (a.n, i), "role": "assistant",
            "status": "completed",
            "content": [{"type": "output_text", "text": p[1], "annotations": [], "logprobs": []}]}


def responses_whole(a, answer, status=None, output=True):
    long = answer["end"] == "length"
    body = a.body
    return {"id": a.id, "object": "response", "created_at": a.created, "model": a.model,
            "status": status or ("incomplete" if long else "completed"), "error": None,
            "incomplete_details": {"reason": "max_output_tokens"} if long and not status else None,
            "instructions": body.get("instructions"), "metadata": body.get("metadata") or {},
            "output": [item_of(a, i, p) for i, p in enumerate(answer["parts"])] if output else [],
            "parallel_tool_calls": body.get("parallel_tool_calls", True), "temperature": 1.0,
            "tool_choice": body.get("tool_choice") or "auto", "tools": body.get("tools") or [],
            "top_p": 1.0, "previous_response_id": None, "truncation": "disabled",
            "max_output_tokens": body.get("max_output_tokens"),
            "usage": usage_in("responses", answer["usage"]) if output else None}


def responses_part(put, i, p, item):
    """The events of one item."""
    where = {"item_id": item["id"], "output_index": i}
    if p[0] in ("think", "redacted"):
        put("begin", "response.output_item.added", output_index=i, item=dict(item, summary=[]))
        if item["summary"]:
            where["summary_index"] = 0
            put("begin", "response.reasoning_summary_part.added", **where,
                part={"type": "summary_text", "text": ""})
            for piece in part_pieces(p):
                put("think", "response.reasoning_summary_text.delta", **where, delta=piece)
            put("seal", "response.reasoning_summary_text.done", **where, text=p[1])
            put("seal", "response.reasoning_summary_part.done", **where, part=item["summary"][0])
    elif p[0] == "call":
        put("begin", "response.output_item.added", output_index=i,
            item=dict(item, arguments="", status="in_progress"))
        for piece in part_pieces(p):
            put("call", "response.function_call_arguments.delta", **where, delta=piece)
        put("seal", "response.function_call_arguments.done", **where, arguments=item["arguments"],
            name=item["name"])
    else:
        put("begin", "response.output_item.added", output_index=i,
            item=dict(item, content=[], status="in_progress"))
        where["content_index"] = 0
        put("begin", "response.content_part.added", **where, part=dict(item["content"][0], text=""))
        for piece in part_pieces(p):
            put("text", "response.output_text.delta", **where, delta=piece, logprobs=[])
        put("seal", "response.output_text.done", **where, text=p[1], logprobs=[])
        put("seal", "response.content_part.done", **where, part=item["content"][0])
    put("seal", "response.output_item.done", output_index=i, item=item)


def responses_stream(a, answer):
    out = []

    def put(kind, type_, **more):
        out.append((kind, type_, dump(dict(type=type_, sequence_number=len(out), **more))))

    begun = responses_whole(a, answer, "in_progress", False)
    put("begin", "response.created", response=begun)
    put("begin", "response.in_progress", response=begun)
    for i, p in enumerate(answer["parts"]):
        responses_part(put, i, p, item_of(a, i, p))
    whole = responses_whole(a, answer)
    put("done", "response." + whole["status"], response=whole)
    return out


WHOLE = {"chat": chat_whole, "completions": completions_whole, "messages": messages_whole,
         "responses": responses_whole}
STREAM = {"chat": chat_stream, "completions": completions_stream, "messages": messages_stream,
          "responses": responses_stream}


def embeddings(a, body):
    """A vector that follows from the text alone."""
    texts = body["input"] if isinstance(body["input"], list) and \
        not isinstance(body["input"][0], int) else [body["input"]]
    rows = []
    for i, text in enumerate(texts):
        digest = hashlib.sha256(dump(text).encode()).digest()
        vector = [(b - 128) / 128 for b in digest[:body.get("dimensions") or 8]]
        packed = base64.b64encode(struct.pack("<%df" % len(vector), *vector)).decode()
        rows.append({"object": "embedding", "index": i,
                     "embedding": packed if body.get("encoding_format") == "base64" else vector})
    n = sum(len(pieces(str(t))) for t in texts)
    return {"object": "list", "model": a.model, "data": rows,
            "usage": {"prompt_tokens": n, "total_tokens": n}}


def error_body(kind, status, message, code=None, type_=None):
    if kind in ("messages", "count"):
        word = type_ or {400: "invalid_request_error", 401: "authentication_error",
                         402: "billing_error", 403: "permission_error", 404: "not_found_error",
                         413: "request_too_large", 429: "rate_limit_error", 504: "timeout_error",
                         529: "overloaded_error"}.get(status, "api_error")
        return {"type": "error", "error": {"type": word, "message": message},
                "request_id": "req_%08d" % next(numbers)}
    word = type_ or ("invalid_request_error" if status < 500 else "server_error")
    return {"error": {"message": message, "type": word, "param": None, "code": code}}


def error_events(a, message="The stand-in fails here."):
    """How a stream of this dialect says that it failed."""
    if a.kind == "messages":
        return [("error", "error", dump({"type": "error", "error": {
            "type": "overloaded_error", "message": message}}))]
    if a.kind == "responses":
        failed = dict(responses_whole(a, {"parts": [], "end": "stop", "usage": None}, "failed", False),
                      error={"code": "server_error", "message": message})
        return [("error", "response.failed", dump({"type": "response.failed", "sequence_number": 9999,
                                                   "response": failed}))]
    return [("error", None, dump({"error": {"message": message, "type": "server_error",
                                            "param": None, "code": None}}))]
