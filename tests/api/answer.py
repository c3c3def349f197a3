#!/usr/bin/env python3
"""answer.py - run, chat, logits, perplexity and bench as a person and a script meet them.

    tests/api/answer.py          from the root of the repository; $CROFT names another program

The models are the bundled stories260K and tiny random ones; where a chat is needed, a copy of one
gets a chat template.  Ends with the line "N passed, M failed".
"""
import json
import math
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
import croft
from croft import check

STORY = "models/stories260K.gguf"
TMP = tempfile.mkdtemp(prefix="croft-answer-")
CHATML = ("{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + message['content']"
          " + '<|im_end|>' + '\\n'}}{% endfor %}{% if add_generation_prompt %}"
          "{{ '<|im_start|>assistant\\n' }}{% endif %}")
R1 = ("{% set ns = namespace(is_first_sp=true) %}{% for m in messages %}{{'<｜User｜>' + m['content']}}"
      "{% endfor %}{% if add_generation_prompt %}{{'<｜Assistant｜><think>\\n'}}{% endif %}")
ENV = dict(os.environ, HOME=TMP, XDG_STATE_HOME=TMP + "/state", XDG_CONFIG_HOME=TMP + "/conf",
           TERM="xterm", LC_ALL="C.UTF-8", CROFT_CACHE=TMP + "/cache")


def tmp(name):
    return os.path.join(TMP, name)


def run(*args, stdin=None, binary=False):
    given = {"input": stdin} if stdin is not None else {"stdin": subprocess.DEVNULL}
    p = subprocess.run([croft.CROFT, *map(str, args)], capture_output=True, env=ENV, timeout=120,
                       **given)
    if not binary:
        p.stdout, p.stderr = p.stdout.decode(errors="replace"), p.stderr.decode(errors="replace")
    return p


def expect(name, p, status, *words):
    """The exit status, and words that standard error must have."""
    missing = [w for w in words if w not in p.stderr]
    return check(p.returncode == status and not missing, name,
                 "exit %d, without %s: %s" % (p.returncode, missing, p.stderr.strip()[-400:]))


# --- a copy of a GGUF file with one more metadata entry -------------------------------------

def skip_value(f, kind):
    size = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
    if kind == 8:
        f.seek(struct.unpack("<Q", f.read(8))[0], 1)
    elif kind == 9:
        inner, n = struct.unpack("<IQ", f.read(12))
        for _ in range(n):
            skip_value(f, inner)
    else:
        f.seek(size[kind], 1)


def with_entry(source, name, key, value):
    """The file again, under another name, with one more entry; its value with its type before it."""
    with open(source, "rb") as f:
        magic, n_tensor, n_meta = struct.unpack("<8sQQ", f.read(24))
        for _ in range(n_meta):
            f.seek(struct.unpack("<Q", f.read(8))[0], 1)
            skip_value(f, struct.unpack("<I", f.read(4))[0])
        end_meta = f.tell()
        for _ in range(n_tensor):
            f.seek(struct.unpack("<Q", f.read(8))[0], 1)
            f.seek(8 * struct.unpack("<I", f.read(4))[0] + 12, 1)
        end_info = f.tell()
        f.seek(0)
        raw = f.read()
    more = struct.pack("<Q", len(key)) + key.encode() + value
    head = struct.pack("<8sQQ", magic, n_tensor, n_meta + 1) + raw[24:end_meta] + more
    head += raw[end_meta:end_info]
    pad = lambda n: -n % 32
    with open(tmp(name), "wb") as f:
        f.write(head + b"\0" * pad(len(head)) + raw[end_info + pad(end_info):])
    return tmp(name)


def with_template(source, name, template):
    text = template.encode()
    return with_entry(source, name, "tokenizer.chat_template", struct.pack("<IQ", 8, len(text)) + text)


def with_number(source, name, key, number):
    return with_entry(source, name, key, struct.pack("<II", 4, number))


# --- run --------------------------------------------------------------------------------------

