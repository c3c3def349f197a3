"""said.py - what bodies of requests and answers say, in each dialect: read here by code that shares
nothing with src/wire, so that its tests can compare.
"""
import json

import croft

VOLATILE = "x-anthropic-billing-header:"


def texts(content):
    if isinstance(content, str):
        return content
    return "".join(p.get("text") or p.get("refusal") or "" for p in content or []
                   if p.get("type") in ("text", "input_text", "output_text", "refusal"))


def images(content):
    return sum(p["type"] in ("image_url", "image", "input_image") for p in content
               if isinstance(content, list))


def strip(text):
    """Lines at the front of a system message that say nothing to a model."""
    while text.startswith(VOLATILE):
        text = text.partition("\n")[2]
    return text


def system_text(content):
    parts = [content] if isinstance(content, str) else [p.get("text", "") for p in content or []]
    while parts and parts[0].startswith(VOLATILE):
        parts[0] = parts[0].partition("\n")[2]
        parts = parts if parts[0] else parts[1:]
    return "".join(parts)


def said_chat(body):
    for m in body["messages"]:
        content = m.get("content") or ""
        role = {"developer": "system"}.get(m["role"], m["role"])
        if role == "system":
            yield role, system_text(content)
        elif role == "tool":
            yield role, m["tool_call_id"], texts(content)
        else:
            yield role, texts(content) + (m.get("refusal") or ""), images(content)
        for c in m.get("tool_calls") or []:
            yield "call", c["id"], c["function"]["name"], json.loads(c["function"]["arguments"] or "{}")


def said_messages(body):
    yield "system", system_text(body.get("system"))
    for m in body["messages"]:
        content = m["content"]
        if isinstance(content, str):
            content = [{"type": "text", "text": content}]
        if m["role"] == "system":
            yield "system", system_text(content)
            continue
        for b in content:
            if b["type"] == "tool_result":
                yield "tool", b["tool_use_id"], texts(b.get("content"))
        yield m["role"], texts(content), images(content)
        for b in content:
            if b["type"] == "tool_use":
                yield "call", b["id"], b["name"], b["input"]


def said_responses(body):
    if body.get("instructions"):
        yield "system", body["instructions"]
    items = body["input"]
    for i in [{"role": "user", "content": items}] if isinstance(items, str) else items:
        kind = i.get("type", "message")
        if kind == "message" and i["role"] in ("system", "developer"):
            yield "system", system_text(i["content"])
        elif kind == "message":
            yield i["role"], texts(i["content"]), images(i["content"])
        elif kind == "function_call":
            yield "call", i["call_id"], i["name"], json.loads(i["arguments"] or "{}")
        elif kind == "function_call_output":
            yield "tool", i["call_id"], texts(i["output"])


SAID = {"chat": said_chat, "messages": said_messages, "responses": said_responses}


def said(dialect, body):
    """In order, without what is empty; neighbours of one role are one."""
    out = []
    for row in SAID[dialect](body):
        if row[0] in ("system", "user", "assistant"):
            if not any(row[1:]):
                continue
            if out and out[-1][0] == row[0]:
                out[-1] = (row[0], out[-1][1] + row[1]) + tuple(
                    a + b for a, b in zip(out[-1][2:], row[2:]))
                continue
        out.append(row)
    return out


def tools(dialect, body):
    out = {}
    for t in body.get("tools") or []:
        f = t.get("function") if dialect == "chat" else t
        if t.get("type", "custom" if dialect == "messages" else None) in ("function", "custom") and f \
                and f.get("name"):
            out[f["name"]] = (f.get("description") or "",
                              f.get("input_schema" if dialect == "messages" else "parameters")
                              or {"type": "object"})
    for name, (prose, schema) in out.items():
        if schema == {"type": "object", "properties": {}}:
            out[name] = (prose, {"type": "object"})
    return out


# ---- what an answer says -----------------------------------------------------------------------

STOPS = {"end_turn": "stop", "max_tokens": "length", "tool_use": "calls", "stop_sequence": "stop",
         "tool_calls": "calls", "completed": "stop", "incomplete": "length"}


def usage_of(dialect, u):
    if not u:
        return None
    if dialect == "messages":
        read = u.get("cache_read_input_tokens") or 0
        return (u["input_tokens"] + read + (u.get("cache_creation_input_tokens") or 0), read,
                u["output_tokens"])
    detail = u.get("prompt_tokens_details") or u.get("input_tokens_details") or {}
    return (u.get("prompt_tokens", u.get("input_tokens")), detail.get("cached_tokens") or 0,
            u.get("completion_tokens", u.get("output_tokens")))


