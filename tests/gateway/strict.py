"""strict.py - what an upstream takes and what it refuses, for the stand-ins: a request must fit the
OpenAPI document of OpenAI's API or the types of the package `anthropic`, and then the rules that
neither states: results follow their calls, signatures are the stand-in's own, thinking comes first.

Shares nothing with croft.  Shapes need the packages jsonschema and anthropic; without them only the
rules are held (`SHAPES` is False).
"""
import base64
import gzip
import hashlib
import hmac
import json
import os
import re

try:
    import jsonschema
    import pydantic
    from pydantic.json_schema import GenerateJsonSchema
    from anthropic.types import message_count_tokens_params, message_create_params
    SHAPES = True
except ImportError:
    SHAPES = False

DATA = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../data/wire/requests.json.gz")
NAME = {"chat": r"[a-zA-Z0-9_-]{1,64}", "responses": r"[a-zA-Z0-9_-]{1,64}",
        "messages": r"[a-zA-Z0-9_-]{1,128}"}
THINKS = ("thinking", "redacted_thinking")


class Refused(Exception):
    """Answered with this status; `code` is OpenAI's."""

    def __init__(self, message, status=400, code=None):
        super().__init__(message)
        self.status, self.code = status, code


def need(ok, message, **more):
    if not ok:
        raise Refused(message, **more)


# ---- shapes ------------------------------------------------------------------------------------

def closed(node, named=False):
    """A schema whose objects have no more than it says; `named`: keys are names here."""
    if isinstance(node, list):
        return [closed(n) for n in node]
    if not isinstance(node, dict):
        return node
    out = {k: closed(v, k in ("properties", "$defs")) for k, v in node.items()}
    if not named and "properties" in out:
        out.setdefault("additionalProperties", False)
    return out


def _validators():
    with gzip.open(DATA, "rt") as f:
        document = json.load(f)
    # Other servers than OpenAI's take back what they thought.
    said = document["$defs"]["ChatCompletionRequestAssistantMessage"]["properties"]
    said["reasoning_content"] = {"type": "string"}
    out = {kind: {"$ref": "#/$defs/" + name, "$defs": document["$defs"]}
           for kind, name in document["of"].items()}

    class Generate(GenerateJsonSchema):
        """A file of the package's own kind cannot come over a wire."""

        def handle_invalid_for_json_schema(self, schema, error_info):
            return {"not": {}}

    for kind, type_ in (("messages", message_create_params.MessageCreateParamsStreaming),
                        ("whole", message_create_params.MessageCreateParamsNonStreaming),
                        ("count", message_count_tokens_params.MessageCountTokensParams)):
        out[kind] = closed(pydantic.TypeAdapter(type_).json_schema(schema_generator=Generate))
        if kind != "count":             # the package has lost these, the version 2023-06-01 has not
            out[kind]["properties"].update(temperature={"type": "number", "minimum": 0, "maximum": 1},
                                           top_p={"type": "number", "minimum": 0, "maximum": 1},
                                           top_k={"type": "integer", "minimum": 0})
    return {kind: jsonschema.Draft202012Validator(s) for kind, s in out.items()}


VALIDATORS = _validators() if SHAPES else {}


def fits(kind, body):
    """Raise Refused unless the body has the shape of `kind`'s requests."""
    if not SHAPES:
        return
    if kind == "messages" and not body.get("stream"):
        kind = "whole"
    wrong = jsonschema.exceptions.best_match(VALIDATORS[kind].iter_errors(body))
    need(wrong is None, wrong and "shape: %s: %s" % (wrong.json_path, wrong.message[:300]))


# ---- seals: what only this stand-in can have said ----------------------------------------------