def test_run_answer():
    story = ["run", STORY, "Once upon a time", "--temp", "0", "-n", "30"]
    p = run(*story)
    expect("run answers", p, 0)
    check(p.stdout.startswith(", there was a little girl") and p.stdout.endswith("\n"),
          "standard output is the answer alone", repr(p.stdout))
    check(p.stderr == "", "nothing else is said", p.stderr)
    expect("-v says tokens, rate and context", run(*story, "-v"), 0, "30 tokens, ", "context ", " of ")
    one = run(*story[:-1], "1", "-v").stderr
    check("1 token, context" in one and "tok/s" not in one, "one token alone has no rate", one)
    check(run(*story, "-t", "1").stdout == p.stdout, "one thread gives the same text")
    check(run(*story, "-b", "1").stdout == p.stdout, "prompt cut in ones gives the same text")
    hot = ["run", STORY, "Once upon a time", "--temp", "1", "-n", "30"]
    a, b, c = (run(*hot, "--seed", s).stdout for s in (7, 7, 8))
    check(a == b and a != c, "a seed decides the text", repr((a, b, c)))
    check(run(*story[:-1], "0").stdout == "", "--max-tokens 0 answers nothing")


def test_run_golden():
    with open("tests/golden/stories260K/golden.json") as f:
        golden = json.load(f)
    ids = golden["greedy_ids_from_bos"]
    p = run("run", STORY, "--raw", "<s>", "--temp", "0", "-n", 60, "-c", 512, "-q")
    q = run("tokenize", STORY, p.stdout.rstrip("\n"), "--json")
    got = json.loads(q.stdout)["ids"] if q.returncode == 0 else q.stderr
    check(got == ids[1:1 + len(got)] and len(got) >= 55,
          "--raw continues from one BOS as llama2.c does", "%s" % got)


def test_run_input():
    base = ["run", STORY, "--temp", "0", "-n", "20"]
    want = run(*base, "-p", "One day\nTom").stdout
    check(run(*base, "One day", stdin=b"Tom").stdout == want, "piped input is appended")
    check(run(*base, stdin=b"One day\nTom").stdout == want, "piped input alone is the prompt")
    check(run(*base, "-f", "-", stdin=b"One day\nTom").stdout == want, "-f - reads standard input")
    with open(tmp("prompt"), "w") as f:
        f.write("One day\nTom")
    check(run(*base, "-f", tmp("prompt")).stdout == want, "-f reads a file")
    expect("a prompt given twice", run(*base, "x", "-p", "y"), 2, "E-RUN-20")
    expect("an empty prompt", run(*base, ""), 2, "E-RUN-23")
    expect("no prompt and no terminal", run(*base), 2, "E-RUN-23")
    expect("invalid UTF-8 names the byte", run(*base, stdin=b"abc \xff"), 1, "byte 4")
    expect("a prompt longer than the context", run(*base, "-c", "16", "a b c d e f g h " * 9), 1,
           "E-RUN-01", "holds 16", "--ctx-size")
    expect("a model that is not there", run("run", tmp("none.gguf"), "x"), 3)


def test_run_end():
    base = ["run", STORY, "Once upon a time", "--temp", "0", "-n", "40"]
    p = run(*base, "--stop", "girl")
    check(p.stdout == ", there was a little \n", "a stop string ends and is not shown",
          repr(p.stdout))
    check(run(*base, "--stop", "there was", "--stop", "little").stdout == ", \n",
          "the first of several stop strings counts")
    expect("a full context says both numbers", run(*base, "-c", "16"), 0, "17 tokens", "holds 16")
    with subprocess.Popen([croft.CROFT, *base], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          stdin=subprocess.DEVNULL, env=ENV) as p:
        p.stdout.close()
        said = p.stderr.read()
        p.wait()
    check(p.returncode == 141 and said == b"", "a closed pipe ends quietly",
          "%s %s" % (p.returncode, said))


