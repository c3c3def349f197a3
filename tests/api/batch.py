#!/usr/bin/env python3
"""batch.py - several answers to one prompt, and files of prompts, against `croft run` alone.

    tests/api/batch.py           from the root of the repository; $CROFT names another program

Models are the bundled stories260K and tiny random ones; where a chat is needed, a copy of one gets
a chat template.  Ends with the line "N passed, M failed".
"""
import json
import os
import random
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
import croft
from answer import CHATML, ENV, R1, STORY, expect, run, tmp, with_template
from croft import check

LLAMA = "tests/golden/llama31-nano/model-f32.gguf"
V3 = "tests/golden/v3-nano/model-f32.gguf"
DICE = random.Random(6)

# Options as a line and as the command line have them.
SAMPLERS = [
    {"temperature": 0},
    {"temperature": 1, "seed": 3},
    {"temperature": 0.8, "top_p": 0.9, "top_k": 20, "seed": 4},
    {"temperature": 1.3, "min_p": 0.02, "presence_penalty": 0.5, "frequency_penalty": 0.25, "seed": 5},
    {"temperature": 1, "repeat_penalty": 1.3, "typical_p": 0.9, "seed": 6},
]
FLAGS = {"temperature": "--temp", "max_tokens": "-n", "typical_p": "--typical"}


def flags(options):
    out = []
    for name, value in options.items():
        for one in value if isinstance(value, list) else [value]:
            out += [FLAGS.get(name, "--" + name.replace("_", "-")), str(one)]
    return out


def write(name, lines):
    with open(tmp(name), "w") as f:
        f.write("".join((l if isinstance(l, str) else json.dumps(l)) + "\n" for l in lines))
    return tmp(name)


def objects(text):
    return [json.loads(line) for line in text.splitlines()]


def remove(*names):
    for name in names:
        if os.path.exists(tmp(name)):
            os.unlink(tmp(name))


# --- several answers to one prompt -----------------------------------------------------------

def test_n(name, model, prompt, *options):
    ask = ["run", model, prompt, "--temp", "1", "-n", "24", *options]
    alone = [run(*ask, "--seed", 40 + i, "--json") for i in range(4)]
    p = run(*ask, "--seed", 40, "--n", 4, "--json")
    if not expect(name + ": --n 4 --json", p, 0):
        return
    got, want = json.loads(p.stdout), [json.loads(a.stdout) for a in alone]
    for i in range(4):
        same = all(got[i][k] == want[i][k] for k in ("answer", "finish_reason", "seed", "tokens"))
        check(same, "%s: answer %d is the one of its seed" % (name, i + 1),
              repr((got[i]["answer"], want[i]["answer"])))
    n_prompt = want[0]["usage"]["prompt_tokens"]
    cached = [g["usage"]["prompt_tokens_details"]["cached_tokens"] for g in got]
    check(cached == [0] + 3 * [n_prompt - 1], name + ": the prompt is read once", repr(cached))
    check(len({g["answer"] for g in got}) > 1, name + ": the answers differ")
    check(run(*ask, "--seed", 40, "--n", 4, "--parallel", 1, "--json").returncode == 0,
          name + ": one after another")


def test_n_shown():
    ask = ["run", STORY, "Once upon a time", "--temp", "1", "-n", "20", "--seed", "7"]
    p, one, two = run(*ask, "--n", 2), run(*ask), run(*ask[:-1], "8")
    check(p.stdout == "--- answer 1 of 2, seed 7 ---\n%s\n--- answer 2 of 2, seed 8 ---\n%s"
          % (one.stdout, two.stdout), "answers are shown apart, in order", repr(p.stdout))
    check(run(*ask, "--n", 1).stdout == one.stdout, "--n 1 is what it is without")
    check(run(*ask, "--count", 2).stdout == p.stdout, "--count is another name")
    p = run(*ask, "--n", 3, "--logprobs", 0)
    check(p.returncode == 0 and p.stderr.count("\n") == 60, "log-probabilities of each", p.stderr)
    p = run(*ask[:5], "--n", 3, "-n", 0)
    check(p.returncode == 0 and p.stdout.count("---\n") == 3, "--max-tokens 0", repr(p.stdout))
    expect("--n goes without --save-state", run(*ask, "--n", 2, "--save-state", tmp("x.kv")), 2, "RUN-28")
    expect("--n 0 is refused", run(*ask, "--n", 0), 2)
    expect("--output goes with --batch", run(*ask, "--output", tmp("x")), 2, "RUN-30")


