#!/usr/bin/env python3
"""completion.py - what the TAB key offers: the reply of croft --complete, and three real shells.

    tests/api/completion.py [build/croft]          from the root of the repository

What may stand where is taken from src/cmd/opt.def and cmd.def, read here by their own rules. A
shell that is not installed is skipped.
"""
import os
import pty
import select
import shutil
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from croft import CROFT, ROOT, check, done, skip
import table

COMMANDS, OPTIONS = table.read()
HOME = tempfile.mkdtemp(prefix="croft-completion-")
CACHE = os.path.join(HOME, "cache")
WORK = os.path.join(HOME, "work")
BIN = os.path.join(HOME, "bin")
PASSED_ON = ("ASAN_OPTIONS", "UBSAN_OPTIONS", "LSAN_OPTIONS")
MODELS = ["Alpha-1B", "beta two", "colon:q4"]       # in the cache


def prepare():
    """A cache with two models, a working folder with files, and croft in the PATH."""
    for folder in (os.path.join(CACHE, "models"), os.path.join(WORK, "sub dir"), BIN):
        os.makedirs(folder)
    os.symlink(CROFT, os.path.join(BIN, "croft"))
    for name in ("Alpha-1B.gguf", "beta two.gguf", "models/colon:q4.gguf", "bad\nname.gguf"):
        open(os.path.join(CACHE, name), "w").close()
    for name in ("local.gguf", "notes.txt", "a:b.txt", "wide name.txt"):
        open(os.path.join(WORK, name), "w").close()


def environment():
    env = {"PATH": BIN + ":" + os.environ.get("PATH", ""), "HOME": HOME, "TERM": "dumb",
           "CROFT_CACHE": CACHE, "LC_ALL": "C.UTF-8", "XDG_CONFIG_HOME": os.path.join(HOME, "conf"),
           "XDG_DATA_HOME": os.path.join(HOME, "data")}
    env.update({name: os.environ[name] for name in PASSED_ON if name in os.environ})
    return env


def ask(*words):
    """(the words offered, what else may stand there, the prefix that stays)."""
    p = subprocess.run([CROFT, "--complete", *words], capture_output=True, text=True,
                       env=environment(), cwd=WORK, timeout=60)
    lines = p.stdout.split("\n")
    if p.returncode or p.stderr or len(lines) < 2 or lines[-1]:
        check(False, "reply to " + repr(words), "%d %r %r" % (p.returncode, p.stdout, p.stderr))
        return [], "", ""
    kind, prefix = lines[-2].split("\t")
    return [line.split("\t")[0] for line in lines[:-2]], kind, prefix


def offers(words, expected, kind="nothing", prefix=""):
    got = ask(*words)
    check(got == (expected, kind, prefix), "offered after " + repr(words), repr(got))


# ---- the reply -------------------------------------------------------------------------------

def test_commands():
    names = ["help"] + [c["name"] for c in COMMANDS]
    offers([], names)
    offers([""], names)
    offers(["-"], ["--help", "--version"])
    offers(["help", ""], names[1:])
    offers(["help", "run", ""], [])
    offers(["cl"], ["cli"])
    offers(["nothing-such", ""], [])
    for c in COMMANDS:
        for word in [c["name"]] + c["alias"]:
            check(word in ask(word)[0], word + " continues itself")


def test_options():
    for c in COMMANDS:
        mine = [o for o in OPTIONS if c["name"] in o["cmds"]]
        operands = ["m"] * c["min"]
        expected = []
        for o in mine:
            expected += (["-" + o["letter"]] if o["letter"] else []) + ["--" + o["name"]]
        offers([c["name"], *operands, "-"], expected + ["--help"])
        offers([c["name"], *operands, "--"], [w for w in expected if w[1] == "-"] + ["--help"])
        for o in mine:
            check_option(c["name"], operands, o)