def test_run_interrupt():
    with subprocess.Popen([croft.CROFT, "run", "tests/golden/smollm-nano/model-f32.gguf", "Hello",
                           "-c", "200000", "--seed", "1", "--temp", "1", "-q"], env=ENV,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE) as p:
        first = os.read(p.stdout.fileno(), 1)
        p.send_signal(signal.SIGINT)
        out, said = p.communicate(timeout=120)
    check(p.returncode == 130 and first,
          "Ctrl-C ends with 130 after what there was", "%s %s" % (p.returncode, said))


# --- chat -------------------------------------------------------------------------------------

class Terminal:
    """A chat on a pseudo-terminal."""

    def __init__(self, *args):
        self.out, self.at = b"", 0
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            try:
                os.execve(croft.CROFT, [croft.CROFT, *args], ENV)
            finally:
                os._exit(127)

    def read(self):
        if not select.select([self.fd], [], [], 60)[0]:
            return False
        try:
            piece = os.read(self.fd, 65536)
        except OSError:
            piece = b""
        self.out += piece
        return bool(piece)

    def wait(self, text):
        """Read until the text has come; what came up to it."""
        text = text.encode()
        while text not in self.out[self.at:]:
            if not self.read():
                raise AssertionError("no %r after %r" % (text, self.out[self.at:][-600:]))
        start, self.at = self.at, self.out.index(text, self.at) + len(text)
        return self.out[start:self.at].decode(errors="replace")

    def say(self, text, prompt=">>> "):
        """Type a line at the prompt, once the editor has the terminal."""
        self.wait(prompt)
        time.sleep(0.2)
        os.write(self.fd, text.encode())

    def tail(self):
        return self.out[-1500:].decode(errors="replace")

    def end(self):
        while self.read():
            pass
        os.close(self.fd)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def test_chat_terminal(chatml):
    t = Terminal("chat", chatml, "--seed", "1", "-n", "8", "-c", "100000")
    t.say("Hello\\\r")
    t.say("there\r", "... ")
    check("8 tokens, " in t.wait(" of 100000"), "a line with tokens, rate and context")
    t.say("/set max-tokens -1\r")
    t.say("Tell me a story\r")
    t.wait("\n")
    while len(t.out) - t.at < 40 and t.read():
        pass
    os.write(t.fd, b"\x03")
    t.wait(" of 100000")
    t.say("half a line\x03")
    t.say("/save %s\r" % tmp("one.json"))
    t.wait("saved 4 messages")
    t.say("/undo\r")
    t.wait("taken back: Tell me a story")
    t.say("/save %s\r" % tmp("two.json"))
    t.wait("saved 2 messages")
    t.say("\x04")
    check(t.end() == 0, "Ctrl-C stops the answer, not the program; Ctrl-D ends it", t.tail())
    with open(tmp("one.json")) as f:
        roles = [m["role"] for m in json.load(f)["messages"]]
    with open(tmp("two.json")) as f:
        messages = json.load(f)["messages"]
    check(roles == ["user", "assistant"] * 2, "/save keeps the turns", str(roles))
    check(messages[0]["content"] == "Hello\nthere", "a backslash goes on", messages[0]["content"])
    history = tmp("state/croft/chat_history")
    with open(history) as f:
        kept = f.read()
    check("Tell" in kept and os.stat(history).st_mode & 0o077 == 0,
          "the history is kept, for this user alone")


def test_run_opens_chat(chatml):
    t = Terminal("run", chatml, "-n", "4", "--plain")
    t.say('"""one\r')
    t.say('two"""\r', "... ")
    t.wait("4 tokens, ")
    t.say("/quit\r")
    check(t.end() == 0 and b"\x1b[" not in t.out, "run without a prompt is a chat; --plain is plain")