# --- files of prompts ------------------------------------------------------------------------

def story_lines(n, tokens):
    words = ["Once upon a time", "Lily and Tom", "The big dog", "One day, a cat", "Mum said"]
    lines = []
    for i in range(n):
        line = {"prompt": DICE.choice(words) + " " + DICE.choice(words), "id": "q%d" % i,
                "max_tokens": DICE.randrange(1, tokens)}
        line.update(DICE.choice(SAMPLERS))
        if i % 7 == 3:
            line["stop"] = ["."]
        if i % 7 == 5:
            line["stop"] = [" the", "and"]
        lines.append(line)
    return lines


def test_exact(name, model, lines, parallel, *options):
    path = write("exact.jsonl", lines)
    p = run("run", model, "--batch", path, "--parallel", parallel, "--seed", 1, "-q", *options)
    if not expect("%s: batch" % name, p, 0):
        return
    got, wrong = objects(p.stdout), []
    check([g["id"] for g in got] == [l["id"] for l in lines], name + ": in order")
    for g, line in zip(got, lines):
        more = {k: v for k, v in line.items() if k not in ("id", "prompt")}
        alone = run("run", model, line["prompt"], "--seed", 1, "--json", *options, *flags(more))
        a = json.loads(alone.stdout)
        same = (g["text"], g["thinking"], g["finish_reason"], g["seed"]) == (
            a["answer"], a["thinking"], a["finish_reason"], a["seed"])
        same = same and all(g["usage"][k] == a["usage"][k] for k in g["usage"])
        if not same:
            wrong.append((line, g, a["answer"]))
    check(not wrong, "%s: %d of %d lines as alone, %s at once" %
          (name, len(lines) - len(wrong), len(lines), parallel), repr(wrong[:1])[:600])


