"""man.py - the manual pages against the tables they are made from: every option of a command is on
its page and in its --help, with its environment variable, and no page names one that does not exist.

The pages are read as scdoc source (build/mkman writes it); with scdoc they must also render."""
import os
import re
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import croft
import table
from croft import check

COMMANDS, OPTIONS = table.read()
EVERYWHERE = {"help", "version", "complete"}    # not in the table: the program's own


def source(name):
    p = subprocess.run(["build/mkman", "man", name], capture_output=True, text=True)
    check(p.returncode == 0 and not p.stderr, name + ": the page is written", p.stderr[-200:])
    return p.stdout


def plain(text):
    return re.sub(r"\\(.)", r"\1", text)


def named(text):
    """The long options a page names."""
    return set(re.findall(r"--([a-z][a-z0-9-]*)", plain(text))) - EVERYWHERE


def known(options):
    names = {n for o in options for n in [o["name"]] + o["alias"]}
    return names | {"no-" + n for n in names} | {n[3:] for n in names if n.startswith("no-")}


def page(command):
    text = source("croft-" + command["name"])
    own = [o for o in OPTIONS if command["name"] in o["cmds"]]
    usage = croft.run([command["name"], "--help"]).stdout
    for o in own:
        name = "croft-%s --%s" % (command["name"], o["name"])
        head = [line for line in text.splitlines() if line.startswith(("*--", "*-"))
                and re.search(r"\*--%s\*" % re.escape(o["name"]), plain(line))]
        check(len(head) == 1, name + " stands once in OPTIONS", str(head))
        check("--" + o["name"] in usage, name + " is in --help")
        variable = "CROFT_" + o["name"].upper().replace("-", "_")
        there = re.search(r"\b%s\b" % variable, plain(text)) is not None
        check(there != o["per_call"], name + ": " + variable)
    strange = named(text) - known(own)
    check(not strange, "croft-%s names only its own options" % command["name"], str(strange))
    for section in ("NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXAMPLES", "EXIT STATUS",
                    "SEE ALSO"):
        check(text.count("\n# %s\n" % section) == 1, "croft-%s: %s" % (command["name"], section))
    return text


def main():
    texts = {"croft-" + c["name"]: page(c) for c in COMMANDS}
    texts["croft"] = source("croft")
    strange = named(texts["croft"]) - known(OPTIONS) - {"name"}     # "--name value"
    check(not strange, "croft(1) names only options there are", str(strange))
    for c in COMMANDS:
        check("croft-%s" % c["name"] in plain(texts["croft"]), "croft(1) lists " + c["name"])
    if not shutil.which("scdoc"):
        croft.skip("rendering", "scdoc is not installed")
        return croft.done()
    for name, text in texts.items():
        p = subprocess.run(["scdoc"], input=text, capture_output=True, text=True)
        check(p.returncode == 0 and p.stdout.startswith(".\\\""), name + " renders", p.stderr[-200:])
    return croft.done()


if __name__ == "__main__":
    sys.exit(main())
