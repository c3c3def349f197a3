"""croft.py - what the Python tests share: run the program, read its vectors, count checks.

Standard library only.  The program is $CROFT, or build/croft; tests run from the root of the
repository.  A test ends with `sys.exit(croft.done())`, which prints "N passed, M failed".
"""
import array
import json
import os
import struct
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
CROFT = os.path.abspath(os.environ.get("CROFT", os.path.join(ROOT, "build/croft")))
os.chdir(ROOT)

_count = {"passed": 0, "failed": 0, "skipped": 0}


def check(ok, name, detail=""):
    """Count one check; a failed one is a line."""
    _count["passed" if ok else "failed"] += 1
    if not ok:
        print("FAIL ", name, (": " + detail) if detail else "", sep="", flush=True)
    return ok


def skip(name, reason):
    _count["skipped"] += 1
    print("SKIP ", name, ": ", reason, sep="", flush=True)


def done():
    """Print the sum; the exit status."""
    tail = ", %d skipped" % _count["skipped"] if _count["skipped"] else ""
    print("%d passed, %d failed%s" % (_count["passed"], _count["failed"], tail), flush=True)
    return 1 if _count["failed"] else 0


_NUMPY_NAMES = {"F32": "f", "I32": "i"}


def read_vectors(path):
    """A safetensors file as {name: (shape, array)}; types F32 and I32 only, others are left out."""
    with open(path, "rb") as f:
        n = struct.unpack("<Q", f.read(8))[0]
        header = json.loads(f.read(n))
        data = f.read()
    out = {}
    for name, t in header.items():
        if name == "__metadata__" or t["dtype"] not in _NUMPY_NAMES:
            continue
        begin, end = t["data_offsets"]
        a = array.array(_NUMPY_NAMES[t["dtype"]])
        a.frombytes(data[begin:end])
        out[name] = (t["shape"], a)
    return out


def levels():
    """The --isa levels this machine can run, lowest first; LEVELS says what an emulated one has."""
    if os.environ.get("LEVELS"):
        return os.environ["LEVELS"].split()
    flags = set()
    with open("/proc/cpuinfo") as f:
        for line in f:
            if line.startswith(("flags", "Features")):
                flags = set(line.split(":", 1)[1].split())
                break
    out = ["ref"]
    if {"avx2", "fma", "f16c"} <= flags:
        out.append("avx2")
        if {"avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512_vnni"} <= flags:
            out.append("avx512")
            if "avx512_bf16" in flags:
                out.append("avx512bf16")
    if "asimd" in flags:
        out.append("neon")
        if "asimddp" in flags:
            out.append("dotprod")
    return out


def run(args, **more):
    """Run croft; a subprocess.CompletedProcess with text output."""
    return subprocess.run([CROFT] + [str(a) for a in args], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, errors="replace", **more)


def logits(model, ids, *options, name="croft logits", keep=None, **more):
    """`croft logits` on ids: its vectors, or None after a failed check.  keep: the file's path."""
    with tempfile.TemporaryDirectory() as folder:
        ids_path = os.path.join(folder, "ids.txt")
        out_path = keep or os.path.join(folder, "out.safetensors")
        with open(ids_path, "w") as f:
            f.write(" ".join(map(str, ids)) + "\n")
        p = run(["logits", model, "--ids", ids_path, "-o", out_path, "-q"] + list(options), **more)
        if p.returncode != 0:
            check(False, name, "exit %d: %s" % (p.returncode, p.stderr.strip()[-400:]))
            return None
        return read_vectors(out_path)


def differences(a, b):
    """Largest and mean absolute difference of two arrays of one length; NaN counts as infinite."""
    largest = total = 0.0
    for x, y in zip(a, b):
        d = abs(x - y)
        if not d <= largest:
            largest = d if d == d else float("inf")
        total += d
    return largest, total / max(1, len(a))