def test_shapes():
    chatml = with_template("tests/golden/smollm-nano/model-f32.gguf", "b-chatml.gguf", CHATML)
    message = [{"role": "user", "content": "ab"}]
    talk = [{"role": "system", "content": "s"}, *message, {"role": "assistant", "content": "cd"},
            {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}]
    body = {"model": "gpt-4o", "max_tokens": 6, "temperature": 0}
    call = {"method": "POST", "url": "/v1/chat/completions"}
    path = write("shapes.jsonl", [
        {"prompt": "ab", "max_tokens": 6, "temperature": 0},
        {"messages": message, "max_completion_tokens": 6, "temperature": 0, "id": 5},
        {"custom_id": "c", **call, "body": {**body, "messages": message}},
        {"custom_id": "d", **call, "body": {**body, "messages": talk}},
        {"custom_id": "e", "method": "POST", "url": "/v1/completions", "body": {**body, "prompt": "ab"}},
        {"prompt": "ab", "max_tokens": 0},
        {"messages": talk[1:], "max_tokens": 6, "temperature": 0},
    ])
    p = run("run", chatml, "--batch", path, "-q")
    if not expect("shapes", p, 0):
        return
    prompt, messages, chat, turns, text, nothing, no_system = objects(p.stdout)
    alone = run("run", chatml, "ab", "--temp", 0, "-n", 6).stdout.rstrip("\n")
    raw = run("run", chatml, "ab", "--temp", 0, "-n", 6, "--raw").stdout.rstrip("\n")
    check(prompt["text"].rstrip("\n") == alone and prompt["id"] is None and prompt["line"] == 1,
          "a prompt is a user message", repr(prompt))
    check((messages["text"], messages["id"]) == (prompt["text"], 5), "and so is one message")
    answer = chat["response"]["body"]
    check((chat["custom_id"], chat["error"], chat["response"]["status_code"]) == ("c", None, 200) and
          answer["choices"][0]["message"]["content"] == prompt["text"] and
          answer["choices"][0]["message"]["role"] == "assistant" and
          answer["choices"][0]["finish_reason"] == "length" and
          answer["usage"] == prompt["usage"], "OpenAI's chat lines", repr(chat))
    check(turns["response"]["body"]["usage"]["prompt_tokens"] > answer["usage"]["prompt_tokens"],
          "earlier turns are read", repr(turns))
    check(text["response"]["body"]["choices"][0]["text"].rstrip("\n") == raw and
          text["response"]["body"]["object"] == "text_completion", "a completion goes on", repr(text))
    check((nothing["text"], nothing["finish_reason"]) == ("", "length"), "no tokens asked for")
    p = run("run", chatml, "--batch", path, "-q", "--system", "s")
    again = objects(p.stdout)
    check(again[3] == turns and again[6]["text"] == turns["response"]["body"]["choices"][0]["message"]
          ["content"] and again[6]["usage"] != no_system["usage"],
          "--system stands where a line has none", p.stdout)
    thinker = with_template(V3, "b-r1.gguf", R1)
    test_exact("thinking", thinker, [{"prompt": "a", "id": i, "temperature": 1, "seed": i,
                                      "max_tokens": 12} for i in range(4)], 4)


def test_bad_lines():
    good = {"prompt": "One day", "temperature": 0, "max_tokens": 5, "id": "good"}
    bad = [
        ("not json", "JSON-04", "line 2"), ('["a"]', "BATCH-27", "object"),
        ({"id": "no"}, "BATCH-25", "either"), ({"prompt": 5}, "BATCH-10", "\"prompt\""),
        ({"prompt": ""}, "BATCH-21", "empty"), ({"prompt": "a", "temperature": "hot"}, "BATCH-10", "number"),
        ({"prompt": "a", "temperature": 101}, "SAMPLE-01", "--temp is 101"),
        ({"prompt": "a", "top_k": 1.5}, "BATCH-10", "whole"), ({"prompt": "a", "tools": []}, "BATCH-15", "tools"),
        ({"prompt": "a", "n": 2}, "BATCH-14", "a line for each"), ({"prompt": "a", "stop": [1]}, "BATCH-10", "stop"),
        ({"prompt": "a", "stop": ""}, "STOP-03", "empty"), ({"prompt": "a", "seed": 2**60}, "BATCH-13", "9e15"),
        ({"prompt": "word " * 600}, "BATCH-26", "--ctx-size"), ('{"prompt": "a', "JSON-04", "line 16"),
        ({"messages": [{"role": "user", "content": "x"}]}, "BATCH-19", "chat format"),
        ({"prompt": "a", "messages": []}, "BATCH-25", "either"), ("[" * 200, "JSON-", "nested"),
        ({"custom_id": "z", "method": "GET", "url": "/v1/completions", "body": {"prompt": "a"}}, "BATCH-23", "POST"),
        ({"custom_id": "z", "url": "/v1/embeddings", "body": {"input": "a"}}, "BATCH-24", "/v1/embeddings"),
        ({"custom_id": "z", "url": "/v1/completions", "body": {"prompt": "a", "echo": True}}, "BATCH-15", "echo"),
        ('{"prompt": "a\\u0000b"}', "JSON-", "\\u0000"), ({"prompt": "a", "id": []}, "BATCH-10", "\"id\""),
    ]
    path = write("bad.jsonl", [good] + [b[0] for b in bad] + [good])
    p = run("run", STORY, "--batch", path, "--ctx-size", 512)
    got = objects(p.stdout)
    expect("a file with bad lines", p, 1, "%d of %d lines" % (len(bad), len(bad) + 2))
    if not check(len(got) == len(bad) + 2, "every line has one", p.stdout[-500:]):
        return
    check(got[0]["text"] == got[-1]["text"] != "" and got[-1]["line"] == len(bad) + 2, "the rest goes on")
    for i, (line, code, word) in enumerate(bad):
        error = got[i + 1]["error"]
        check(error["line"] == i + 2 and error["id"].startswith(code) and word in error["message"],
              "bad line %s" % str(line)[:60], repr(error))
    check([g.get("custom_id") for g in got[-6:-3]] == ["z"] * 3 and got[-4]["response"] is None,
          "errors of OpenAI's lines have their shape")


