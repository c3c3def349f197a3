"""wire.py - what the tests of src/wire share: its pipe, recorded pairs, replies as events.

The program is $WIRE_PIPE, or build/wire_pipe.
"""
import gzip
import json
import os
import subprocess

import croft

PIPE = os.path.abspath(os.environ.get("WIRE_PIPE", "build/wire_pipe"))
DATA = os.path.join(croft.ROOT, "tests/data/wire")


def pipe(what):
    """The bytes the pipe makes of one JSON object; it fails loudly."""
    done = subprocess.run([PIPE], input=json.dumps(what).encode(), stdout=subprocess.PIPE)
    if done.returncode:
        raise RuntimeError("wire_pipe: status %d for %s" % (done.returncode, str(what)[:300]))
    return done.stdout


def text_of(body):
    return body if isinstance(body, str) else json.dumps(body)


def parse(dialect, body):
    return json.loads(pipe({"parse": dialect, "body": text_of(body)}))


def write(dialect, body, events, about=None):
    return pipe({"write": dialect, "body": text_of(body), "events": events, "about": about or {}})


def chunks(stream):
    """The JSON values of a stream's data lines, and whether it ended with [DONE]."""
    lines = [l[6:] for l in stream.decode().split("\n\n") if l.startswith("data: ")]
    ended = bool(lines) and lines[-1] == "[DONE]"
    return [json.loads(l) for l in lines if l != "[DONE]"], ended


def recorded():
    """Every recorded pair: {from, dialect, body, status, reply, stream}."""
    with gzip.open(os.path.join(DATA, "recordings_llama_stack.jsonl.gz"), "rt") as f:
        for r in map(json.loads, f):
            whole = not r["streaming"]
            yield {"from": r["file"], "body": r["request"], "status": 200,
                   "dialect": "chat" if "messages" in r["request"] else "completions",
                   "reply": r["response"] if whole else None,
                   "stream": [] if whole else r["response"]}
    with gzip.open(os.path.join(DATA, "clients.jsonl.gz"), "rt") as f:
        for pair in map(json.loads, f):
            pair["stream"] = [c for c in pair["stream"] if isinstance(c, dict)]     # not "[DONE]"
            yield pair


FINISH = {"stop": "stop", "length": "length"}


def _tokens(logprobs):
    return [{"hex": bytes(t["bytes"]).hex(), "logprob": t["logprob"],
             "top": [{"hex": bytes(o["bytes"]).hex(), "logprob": o["logprob"]}
                     for o in t["top_logprobs"]]}
            for t in (logprobs or {}).get("content") or []]


def _usage(usage):
    usage = usage or {}
    return {"prompt": usage.get("prompt_tokens", 0), "answer": usage.get("completion_tokens", 0),
            "cached": (usage.get("prompt_tokens_details") or {}).get("cached_tokens", 0),
            "think": (usage.get("completion_tokens_details") or {}).get("reasoning_tokens", 0)}


def _piece(choice, message):
    index = choice.get("index", 0)
    if message.get("reasoning_content"):
        yield {"kind": "think", "choice": index, "text": message["reasoning_content"]}
    text = message.get("content") or choice.get("text")
    if text or choice.get("logprobs"):
        yield {"kind": "text", "choice": index, "text": text or "",
               "logprobs": _tokens(choice.get("logprobs"))}
    if choice.get("finish_reason"):
        yield {"kind": "end", "choice": index, "finish": FINISH[choice["finish_reason"]]}


def events_of(pair):
    """A recorded reply as events, and what it was about; None when it holds what is not built."""
    all_ = pair["stream"] or [pair["reply"]]
    events, usage = [{"kind": "begin"}], None
    for part in all_:
        if "error" in part:
            return about_of(all_[0]), events + [{"kind": "fail", "error": "SERVER"}]
        usage = part.get("usage") or usage
        for choice in part["choices"]:
            message = choice.get("delta") or choice.get("message") or {}
            if message.get("tool_calls") or choice.get("finish_reason") not in (None, *FINISH):
                return None, None
            events += _piece(choice, message)
    return about_of(all_[0]), events + [{"kind": "done", "usage": _usage(usage)}]


def about_of(part):
    return {"id": part["id"].split("-", 1)[-1], "model": part["model"], "created": part["created"],
            "fingerprint": part.get("system_fingerprint")}
