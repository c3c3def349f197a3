#!/usr/bin/env python3
"""make_pairs.py - the recorded pairs outside Ollama's dialect, one compact line each.

    python3 tests/gateway/make_pairs.py FOLDER | xz -9e > tests/data/gateway/pairs.jsonl.xz

FOLDER has a folder for each client, with *.jsonl of requests and replies.  A line is

    from, method, path (with its query), head (what says who asks and how), body,
    status, reply (a body), ms (when that came), stream [[ms, event or null, data or ": comment"]],
    cut: the client left, or the recording ended, before the reply did

A body that is the same as another's is written again: xz finds it.
"""
import glob
import json
import os
import sys

# Of the connection, of Node's fetch, of the clock; the key is the test's own.
LEFT_OUT = {"host", "connection", "content-length", "transfer-encoding", "accept-encoding", "accept-language",
            "sec-fetch-mode", "authorization", "x-api-key", "content-type", "accept", "keep-alive"}
OLLAMA = {"chat", "embed", "embeddings", "generate", "ps", "pull", "show", "tags", "version"}


def outside(path):
    return not (path.startswith("/api/") and path.split("/")[2] in OLLAMA)


def body_of(records, request):
    if "body_same_as" not in request:
        return request.get("body")
    name, _, n = request["body_same_as"].partition("#")
    return body_of(records, records[name, int(n)]["request"])


def events(reply):
    for ms, e in reply.get("stream") or []:
        yield [ms, None, e.strip()] if isinstance(e, str) else [ms, e.get("event"), e["data"]]


def pair(records, name, record):
    request, reply = record["request"], record.get("reply") or {}
    query = request.get("query")
    head = {k.lower(): v for k, v in request["headers"] if k.lower() not in LEFT_OUT}
    keys = {k.lower() for k, _ in request["headers"]} & {"authorization", "x-api-key"}
    return {"from": "%s#%d" % (name, record["n"]), "method": request["method"],
            "path": request["path"] + ("?" + query if query else ""), "key": "".join(keys), "head": head,
            "body": body_of(records, request), "status": reply.get("status"), "reply": reply.get("body"),
            "ms": reply.get("ms"), "stream": list(events(reply)),
            "cut": "status" not in reply or bool(reply.get("aborted"))}


def main(folder):
    for client in sorted(os.listdir(folder)):
        records = {}
        for path in sorted(glob.glob(os.path.join(folder, client, "*.jsonl"))):
            with open(path) as f:
                for record in map(json.loads, f):
                    records[os.path.basename(path), record["n"]] = record
        for (name, _), record in records.items():
            if outside(record["request"]["path"]):
                print(json.dumps(pair(records, client + "/" + name, record), separators=(",", ":")))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
