"""arm64.py - croft for 64-bit ARM (CROFT) writes what NATIVE, the same program built for this
machine, writes: stories260K at temperature 0, at every level of LEVELS.  Products are defined to
the bit and the rest agrees closely, so the text is the same; the vectors of other implementations
are golden.py's part.  A processor without the dot product has the level neon and refuses dotprod.
"""
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
import croft
from croft import check

PROMPTS = ["Once upon a time", "Tom and Lily went to the park. They saw a big", "The dog was sad because"]
NATIVE = os.path.abspath(os.environ.get("NATIVE", "build/croft"))


def story(program, prompt, *options):
    args = [program, "run", "models/stories260K.gguf", "--raw", prompt, "--temp", "0", "-n", "100",
            "-q"] + list(options)
    p = subprocess.run(args, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    check(p.returncode == 0, " ".join(args[1:]), p.stderr.strip()[-400:])
    return p.stdout


def stories():
    for prompt in PROMPTS:
        for more in (["--exact"], ["--kv-type", "bf16"], []):
            want = story(NATIVE, prompt, *more)
            check(len(want) > 100, "the native program tells a story", want)
            for level in ["auto"] + croft.levels():
                got = story(croft.CROFT, prompt, *more, "--isa", level)
                check(got == want, " ".join([prompt, level] + more), "%r, not %r" % (got, want))


def processors():
    for cpu, level in (("max", "dotprod"), ("cortex-a76", "dotprod"), ("cortex-a72", "neon"),
                       ("cortex-a53", "neon")):
        env = dict(os.environ, QEMU_CPU=cpu)
        p = croft.run(["--version"], env=env)
        check("this machine: %s\n" % level in p.stdout, cpu + " has " + level, p.stdout + p.stderr)
        p = croft.run(["run", "models/stories260K.gguf", "--raw", "A", "-n", "4", "--isa", "dotprod"],
                      env=env)
        ok = p.returncode == 0 if level == "dotprod" else "E-LOAD-02" in p.stderr
        check(ok, cpu + " with --isa dotprod", "exit %d: %s" % (p.returncode, p.stderr))


if __name__ == "__main__":
    stories()
    processors()
    sys.exit(croft.done())
