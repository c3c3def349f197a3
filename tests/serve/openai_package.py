"""openai_package.py - the `openai` package in front of `croft serve`: what its users do.

    build-venv/bin/python tests/serve/openai_package.py PORT      run by tests/api/serve.py
"""
import asyncio
import json
import os
import struct
import sys
import time
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
import croft
from croft import check

import openai
try:
    import jsonschema
except ImportError:
    jsonschema = None

URL = "http://127.0.0.1:%s/v1" % sys.argv[1]
ASK = [{"role": "user", "content": "Once upon a time"}]
LONG = {"max_tokens": 90000, "temperature": 0, "logit_bias": {"1": -100, "2": -100}}
client = openai.OpenAI(base_url=URL, api_key="none")


def chat():
    one = client.chat.completions.create(model="chat", messages=ASK, max_tokens=12, seed=1)
    c = one.choices[0]
    check(len(c.message.content) > 5 and c.finish_reason == "length" and one.usage.completion_tokens == 12, "chat", str(one))
    parts = client.chat.completions.create(model="chat", messages=ASK, max_tokens=12, seed=1, stream=True,
                                           stream_options={"include_usage": True})
    parts = list(parts)
    text = "".join(p.choices[0].delta.content or "" for p in parts if p.choices)
    check(text == c.message.content, "streamed", repr(text))
    check(parts[-1].usage.completion_tokens == 12 and len({p.id for p in parts}) == 1, "usage, and one id")
    with client.chat.completions.stream(model="chat", messages=ASK, max_tokens=12, seed=1, stop=text[7:9]) as stream:
        for _ in stream:
            pass
        final = stream.get_final_completion().choices[0].message.content
        check(final == text[:text.index(text[7:9])], "accumulated", repr((text, final)))
    probs = client.chat.completions.create(model="chat", messages=ASK, max_completion_tokens=5, temperature=0,
                                           logprobs=True, top_logprobs=3).choices[0].logprobs.content
    check(len(probs) == 5 and all(p.top_logprobs[0].logprob == p.logprob and len(p.top_logprobs) == 3 for p in probs),
          "log-probabilities: what is greedy is the best", str(probs))
    check(all(bytes(p.bytes).decode() == p.token for p in probs), "with their bytes")
    many = client.chat.completions.create(model="chat", messages=ASK, max_tokens=8, n=3, seed=1)
    check(len({m.message.content for m in many.choices}) == 3, "n")
    stop = client.chat.completions.create(model="chat", messages=ASK, max_tokens=12, seed=1, stop=[text[3:6]])
    check(stop.choices[0].message.content == text[:text.index(text[3:6])] and
          stop.choices[0].finish_reason == "stop", "stop", str(stop))


def completions():
    one = client.completions.create(model="chat", prompt="Once upon a time", max_tokens=8, temperature=0, logprobs=2)
    c = one.choices[0]
    check(len(c.logprobs.tokens) == 8 and "".join(c.logprobs.tokens) == c.text, "completion", str(one))
    parts = client.completions.create(model="chat", prompt="Once upon a time", max_tokens=8, temperature=0, stream=True)
    check("".join(p.choices[0].text for p in parts if p.choices) == c.text, "streamed")
    many = client.completions.create(model="chat", prompt=[[403, 407, 261, 378], [403, 407]], max_tokens=3, n=2)
    check([m.index for m in many.choices] == [0, 1, 2, 3], "lists of ids")
    echo = client.completions.create(model="chat", prompt=[403, 407, 261], max_tokens=0, echo=True, logprobs=1)
    check(len(echo.choices[0].logprobs.token_logprobs) == 3 and echo.choices[0].text == "Once upon a", "echo", str(echo))
    check([m.id for m in client.models.list()][0] == client.models.retrieve("serve-chat").id, "models")


