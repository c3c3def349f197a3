#!/usr/bin/env python3
"""cli.py - what a person meets on the command line: errors, help, settings, pipes.

    tests/api/cli.py [build/croft]          from the root of the repository

Ends with the line "N passed, M failed"; the exit status is 1 when something failed. No model is
needed: the one file used is written here. Every call gets its own home folder.
"""
import json
import os
import pty
import re
import select
import struct
import subprocess
import sys
import tempfile
import time

CROFT = os.path.abspath(sys.argv[1] if len(sys.argv) > 1 else "build/croft")
COMMANDS = ["run", "chat", "show", "tokenize", "logits", "perplexity", "bench", "pack"]
HOME = tempfile.mkdtemp(prefix="croft-cli-")
CACHE = os.path.join(HOME, "cache")
CONF = os.path.join(HOME, "conf", "croft", "croft.conf")
os.makedirs(CACHE)
os.makedirs(os.path.dirname(CONF))
TESTS = []


def environment(**extra):
    env = {"PATH": os.environ.get("PATH", ""), "HOME": HOME, "TERM": "xterm", "CROFT_CACHE": CACHE,
           "XDG_CONFIG_HOME": os.path.join(HOME, "conf"), "LC_ALL": "C.UTF-8"}
    for name in ("ASAN_OPTIONS", "UBSAN_OPTIONS", "LSAN_OPTIONS"):
        if name in os.environ:
            env[name] = os.environ[name]
    env.update(extra)
    return env


def croft(*args, stdin="", **env):
    return subprocess.run([CROFT, *args], input=stdin, capture_output=True, text=True, timeout=60,
                          env=environment(**env))


def on_terminal(*args, **env):
    """What the program writes when all three of its streams are a terminal."""
    pid, fd = pty.fork()
    if pid == 0:
        try:
            os.execve(CROFT, [CROFT, *args], environment(**env))
        finally:
            os._exit(127)
    out, end = b"", time.time() + 60
    while time.time() < end and select.select([fd], [], [], 60)[0]:
        try:
            piece = os.read(fd, 65536)
        except OSError:
            break
        if not piece:
            break
        out += piece
    os.close(fd)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), out.decode("utf-8", "replace")


def test(function):
    TESTS.append(function)
    return function


def expect(what, *evidence):
    if not what:
        raise AssertionError(" | ".join(str(e) for e in evidence))


def expect_error(result, status, error_id, *words):
    expect(result.returncode == status, "status", result.returncode, result.stderr)
    expect(result.stderr.startswith("croft: error: "), result.stderr)
    expect(result.stderr.endswith(f" [E-{error_id}]\n"), result.stderr)
    expect(result.stderr.count("\n") == 1, result.stderr)
    for word in words:
        expect(word in result.stderr, word, result.stderr)
    expect(result.stdout == "", result.stdout)


def gguf_string(text):
    raw = text if isinstance(text, bytes) else text.encode()
    return struct.pack("<Q", len(raw)) + raw


def write_gguf(path, values=(1.0, 2.0), extra=(), tensor="blk.0.attn_norm.weight"):
    """A valid file of an architecture nobody has, with one F32 tensor of two rows."""
    meta = [("general.architecture", "nobody"), ("general.license", "cc0-1.0"),
            ("general.author", "A \x1b[31mred\x1b[0m name"), *extra]
    data = struct.pack("<4f", *values, *values)
    out = b"GGUF" + struct.pack("<IQQ", 3, 1, len(meta))
    for key, value in meta:
        out += gguf_string(key) + struct.pack("<I", 8) + gguf_string(value)
    out += gguf_string(tensor) + struct.pack("<IQQIQ", 2, 2, 2, 0, 0)
    out += b"\0" * (-len(out) % 32) + data
    with open(path, "wb") as f:
        f.write(out)
    return path


@test
def an_unknown_flag_names_the_nearest():
    expect_error(croft("run", "m", "--tmep", "1"), 2, "OPT-09", "--tmep", "did you mean --temp?")