def test_chat_piped(chatml):
    lines = "Hello\n/regen\n/system Be brief\nAgain\n/save %s\n/frob\n/helf\n/set temp hot\n/set c 5\n"
    p = run("chat", chatml, "--seed", "3", "-n", "6", stdin=(lines % tmp("p.json")).encode())
    expect("a chat reads lines from a pipe", p, 1, "6 tokens, ", "E-CHATC-47", "mean /help?",
           "E-CHATC-44", "E-COMP-02", "4 of the messages and commands")
    with open(tmp("p.json")) as f:
        messages = json.load(f)["messages"]
    check([m["role"] for m in messages] == ["system", "user", "assistant", "user", "assistant"],
          "/regen keeps one answer, /system stands first", str(messages))
    said = p.stdout
    p = run("chat", chatml, "--seed", "3", "-n", "6",
            stdin=("/load %s\n/undo\nAgain\n" % tmp("p.json")).encode())
    expect("/load goes on", p, 0, "loaded 5 messages")
    check(p.stdout and said.endswith(p.stdout), "a loaded conversation gives the same answer",
          repr((said, p.stdout)))
    for name, text, word in (("not JSON", "hello", "not valid JSON"),
                             ("not a chat", "{}", "E-CHATC-07"),
                             ("roles in disorder", '{"messages":[{"role":"assistant","content":"x"}]}',
                              "E-CHATC-06"),
                             ("no answer", '{"messages":[{"role":"user","content":"x"}]}',
                              "E-CHATC-08")):
        with open(tmp("bad.json"), "w") as f:
            f.write(text)
        expect("/load of " + name, run("chat", chatml, stdin=("/load %s\n" % tmp("bad.json"))
                                       .encode()), 1, word, "E-COMP-02")


def test_chat_full(chatml):
    long = "word and word and word and word and word\n"
    p = run("chat", chatml, "-n", "20", "-c", "96", "--seed", "1", stdin=(long * 4).encode())
    expect("a full context says both numbers and the ways out", p, 1, "holds 96", "/compact",
           "context-shift")
    p = run("chat", chatml, "-n", "20", "-c", "96", "--seed", "1", "--context-shift", "30",
            stdin=(long * 4).encode())
    expect("--context-shift drops turns and says so", p, 0, "96 tokens was full", "dropped",
           "--context-shift 30")
    check(p.stderr.count("20 tokens, ") == 4 and "error" not in p.stderr, "and every turn is answered",
          p.stderr)
    p = run("chat", chatml, "-n", "20", "-c", "96", "--seed", "1", "--context-shift", "30",
            stdin=(long + long.strip() * 20 + "\n" + "/undo\n").encode())
    expect("a message that can never fit drops nothing", p, 1, "E-CHATC-30", "taken back")
    check("dropped" not in p.stderr, "and says nothing of dropped turns", p.stderr)
    p = run("chat", chatml, "-n", "-1", "-c", "96", "--seed", "1", stdin=long.encode())
    expect("an answer that fills the context says both numbers", p, 0, "97 tokens", "holds 96")
    p = run("chat", chatml, "-n", "9", "-c", "800", "--seed", "1",
            stdin=(long * 2 + "/compact\n/save %s\n" % tmp("c.json")).encode())
    expect("/compact summarises", p, 0, "2 messages are now this summary")
    with open(tmp("c.json")) as f:
        messages = json.load(f)["messages"]
    check(len(messages) == 4 and messages[0]["content"].startswith("This is a summary"),
          "and keeps the last turn", str(messages))
    expect("/compact of nothing", run("chat", chatml, stdin=b"/compact\n"), 1, "E-CHATC-36")


def test_think(thinker):
    p = run("run", thinker, "Hello", "-n", "12", "--seed", "1", "-c", "128")
    expect("thinking alone is said", p, 0, "12 tokens of thinking")
    check(p.stdout == "", "thinking is not part of the answer", p.stdout)
    expect("--think off where there is no other way", run("run", thinker, "Hello", "--think", "off"),
           2, "E-RUN-10")
    t = Terminal("chat", thinker, "-n", "12", "--seed", "1", "-c", "128")
    t.say("/set think-display fold\r")
    t.say("Hello\r")
    t.wait("Thought (12 tokens)")
    t.say("/set think-display full\r")
    t.say("/regen\r")
    t.wait("\x1b[2m")
    t.say("\x04")
    check(t.end() == 0, "thinking is folded or shown dim", t.tail())


