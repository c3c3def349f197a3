#!/usr/bin/env python3
"""recorded.py - what real clients sent becomes the neutral request that its words say, and what
they were answered is written again with everything they found in it."""
import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
import croft
import wire

EFFORTS = ["none", None, "minimal", "low", "medium", "high", "xhigh", "max"]


def unbuilt(body):
    """The fields that make this request one that is refused, of which the error names one."""
    return {name for name, bad in {
        "tools": body.get("tools"), "functions": body.get("functions"),
        "tool_choice": body.get("tool_choice") not in (None, "auto", "none"),
        "response_format": (body.get("response_format") or {}).get("type", "text") != "text",
    }.items() if bad}


def other_parts(body):
    """Where parts stand that are no text."""
    return ["messages[%d].content[%d].type" % (i, j) for i, m in enumerate(body.get("messages", []))
            for j, p in enumerate(m["content"] if isinstance(m.get("content"), list) else [])
            if p["type"] != "text"]


def expected_message(message):
    content = message.get("content")
    parts = [{"type": "text", "text": content}] if isinstance(content, str) else content or []
    out = [("think", message["reasoning_content"], None, None)] \
        if message.get("reasoning_content") and message["role"] == "assistant" else []
    out += [("text", p.get("text"), None, None) for p in parts if p.get("text")]
    out += [("call", c["function"]["arguments"], c.get("id"), c["function"]["name"])
            for c in message.get("tool_calls") or []]
    return (message["role"], message.get("name"), message.get("tool_call_id"), out)


def got_message(message):
    return (message["role"], message["name"], message["call_id"],
            [(p["kind"], p["text"], p["id"], p["name"]) for p in message["parts"]])


def expected_prompts(body):
    value = body.get("prompt", body.get("input", []))
    return value if isinstance(value, list) and not isinstance((value + [""])[0], int) else [value]


def expected(body, dialect):
    stop = body.get("stop")
    limit = body.get("max_completion_tokens")
    out = {name: body.get(name) for name in
           ("model", "temperature", "top_p", "frequency_penalty", "presence_penalty", "seed", "user",
            "suffix", "dimensions")}
    out["n"] = body.get("n") or 1
    out["max_tok"] = body.get("max_tokens") if limit is None else limit
    out["stream"] = bool(body.get("stream"))
    out["echo"] = bool(body.get("echo"))
    out["include_usage"] = bool((body.get("stream_options") or {}).get("include_usage"))
    out["stop"] = [stop] if isinstance(stop, str) else stop or []
    out["base64"] = body.get("encoding_format") == "base64"
    out["logit_bias"] = body.get("logit_bias") or {}
    out["metadata"] = body.get("metadata") or {}
    out["cache_key"] = body.get("prompt_cache_key")
    if dialect == "completions":
        out["logprobs"] = body.get("logprobs") is not None
        out["top_logprobs"] = body.get("logprobs") or 0
    else:
        out["logprobs"] = bool(body.get("logprobs"))
        out["top_logprobs"] = body.get("top_logprobs") or 0
    effort = body.get("reasoning_effort")
    out["effort"] = EFFORTS.index(effort) + 1 if effort else 0
    return out


def check_request(pair):
    body, dialect, name = pair["body"], pair["dialect"], pair["from"]
    got = wire.parse(dialect, body)
    parts, bad = other_parts(body)[:1], unbuilt(body)
    if parts or bad:
        error = got.get("error", {}).get("error", {})
        croft.check(got.get("status") == 400 and error.get("param") in (parts or bad) and
                    error.get("code") == ("unsupported_value" if parts else "unsupported_parameter"),
                    name + ": refused by name", str(got)[:300])
        return False
    if not croft.check("error" not in got, name + ": is read", str(got)[:300]):
        return False
    want = expected(body, dialect)
    wrong = {k: (v, got[k]) for k, v in want.items() if got[k] != v}
    croft.check(not wrong, name + ": fields", str(wrong)[:300])
    croft.check([got_message(m) for m in got["messages"]] ==
                [expected_message(m) for m in body.get("messages", [])], name + ": messages")
    if dialect != "chat":
        croft.check(got["prompts"] == expected_prompts(body), name + ": prompts", str(got["prompts"]))
    croft.check(not got["unknown"], name + ": nothing unknown", str(got["unknown"]))
    return True


def lost(recorded, written, path=""):
    """The values a client found that are not in what we wrote."""
    if recorded is None or recorded == [] or (isinstance(recorded, dict) and not recorded):
        return []
    if isinstance(recorded, dict):
        if not isinstance(written, dict):
            return [path]
        return [x for k, v in recorded.items() for x in lost(v, written.get(k), path + "." + k)]
    if isinstance(recorded, list):
        if not isinstance(written, list) or len(written) != len(recorded):
            return [path]
        return [x for i, v in enumerate(recorded) for x in lost(v, written[i], path + "[%d]" % i)]
    return [] if recorded == written else ["%s: %r became %r" % (path, recorded, written)]


def joined(stream):
    """What a client puts together from a stream, by choice."""
    out = {}
    for chunk in stream:
        for choice in chunk.get("choices", []):
            mine = out.setdefault(choice["index"], {"content": "", "reasoning_content": "", "text": ""})
            for key, value in list((choice.get("delta") or {}).items()) + [("text", choice.get("text"))]:
                if key in mine and value:
                    mine[key] += value
            if (choice.get("delta") or {}).get("role"):
                mine["role"] = choice["delta"]["role"]
            if choice.get("finish_reason"):
                mine["finish_reason"] = choice["finish_reason"]
    return out


def check_reply(pair):
    name, dialect = pair["from"], pair["dialect"]
    about, events = wire.events_of(pair)
    if events is None:
        return
    body = dict(pair["body"], stream=bool(pair["stream"]))
    out = wire.write(dialect, body, events, about)
    if not pair["stream"]:
        missing = lost(pair["reply"], json.loads(out))
        croft.check(not missing, name + ": reply", str(missing)[:300])
        return
    got, ended = wire.chunks(out)
    failed = events[-1]["kind"] == "fail"
    croft.check(ended != failed and ("error" in got[-1]) == failed, name + ": one last word")
    want = joined(pair["stream"])
    croft.check(joined(got) == want, name + ": stream", "%s, not %s" % (joined(got), want))
    first = pair["stream"][0]
    croft.check(all(c[k] == first[k] for c in got if "error" not in c
                    for k in ("id", "object", "created", "model")), name + ": head of each chunk")
    usage = [c["usage"] for c in pair["stream"] if c.get("usage")]
    if usage and body.get("stream_options", {}).get("include_usage"):
        croft.check(got[-1]["choices"] == [] and not lost(usage[-1], got[-1]["usage"]),
                    name + ": usage")


def main():
    n = 0
    for pair in wire.recorded():
        n += 1
        if check_request(pair) and pair["status"] == 200 and pair["dialect"] != "embeddings" and \
                (pair["reply"] or pair["stream"]):
            check_reply(pair)
    croft.check(n > 140, "all pairs were read", str(n))


main()
sys.exit(croft.done())
