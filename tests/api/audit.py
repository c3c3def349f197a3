"""audit.py - the audit log as gateways write it (tests/store/store_drive.c), with kill -9 and a full
disk; `croft audit verify` on it, and on everything that can be done to it."""
import fcntl
import glob
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
import croft
from croft import check

DRIVE = os.environ.get("STORE_DRIVE", os.path.join(os.path.dirname(croft.CROFT), "store_drive"))
TEMP = tempfile.TemporaryDirectory(prefix="croft-audit-")
RANDOM = random.Random(13)


def drive(state, *args, wait=True, **more):
    command = [DRIVE, "audit", "state=" + state, *args]
    if not wait:
        p = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **more)
        fcntl.fcntl(p.stdout, 1031, 1 << 20)    # F_SETPIPE_SZ: it must not wait for us
        return p
    p = subprocess.run(command, capture_output=True, text=True, timeout=120, **more)
    if p.returncode:
        return {"died": p.returncode, "stderr": p.stderr[-500:]}
    return json.loads(p.stdout.splitlines()[-1])


def verify(folder, *args):
    p = croft.run(["audit", "verify", folder, "--json", *args])
    return p.returncode, json.loads(p.stdout) if p.stdout else {"stderr": p.stderr}


def whole(folder, name, *args):
    status, got = verify(folder, *args)
    return check(status == 0 and got["verdict"] == "whole" and not got["problems"], name, str(got)[:600]) and got


def state_of(name):
    return os.path.join(TEMP.name, name)


def written():
    state, head = state_of("written"), state_of("head.jsonl")
    got = drive(state, "rows=10000", "strict=100", "chain=first", "head=" + head)
    check(got.get("written") == 10000 and got["failed"] == 0 and got["heads"] >= 3, "10,000 rows", str(got))
    folder = state + "/audit"
    got = whole(folder, "what was written is whole", "--head", head)
    heads = sum(open(name).read().count("\n") for name in (folder + "/heads", head))
    check(got and got["rows"] == 10002 and got["chains"] == 1 and got["open"] == 0 and got["heads"] == heads >= 6,
          "rows, chains and heads are counted", "%s, %d lines of heads" % (str(got)[:300], heads))
    for path in (folder + "/first.log", folder + "/heads", state + "/audit.key"):
        check(os.stat(path).st_mode & 0o077 == 0, path + " is its owner's alone")
    p = croft.run(["audit", "verify", folder])
    check(p.returncode == 0 and p.stdout.startswith("whole: 10002 rows in 1 chains"), "as text", p.stdout)
    return folder, head


class Copy:
    """A folder to spoil, and what verify says of it."""

    def __init__(self, folder):
        self.folder = state_of("copy")
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.copytree(folder, self.folder)
        self.log = self.folder + "/first.log"
        with open(self.log, "rb") as f:
            self.bytes = f.read()
        self.lines = self.bytes.splitlines(True)

    def write(self, what):
        with open(self.log, "wb") as f:
            f.write(what if isinstance(what, bytes) else b"".join(what))

    def broken(self, name, row=None, args=()):
        status, got = verify(self.folder, *args)
        first = got.get("problems", [{}])[:1] or [{}]
        if not check(status == 1 and got.get("verdict") == "broken", name, str(got)[:400]):
            return
        if row is not None:
            check(first[0]["file"] == "first" and first[0]["row"] == row, name + ": file and row", str(first))


def spoiled(folder, head):
    c = Copy(folder)
    missed = []
    for _ in range(150):
        at, bit = RANDOM.randrange(len(c.bytes)), 1 << RANDOM.randrange(8)
        c.write(c.bytes[:at] + bytes([c.bytes[at] ^ bit]) + c.bytes[at + 1:])
        row = c.bytes[:at].count(b"\n")
        status, got = verify(c.folder)
        if status != 1 or got["problems"][0]["file"] != "first" or got["problems"][0]["row"] not in (row, row + 1):
            missed.append((at, bit, row, got["problems"][:1]))
    check(not missed, "every flipped bit is found, by file and row", str(missed)[:500])
    n = RANDOM.randrange(1, 9000)
    c.write(c.lines[:n] + c.lines[n + 1:])
    c.broken("a row removed", n)
    c.write(c.lines[:n] + [c.lines[n + 1], c.lines[n]] + c.lines[n + 2:])
    c.broken("two rows swapped", n)
    c.write(c.lines[:n] + [c.lines[n]] + c.lines[n:])
    c.broken("a row twice", n + 1)
    for cut in (1, 2, 500, 5000, 10001):
        c.write(c.lines[:len(c.lines) - cut])
        c.broken("%d rows cut off" % cut, len(c.lines) - cut)
    c.write(c.bytes[:-20])
    c.broken("half a row cut off", len(c.lines) - 1)
    c.write(c.lines + [c.lines[-1]])
    c.broken("a row behind the end")
    c.write(b"")
    c.broken("an empty file")
    os.unlink(c.log)
    c.broken("the file removed")
    covered_up(folder, head)