def test_long_line():
    path = write("long.jsonl", ['{"prompt": "%s"}' % ("a" * (17 << 20)),
                                {"prompt": "One day", "max_tokens": 3, "temperature": 0}])
    p = run("run", STORY, "--batch", path, "-q")
    got = objects(p.stdout)
    check(p.returncode == 1 and got[0]["error"]["id"] == "BATCH-62" and got[1]["text"],
          "a line of 17 MB is an error of its own", p.stderr)


def test_input_forms():
    line = {"prompt": "One day", "max_tokens": 3, "temperature": 0}
    plain = write("forms.jsonl", [line, line])
    want = run("run", STORY, "--batch", plain, "-q", "--seed", 1).stdout
    text = open(plain).read()
    for name, given in (("standard input", text), ("no line feed at the end", text[:-1]),
                        ("blank lines", "\n  \n" + text.replace("\n", "\n\n")),
                        ("carriage returns", text.replace("\n", "\r\n"))):
        p = run("run", STORY, "--batch", "-", "-q", "--seed", 1, stdin=given.encode())
        got = [{k: v for k, v in o.items() if k != "line"} for o in objects(p.stdout)]
        same = got == [{k: v for k, v in o.items() if k != "line"} for o in objects(want)]
        check(p.returncode == 0 and same, name, p.stderr + p.stdout)
    p = run("run", STORY, "--batch", "-", "-q", stdin=b"")
    check(p.returncode == 0 and p.stdout == "", "nothing in, nothing out", p.stderr)
    p = subprocess.Popen([croft.CROFT, "run", STORY, "--batch", "-", "-q", "--seed", "1"], env=ENV,
                         stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    answers = []
    for half in ('{"prompt": "One day", "max_tok', 'ens": 3, "temperature": 0}\n') * 2:
        p.stdin.write(half)
        p.stdin.flush()
        if half.endswith("\n"):
            answers.append(json.loads(p.stdout.readline())["text"])
    p.stdin.close()
    check(p.wait() == 0 and answers == [o["text"] for o in objects(want)], "line by line through pipes",
          repr(answers))
    expect("no such file", run("run", STORY, "--batch", tmp("none")), 3, "BATCH-02")
    expect("a folder", run("run", STORY, "--batch", "tests"), 2, "BATCH-03")
    expect("a prompt beside it", run("run", STORY, "hi", "--batch", plain), 2, "BATCH-68")
    expect("--n beside it", run("run", STORY, "--batch", plain, "--n", 2), 2, "RUN-29")
    p = run("run", STORY, "--batch", plain, "--logprobs", 2, "-q")
    check(len(objects(p.stdout)[0]["tokens"][0]["top_logprobs"]) == 2, "log-probabilities", p.stderr)


# --- going on after a kill -------------------------------------------------------------------

def start(path, out, *options):
    return subprocess.Popen([croft.CROFT, "run", STORY, "--batch", path, "--output", tmp(out), *options],
                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            text=True, env=ENV)


def lines_of(name):
    if not os.path.exists(tmp(name)):
        return 0
    with open(tmp(name), "rb") as f:
        return f.read().count(b"\n")


def wait_for_lines(p, name, n):
    """False when the job ended before."""
    end = time.monotonic() + 60
    while p.poll() is None and time.monotonic() < end:
        if lines_of(name) >= n:
            return True
        time.sleep(0.001)
    return False


def read(name):
    with open(tmp(name), "rb") as f:
        return f.read()


def test_resume(path, want, n_line):
    remove("r.out", "r.out.part", "r.out.part.json")
    n_killed, at = 0, 0
    for _ in range(5):
        at = DICE.randrange(at, at + n_line // 6)
        p = start(path, "r.out", "--seed", "9", "-q", "--parallel", "4")
        if wait_for_lines(p, "r.out.part", at + 1):
            p.kill()
            n_killed += 1
        p.communicate()
        at = lines_of("r.out.part")
    check(n_killed == 5, "the job was killed five times", str(n_killed))
    check(not os.path.exists(tmp("r.out")) and 0 < at < n_line, "it is not whole yet", str(at))
    p = start(path, "r.out", "--seed", "9", "--parallel", "8")
    said = p.communicate()[1]
    check(p.returncode == 0 and "were answered before" in said, "it goes on and ends", said)
    check(read("r.out") == want, "the same bytes as without kills")
    check(not os.path.exists(tmp("r.out.part")) and not os.path.exists(tmp("r.out.part.json")),
          "nothing else is left")


def test_torn(path, want):
    whole = want.split(b"\n")
    about = json.dumps({"croft_batch": 1})
    for name, part in (("a torn line", b"\n".join(whole[:5]) + b"\n" + whole[5][:40]),
                       ("only a torn line", whole[0][:40]),
                       ("zeros after a crash", b"\n".join(whole[:3]) + b"\n" + b"\0" * 5000 + b"\n{}\n"),
                       ("a whole file", want)):
        p = start(path, "t.out", "--seed", "9", "-q")
        wait_for_lines(p, "t.out.part", 1)
        p.kill()
        p.communicate()
        if not check(os.path.exists(tmp("t.out.part")), name + ": a part file"):
            continue
        with open(tmp("t.out.part"), "wb") as f:
            f.write(part)
        p = start(path, "t.out", "--seed", "9", "-q")
        said = p.communicate()[1]
        check(p.returncode == 0 and read("t.out") == want, name, said)
        remove("t.out")
    p = start(path, "t.out", "--seed", "9", "-q")
    wait_for_lines(p, "t.out.part", 2)
    p.kill()
    p.communicate()
    for name, options, word in (("another seed", ["--seed", "8"], "BATCH-43"),
                                ("other options", ["--seed", "9", "--temp", "0.5"], "BATCH-43")):
        expect(name + " does not go on with it",
               run("run", STORY, "--batch", path, "--output", tmp("t.out"), *options), 2, word)
    other = write("other.jsonl", [{"prompt": "another"}])
    expect("another input does not",
           run("run", STORY, "--batch", other, "--output", tmp("t.out"), "--seed", 9), 2, "BATCH-43")
    expect("standard input does not", run("run", STORY, "--batch", "-", "--output", tmp("t.out")), 2, "BATCH-42")
    with open(tmp("t.out.part.json"), "w") as f:
        f.write(about)
    expect("a damaged note does not", run("run", STORY, "--batch", path, "--output", tmp("t.out")), 2, "BATCH-43")
    remove("t.out.part.json")
    expect("nor one without its note", run("run", STORY, "--batch", path, "--output", tmp("t.out")), 2, "BATCH-50")
    remove("t.out.part")


def test_interrupt(path, want, n_line):
    remove("i.out", "i.out.part", "i.out.part.json")
    p = start(path, "i.out")
    wait_for_lines(p, "i.out.part", 3)
    p.send_signal(signal.SIGSTOP)
    again = run("run", STORY, "--batch", path, "--output", tmp("i.out"))
    p.send_signal(signal.SIGCONT)
    check(again.returncode == 6 and "BATCH-46" in again.stderr, "one process at a time", again.stderr)
    p.send_signal(signal.SIGINT)
    said = p.communicate()[1]
    check(p.returncode == 130 and "the same command goes on" in said, "Ctrl-C says how to go on", "%d %s" % (p.returncode, said))
    p = start(path, "i.out", "-q")
    said = p.communicate()[1]
    got = objects(read("i.out").decode())
    seeds = {g["seed"] for g, l in zip(got, open(path)) if "seed" not in json.loads(l)}
    check(p.returncode == 0 and len(got) == n_line and len(seeds) == 1,
          "a seed that was drawn is kept", "%r %s" % (seeds, said))
    seed = seeds.pop()
    check(run("run", STORY, "--batch", path, "-q", "--seed", seed).stdout.encode() == read("i.out"),
          "and gives the same again")
    expect("a whole file is not replaced", run("run", STORY, "--batch", path, "--output", tmp("i.out")), 2,
           "BATCH-41")
    p = run("run", STORY, "--batch", path, "--output", tmp("i.out"), "--force", "--seed", 9)
    check(p.returncode == 0 and read("i.out") == want, "but with --force", p.stderr)
    expect("no such folder", run("run", STORY, "--batch", path, "--output", tmp("no/x")), 3, "BATCH-45")


def peak_of(lines):
    """The peak of memory of a batch of empty objects, as KiB; a process measures its child."""
    path = write("many.jsonl", ["{}"] * lines)
    code = ("import resource, subprocess, sys; subprocess.run(sys.argv[1:], stderr=subprocess.DEVNULL);"
            "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)")
    p = subprocess.run([sys.executable, "-c", code, croft.CROFT, "run", STORY, "--batch", path, "-q",
                        "--output", "/dev/null"], capture_output=True, text=True, env=ENV)
    return int(p.stdout)


def test_memory():
    with open(croft.CROFT, "rb") as f:
        if b"__asan_init" in f.read():  # the sanitizer keeps what was freed
            return
    few, many = peak_of(1000), peak_of(60000)
    check(many < few + 8192, "memory does not grow with the file", "%d and %d KiB" % (few, many))


def main():
    test_n("stories", STORY, "Once upon a time there was a")
    test_n("llama", LLAMA, "a b c d e f g", "--raw")
    test_n("latents", V3, "one two three four five six", "--raw", "--ctx-size", "128")
    test_n_shown()
    lines = story_lines(30, 60)
    test_exact("stories", STORY, lines, 7)
    test_exact("stories, guessing", STORY, lines, 7, "--draft", "lookup")
    test_exact("latents, guessing", V3, [{**l, "max_tokens": 30} for l in lines[:8]], 4, "--draft", "lookup",
               "--draft-max", "3")
    p = run("run", STORY, "a", "--n", 2, "--draft", "mtp")
    expect("guesses of many come from their texts", p, 2, "LOAD-23")
    test_exact("stories, f32", STORY, lines[:8], 32, "--exact")
    test_exact("latents", V3, [{**l, "max_tokens": 30} for l in lines[:16]], 16)
    test_exact("a full context", STORY, [{**l, "max_tokens": -1} for l in lines[:5]], 3, "--ctx-size", "64")
    test_shapes()
    test_bad_lines()
    test_long_line()
    test_input_forms()
    path = write("resume.jsonl", [{k: v for k, v in l.items() if i % 3 or k != "seed"}
                                  for i, l in enumerate(story_lines(160, 200))])
    want = run("run", STORY, "--batch", path, "-q", "--seed", 9).stdout.encode()
    test_resume(path, want, 160)
    test_torn(path, want)
    test_interrupt(path, want, 160)
    test_memory()
    return croft.done()


if __name__ == "__main__":
    sys.exit(main())
