"""pack.py - `croft pack`, and --pack on the commands that compute: what is written, what is refused,
what is said."""
import json
import os
import re
import resource
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
import croft
from croft import check

STORY = os.path.join(croft.ROOT, "models/stories260K.gguf")
MIXED = os.path.join(croft.ROOT, "tests/golden/v3-mixed/model.gguf")
FOLDER = os.path.join(croft.ROOT, "tests/golden/qwen3-nano")
ASK = ["Once upon a time", "-n", "24", "--temp", "0"]


def refused(p, status, code, name, *words):
    check(p.returncode == status and "[E-%s]" % code in p.stderr
          and all(w in p.stderr for w in words), name,
          "status %d: %s" % (p.returncode, p.stderr[-300:]))


def written(folder):
    """A packed file stands in for its model everywhere."""
    out = os.path.join(folder, "story.packed")
    p = croft.run(["pack", STORY, "-o", out])
    check(p.returncode == 0 and re.search(r"27 of 48 tensors packed", p.stdout), "croft pack",
          p.stdout + p.stderr)
    check(os.listdir(folder) == ["story.packed"], "one file, and no other", str(os.listdir(folder)))
    with open(out, "rb") as f:
        check(f.read(4) == b"CRFT", "its magic is its own")
    want = croft.run(["run", STORY] + ASK).stdout
    check(want and croft.run(["run", out] + ASK).stdout == want, "the same answer")
    mine, other = (json.loads(croft.run(["show", m, "--json", "--check"]).stdout)
                   for m in (out, STORY))
    check(mine.pop("container") == "packed GGUF, tiles16", "show says what it is")
    for key in ("architecture", "tensors", "tokenizer", "check", "parameters"):
        check(mine.get(key) == other.get(key), "show: %s is the model's" % key, str(mine.get(key)))
    check(croft.run(["tokenize", out, "a b"]).stdout == croft.run(["tokenize", STORY, "a b"]).stdout,
          "tokenize")
    state = os.path.join(folder, "state")
    a = croft.run(["run", STORY] + ASK + ["--save-state", state])
    b = croft.run(["run", out, "and then", "-n", "4", "--load-state", state])
    check(a.returncode == 0 and b.returncode == 0, "a conversation goes on with the packed file",
          b.stderr[-300:])
    return out


def refusals(folder, packed):
    out = os.path.join(folder, "out")
    refused(croft.run(["pack", STORY]), 2, "PACK-01", "no -o")
    copy = shutil.copy(STORY, os.path.join(folder, "copy.gguf"))
    refused(croft.run(["pack", copy, "-o", copy, "--force"]), 2, "PACK-02", "onto itself")
    refused(croft.run(["pack", STORY, "-o", packed]), 2, "PACK-03", "onto a file", "--force")
    with open(packed, "rb") as f:
        before = f.read()
    check(croft.run(["pack", STORY, "-o", packed, "--force"]).returncode == 0, "--force")
    with open(packed, "rb") as f:
        check(f.read() == before, "the same bytes again")
    refused(croft.run(["pack", packed, "-o", out]), 2, "PACK-04", "packed already")
    refused(croft.run(["pack", FOLDER, "-o", out]), 2, "PACK-06", "a folder", "loaded")
    refused(croft.run(["pack", STORY, "-o", folder]), 2, "FILE-11", "onto a folder")
    refused(croft.run(["pack", STORY, "-o", os.path.join(folder, "none", "out")]), 3, "FILE-13",
            "into no folder")
    refused(croft.run(["pack", STORY, "-o", "/dev/full"]), 1, "PLACE-11", "a full disk", "room")
    check(not os.path.exists(out), "nothing was left")


