"""clients.py - the packages `openai` and `anthropic` before a gateway, and behind it strict upstreams
of each dialect (standins.py): tools, thinking over several turns, schemas, images, embeddings,
counted tokens, errors, clients that leave, lock-step.

    build-venv/bin/python tests/gateway/clients.py [build/croft]

Each conversation is held directly with the stand-in first, where client and upstream speak one
dialect: what a test asks for can be had.  Needs the packages of tests/requirements.txt.
"""
import json
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
if len(sys.argv) > 1:
    os.environ["CROFT"] = sys.argv[1]
from doors import Door, cost_of, croft, check, model, upstream
import saying
import standins
from talks import ERRORS, TALKS, Chat, Messages, Responses
import anthropic
import openai

CITY = {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
        "required": ["city", "days"], "additionalProperties": False}
TOOLS = [("weather", "The weather of a city.", CITY),
         ("clock", "What time it is.", {"type": "object", "properties": {}})]
SCHEMA = {"type": "object", "additionalProperties": False, "required": ["name", "points", "kind"],
          "properties": {"name": {"type": "string"}, "kind": {"enum": ["a", "b"], "type": "string"},
                         "points": {"type": "array", "items": {"type": "integer"}}}}
PIXEL = ("data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGA"
         "WjR9awAAAABJRU5ErkJggg==")
SEALED = {"messages": lambda body: [b for m in body["messages"] if isinstance(m["content"], list)
                                    for b in m["content"] if b["type"] == "thinking"],
          "responses": lambda body: [i for i in body["input"] if i.get("type") == "reasoning"],
          "chat": lambda body: [m for m in body["messages"] if m.get("reasoning_content")]}
DIALECTS = {"chat": "chat", "responses": "responses", "messages": "anthropic"}
up = standins.Standin()


class Place:
    """Where a conversation is held: at the stand-in itself, or through the gateway."""

    def __init__(self, talk, dialect, door=None):
        self.talk, self.dialect, self.door = talk, dialect, door
        self.name = "%s to %s" % (talk.__name__, dialect if door else "the stand-in itself")
        self.model = dialect if door else "as-" + dialect
        self.there = "as-" + dialect

    def bad(self):
        """The same place at an upstream of its own, whose breaker may trip."""
        out = Place(self.talk, self.dialect, self.door)
        if self.door:
            out.model = "bad-%s-%s" % (self.talk.__name__, self.dialect)
            out.there = "as-" + out.model
        return out

    def begin(self, **more):
        base, key = (self.door.url, self.door.token) if self.door else (up.url, "sk-up-1")
        return self.talk(base, key, self.model, **more)

    def check(self, ok, what, detail=""):
        if not ok and up.asked(self.there):
            last = up.asked(self.there)[-1]
            detail = "%s | upstream: %s %s" % (detail, last["refused"] or last["ended"],
                                               json.dumps(last["body"])[:1500])
        return check(ok, "%s: %s" % (self.name, what), str(detail)[:3000])


def attempt(place, what, action):
    """Run it; a package that raises is a failed check."""
    try:
        return action()
    except Exception as e:              # whatever the package makes of it
        place.check(False, what, "%r %r" % (e, e.__cause__))
        return None


def same_usage(place, got, stream):
    row = up.asked(place.there)[-1]
    want = row["usage"]
    place.check(got.usage == (want["prompt"], want["cached"], want["answer"]), "usage, stream %s" % stream,
                "%s %s" % (got.usage, want))


def tools(place, stream):
    talk = place.begin(tools=TOOLS).user("please use it")
    first = talk.ask(stream)
    place.check([c[1:] for c in first.calls] == [("weather", saying.sample(CITY))] and
                first.stop == "calls", "a call, stream %s" % stream, first)
    same_usage(place, first, stream)
    talk.result(first.calls[0], "sunny, \u00fc")
    second = talk.ask(stream)
    place.check(second.text == "The tools said: sunny, \u00fc" and second.stop == "stop",
                "the call's result, stream %s" % stream, second)
    talk.user("use both of them")
    both = talk.ask(stream)
    place.check([c[1] for c in both.calls] == ["weather", "clock"] and len({c[0] for c in both.calls}) == 2,
                "two calls at once, stream %s" % stream, both)
    for call, text in zip(both.calls, ("rain", "noon")):
        talk.result(call, text)
    place.check(talk.ask(stream).text == "The tools said: rain; noon", "their results, stream %s" % stream)
    place.check(len({first.id, second.id, both.id}) == 3, "ids are unique")


