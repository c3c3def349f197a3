#!/usr/bin/env python3
"""make_data.py - cut what the tests of src/wire use out of larger collections.

    python3 tests/wire/make_data.py openapi openapi.json[.gz] > tests/data/wire/openapi.json
    python3 tests/wire/make_data.py requests openapi.json[.gz] > tests/data/wire/requests.json
    python3 tests/wire/make_data.py clients FOLDER > tests/data/wire/clients.jsonl
    python3 tests/wire/make_data.py carry FOLDER > tests/data/wire/carry.jsonl

openapi: OpenAI's document.  The components that replies are made of, without descriptions, in the
JSON Schema of 2020-12 (`nullable` becomes a type), and closed: a property that the document does
not name is an error.  Of requests the names of their properties.
requests: the same document's requests, whole: what `allOf` joins is one closed object, and where
`oneOf` says one, several may fit (its kinds of message overlap).
clients: a folder of recorded conversations (one folder for each client, *.jsonl).  POSTs of OpenAI
routes with what was answered; of one client's that have the same fields, roles and kind of answer
the first, where it has at most 32 KB.
carry: the same of chat, messages and responses, of at most 24 KB; what an answer said twice over (an
answer that is cut off and asked for again) once.
"""
import glob
import gzip
import json
import os
import re
import sys

REPLIES = ["CreateChatCompletionResponse", "CreateChatCompletionStreamResponse",
           "CreateCompletionResponse", "CreateEmbeddingResponse", "Model", "ListModelsResponse",
           "ErrorResponse"]
REQUESTS = {"chat": "CreateChatCompletionRequest", "completions": "CreateCompletionRequest",
            "embeddings": "CreateEmbeddingRequest"}
PROSE = {"description", "example", "examples", "title", "deprecated", "default", "format",
         "externalDocs"}
ROUTES = {"/v1/chat/completions": "chat", "/v1/completions": "completions",
          "/v1/embeddings": "embeddings"}


def clean(node, properties=False):
    """The schema itself; `properties`: the keys of this node are names, not keywords."""
    if isinstance(node, list):
        return [clean(n) for n in node]
    if not isinstance(node, dict):
        return node
    out = {k: clean(v, k == "properties") for k, v in node.items()
           if properties or not (k in PROSE or k == "nullable" or k.startswith("x-"))}
    if properties:
        return out
    if "$ref" in out:
        out = {"$ref": "#/$defs/" + out["$ref"].rsplit("/", 1)[1]}
    if "properties" in out:
        out.setdefault("additionalProperties", False)
    return {"anyOf": [out, {"type": "null"}]} if node.get("nullable") is True else out


def openapi(path):
    with (gzip.open if path.endswith(".gz") else open)(path, "rt") as f:
        schemas = json.load(f)["components"]["schemas"]
    used, todo = {}, list(REPLIES)
    while todo:
        name = todo.pop()
        if name not in used:
            used[name] = clean(schemas[name])
            todo += re.findall(r'"#/\$defs/([^"]+)"', json.dumps(used[name]))
    requests = {}
    for dialect, name in REQUESTS.items():
        names, parts = set(), [name]
        while parts:
            schema = schemas[parts.pop()]
            for part in [schema] + schema.get("allOf", []):
                names |= set(part.get("properties", {}))
                if "$ref" in part:
                    parts.append(part["$ref"].rsplit("/", 1)[1])
        requests[dialect] = sorted(names)
    json.dump({"$defs": used, "requests": requests}, sys.stdout, indent=0, sort_keys=True)
    print()



SENT = {"chat": "CreateChatCompletionRequest", "responses": "CreateResponse",
        "completions": "CreateCompletionRequest", "embeddings": "CreateEmbeddingRequest"}


def joined(schemas, node):
    """An object of all that its parts have."""
    out = {"type": "object", "properties": {}, "required": []}
    for part in node.get("allOf", []):
        if "$ref" in part:
            part = schemas[part["$ref"].rsplit("/", 1)[1]]
        if "allOf" in part:
            part = joined(schemas, part)
        out["properties"].update(part.get("properties", {}))
        out["required"] += part.get("required", [])
    return out


def requests(path):
    with (gzip.open if path.endswith(".gz") else open)(path, "rt") as f:
        schemas = json.load(f)["components"]["schemas"]
    used, todo = {}, list(SENT.values())
    while todo:
        name = todo.pop()
        if name not in used:
            node = schemas[name]
            used[name] = clean(joined(schemas, node) if "allOf" in node else node)
            text = json.dumps(used[name]).replace('"oneOf"', '"anyOf"')
            used[name] = json.loads(text)
            todo += re.findall(r'"#/\$defs/([^"]+)"', text)
    json.dump({"$defs": used, "of": SENT}, sys.stdout, separators=(",", ":"), sort_keys=True)
    print()


CARRIED = {"/v1/chat/completions": "chat", "/v1/messages": "messages", "/v1/responses": "responses"}


def shape(client, dialect, body, reply):
    roles = [(m.get("role"), isinstance(m.get("content"), str), sorted(m))
             for m in body.get("messages", [])]
    if isinstance(body.get("input"), list):
        roles += [(i.get("type"), i.get("role"), sorted(i)) for i in body["input"]
                  if isinstance(i, dict)]
    return repr((client, dialect, sorted(body), body.get("stream"), roles, reply.get("status"),
                 sorted(reply.get("body") or {})))


def clients(folder, routes, most):
    seen = set()
    for path in sorted(glob.glob(os.path.join(folder, "*", "*.jsonl"))):
        with open(path) as f:
            for record in map(json.loads, f):
                request, reply = record["request"], record.get("reply") or {}
                dialect = routes.get(request["path"])
                body = request.get("body")
                if not dialect or not isinstance(body, dict) or len(json.dumps(body)) > most:
                    continue
                this = shape(path.split(os.sep)[-2], dialect, body, reply)
                if this not in seen:
                    seen.add(this)
                    print(json.dumps({
                        "from": "%s#%s" % (os.path.relpath(path, folder), record["n"]),
                        "dialect": dialect, "body": body, "status": reply.get("status"),
                        "reply": reply.get("body"),
                        "stream": [e["data"] for _, e in reply.get("stream") or []
                                   if "data" in e]}, separators=(",", ":")))


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] not in ("openapi", "requests", "clients", "carry"):
        sys.exit(__doc__)
    if sys.argv[1] == "openapi":
        openapi(sys.argv[2])
    elif sys.argv[1] == "requests":
        requests(sys.argv[2])
    elif sys.argv[1] == "clients":
        clients(sys.argv[2], ROUTES, 32 << 10)
    else:
        clients(sys.argv[2], CARRIED, 24 << 10)