def check_option(command, operands, o):
    """Its spellings are offered when begun, its values wherever a value may stand."""
    for alias in o["alias"]:
        got = ask(command, *operands, "--" + alias)[0]
        check("--" + alias in got or any(g.startswith("--" + alias) for g in got),
              command + ": alias --" + alias, repr(got))
    if o["type"] == "FLAG":
        undo = o["name"][3:] if o["name"].startswith("no-") else "no-" + o["name"]
        check("--" + undo in ask(command, *operands, "--" + undo)[0], "negation --" + undo)
        check(ask(command, *operands, "--" + o["name"], "")[1:] == ask(command, *operands, "")[1:],
              "a flag takes no value: --" + o["name"])
        return
    choices = o["arg"].split("|") if "|" in o["arg"] else []
    kind = "files" if o["arg"].startswith(("FILE", "FOLDER")) else "nothing"
    if o["arg"] == "MODEL":
        kind, choices = "models", MODELS
    for name in [o["name"]] + o["alias"]:
        offers([command, *operands, "--" + name, ""], choices, kind)
        offers([command, *operands, "--" + name + "="], choices, kind, "--" + name + "=")
    if o["letter"]:
        offers([command, *operands, "-" + o["letter"], ""], choices, kind)
        offers([command, *operands, "-q" + o["letter"] + "zz"],
               [], kind, "-q" + o["letter"])


def test_operands():
    models = MODELS
    for c in COMMANDS:
        first = c["args"].split(" ")[0].strip("[]")
        if first == "MODEL":
            offers([c["name"], ""], models, "models")
            offers([c["name"], "-q", "ALP"], models[:1], "models")
            offers([c["name"], "--", ""], models, "models")
            offers([c["name"], "m", "x", "y", ""], [])
        elif first.endswith("|MODEL"):
            offers([c["name"], ""], first.split("|")[:-1] + models, "models")
            offers([c["name"], "ALP"], models[:1], "models")
        elif "|" in first:
            offers([c["name"], ""], first.split("|"))
    offers(["run", "m", ""], [])
    offers(["run", "m", "--", "--js"], [])
    offers(["run", "--kv-type", "q8_0", "a"], models[:1], "models")
    offers(["run", "--kv-type=q"], ["q8_0"], "nothing", "--kv-type=")
    offers(["run", "--no-json", "b"], models[1:2], "models")
    offers(["run", "m", "--no-such", "--js"], ["--json"])


def test_script_of_an_unknown_shell():
    p = subprocess.run([CROFT, "completion", "tcsh"], capture_output=True, text=True)
    check(p.returncode == 2 and "COMP-01" in p.stderr and "bash, zsh or fish" in p.stderr,
          "an unknown shell", p.stderr)


# ---- the shells ------------------------------------------------------------------------------

# line, and what the shell makes of it with one TAB (bash and zsh) or offers (fish)
LINES = [
    ("croft tok", "croft tokenize "),
    ("croft run --kv-t", "croft run --kv-type "),
    ("croft run --kv-type q", "croft run --kv-type q8_0 "),
    ("croft run --kv-type=q", "croft run --kv-type=q8_0 "),
    ("croft run Al", "croft run Alpha-1B "),
    ("croft run be", "croft run beta\\ two "),
    ("croft show loc", "croft show local.gguf "),
    ("croft show su", "croft show sub\\ dir/"),
    ("croft run m -f not", "croft run m -f notes.txt "),
    ("croft run m --file=not", "croft run m --file=notes.txt "),
    ("croft run m --file wid", "croft run m --file wide\\ name.txt "),
    ("croft run m --lora=not", "croft run m --lora=notes.txt "),
    ("croft help ben", "croft help bench "),
    ("croft bench m --cache-type-k bf", "croft bench m --cache-type-k bf16 "),
    ("croft run m not", None),          # a prompt is no file
    ("croft show not", None),           # no model
]


class Shell:
    """An interactive shell whose screen we read; every answer ends with a mark of our own."""

    def __init__(self, argv, set_up):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            try:
                os.chdir(WORK)
                os.execvpe(argv[0], argv, environment())
            finally:
                os._exit(127)
        self.send(set_up + "; printf 'set%sup\\n' -\r")
        self.ready = self.until("set-up") is not None

    def send(self, text):
        os.write(self.fd, text.encode())

    def until(self, mark, seconds=30):
        out, end = "", time.time() + seconds
        while mark not in out and time.time() < end:
            if not select.select([self.fd], [], [], 1)[0]:
                continue
            try:
                out += os.read(self.fd, 65536).decode(errors="replace")
            except OSError:
                break
        return out if mark in out else None

    def close(self):
        os.close(self.fd)
        os.kill(self.pid, 9)
        os.waitpid(self.pid, 0)