class Seals:
    def __init__(self, secret):
        self.secret = secret

    def _of(self, *parts):
        text = "\0".join(parts).encode()
        return base64.b64encode(hmac.new(self.secret, text, hashlib.sha256).digest()).decode()

    def signature(self, model, text):
        return "sig" + self._of("thinking", model, text)

    def redacted(self, model, text):
        return "red" + self._of("redacted", model, text) + base64.b64encode(text.encode()).decode()

    def encrypted(self, model, item, text):
        return "enc" + self._of("reasoning", model, item, text)

    def holds(self, seal, *what):
        return hmac.compare_digest(seal or "", getattr(self, what[0])(*what[1:]))

    def redacted_holds(self, data, model):
        try:
            text = base64.b64decode(data[47:]).decode()
        except ValueError:
            return False
        return self.holds(data, "redacted", model, text)


# ---- rules -------------------------------------------------------------------------------------

def check_tools(dialect, tools):
    names = [t["function"]["name"] if dialect == "chat" else t["name"] for t in tools or []
             if t.get("type", "custom") in ("function", "custom")]
    for name in names:
        need(re.fullmatch(NAME[dialect], name), "tools: the name %r does not fit" % name)
    need(len(names) == len(set(names)), "tools: names must be unique")
    return names


def check_arguments(text):
    try:
        need(isinstance(json.loads(text), dict), "arguments must be a JSON object")
    except ValueError:
        raise Refused("arguments are no JSON") from None


def check_chat(body, seals):
    check_tools("chat", body.get("tools"))
    need(body["messages"], "messages: empty")
    need(not body.get("stream_options") or body.get("stream"),
         "The 'stream_options' parameter is only allowed when 'stream' is enabled.")
    need(not body.get("tool_choice") or body.get("tools"),
         "'tool_choice' is only allowed when 'tools' are specified.")
    waits = set()
    for m in body["messages"]:
        if m["role"] == "tool":
            need(m["tool_call_id"] in waits, "messages with role 'tool' must be a response to a "
                 "preceding message with 'tool_calls'.")
            waits.discard(m["tool_call_id"])
            continue
        need(not waits, "An assistant message with 'tool_calls' must be followed by tool messages "
             "responding to each 'tool_call_id'.")
        calls = m.get("tool_calls") or []
        waits = {c["id"] for c in calls}
        need(len(waits) == len(calls), "tool_calls: ids must be unique")
        for c in calls:
            check_arguments(c["function"]["arguments"])
        need(m["role"] != "assistant" or m.get("content") or calls or m.get("refusal"),
             "an assistant message needs content or tool_calls")
    need(not waits, "tool_calls without their results")


def check_responses(body, seals):
    check_tools("responses", body.get("tools"))
    for field in ("previous_response_id", "conversation"):
        need(not body.get(field), "Previous response not found.", status=404)
    items = body.get("input") or []
    if isinstance(items, str):
        return
    calls, answered, before = set(), set(), None
    for i in items:
        kind = i.get("type", "message")
        need(kind != "item_reference", "Item with id '%s' not found." % i.get("id"), status=404)
        need(before != "reasoning" or kind in ("message", "function_call", "reasoning") and
             i.get("role", "assistant") == "assistant",
             "Item of type 'reasoning' was provided without its required following item.")
        if kind == "reasoning":
            text = "".join(s["text"] for s in i["summary"])
            need(i.get("encrypted_content"), "Item with id '%s' not found. Items are not persisted "
                 "when `store` is set to false." % i["id"], status=404)
            need(seals.holds(i["encrypted_content"], "encrypted", body["model"], i["id"], text),
                 "The encrypted content for item %s could not be verified." % i["id"],
                 code="invalid_encrypted_content")
        if kind == "function_call":
            need(i.get("id", "fc_").startswith("fc_"), "Expected an ID that begins with 'fc'.")
            need(i["call_id"] not in calls and len(i["call_id"]) <= 64, "call_id: twice or too long")
            check_arguments(i["arguments"])
            calls.add(i["call_id"])
        if kind == "function_call_output":
            need(i["call_id"] in calls, "No tool call found for function call output with call_id "
                 "%s." % i["call_id"])
            answered.add(i["call_id"])
        before = kind
    need(before != "reasoning", "Item of type 'reasoning' was provided without its required "
         "following item.")
    need(calls == answered, "No tool output found for function call %s." % sorted(calls - answered))


