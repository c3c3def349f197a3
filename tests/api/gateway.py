"""gateway.py - `croft gateway init` and `check` as a person uses them."""
import json
import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
import croft
from croft import check

FOLDER = tempfile.TemporaryDirectory(prefix="croft-gateway-")


def gateway(*args):
    return subprocess.run([croft.CROFT, "gateway", *args], capture_output=True, text=True, timeout=60)


def written(text):
    path = os.path.join(FOLDER.name, "croft.yaml")
    with open(path, "w") as f:
        f.write(text)
    return path


def ends(p, status, code, name):
    check(p.returncode == status and ("[E-%s]" % code in p.stderr if code else not p.stderr), name,
          "%d %r %r" % (p.returncode, p.stdout, p.stderr))


def main():
    sample = gateway("init").stdout
    path = written(sample)
    p = gateway("check", "-c", path)
    ends(p, 0, "", "the sample is proved")
    check(p.stdout.startswith("proved: 2 of never"), "it says so", p.stdout)
    said = json.loads(gateway("check", "-c", path, "--json").stdout)
    check(said["verdict"] == "proved" and said["counterexample"] is None
          and said["paths"]["fallback"] == 1, "and for programs", str(said))

    path = written(sample.replace("embeddings]\n    except: {operator: [self]}",
                                  "embeddings]\n    except: {operator: [self, anthropic]}"))
    p = gateway("check", "-c", path)
    ends(p, 1, "GCMD-01", "a hole in a rule is found")
    check(all(x in p.stdout for x in ("never personal_abroad is broken", "labels    personal",
                                      "path      call", "model     claude", "sink      anthropic",
                                      "rule      none holds")), "and shown", p.stdout)
    p = gateway("check", "-c", path, "--json")
    x = json.loads(p.stdout)["counterexample"]
    check(p.returncode == 1 and x == {"never": "personal_abroad", "labels": ["personal"],
                                      "request": "claude", "failures": [], "path": "call",
                                      "model": "claude", "sink": "anthropic", "rule": None},
          "and for programs too", str(x))

    p = gateway("check", "-c", written(sample.replace("upstream: anthropic", "upstream: nobody")))
    ends(p, 1, "GREF-08", "a name that is not there")
    check("croft.yaml:" in p.stderr and not p.stdout, "has its line", p.stderr)
    ends(gateway("check", "-c", path + ".none"), 3, "FILE-21", "a file that is not there")
    ends(gateway("check"), 2, "GCMD-03", "no file named")
    ends(gateway("serve"), 2, "GCMD-04", "an action that is not there")
    sys.exit(croft.done())


if __name__ == "__main__":
    main()