def covered_up(folder, head):
    """Whoever can write everything here can not write the head that was kept elsewhere."""
    c = Copy(folder)
    with open(c.folder + "/heads") as f:
        heads = f.read().splitlines(True)
    c.write(c.lines[:4000])
    with open(c.folder + "/heads", "w") as f:
        f.write("".join(h for h in heads if json.loads(h)["n"] < 4000))
    status, got = verify(c.folder)
    check(status == 0 and got["open"] == 1, "a chain cut with its heads looks unfinished", str(got)[:300])
    c.broken("but not to a head kept elsewhere", 4000, ("--head", head))
    with open(c.folder + "/heads", "w") as f:
        f.write("".join(heads).replace('"n":1000,', '"n":1001,').replace('"n":2', '"n":3'))
    c.broken("heads that were changed")
    os.unlink(c.folder + "/heads")
    c.broken("no heads")
    other = state_of("other")
    drive(other, "rows=10000", "chain=first")
    for name in ("first.log", "heads"):
        shutil.copy(other + "/audit/" + name, c.folder + "/" + name)
    whole(c.folder, "a log written anew is whole by itself")
    c.broken("but not to a head kept elsewhere", None, ("--head", head))


def killed():
    state = state_of("killed")
    acked = {}
    for i in range(15):
        chain = "gchain%02d" % i
        p = drive(state, "rows=1000000", "strict=%d" % (i % 2 * 7), "chain=" + chain, "size=%d" % (40 + 150 * i), wait=False)
        first = p.stdout.readline() if i % 7 != 6 else ""       # or killed while it begins
        time.sleep(RANDOM.uniform(0.02, 0.3))
        p.send_signal(signal.SIGKILL)
        lines = [first] + p.communicate(timeout=60)[0].splitlines(True)
        acked[chain] = [int(x[2:]) for x in lines if x.startswith("W ") and x.endswith("\n")]
        if i % 5 == 4:                  # half a row, as a power cut leaves it
            with open(state + "/audit/%s.log" % chain, "ab") as f:
                f.write(b"0123456789abcdef")
    status, got = verify(state + "/audit")
    check(status == 0 and got["torn"] >= 1, "killed chains are whole up to their last whole row", str(got)[:400])
    got = drive(state, "rows=10", "chain=gend")
    check(got.get("written") == 10 and got["torn"] >= 16, "half a row is cut off, and said", str(got))
    got = whole(state + "/audit", "sealed chains are whole")
    check(got and got["open"] == 0 and got["torn"] == 0, "and ended", str(got)[:300])
    lost = []
    for chain, rows in acked.items():
        path = state + "/audit/%s.log" % chain
        if not os.path.exists(path):
            lost += [chain] if rows else []
            continue
        with open(path) as f:
            there = {json.loads(line[65:])["row"].get("call") for line in f}
        lost += [(chain, n) for n in rows if n not in there]
    check(sum(map(len, acked.values())) > 1000 and not lost, "no acknowledged row is lost", str(lost)[:200])
    os.unlink(state + "/audit/gchain03.log")
    status, got = verify(state + "/audit")
    check(status == 1 and got["problems"][0]["file"] == "gchain03", "a removed chain is missed", str(got)[:300])


def full_disk():
    state = state_of("full")

    def small():
        resource.setrlimit(resource.RLIMIT_FSIZE, (300000, 300000))
    got = drive(state, "rows=5000", "size=200", "chain=gsmall", preexec_fn=small)
    check(got.get("failed", 0) > 0 and got.get("written", 0) > 500 and got["failed"] + got["written"] == 5000,
          "rows fail when the disk is full, and are not acknowledged", str(got))
    status, got = verify(state + "/audit")
    check(status == 0 and got["torn"] == 0, "what was written is whole", str(got)[:300])


def asked():
    p = croft.run(["audit", "verify", TEMP.name + "/nothing"])
    check(p.returncode == 3 and "CHAIN-03" in p.stderr, "no folder: exit status 3", p.stderr)
    check(croft.run(["audit", "verify"]).returncode == 2, "no folder named")
    check(croft.run(["audit", "mend", TEMP.name]).returncode == 2, "nothing but verify")
    p = croft.run(["audit", "verify", TEMP.name + "/written/audit", "--head", TEMP.name + "/no-head"])
    check(p.returncode == 3, "no head file: exit status 3", p.stderr)


FOLDER, HEAD = written()
spoiled(FOLDER, HEAD)
killed()
full_disk()
asked()
sys.exit(croft.done())