def thinking(place, stream):
    """Three turns: a call, its result, a question.  What was thought comes back to who thought it, and
    the upstream goes on thinking."""
    talk = place.begin(tools=TOOLS, think=True).user("please use it")
    first = talk.ask(stream)
    place.check(first.calls and first.think == "Let me see: 3 words. ", "thinks, then calls", first)
    talk.result(first.calls[0], "sunny")
    second = talk.ask(stream)
    place.check(second.text == "The tools said: sunny", "goes on", second)
    asked = up.asked(place.there)[-1]["body"]
    if place.talk is not Chat or place.dialect != "chat":       # there all passes as it came
        place.check(saying.thinks_in(place.dialect, asked), "the second turn thinks too")
        place.check(len(SEALED[place.dialect](asked)) == 1, "its first thinking is there again")
    talk.user("and now something else")
    third = talk.ask(stream)
    place.check(third.text == "You said: and now something else" and third.think, "the third turn", third)
    place.check(saying.thinks_in(place.dialect, up.asked(place.there)[-1]["body"]), "still thinks")
    place.check(not [r for r in up.asked(place.there)[-3:] if r["refused"]], "nothing was refused")


def schemas(place, stream):
    got = place.begin(schema=SCHEMA).user("fill it in").ask(stream)
    place.check(json.loads(got.text) == saying.sample(SCHEMA), "an answer of a schema", got)


def limits(place, stream):
    few = {Chat: "max_completion_tokens", Responses: "max_output_tokens", Messages: "max_tokens"}
    talk = place.begin().user("word " * 20)
    try:
        got = talk.ask(stream, **{few[place.talk]: 16})
    except openai.LengthFinishReasonError as e:
        got = talk.answer(e.completion, "")
    place.check(got.text == "You said: " + "word " * 14 and got.stop == "length", "the most tokens", got)


def images(place, stream):
    talk = place.begin()
    talk.turns.append({"role": "user", "content": {
        Chat: [{"type": "text", "text": "look"}, {"type": "image_url", "image_url": {"url": PIXEL}}],
        Responses: [{"type": "input_text", "text": "look"},
                    {"type": "input_image", "image_url": PIXEL, "detail": "auto"}],
        Messages: [{"type": "text", "text": "look"}, {"type": "image", "source": {
            "type": "base64", "media_type": "image/png", "data": PIXEL.partition(",")[2]}}],
    }[place.talk]})
    got = talk.ask(stream)
    body = json.dumps(up.asked(place.there)[-1]["body"])
    place.check(got.text == "You said: look" and PIXEL.partition(",")[2] in body, "an image", got)


def lockstep(place):
    """The next piece is sent when the client has the last: nothing on the way may wait for more."""
    for parts in ([["text", "one two three four five"]], [["think", "hm hm hm "], ["text", "a b c"]],
                  [["call", "weather", {"city": "Oslo", "days": 12345}]]):
        up.plan(place.there, {"parts": parts, "lockstep": True})
        place.begin(tools=TOOLS, think=parts[0][0] == "think").user("go").ask(
            True, on_piece=lambda: up.step(place.there))
        row = up.asked(place.there)[-1]
        place.check(up.wait(lambda _: row["ended"]) and row["ended"] == "whole",
                    "lock-step of %s" % parts[0][0], row["ended"])