@test
def a_flag_of_another_command_says_whose_it_is():
    expect_error(croft("show", "m", "--greedy", "1"), 2, "OPT-09", "it is an option of: logits")


@test
def a_wrong_value_is_refused_with_its_range():
    expect_error(croft("run", "m", "--top-p", "1.5"), 2, "OPT-06", "--top-p", "between 0 and 1")
    expect_error(croft("run", "m", "--top-k", "many"), 2, "OPT-03", "--top-k", "many")
    expect_error(croft("run", "m", "--kv-type", "f64"), 2, "OPT-07", "f32, f16, bf16, q8_0")
    expect_error(croft("show", "m", "-c"), 2, "OPT-12", "-c needs a value")


@test
def a_missing_operand_shows_an_example():
    for command in COMMANDS:
        expect_error(croft(command), 2, "OPT-10", "MODEL", "for example: croft " + command)


@test
def one_operand_too_many_is_named():
    expect_error(croft("show", "a", "b"), 2, "OPT-11", "'b' is one too many")


@test
def an_unknown_command_names_the_nearest():
    expect_error(croft("shwo"), 2, "CMD-10", "did you mean croft show?")
    expect_error(croft("x/model.gguf"), 2, "CMD-11", "croft run x/model.gguf")
    expect_error(croft("--plain"), 2, "CMD-09", "options come after it")


@test
def a_missing_model_is_status_3_and_says_where_it_looked():
    for command in ("run", "show", "tokenize", "bench"):
        expect_error(croft(command, "nosuch"), 3, "CMD-06", "nosuch", CACHE)


@test
def a_missing_model_names_the_nearest_three():
    sizes = {"smollm2-135m": 1000, "stories260k": 2_500_000, "llama": 5, "zzzzzzzzzzzzzzzzzzzz": 5}
    with tempfile.TemporaryDirectory() as cache:
        for name, size in sizes.items():
            with open(os.path.join(cache, name + ".gguf"), "wb") as f:
                f.truncate(size)
        result = croft("show", "smolm2", CROFT_CACHE=cache)
        expect_error(result, 3, "CMD-05", "smollm2-135m (1.0 kB)", "stories260k (2.5 MB)", "llama")
        expect("zzz" not in result.stderr, result.stderr)


@test
def the_shards_of_a_model_are_one_model():
    with tempfile.TemporaryDirectory() as cache:
        for i in (2, 1, 3):
            with open(os.path.join(cache, f"big-0000{i}-of-00003.gguf"), "wb") as f:
                f.truncate(1000 * i)
        expect_error(croft("show", "bug", CROFT_CACHE=cache), 3, "CMD-05", "there: big (6.0 kB) [")
        result = croft("show", "big", CROFT_CACHE=cache)
        expect("big-00001-of-00003.gguf" in result.stderr and result.returncode == 1, result.stderr)


@test
def a_name_finds_its_model_in_the_cache():
    with tempfile.TemporaryDirectory() as cache:
        os.mkdir(os.path.join(cache, "models"))
        write_gguf(os.path.join(cache, "models", "Alpha-1B.gguf"))
        write_gguf(os.path.join(cache, "Alpha-2B.gguf"))
        for name in ("alpha-1b", "ALPHA-1B.gguf", "alpha-1"):
            result = croft("show", name, "--json", CROFT_CACHE=cache)
            expect(result.returncode == 0, name, result.stderr)
            expect(json.loads(result.stdout)["files"][0]["path"].endswith("models/Alpha-1B.gguf"))
        expect_error(croft("show", "alpha", CROFT_CACHE=cache), 2, "CMD-07", "Alpha-1B", "Alpha-2B")


@test
def help_lists_only_options_that_exist():
    for command in COMMANDS:
        result = croft("help", command)
        expect(result.returncode == 0 and result.stderr == "", result.stderr)
        expect(result.stdout == croft(command, "--help").stdout, command)
        names = re.findall(r"^  (?:-(.), |    )--([a-z-]+)( \S+)?", result.stdout, re.M)
        expect(len(names) > 3, command, result.stdout)
        for letter, name, arg in names:
            for spelling in ["--" + name] + (["-" + letter] if letter else []):
                # A real option passes, or complains about its value; never about its name.
                probe = croft(command, spelling, *(["1"] if arg else []), "--no-such-option")
                expect("has no option --no-such-option" in probe.stderr or
                       ("OPT-09" not in probe.stderr and spelling in probe.stderr),
                       command, spelling, probe.stderr)