def completed(shell, line, show):
    """The line after TAB: `show` is the key that prints it between marks of ours."""
    shell.send(line + "\t" + show)
    out = shell.until("}>")
    return out.split("<{")[-1].split("}>")[0] if out and "<{" in out else out


def test_typed(name, argv, set_up):
    if not shutil.which(name):
        skip(name, "the shell is not installed")
        return
    shell = Shell(argv, set_up)
    if check(shell.ready, name + " starts and reads the script"):
        for line, expected in LINES:
            got = completed(shell, line, "\x18\x10")
            check(got == (expected or line), "%s: %s" % (name, line), repr(got))
    shell.close()


def test_bash():
    test_typed("bash", ["bash", "--norc", "--noprofile", "-i"],
               "PS1= PS2=; bind 'set bell-style none'; bind 'set enable-bracketed-paste off'; "
               "show() { printf '<{%s}''>' \"$READLINE_LINE\"; READLINE_LINE=; }; "
               "bind -x '\"\\C-x\\C-p\": show'; source <(croft completion bash)")


def test_zsh():
    test_typed("zsh", ["zsh", "-f", "-i"],
               "PS1= RPS1= PS2=; unsetopt beep zle_bracketed_paste prompt_sp prompt_cr; "
               "autoload -U compinit; compinit -u -D; source <(croft completion zsh); "
               "show() { printf '<{%s}''>' \"$BUFFER\"; BUFFER=; }; zle -N show; "
               "bindkey '^X^P' show; setopt no_auto_remove_slash no_list_ambiguous no_auto_list")


def test_zsh_autoload():
    """As an installed file: compinit finds it by its first line."""
    if not shutil.which("zsh"):
        return
    folder = os.path.join(HOME, "site")
    os.makedirs(folder)
    with open(os.path.join(folder, "_croft"), "w") as f:
        subprocess.run([CROFT, "completion", "zsh"], stdout=f, check=True)
    shell = Shell(["zsh", "-f", "-i"],
                  "PS1= RPS1= PS2=; unsetopt beep zle_bracketed_paste prompt_sp prompt_cr; "
                  "fpath=(%s $fpath); autoload -U compinit; compinit -u -D; "
                  "show() { printf '<{%%s}''>' \"$BUFFER\"; BUFFER=; }; zle -N show; "
                  "bindkey '^X^P' show" % folder)
    if check(shell.ready, "zsh starts"):
        for turn in ("first", "second"):
            got = completed(shell, "croft tok", "\x18\x10")
            check(got == "croft tokenize ", "zsh, autoloaded, the %s time" % turn, repr(got))
    shell.close()


def test_fish():
    if not shutil.which("fish"):
        skip("fish", "the shell is not installed")
        return
    for line, expected in LINES:
        p = subprocess.run(["fish", "--no-config", "-c",
                            "croft completion fish | source; complete -C %s"
                            % ("'" + line.replace("'", "\\'") + "'")],
                           capture_output=True, text=True, env=environment(), cwd=WORK, timeout=60)
        got = [c.split("\t")[0] for c in p.stdout.splitlines()]
        want = []
        if expected:
            want = [expected[line.rindex(" ") + 1:].rstrip(" ").replace("\\", "")]
        check([g.replace("\\", "") for g in got] == want, "fish: " + line,
              repr((p.stdout, p.stderr)))
    p = subprocess.run(["fish", "--no-config", "-c", "croft completion fish | source; "
                        "complete -C 'croft run m --seed'"],
                       capture_output=True, text=True, env=environment(), cwd=WORK, timeout=60)
    check(p.stdout.startswith("--seed\tseed of the draws"), "fish shows the help", p.stdout)


if __name__ == "__main__":
    prepare()
    try:
        for test in (test_commands, test_options, test_operands, test_script_of_an_unknown_shell,
                     test_bash, test_zsh, test_zsh_autoload, test_fish):
            test()
    finally:
        os.chdir(ROOT)
        shutil.rmtree(HOME, ignore_errors=True)
    sys.exit(done())