def leaving(place):
    """A client that goes away closes the upstream; what it said until then is settled."""
    up.plan(place.there, {"endless": True, "pace": 0.005})
    seen = []

    def third():
        seen.append(1)
        if len(seen) == 3:
            raise KeyboardInterrupt

    try:
        place.begin().user("talk on").ask(True, on_piece=third)
    except KeyboardInterrupt:
        pass
    row = up.asked(place.there)[-1]
    place.check(len(seen) == 3 and up.wait(lambda _: row["ended"], 20) and row["ended"] == "gone",
                "a client that leaves", row["ended"])


def errors(place):
    """What the upstream says is wrong with a request is said in the client's words."""
    place = place.bad()

    def raised(*steps, ask=None):
        up.plan(place.there, *steps)
        try:
            return place.begin().user("hello").ask(**(ask or {"stream": True}))
        except ERRORS as e:
            return e

    long_ = {"chat": "context_length_exceeded"}.get(place.dialect)
    words = "This model's maximum context length is 10 tokens. However, you requested 20 tokens."
    if place.dialect == "messages":
        words = "prompt is too long: 20 tokens > 10 maximum"
    for stream in (True, False):
        e = raised({"status": 400, "body": saying.error_body(
            place.dialect, 400, words, long_ or "context_length_exceeded")}, ask={"stream": stream})
        place.check(getattr(e, "status_code", 0) == 400 and "10" in str(e) and "20" in str(e) and
                    (place.talk is Messages or e.code == "context_length_exceeded"), "too long", repr(e))
        e = raised({"status": 400, "body": saying.error_body(place.dialect, 400, "No such thing as that.")},
                   ask={"stream": stream})
        place.check(getattr(e, "status_code", 0) == 400 and "No such thing as that." in str(e),
                    "a wrong request", repr(e))
        if place.door:
            got = raised({"status": 503, "fields": {"Retry-After": "0"}}, {}, ask={"stream": stream})
            place.check(getattr(got, "text", "") == "You said: hello", "one 503 is absorbed", repr(got))
    e = raised({"fail_at": 2})
    place.check(isinstance(e, ERRORS), "an error after text", repr(e))
    e = raised({"status": 401})
    place.check(getattr(e, "status_code", 0) in ((401,) if not place.door else (502, 503)),
                "the gateway's own key is refused: no fault of the client's", repr(e))


def each(place):
    scenes = [(tools, (True, False)), (thinking, (True, False)), (schemas, (True, False)),
              (limits, (True, False)), (images, (True, False)), (lockstep, ()), (errors, ()),
              (leaving, ())]
    for scene, streams in scenes:
        for stream in streams or (None,):
            if place.door:
                place = Place(place.talk, place.dialect, place.door)
            up.forget()
            attempt(place, scene.__name__, lambda: scene(place, *([] if stream is None else [stream])))


def singly(door):
    """What is no conversation."""
    up.forget()
    o = openai.OpenAI(api_key=door.token, base_url=door.url + "/v1", max_retries=0)
    a = anthropic.Anthropic(api_key=door.token, base_url=door.url, max_retries=0)
    texts = ["one text", "another"]
    want = saying.embeddings(saying.About("embeddings", {}, up.seals), {"input": texts})
    for form in ({}, {"encoding_format": "float"}):
        got = o.embeddings.create(model="chat", input=texts, **form)
        check([d.embedding for d in got.data] == [d["embedding"] for d in want["data"]] and
              got.usage.prompt_tokens == 3, "embeddings", str(got)[:300])
    one = o.completions.create(model="chat", prompt="Once", max_tokens=30)
    check(one.choices[0].text == "You said: Once" and one.usage.completion_tokens == 3, "completions", str(one))
    parts = list(o.completions.create(model="chat", prompt="Once", max_tokens=30, stream=True))
    check("".join(c.text for p in parts for c in p.choices) == "You said: Once", "streamed", str(parts)[:300])
    for name, action in (("embeddings", lambda: o.embeddings.create(model="messages", input="a")),
                         ("completions", lambda: o.completions.create(model="responses", prompt="a"))):
        try:
            action()
            check(False, name + " where the upstream has none")
        except openai.BadRequestError:
            check(True, "is refused")
    for dialect in DIALECTS:
        raw = a.messages.with_raw_response.count_tokens(model=dialect, messages=[
            {"role": "user", "content": "how many tokens are these?"}])
        n, said = raw.parse().input_tokens, " ".join(v for k, v in raw.headers.items() if "croft" in k)
        if dialect == "messages":
            row = up.asked("as-messages")[-1]
            check(row["kind"] == "count" and n == len(saying.pieces(json.dumps(row["body"]["messages"]))) and
                  "estimate" not in said, "the upstream's own count", "%s %s" % (n, said))
        else:
            check(n > 3 and "estimate" in said, "an estimate says so: " + dialect, "%s %s" % (n, said))
    names = {m.id for m in o.models.list()}
    check(names >= set(DIALECTS) and {m.id for m in a.models.list()} == names, "the models", str(names))
    for missing in (lambda: o.chat.completions.create(model="nobody", messages=[
                        {"role": "user", "content": "a"}]),
                    lambda: o.responses.create(model="nobody", input="a"),
                    lambda: a.messages.create(model="nobody", max_tokens=9, messages=[
                        {"role": "user", "content": "a"}])):
        try:
            missing()
            check(False, "a model that is not there")
        except (openai.NotFoundError, anthropic.NotFoundError):
            check(True, "is not found")