def answer_chat(parts, whole):
    out = {"text": "", "think": "", "calls": [], "stop": None, "usage": None}
    for part in parts:
        if part.get("error"):
            return None
        out["usage"] = part.get("usage") or out["usage"]
        for c in part["choices"][:1]:
            m = c["message"] if whole else c["delta"]
            out["text"] += m.get("content") or ""
            out["think"] += m.get("reasoning_content") or ""
            for k, t in enumerate(m.get("tool_calls") or []):
                if t.get("id"):
                    out["calls"].append([t["id"], t["function"]["name"], ""])
                out["calls"][k if whole else t["index"]][2] += t["function"].get("arguments") or ""
            out["stop"] = c.get("finish_reason") or out["stop"]
    return out


def block_of(b):
    if b["type"] == "tool_use":
        return ["tool_use", b["id"], b["name"], json.dumps(b["input"]) if b["input"] else ""]
    return [b["type"], b.get("text", b.get("thinking", ""))]


def answer_messages(parts, whole):
    out = {"text": "", "think": "", "calls": [], "stop": None, "usage": {}}
    blocks = []
    for p in parts:
        if p["type"] == "error":
            return None
        if p["type"] == "message":
            blocks = [block_of(b) for b in p["content"]]
            out.update(stop=p["stop_reason"], usage=p["usage"])
        if p["type"] == "message_start":
            out["usage"] = dict(p["message"]["usage"])
        if p["type"] == "content_block_start":
            croft.check(p["index"] == len(blocks), "blocks are numbered in order")
            blocks.append(block_of(p["content_block"]))
        if p["type"] == "content_block_delta":
            d = p["delta"]
            blocks[p["index"]][-1] += d.get("text") or d.get("thinking") or d.get("partial_json") or ""
        if p["type"] == "message_delta":
            out["stop"] = p["delta"]["stop_reason"] or out["stop"]
            out["usage"].update(p["usage"])
    for b in blocks:
        if b[0] == "tool_use":
            out["calls"].append(b[1:])
        else:
            out["text" if b[0] == "text" else "think"] += b[1]
    return out


def answer_responses(parts, whole):
    """Of a stream what its pieces say; what its end says must be the same."""
    out = {"text": "", "think": "", "calls": [], "stop": None, "usage": None}
    for p in parts:
        if whole or p["type"] in ("response.completed", "response.incomplete"):
            r = p if whole else p["response"]
            end = {"text": "", "think": "", "calls": []}
            for i in r["output"]:
                if i["type"] == "message":
                    end["text"] += "".join(c.get("text") or c.get("refusal") or "" for c in i["content"])
                if i["type"] == "reasoning":
                    end["think"] += "".join(c["text"] for c in i["summary"])
                if i["type"] == "function_call":
                    end["calls"].append([i["call_id"], i["name"], i["arguments"]])
            if not whole:
                croft.check(all(out[k] == end[k] for k in end), "a stream's end repeats its pieces",
                            str((out, end)))
            out.update(end, stop=r["status"], usage=r["usage"])
        elif p["type"] in ("response.failed", "error"):
            return None
        elif p["type"] == "response.output_text.delta":
            out["text"] += p["delta"]
        elif p["type"] == "response.reasoning_summary_text.delta":
            out["think"] += p["delta"]
        elif p["type"] == "response.output_item.added" and p["item"]["type"] == "function_call":
            out["calls"].append([p["item"]["call_id"], p["item"]["name"], ""])
        elif p["type"] == "response.function_call_arguments.delta":
            out["calls"][-1][2] += p["delta"]
    return out


ANSWER = {"chat": answer_chat, "messages": answer_messages, "responses": answer_responses}


def said_so_far(dialect, parts):
    """What a stream that has no end said: text, thinking, whole calls."""
    out = ANSWER[dialect]([p for p in parts if not p.get("error") and p.get("type") not in (
        "error", "response.failed")], False)
    return {"text": out["text"], "think": out["think"],
            "calls": [(c[0], c[1], json.loads(c[2] or "{}")) for c in out["calls"]]}


def answered(dialect, parts, whole):
    """None: it failed, or never ended."""
    out = ANSWER[dialect](parts, whole)
    if not out or not out["stop"]:
        return None
    stop = STOPS.get(out["stop"], out["stop"])
    return {"text": out["text"], "think": out["think"],
            "calls": [(c[0], c[1], json.loads(c[2] or "{}")) for c in out["calls"]],
            "stop": "calls" if out["calls"] and stop == "stop" else stop,
            "usage": usage_of(dialect, out["usage"])}