@test
def help_shows_defaults_and_environment():
    out = croft("help", "run").stdout
    expect("default 0.7; CROFT_TEMP" in out, out)
    expect("Sampling" in out and "-n, --max-tokens N" in out, out)
    expect(all(len(line) <= 100 for line in out.splitlines()))


@test
def help_of_the_program_lists_every_command():
    for args in (["help"], ["--help"], ["-h"], []):
        result = croft(*args)
        expect(result.returncode == 0, args, result.stderr)
        for command in COMMANDS:
            expect(re.search(rf"^  {command} ", result.stdout, re.M), command, result.stdout)


@test
def the_version_names_libraries_and_licence():
    out = croft("--version").stdout
    for word in ("croft ", "jansson", "PCRE2", "utf8proc", "hwloc", "libedit", "libevent", "libcurl",
                 "OpenSSL", "Apache-2.0", "built in: ref"):
        expect(word in out, word, out)


@test
def a_flag_beats_the_environment_and_that_beats_the_file():
    model = write_gguf(os.path.join(HOME, "order.gguf"))

    def context(*args, **env):
        result = croft("show", model, "--json", *args, **env)
        expect(result.returncode == 0, result.stderr)
        return json.loads(result.stdout)["memory"]["context"]
    try:
        with open(CONF, "w") as f:
            f.write("# settings\nctx-size = 1k\n")
        expect(context() == 1024)
        expect(context(CROFT_CTX_SIZE="2048") == 2048)
        expect(context("-c", "4096", CROFT_CTX_SIZE="2048") == 4096)
        expect(context("--max-model-len=8k", CROFT_CTX_SIZE="2048") == 8192)
    finally:
        os.remove(CONF)


@test
def a_wrong_setting_is_named_with_its_place():
    expect_error(croft("run", "m", CROFT_TEMP="hot"), 2, "OPT-05", "CROFT_TEMP", "hot")
    try:
        with open(CONF, "w") as f:
            f.write("temp = 1\ntemperatur = 1\n")
        expect_error(croft("show", "m"), 1, "CONF-02", "croft.conf:2", "did you mean temp")
    finally:
        os.remove(CONF)


@test
def a_closed_pipe_ends_quietly_with_141():
    model = write_gguf(os.path.join(HOME, "pipe.gguf"))
    for args in (["help", "run"], ["show", model], ["--version"]):
        read, write = os.pipe()
        os.close(read)
        child = subprocess.Popen([CROFT, *args], stdout=write, stderr=subprocess.PIPE,
                                 env=environment())
        os.close(write)
        err = child.communicate(timeout=60)[1]
        expect(child.returncode == 141 and err == b"", args, child.returncode, err)


@test
def a_full_disk_is_not_silent():
    with open("/dev/full", "w") as full:
        result = subprocess.run([CROFT, "help", "run"], stdout=full, stderr=subprocess.PIPE,
                                text=True, env=environment(), timeout=60)
    expect(result.returncode == 1 and "TERM-02" in result.stderr, result.returncode, result.stderr)


@test
def alone_on_a_terminal_it_shows_the_machine_and_the_models():
    with tempfile.TemporaryDirectory() as cache:
        write_gguf(os.path.join(cache, "tiny.gguf"))
        with open(os.path.join(cache, "vast.gguf"), "wb") as f:
            f.truncate(1 << 42)
        status, out = on_terminal(CROFT_CACHE=cache)
    expect(status == 0, out)
    for word in ("Processor", "Memory", "GPU", "tiny", "fits", "larger than the memory",
                 "croft run tiny"):
        expect(word in out, word, out)