def check_block(b, m, body, seals):
    if b["type"] == "text":
        need(b["text"], "messages: text content blocks must be non-empty")
    if b["type"] in THINKS:
        need(m["role"] == "assistant", "thinking of a user")
        good = (seals.redacted_holds(b["data"], body["model"]) if "data" in b else
                seals.holds(b["signature"], "signature", body["model"], b["thinking"]))
        need(good, "messages: Invalid `signature` in `thinking` block")
    if b["type"] == "tool_use":
        need(m["role"] == "assistant" and re.fullmatch(r"[a-zA-Z0-9_-]+", b["id"]),
             "messages: tool_use.id: String should match pattern '^[a-zA-Z0-9_-]+$'")
    if b["type"] == "tool_result":
        need(m["role"] == "user", "messages: tool_result blocks can only be in user messages")


def check_thinking(body):
    thinking = body.get("thinking") or {}
    if thinking.get("type") == "enabled":
        need(thinking["budget_tokens"] >= 1024, "thinking.enabled.budget_tokens: at least 1024")
        need(thinking["budget_tokens"] < body.get("max_tokens", 1 << 30),
             "`max_tokens` must be greater than `thinking.budget_tokens`")
    if thinking.get("type") in ("enabled", "adaptive"):
        need(body.get("temperature") in (None, 1), "`temperature` may only be set to 1 when thinking "
             "is enabled")
        need("top_k" not in body, "`top_k` must be unset when thinking is enabled")
        need((body.get("tool_choice") or {}).get("type", "auto") in ("auto", "none"),
             "Thinking may not be enabled when tool_choice forces tool use.")
    return thinking.get("type") == "enabled"


def check_messages(body, seals):
    check_tools("messages", body.get("tools"))
    thinks = check_thinking(body)
    need(not body.get("tool_choice") or body.get("tools"), "tool_choice without tools")
    need(body["messages"], "messages: at least one message is required")
    need(body["messages"][0]["role"] == "user", "messages: first message must use the user role")
    waits, last = set(), None
    for m in body["messages"]:
        blocks = m["content"] if isinstance(m["content"], list) else \
            [{"type": "text", "text": m["content"]}]
        need(blocks, "messages: content must be non-empty")
        for b in blocks:
            check_block(b, m, body, seals)
        results = [b["tool_use_id"] for b in blocks if b["type"] == "tool_result"]
        need(set(results) == waits and len(results) == len(waits), "messages: `tool_use` ids were "
             "found without `tool_result` blocks immediately after: %s, %s" % (waits, results))
        need([b["type"] for b in blocks[:len(results)]] == ["tool_result"] * len(results),
             "messages: tool_result blocks must come first")
        waits = {b["id"] for b in blocks if b["type"] == "tool_use"}
        need(not thinks or not waits or blocks[0]["type"] in THINKS or m is not open_turn(body),
             "Expected `thinking` or `redacted_thinking`, but found `%s`. When `thinking` is enabled, "
             "a final `assistant` message must start with a thinking block" % blocks[0]["type"])
        last = blocks[-1]
    need(not waits, "messages: tool_use without its result")
    need(body["messages"][-1]["role"] == "user" or last.get("text", ".") == last.get("text", ".").rstrip(),
         "messages: final assistant content cannot end with trailing whitespace")


def open_turn(body):
    """The assistant's message whose calls the last message answers."""
    last = body["messages"][-1]
    if len(body["messages"]) > 1 and isinstance(last["content"], list) and \
            any(b["type"] == "tool_result" for b in last["content"]):
        return body["messages"][-2]
    return None


def check_texts(body, seals):
    need(body.get("prompt", body.get("input")), "nothing to read")


RULES = {"chat": check_chat, "responses": check_responses, "messages": check_messages,
         "count": check_messages, "completions": check_texts, "embeddings": check_texts}


def check(kind, body, seals, shape=True):
    """Raise Refused when a strict upstream would refuse this."""
    if shape:
        fits(kind, body)
    try:
        RULES[kind](body, seals)
    except (KeyError, TypeError, AttributeError) as e:
        raise Refused("shape: %r" % e) from None
