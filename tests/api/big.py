"""big.py - DeepSeek-R1's exact shape, 671,026,419,200 parameters, in a sparse file.

tools/synth writes a file of 378 GB that is holes but for a few planted tensors (see its head):
the embedding rows of 4 tokens beyond 2^32 bytes; layer 60's FFN norm, its expert 255 and the
router bias that selects it beyond 2^38; the last norm; 64 rows of the head.  Expected:

  - `croft show` reports it from the header alone: its memory, mapped pages included, stays below
    256 MiB, so it cannot have read the weights;
  - the logits of the 4 tokens are not zero exactly at those 64 rows, change when expert 255 is
    zero, and are bit for bit those of a small file with one dense layer and that expert layer;
  - anonymous memory stays under 4 GiB: the process runs under RLIMIT_DATA of 4 GiB, which makes a
    larger private mapping or heap fail, and the peak of RssAnon in /proc is read as it runs;
  - the same under UBSan (build-ubsan/croft, when it was built).
"""
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
import croft
from croft import check

SYNTH, UBSAN = "build/synth", os.path.abspath("build-ubsan/croft")
TOKENS = [5, 777, 64000, 129279]        # r2_token in tools/synth.c
HEAD_ROWS = [i * 2000 + 7 for i in range(64)]
PARAMETERS = 671026419200
ANON_MAX = 4 << 30
SHOW_MAX = 256 << 20


def sparse_files_work(folder):
    """A 1 TiB file with one byte in it takes next to no disk here."""
    path = os.path.join(folder, "try")
    try:
        with open(path, "wb") as f:
            f.truncate(1 << 40)
            f.seek(1 << 39)
            f.write(b"x")
        return os.stat(path).st_blocks * 512 < 1 << 20
    except OSError:
        return False
    finally:
        if os.path.exists(path):
            os.unlink(path)


def synth(kind, path, *options):
    """The (first, last) planted file offset, or None."""
    p = subprocess.run([SYNTH, kind, path] + list(options), capture_output=True, text=True)
    if not check(p.returncode == 0, "synth " + kind, p.stderr):
        return None
    words = p.stdout.split()
    at = words.index("planted")
    return int(words[at + 2]), int(words[at + 4])


class AnonPeak(threading.Thread):
    """The largest RssAnon of a process, polled every 20 ms."""

    def __init__(self, pid):
        super().__init__(daemon=True)
        self.pid, self.peak, self.stop = pid, 0, False

    def run(self):
        while not self.stop:
            try:
                with open("/proc/%d/status" % self.pid) as f:
                    for line in f:
                        if line.startswith("RssAnon:"):
                            self.peak = max(self.peak, int(line.split()[1]) * 1024)
            except OSError:
                return
            time.sleep(0.02)


def limited_logits(program, model, folder, name):
    """The logits' bytes per token under the memory limit, or None."""
    ids, out = os.path.join(folder, "ids"), os.path.join(folder, "out.safetensors")
    with open(ids, "w") as f:
        f.write(" ".join(map(str, TOKENS)))
    begin = time.monotonic()
    p = subprocess.Popen([program, "logits", model, "--ids", ids, "-o", out, "-q"],
                         stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                         preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_DATA,
                                                               (ANON_MAX, ANON_MAX)))
    watch = AnonPeak(p.pid)
    watch.start()
    _, err = p.communicate()
    watch.stop = True
    if not check(p.returncode == 0, name, "exit %d: %s" % (p.returncode, err[-400:])):
        return None
    print("%s: %.0f s, peak of anonymous memory %.0f MiB" % (name, time.monotonic() - begin,
                                                             watch.peak / 2**20), flush=True)
    check(0 < watch.peak < ANON_MAX, name + " anonymous memory", "%d bytes" % watch.peak)
    (n, n_vocab), values = croft.read_vectors(out)["logits"]
    check((n, n_vocab) == (len(TOKENS), 129280), name + " shape")
    return [values[i * n_vocab:(i + 1) * n_vocab] for i in range(n)]


def show(model):
    begin = time.monotonic()
    p = croft.run(["show", model, "--json"])
    seconds = time.monotonic() - begin
    if not check(p.returncode == 0, "show", p.stderr[-300:]):
        return
    check(str(PARAMETERS) in p.stdout, "show --json reports %d parameters" % PARAMETERS)
    json.loads(p.stdout)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    check(peak < SHOW_MAX, "show reads the header alone", "peak of memory %d bytes" % peak)
    print("show: %.2f s, peak of memory %d MiB" % (seconds, peak >> 20), flush=True)
    text = croft.run(["show", model, "--plain"])
    check(text.returncode == 0 and "671" in text.stdout, "show reports 671 B", text.stdout[:300])


def compare(folder):
    big, two = os.path.join(folder, "r2.gguf"), os.path.join(folder, "two.gguf")
    planted = synth("r2-sparse", big)
    if not planted or not synth("r2-two-layer", two):
        return
    check(planted[0] > 1 << 32, "planted bytes begin beyond 2^32", str(planted))
    check(planted[1] > 1 << 38, "planted bytes lie beyond 2^38", str(planted))
    disk = os.stat(big).st_blocks * 512
    check(disk < 64 << 20, "the sparse file takes nearly no disk", "%d bytes" % disk)
    show(big)
    whole = limited_logits(croft.CROFT, big, folder, "logits of 671 B parameters")
    small = limited_logits(croft.CROFT, two, folder, "logits of the two layers")
    if whole and small:
        for i, token in enumerate(TOKENS):
            rows = [k for k, x in enumerate(whole[i]) if x != 0]
            check(rows == HEAD_ROWS, "token %d has logits at the planted rows only" % token,
                  "%d rows" % len(rows))
            check(whole[i].tobytes() == small[i].tobytes(),
                  "token %d: the bits of the two-layer file" % token)
    if os.access(UBSAN, os.X_OK):
        checked = limited_logits(UBSAN, big, folder, "logits under UBSan")
        check(bool(checked) and bool(whole) and
              [t.tobytes() for t in checked] == [t.tobytes() for t in whole],
              "UBSan build: the same bits")
    else:
        croft.skip("logits under UBSan", "build-ubsan/croft was not built (make ubsan)")
    if synth("r2-sparse", big, "--no-expert"):
        without = limited_logits(croft.CROFT, big, folder, "logits without expert 255")
        if without and whole:
            for i, token in enumerate(TOKENS):
                check(without[i].tobytes() != whole[i].tobytes() and any(without[i]),
                      "token %d: expert 255 makes a difference" % token)


def main():
    with tempfile.TemporaryDirectory(dir=os.environ.get("CROFT_BIG_DIR")) as folder:
        if sparse_files_work(folder):
            compare(folder)
        else:
            croft.skip("the 671 B shape", "%s does not hold sparse files of 1 TiB; name another "
                       "folder with CROFT_BIG_DIR" % folder)
    return croft.done()


if __name__ == "__main__":
    sys.exit(main())