@test
def colour_only_on_a_terminal_that_takes_it():
    expect("\x1b[31m" in on_terminal("run")[1])
    for env in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        status, out = on_terminal("run", **env)
        expect(status == 2 and "\x1b" not in out and "croft: error:" in out, env, out)
    expect("\x1b" not in on_terminal("show", "nosuch", "--plain")[1])
    expect("\x1b" not in croft("run").stderr)


@test
def a_file_of_an_unknown_architecture_is_shown_all_the_same():
    model = write_gguf(os.path.join(HOME, "odd.gguf"))
    result = croft("show", model)
    expect(result.returncode == 0, result.stderr)
    for word in ("nobody", "cannot be run", "cc0-1.0", "norm", "F32"):
        expect(word in result.stdout, word, result.stdout)
    expect("\x1b" not in result.stdout, "control characters of a file reach the terminal")


@test
def show_json_has_its_keys():
    model = write_gguf(os.path.join(HOME, "keys.gguf"))
    report = json.loads(croft("show", "--json", model).stdout)
    expect(report["architecture"] == "nobody" and report["supported"] is False)
    expect(report["tensors"]["classes"]["norm"]["F32"] == {"count": 1, "parameters": 4,
                                                           "bytes": 16}, report)
    expect(report["provenance"]["general.license"] == "cc0-1.0")
    expect("sha256" not in report["files"][0] and "check" not in report)


@test
def show_hash_is_the_sum_that_sha256sum_gives():
    model = write_gguf(os.path.join(HOME, "hash.gguf"))
    want = subprocess.run(["sha256sum", model], capture_output=True, text=True).stdout.split()[0]
    report = json.loads(croft("show", "--json", "--hash", model).stdout)
    expect(report["files"][0]["sha256"] == want)


@test
def show_check_finds_values_that_are_not_finite():
    good = write_gguf(os.path.join(HOME, "good.gguf"), (-1.5, 2.0))
    result = croft("show", "--check", "--json", good)
    expect(result.returncode == 0, result.stderr)
    check = json.loads(result.stdout)["check"]
    expect(check["ranges"]["norm"] == {"min": -1.5, "max": 2.0}, check)
    bad = write_gguf(os.path.join(HOME, "bad.gguf"), (1.0, float("nan")))
    result = croft("show", "--check", "--json", bad)
    expect(result.returncode == 1 and "SHOW-01" in result.stderr, result.stderr)
    check = json.loads(result.stdout)["check"]
    expect(check["not_finite"] == [{"tensor": "blk.0.attn_norm.weight", "first_row": 0,
                                    "rows": 2}], check)


@test
def a_vocabulary_without_tensors_is_shown():
    for name, family in (("llama-spm", "llama"), ("gpt-2", "gpt2")):
        model = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "data",
                             "tokenizers", name + ".gguf")
        result = croft("show", model)
        expect(result.returncode == 0, result.stderr)
        expect("vocabulary only: no tensors" in result.stdout, result.stdout)
        shown = json.loads(croft("show", model, "--json").stdout)
        expect(shown["error"]["id"] == "GGUF-71" and not shown["supported"], shown["error"])
        expect(shown["tokenizer"]["vocabulary"] > 30000, shown["tokenizer"])
        expect(shown["architecture"] == family, shown["architecture"])


@test
def a_folder_is_no_model():
    os.makedirs(os.path.join(HOME, "folder"), exist_ok=True)
    expect_error(croft("show", os.path.join(HOME, "folder")), 2, "CMD-08", "is a folder")


def main():
    failed = 0
    if not os.access(CROFT, os.X_OK):
        sys.exit(f"cli.py: there is no program {CROFT}; run make first")
    for function in TESTS:
        name = function.__name__.replace("_", " ")
        try:
            function()
        except (AssertionError, KeyError, ValueError, OSError, subprocess.SubprocessError) as e:
            failed += 1
            print(f"FAIL {name}: {type(e).__name__}: {e}")
    subprocess.run(["rm", "-r", HOME], check=False)
    print(f"{len(TESTS) - failed} passed, {failed} failed")
    return failed != 0


if __name__ == "__main__":
    sys.exit(main())