def test_templates():
    odd = with_template(STORY, "odd.gguf", "{{ no such thing }}")
    for command in ("run", "chat"):
        expect(command + " refuses a template that cannot be used",
               run(command, odd, *(["Once"] if command == "run" else []), stdin=b"Once\n"), 2,
               "E-CHAT-40", "--raw")
    p = run("run", odd, "--raw", "Once upon a time", "-n", "8", "--temp", "0")
    expect("--raw does without it", p, 0)
    check(p.stdout.startswith(", there"), "and continues the text", p.stdout)
    own = with_template(STORY, "own.gguf", "{% for m in messages %}Q: {{ m.content }}{% endfor %}"
                        "{% if enable_thinking %}<think>{% else %}\nA:{% endif %}")
    expect("a template of its own is interpreted", run("run", own, "Hello", "-n", "4"), 0)
    p = run("show", own)
    check(p.returncode == 0 and "template (interpreted)" in p.stdout, "show says so", p.stdout)
    check("\"format\": \"template\"" in run("show", "--json", own).stdout, "also in JSON")
    for how in ("on", "off"):
        p = run("run", own, "Hello", "-n", "4", "--think", how)
        expect("--think %s of a template that honours it" % how, p, 0)
        check("not used" not in p.stderr, "is used", p.stderr)
    p = run("chat", own, "-n", "4", stdin=b"Hello\nAgain\n")
    expect("a chat by a template of its own", p, 0)
    expect("a base model has no system message", run("run", STORY, "x", "-n", "1", "--system", "y"),
           0, "--system is not used")


# --- instruments ------------------------------------------------------------------------------

def test_perplexity():
    with open(tmp("text"), "w") as f:
        f.write("One day, Tom and Lily went to the park. They saw a big dog. The dog was sad. " * 6)
    p = run("perplexity", STORY, "-f", tmp("text"), "--chunk-size", "64", "--json", "--exact",
            "--chunks", "2")
    if not expect("perplexity", p, 0):
        return
    got = json.loads(p.stdout)
    with open(tmp("text")) as f:
        text = f.read()
    ids = json.loads(run("tokenize", STORY, text, "--bos", "--json").stdout)["ids"]
    nll = []
    for chunk in (ids[:64], [1] + ids[65:128]):
        rows = croft.logits(STORY, chunk, "--exact")["logits"][1]
        for i in range(32, 63):
            row = rows[i * 512:(i + 1) * 512]
            top = max(row)
            nll.append(math.log(sum(math.exp(x - top) for x in row)) + top - row[chunk[i + 1]])
    mean = sum(nll) / len(nll)
    var = sum(x * x for x in nll) / len(nll) - mean * mean
    want = math.exp(mean), math.sqrt(var / (len(nll) - 1)) * math.exp(mean)
    check(abs(got["perplexity"] - want[0]) < 1e-6 * want[0] and
          abs(got["standard_error"] - want[1]) < 1e-5 * want[1] and got["chunks"] == 2,
          "perplexity is that of the logits", "%s, not %s" % (got, want))
    expect("a text shorter than a chunk", run("perplexity", STORY, "-f", tmp("text"), "--chunk-size",
                                              "4096"), 2, "E-PPL-02", "4096")
    expect("no text", run("perplexity", STORY), 2, "E-PPL-10")


def test_tokenize_bos():
    want = run("tokenize", STORY, "hello", "--bos").stdout
    check(want.startswith("1 ") and run("tokenize", STORY, "<s>hello", "--bos", "--special").stdout
          == want, "a beginning that the text brings is not doubled", want)
    p = run("tokenize", STORY, "--lines", stdin=b' \t"hello" \r\n"hello"\n')
    lines = p.stdout.splitlines()
    check(p.returncode == 0 and len(lines) == 2 and lines[0] == lines[1],
          "blanks around a JSON string do not count", repr((p.stdout, p.stderr)))


