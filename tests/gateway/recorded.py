"""recorded.py - the recorded pairs, and what docs/carrying.md says of what stands in them: read here by
code that shares nothing with src/wire.
"""
import json
import lzma
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
import croft

PAGE = os.path.join(croft.ROOT, "docs/carrying.md")
PAIRS = os.path.join(croft.ROOT, "tests/data/gateway/pairs.jsonl.xz")
DIALECTS = {"/v1/chat/completions": "chat", "/v1/messages": "messages", "/v1/responses": "responses",
            "/v1/messages/count_tokens": "count", "/v1/completions": "completions",
            "/v1/embeddings": "embeddings"}
OTHERS = ("other",)                     # models, greetings, wrong paths, a WebSocket
NAMES = {"chat": "chat", "responses": "responses", "messages": "anthropic"}
# Without these a client failed, or found nothing: the last column of the recording's drops.tsv.
NEEDED = {"chat": ["id", "object", "index", "role", "finish_reason", "type", "usage"],
          "messages": ["id", "type", "index", "role", "model", "stop_reason", "stop_sequence", "signature",
                       "usage", "input_tokens", "cache_read_input_tokens", "output_tokens"],
          "responses": ["id", "object", "created_at", "status", "model", "item_id", "output_index",
                        "annotations"]}
EVENTS = {"messages": ["ping", "content_block_stop", "message_delta", "message_stop"],
          "responses": ["response.output_item.done", "response.completed"], "chat": []}
# Where a request has what was thought.
ENDS = {"chat": "messages[].reasoning_content", "messages": "content[].thinking",
        "responses": "input[].reasoning"}


def is_comment(event):
    return event[1] is None and isinstance(event[2], str) and event[2].startswith(":")


def pairs():
    """Every pair; `events`: the data of its stream; `said`: the objects of its answer."""
    out = []
    with lzma.open(PAIRS, "rt") as f:
        for p in map(json.loads, f):
            p["dialect"] = DIALECTS.get(p["path"].partition("?")[0], "other") if p["method"] == "POST" else "other"
            p["client"], _, name = p["from"].partition("/")
            p["scenario"] = name[0]
            p["events"] = [e[2] for e in p["stream"] if not is_comment(e)]
            p["said"] = [d for d in p["events"] if isinstance(d, dict)] or [p["reply"]]
            out.append(p)
    return out


# ---- docs/carrying.md ---------------------------------------------------------------------------

def there(body, field):
    """Is the field in the body?  A name behind a part is a key of it, or its type."""
    steps = field.split(".")
    if steps[0] == "content[]":
        steps.insert(0, "messages[]")
    nodes = [body]
    for step in steps:
        name, many, found = step.removesuffix("[]"), step.endswith("[]"), []
        for n in nodes:
            if not isinstance(n, dict):
                continue
            if name == "id" and n.get("type") in ("item_reference", "reasoning"):
                continue                # what is referred to, what is kept
            v = n[name] if n.get(name) is not None else n if n.get("type") == name else None
            found += v if many and isinstance(v, list) else [] if many or v is None else [v]
        nodes = found
    return any(n not in ("", [], {}, False) for n in nodes)


class Table:
    """{dialect: {upstream's: {field: verdict}}}, of requests."""

    def __init__(self):
        self.rows, columns, source = {}, [], None
        with open(PAGE) as f:
            for line in f:
                head = re.match(r"## Requests of `(\w+)`", line)
                source = head[1] if head else None if line.startswith("## ") else source
                cells = re.findall(r"\| ([^|]*) ", line)
                if source and line.startswith("| field"):
                    columns = [c.partition("`")[2].rstrip("`") for c in cells[1:]]
                elif source and line.startswith("| `"):
                    for to, verdict in zip(columns, cells[1:]):
                        self.rows.setdefault(source, {}).setdefault(to, {})[cells[0].strip("`")] = verdict

    def verdict(self, source, to, field):
        return self.rows[source][to][field]

    def _of(self, source, to, body, verdict):
        return {f for f, v in self.rows.get(source, {}).get(to, {}).items() if v == verdict and
                (f.endswith("(other)") or there(body, f))}

    def refused(self, source, to, body):
        """Names that a refusal may have."""
        return self._of(source, to, body, "refused")

    def dropped(self, source, to, body):
        """Names that must be noted."""
        return {f for f in self._of(source, to, body, "dropped") if not f.endswith("(other)")}

    def may_note(self, source, to, body, name):
        """A field that the table does not know, a kind that has no line, a limit that was raised."""
        if name == "x-anthropic-billing-header":
            return name in json.dumps(body)
        if name == "max_tokens":
            return to == "responses" and (settings(source, body)["max"] or 16) < 16
        if name in ("temperature", "top_p", "reasoning"):
            return to == "messages" or name == "reasoning"
        known = self.rows[source][to]
        if name in known:
            return known[name] == "dropped" and (name.endswith("(other)") or '"%s":' % name.split(".")[-1]
                                                 in json.dumps(body))
        return there(body, name)


# ---- what a request asks for --------------------------------------------------------------------

def choice_of(dialect, body):
    c = body.get("tool_choice")
    if not body.get("tools"):
        return None
    if isinstance(c, dict):
        name = (c.get("function") or c).get("name")
        return name or {"any": "required"}.get(c["type"], c["type"])
    return c or "auto"


def format_of(dialect, body):
    wish = {"chat": lambda: body.get("response_format"), "responses": lambda: (body.get("text") or {}).get("format"),
            "messages": lambda: (body.get("output_config") or {}).get("format")}[dialect]() or {}
    return (wish.get("json_schema") or wish).get("schema") if wish.get("type") == "json_schema" else None


def settings(dialect, body):
    stop = body.get("stop_sequences" if dialect == "messages" else "stop")
    return {"max": body.get("max_output_tokens") if dialect == "responses" else
            body.get("max_completion_tokens") or body.get("max_tokens"),
            "temperature": body.get("temperature"), "top_p": body.get("top_p"),
            "stop": [stop] if isinstance(stop, str) else stop or None, "stream": bool(body.get("stream")),
            "schema": format_of(dialect, body), "choice": choice_of(dialect, body)}


def thoughts(dialect, body):
    """What the conversation thought so far, in order."""
    if dialect == "chat":
        return [m["reasoning_content"] for m in body["messages"] if m.get("reasoning_content")]
    if dialect == "messages":
        return [b["thinking"] for m in body["messages"] if isinstance(m["content"], list)
                for b in m["content"] if b["type"] == "thinking" and b["thinking"]]
    items = body["input"] if isinstance(body["input"], list) else []
    texts = ["".join(s["text"] for s in i.get("summary") or []) for i in items if i.get("type") == "reasoning"]
    return [t for t in texts if t]