def embeddings():
    """The package asks for base64 and reads it; numbers are asked for in words."""
    texts = ["Once upon a time", "The dog ran"]
    got = client.embeddings.create(model="chat", input=texts)
    check([len(d.embedding) for d in got.data] == [64, 64] and got.data[1].index == 1, "embeddings", str(got)[:200])
    numbers = client.embeddings.create(model="chat", input=texts, encoding_format="float")
    floats = [struct.pack("<64f", *e.data[0].embedding) for e in (numbers, got)]
    check(floats[0] == floats[1] and numbers.usage.total_tokens == got.usage.total_tokens > 4,
          "the same as numbers")
    check(len(client.embeddings.create(model="chat", input=[5, 6], dimensions=7).data[0].embedding) == 7, "dimensions")
    try:
        client.embeddings.create(model="chat", input=[])
        check(False, "no input")
    except openai.BadRequestError as e:
        check(e.param == "input", "no input", str(e))
    if jsonschema:
        with urllib.request.urlopen(urllib.request.Request(URL + "/embeddings", json.dumps({"input": texts}).encode())) as r:
            reply = json.load(r)
        with open(os.path.join(croft.ROOT, "tests/data/wire/openapi.json")) as f:
            document = json.load(f)["$defs"]
        wrong = list(jsonschema.Draft202012Validator({"$ref": "#/$defs/CreateEmbeddingResponse", "$defs": document})
                     .iter_errors(reply))
        check(not wrong, "the reply fits OpenAI's document", str(wrong)[:300])


def errors():
    def raises(kind, what, **ask):
        try:
            client.chat.completions.create(**dict({"model": "chat", "messages": ASK}, **ask))
        except kind as e:
            return e
        except Exception as e:                              # noqa: BLE001
            check(False, what, repr(e))
            return None
        check(False, what, "no error")
        return None
    e = raises(openai.BadRequestError, "tools", tools=[{"type": "function", "function": {"name": "f"}}])
    check(e and e.code == "unsupported_parameter" and e.param == "tools", "tools are refused by name", str(e))
    e = raises(openai.BadRequestError, "temperature", temperature=9)
    check(e and e.param == "temperature", "a bound", str(e))
    e = raises(openai.BadRequestError, "context", messages=[{"role": "user", "content": "word " * 60000}])
    check(e and e.code == "context_length_exceeded", "a long prompt", str(e)[:300])
    try:
        client.models.retrieve("nothing")
        check(False, "no such model")
    except openai.NotFoundError as e:
        check(e.code == "model_not_found", "no such model", str(e))
    try:
        openai.OpenAI(base_url=URL + "/nowhere", api_key="none").models.list()
        check(False, "no such path")
    except openai.NotFoundError as e:
        check(e.code == "unknown_url", "no such path", str(e))


def working():
    with urllib.request.urlopen(URL + "/metrics") as r:
        for line in r.read().decode().splitlines():
            if line.startswith("croft_work_sequences "):
                return float(line.split()[1])
    return None


def settles(what):
    end = time.monotonic() + 60
    while working() and time.monotonic() < end:
        time.sleep(0.02)
    check(working() == 0, what)


def leaving():
    stream = client.completions.create(model="chat", prompt="Once", stream=True, **LONG)
    for i, _ in enumerate(stream):
        if i == 5:
            break
    stream.close()
    settles("a stream that was closed costs nothing more")
    try:
        client.with_options(timeout=0.3, max_retries=0).completions.create(model="chat", prompt="Once", **LONG)
        check(False, "a time-out")
    except openai.APITimeoutError:
        check(True, "a time-out")
    settles("nor one whose client gave up")


async def together():
    many = openai.AsyncOpenAI(base_url=URL, api_key="none")

    async def one(seed):
        out = ""
        async for p in await many.completions.create(model="chat", prompt="Once upon a time", seed=seed, max_tokens=30,
                                                     stream=True):
            out += p.choices[0].text if p.choices else ""
        return out
    got = await asyncio.gather(*(one(i) for i in range(16)))
    alone = [client.completions.create(model="chat", prompt="Once upon a time", seed=i, max_tokens=30).choices[0].text
             for i in range(16)]
    check(list(got) == alone and len(set(got)) > 8, "16 at once are what each is alone")
    task = asyncio.ensure_future(many.completions.create(model="chat", prompt="Once", **LONG))
    await asyncio.sleep(0.2)
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        check(True, "a cancelled task")
    await many.close()


chat()
completions()
embeddings()
errors()
leaving()
asyncio.run(together())
settles("nothing is left in work")
sys.exit(croft.done())