def test_logits():
    with open(tmp("ids"), "w") as f:
        f.write("1 2\n3 x4\n")
    base = ["logits", STORY, "--ids", tmp("ids"), "-o", tmp("out")]
    expect("a bad id names its line", run(*base), 1, "E-LOGITS-01", "line 2", "'x4'")
    with open(tmp("ids"), "w") as f:
        f.write("1, 2\n\n3 512\n")
    expect("an id outside the vocabulary too", run(*base), 2, "E-LOGITS-02", "line 3", "512 tokens")
    with open(tmp("ids"), "w") as f:
        f.write("1, 2\n3 4")
    expect("experts of a dense model", run(*base, "--experts"), 2, "E-LOGITS-06")
    expect("a context too small", run(*base, "-c", "3"), 1, "E-LOAD-09", "4 tokens")
    expect("no output", run(*base[:4]), 2, "E-LOGITS-08", "--output")
    check(not os.path.exists(tmp("out")), "nothing is left behind")
    expect("good ids", run(*base, "-n", "3"), 0)
    v = croft.read_vectors(tmp("out"))
    check(v["logits"][0] == [4, 512] and v["greedy"][0] == [3], "shapes", str(v.keys()))


def test_bench():
    base = ["bench", STORY, "-p", "8,16", "-n", "4", "-d", "0,8", "-b", "4,8", "-r", "2"]
    p = run(*base, "--json")
    if not expect("bench", p, 0):
        return
    rows = json.loads(p.stdout)["rows"]
    check(len(rows) == 2 * 2 * 2 + 2 and all(len(r["runs"]) == 2 and r["tok_per_s"] > 0
                                             for r in rows), "a row for each measurement", p.stdout)
    with open(tmp("bench.json"), "w") as f:
        f.write(p.stdout)
    p = run(*base, "--compare", tmp("bench.json"))
    expect("bench --compare", p, 0)
    check(p.stdout.count("x\n") == len(rows), "has a ratio for each", p.stdout)
    expect("no row in common", run("bench", STORY, "-p", "5", "-n", "0", "--compare",
                                   tmp("bench.json")), 1, "E-BENCH-02")
    expect("a bad list", run("bench", STORY, "-p", "8,,9"), 2, "E-BENCH-10")


def test_load():
    big = ["run", STORY, "x", "-n", "1", "-c", "1000000000"]
    expect("a context that cannot fit says what can", run(*big), 4, "E-LOAD-08", "--ctx-size")
    expect("--exact and --kv-type", run("run", STORY, "x", "-n", "1", "--exact", "--kv-type", "q8_0"),
           0, "--exact keeps the KV cache in f32")
    a = run("run", STORY, "Once", "-n", "20", "--temp", "0").stdout
    check(run("run", STORY, "Once", "-n", "20", "--temp", "0", "--no-mmap").stdout == a,
          "--no-mmap gives the same text")
    check(run("run", STORY, "Once", "-n", "20", "--temp", "0", "--mlock").stdout == a,
          "--mlock gives the same text")


def main():
    chatml = with_template("tests/golden/smollm-nano/model-f32.gguf", "chatml.gguf", CHATML)
    thinker = with_template("tests/golden/v3-nano/model-f32.gguf", "r1.gguf", R1)
    tests = [(f, []) for f in (test_run_answer, test_run_golden, test_run_input, test_run_end,
                               test_run_interrupt, test_templates, test_perplexity,
                               test_tokenize_bos, test_logits,
                               test_bench, test_load)]
    tests += [(f, [chatml]) for f in (test_chat_terminal, test_run_opens_chat, test_chat_piped,
                                      test_chat_full)]
    for function, args in tests + [(test_think, [thinker])]:
        try:
            function(*args)
        except Exception as e:              # one broken test must not hide the others
            check(False, function.__name__, "%s: %s" % (type(e).__name__, e))
    return croft.done()


if __name__ == "__main__":
    sys.exit(main())