def costs(door):
    """Who answered, for how much: the head of a whole reply, and the ledger."""
    for talk in TALKS:
        for dialect in DIALECTS:
            up.forget()
            before = len(door.rows())
            got = talk(door.url, door.token, dialect).user("what does this cost?").ask(False)
            usage = up.asked("as-" + dialect)[-1]["usage"]
            head = got.headers or {}
            where = "%s to %s" % (talk.__name__, dialect)
            check(head.get("x-croft-model") == dialect, where + ": x-croft-model", str(head))
            cost = float(head.get("x-croft-cost", "nan").lstrip("$").split()[0])
            check(abs(cost - cost_of(usage) / 1e12) < 1e-12, where + ": x-croft-cost",
                  "%s %s" % (cost, cost_of(usage)))
            rows = door.rows(before + 1)[before:]
            check([(r["state"], r["prompt"], r["completion"], r["cache_read"], r["cost"], r["model"])
                   for r in rows] == [("exact", usage["prompt"], usage["answer"], usage["cached"],
                                       cost_of(usage), dialect)], where + ": the ledger", str(rows))


def settled(door, before):
    """Over everything that was done here: one row for each attempt that the stand-in saw; counting
    tokens is free, and may have one."""
    made = {kind: n - before.get(kind, 0) for kind, n in up.total.items()}
    free = made.pop("count", 0)
    rows = door.rows(sum(made.values()))
    check(sum(made.values()) <= len(rows) <= sum(made.values()) + free and
          not [r for r in rows if r["state"] == "open"], "one row for each attempt, each settled",
          "%d rows, %s" % (len(rows), made))


def main():
    for talk in TALKS:
        each(Place(talk, talk.dialect))
    up.forget()
    before = dict(up.total)
    accepts = ["tools", "images", "schema", "reasoning"]
    bad = [("bad-%s-%s" % (talk.__name__, d), d) for talk in TALKS for d in DIALECTS]
    with Door([upstream("up-" + name, DIALECTS[d], up.url, keys=["env:UP_KEY"])
               for name, d in [(d, d) for d in DIALECTS] + bad],
              [model(d, "up-" + d, accepts=accepts + (["completions", "embeddings"] if d == "chat" else []))
               for d in DIALECTS] + [model(name, "up-" + name) for name, _ in bad],
              {"UP_KEY": "sk-up-1"}) as door:
        for talk in TALKS:
            for dialect in DIALECTS:
                each(Place(talk, dialect, door))
        singly(door)
        costs(door)
        settled(door, before)
        check(all(r["fields"].get("authorization", "") != "Bearer " + door.token for r in up.asked()),
              "no client's key left the gateway")
        good, said = door.audit_holds()
        check(good, "the audit log holds", said)
    sys.exit(croft.done())


if __name__ == "__main__":
    main()