def hostile(folder, packed):
    """Every cut, and every byte of the layout's keys changed: an error or the model, no crash."""
    with open(packed, "rb") as f:
        good = f.read()
    bad = os.path.join(folder, "bad")

    def look(data, name, *words):
        with open(bad, "wb") as f:
            f.write(data)
        p = croft.run(["run", bad] + ASK)
        ok = p.returncode in (0, 1, 2) and (p.returncode == 0) != ("[E-" in p.stderr)
        check(ok and all(w in p.stderr for w in words), name,
              "status %d: %s" % (p.returncode, p.stderr[-300:]))
    for n in (0, 3, 4, 100, len(good) // 2, len(good) - 1):
        look(good[:n], "cut to %d bytes" % n, "bad")
    look(b"GGUF" + good[4:], "named GGUF", "E-PACKED-05")
    look(good.replace(b"tiles16", b"tiles32"), "another layout", "E-PACKED-01")
    at = good.index(b"croft.layout.version") + 24
    look(good[:at] + struct.pack("<I", 2) + good[at + 4:], "a later version", "version 2")
    at = good.index(b"croft.layout.packed") + 19
    n = struct.unpack_from("<Q", good, at + 8)[0]
    for i in range(n):
        data = bytearray(good)
        data[at + 16 + i] ^= 1
        look(bytes(data), "flag %d turned" % i)


def shards(folder):
    """Shards become one file; what they said of themselves is left out."""
    with open(STORY, "rb") as f:
        whole = f.read()
    n_tensor, n_meta = struct.unpack_from("<QQ", whole, 8)

    def entry(key, value):
        return struct.pack("<Q", len(key)) + key + struct.pack("<II", 4, value)
    extra = entry(b"split.no", 0) + entry(b"split.count", 1)
    # the header grows by a multiple of the alignment, so that the tensors keep their offsets
    pad = -len(extra + struct.pack("<Q", 9) + b"split.pad" + struct.pack("<IQ", 8, 0)) % 32
    extra += struct.pack("<Q", 9) + b"split.pad" + struct.pack("<IQ", 8, pad) + b"x" * pad
    one = os.path.join(folder, "one.gguf")
    with open(one, "wb") as f:
        f.write(whole[:8] + struct.pack("<QQ", n_tensor, n_meta + 3) + extra + whole[24:])
    out = os.path.join(folder, "joined")
    p = croft.run(["pack", one, "-o", out])
    with open(out, "rb") as f:
        check(p.returncode == 0 and b"split." not in f.read(), "split keys are left out", p.stderr)
    check(croft.run(["run", out] + ASK).stdout == croft.run(["run", STORY] + ASK).stdout,
          "the same answer")


def options():
    """--pack, --no-mmap and --mlock give one text; what was decided is said."""
    want = croft.run(["run", STORY] + ASK).stdout
    for more in (["--pack", "on"], ["--pack", "off"], ["--no-mmap"], ["--mlock"],
                 ["--pack", "off", "--no-mmap"], ["--pack", "off", "--mlock"],
                 ["--no-mmap", "--mlock"]):
        p = croft.run(["run", STORY] + ASK + more)
        check(p.returncode == 0 and p.stdout == want, " ".join(more), p.stderr[-300:])
    packed = "read and packed in"
    check(packed in croft.run(["run", STORY, "-v"] + ASK).stderr, "packed where it fits")
    check(packed not in croft.run(["run", STORY, "-v", "--exact"] + ASK).stderr,
          "--exact has no use for it")
    check(packed not in croft.run(["run", STORY, "-v", "--pack", "off"] + ASK).stderr, "not when off")
    refused(croft.run(["run", STORY, "--pack", "maybe"] + ASK), 2, "OPT-07", "--pack maybe")


def pages(folder):
    """No part of the mapping of packed weights is in memory."""
    model = os.path.join(folder, "nano.gguf")
    if subprocess.run(["make", "-s", "build/synth"], capture_output=True).returncode:
        croft.skip("what is in memory", "build/synth cannot be built")
        return
    subprocess.run(["build/synth", "nano", model], check=True, capture_output=True)
    for more, mapped_max in ((["--pack", "on"], 0.1), (["--no-mmap"], 0.1)):
        p = subprocess.Popen([croft.CROFT, "chat", model, "--plain"] + more, stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        p.stdin.write(b"a\n")
        p.stdin.flush()
        p.stdout.read(1)                                # it has computed
        with open("/proc/%d/smaps" % p.pid) as f:
            part = f.read().split(model, 1)
        resident = int(re.search(r"Rss:\s+(\d+)", part[1]).group(1)) if len(part) > 1 else 0
        check(resident * 1024 <= mapped_max * os.path.getsize(model),
              "mapped pages with " + " ".join(more), "%d kB" % resident)
        p.kill()
        p.communicate()


def little_memory(folder):
    """Where packed weights do not fit the file is used as it is, and one note says so."""
    model, ids = os.path.join(folder, "nano.gguf"), os.path.join(folder, "ids")
    with open(ids, "w") as f:
        f.write("1 2 3")
    p = croft.run(["run", STORY, "-c", "900000000"] + ASK)
    check(p.returncode == 4 and p.stderr.count("is used as it is") == 1, "no room for the context",
          p.stderr[-300:])
    with open(croft.CROFT, "rb") as f:
        if b"__asan_init" in f.read():
            croft.skip("address space limits", "the sanitizer reserves terabytes")
            return
    note, want, seen = "the system refuses", None, set()
    for mb in range(200, 10, -3):
        limit = lambda: resource.setrlimit(resource.RLIMIT_AS, (mb << 20, mb << 20))
        if croft.run(["--version"], preexec_fn=limit).returncode:
            break                                       # not even the program's own libraries
        out = os.path.join(folder, "out")
        p = croft.run(["logits", model, "--ids", ids, "-o", out, "-t", "1", "-b", "4"],
                      preexec_fn=limit)
        if not check(p.returncode in (0, 1, 4), "%d MiB: handled" % mb, p.stderr[-300:]):
            break
        seen.add("failed" if p.returncode else "ran")
        if p.returncode:
            continue
        with open(out, "rb") as f:
            data = f.read()
        want = want or data
        seen.add("mapped" if note in p.stderr else "packed")
        check(data == want, "%d MiB: the same bits" % mb)
    check(seen >= {"packed", "mapped", "failed"}, "packed, mapped with less memory, or an error",
          str(seen))


def interrupted(folder):
    """Ctrl-C while a file is written: status 130 and nothing left."""
    model = os.path.join(folder, "nano.gguf")
    pipe = os.path.join(folder, "pipe")
    os.mkfifo(pipe)
    p = subprocess.Popen([croft.CROFT, "pack", model, "-o", pipe], stdout=subprocess.DEVNULL,
                         stderr=subprocess.PIPE)
    with open(pipe, "rb") as f:
        f.read(4096)                                    # it is writing, and must wait for us
        p.send_signal(signal.SIGINT)
        time.sleep(0.2)
        while f.read(1 << 20):
            pass
    p.communicate()
    check(p.returncode == 130, "interrupted: status 130", str(p.returncode))


def main():
    with tempfile.TemporaryDirectory() as folder:
        packed = written(folder)
        refusals(folder, packed)
        hostile(folder, packed)
        shards(folder)
        pages(folder)
        little_memory(folder)
        interrupted(folder)
    options()
    return croft.done()


if __name__ == "__main__":
    sys.exit(main())
