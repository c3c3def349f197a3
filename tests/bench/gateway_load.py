#!/usr/bin/env python3
"""gateway_load.py - what `croft gateway` costs, with ledger, audit log and policy, beside nginx's
proxy_pass and, where it is there, LiteLLM's proxy.

    python3 tests/bench/gateway_load.py [--seconds N] [--litellm build-litellm/bin/litellm]
    python3 tests/bench/gateway_load.py --growth [REQUESTS]

The first measures and prints; it is no test.  At 5,000 streams of 4 events a second, or the most that
nginx holds here: latencies beside those of the upstream asked directly; with streams of 20 events:
processor time a stream.  The upstream and the load generator are build/load_upstream and
build/load_client, on the same cores.  nginx: apt-get install nginx (or NGINX=path); LiteLLM:
python3 -m venv build-litellm && build-litellm/bin/pip install 'litellm[proxy]'.

The second is a test (make check-long PART=gateway-load): 1,000,000 requests, of which each tenth is
left by its client; from the 100,000th on memory grows by less than 8 bytes each, the ledger has a row
for each that the upstream saw, and a leak that is planted is found.
"""
import argparse
import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "../gateway"))
from doors import Door, croft, check, free_port, model, upstream

BUILD = os.path.dirname(croft.CROFT)
LEAK = "262144"                         # bytes a second, of the control
TICKS = os.sysconf("SC_CLK_TCK")
NGINX = os.environ.get("NGINX") or shutil.which("nginx") or shutil.which("/usr/sbin/nginx")
CONF = """worker_processes auto; daemon off; pid {folder}/pid; error_log {folder}/error.log crit;
events {{ worker_connections 16384; }}
http {{ access_log off; client_body_temp_path {folder}/b; proxy_temp_path {folder}/p;
fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
upstream up {{ server 127.0.0.1:{upstream}; keepalive 512; keepalive_requests 100000000; }}
server {{ listen 127.0.0.1:{port} backlog=4096; keepalive_requests 100000000;
location / {{ proxy_pass http://up; proxy_http_version 1.1; proxy_set_header Connection "";
proxy_buffering off; }} }} }}
"""


def processes(pid):
    """A process and those that it began."""
    out = [pid]
    with contextlib.suppress(OSError):
        with open("/proc/%d/task/%d/children" % (pid, pid)) as f:
            for child in f.read().split():
                out += processes(int(child))
    return out


def cpu_seconds(pid):
    total = 0
    for p in processes(pid):
        with contextlib.suppress(OSError):
            with open("/proc/%d/stat" % p) as f:
                fields = f.read().rpartition(")")[2].split()
            total += int(fields[11]) + int(fields[12])
    return total / TICKS


def anonymous(pid):
    with open("/proc/%d/status" % pid) as f:
        text = f.read()
    return sum(int(re.search(name + r":\s+(\d+) kB", text)[1]) for name in ("RssAnon", "VmSwap")) << 10


def load(port, **how):
    p = subprocess.run([os.path.join(BUILD, "load_client"), str(port)] + ["%s=%s" % x for x in how.items()],
                       capture_output=True, text=True)
    return json.loads(p.stdout)


@contextlib.contextmanager
def running(*args, port=None, env=None):
    """A process that says its port, or one whose port is known, once it answers there."""
    p = subprocess.Popen(args, stdout=subprocess.PIPE if port is None else subprocess.DEVNULL,
                         stderr=subprocess.DEVNULL, text=True, env=env)
    try:
        if port is None:
            port = int(p.stdout.readline().split()[1])
        end = time.monotonic() + 120
        while time.monotonic() < end and p.poll() is None:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            time.sleep(0.05)
        yield p.pid, port
    finally:
        p.send_signal(signal.SIGTERM)
        p.wait()


def behind(port):
    return running(os.path.join(BUILD, "load_upstream"), *port)


def door(port, **env):
    """A gateway with all that costs: detectors, rules, a promise, budgets, ledger, audit log."""
    return Door([upstream("own", "chat", "http://127.0.0.1:%d" % port, operator="self", country="de"),
                 upstream("abroad", "chat", "http://127.0.0.1:%d" % port, operator="us-inc", country="us")],
                [model("load", "own"), model("other", "abroad")], dict(env),
                groups=[{"name": "both", "members": [{"model": "load"}, {"model": "other"}]}],
                labels=[{"name": "personal", "detectors": ["email", "phone", "card", "iban"]},
                        {"name": "secret", "detectors": ["private_key", "provider_key"]}],
                rules=[{"name": "stays", "action": "forbid", "when": ["personal"],
                        "except": {"operator": ["self"]}},
                       {"name": "hidden", "action": "forbid", "when": ["secret"]}],
                never=[{"name": "abroad", "when": ["personal"], "where": {"country": ["us"]}}],
                audit={"sync_ms": 50},
                budgets=[{"name": "much", "key": "tester", "period": "day", "mode": "hard",
                          "limit": {"dollars": "1000000", "requests": 1000000000}}])


@contextlib.contextmanager
def nginx(port):
    with tempfile.TemporaryDirectory() as folder:
        mine = free_port()
        with open(os.path.join(folder, "conf"), "w") as f:
            f.write(CONF.format(folder=folder, upstream=port, port=mine))
        with running(NGINX, "-p", folder, "-c", os.path.join(folder, "conf"), port=mine) as (pid, _):
            yield pid, mine, "none"


@contextlib.contextmanager
def gateway(port):
    with door(port) as d:
        yield d.p.pid, d.port, d.token


@contextlib.contextmanager
def litellm(port, program):
    with tempfile.TemporaryDirectory() as folder:
        mine, path = free_port(), os.path.join(folder, "config.yaml")
        with open(path, "w") as f:
            json.dump({"model_list": [{"model_name": "load", "litellm_params": {
                "model": "openai/load", "api_base": "http://127.0.0.1:%d/v1" % port, "api_key": "none"}}]}, f)
        with running(program, "--config", path, "--port", str(mine), "--host", "127.0.0.1", port=mine,
                     env=dict(os.environ, LITELLM_LOG="ERROR")) as (pid, _):
            end = time.monotonic() + 120        # it listens before it is ready
            while time.monotonic() < end:
                with contextlib.suppress(OSError):
                    urllib.request.urlopen("http://127.0.0.1:%d/health/liveliness" % mine).read()
                    break
                time.sleep(0.5)
            yield pid, mine, "none"


def most(at, seconds):
    """The rate that is held: no failure, and the last answers not much later than the first."""
    pid, port, key = at
    rate = 5000
    while rate > 200:
        got = load(port, rate=rate, requests=rate * seconds, key=key)
        if not got["failed"] and got["rate"] > 0.98 * rate and got["p99"] < 50000:
            return rate
        rate = int(rate * 0.85)
    return rate


def line(name, got, base=None, cpu=None):
    text = "  %-10s p50 %7d us  p99 %7d us" % (name, got["p50"], got["p99"])
    if base:
        text += "   added %7d us %7d us" % (got["p50"] - base["p50"], got["p99"] - base["p99"])
    if cpu is not None:
        text += "   %6.1f us of processor a stream" % (cpu * 1e6 / got["whole"])
    print(text + ("   %d FAILED" % got["failed"] if got["failed"] else ""), flush=True)


def beside(name, at, base, **how):
    before = cpu_seconds(at[0])
    got = load(at[1], key=at[2], **how)
    cpu = cpu_seconds(at[0]) - before
    line(name, got, base, cpu)
    return {"added_p50": got["p50"] - base["p50"], "added_p99": got["p99"] - base["p99"],
            "cpu_us": cpu * 1e6 / max(1, got["whole"]), **got}


def compare(seconds, program):
    out = {}
    for events in (4, 20):
        with behind(["events=%d" % events]) as (_, port):
            direct = (None, port, "none")
            with nginx(port) as proxy, gateway(port) as own:
                for at in (proxy, own):         # warm
                    load(at[1], requests=2000, clients=32, key=at[2])
                if events == 4:
                    rate = most(proxy, seconds)
                else:
                    rate = max(100, rate // 4)
                how = {"rate": rate, "requests": rate * seconds}
                print("%d streams/s of %d events:" % (rate, events))
                base = load(port, **how)
                line("upstream", base)
                for i in range(3):
                    for name, at in (("nginx", proxy), ("croft", own)):
                        out.setdefault("%s %d" % (name, events), []).append(beside(name, at, base, **how))
                full = load(own[1], requests=rate * seconds, clients=64, key=own[2])
                print("  croft, 64 clients without a pause: %.0f streams/s" % full["rate"])
                out["croft %d full" % events] = full
            if program and events == 20:
                with litellm(port, program) as other:
                    load(other[1], requests=50, clients=4, model="load")
                    full = load(other[1], requests=300, clients=16)
                    print("  LiteLLM, 16 clients without a pause: %.1f streams/s" % full["rate"])
                    half = max(1, int(full["rate"] / 2))
                    how = {"rate": half, "requests": half * seconds}
                    base = load(port, **how)
                    out["litellm full"] = full
                    out["litellm half"] = beside("LiteLLM", other, base, **how)
                with gateway(port) as own:
                    load(own[1], requests=2000, clients=32, key=own[2])
                    out["croft at litellm half"] = beside("croft", own, base, **how)
    judge(out)
    path = os.path.join(BUILD, "gateway_load.json")
    with open(path, "w") as f:
        json.dump(out, f, indent=1)
    print(path)


def middle(rows, key):
    return sorted(r[key] for r in rows)[len(rows) // 2]


def judge(out):
    for key, events in (("added_p50", 4), ("added_p99", 4), ("cpu_us", 20)):
        mine, theirs = (middle(out["%s %d" % (n, events)], key) for n in ("croft", "nginx"))
        print("%s, %d events: %.0f us, nginx %.0f us: %.1f times" % (key, events, mine, theirs,
                                                                     mine / max(1, theirs)))
    if "litellm full" in out:
        print("saturated: %.1f times LiteLLM's rate" % (out["croft 20 full"]["rate"] / out["litellm full"]["rate"]))
        for key in ("added_p50", "added_p99"):
            mine, theirs = out["croft at litellm half"][key], out["litellm half"][key]
            print("%s at half its rate: %d us, LiteLLM %d us: 1/%.0f" % (key, mine, theirs, theirs / max(1, mine)))


# ---- growth: a test -------------------------------------------------------------------------------

def grown(total, begin, **env):
    """Bytes a request, from `begin` to `total`, and whether the ledger has them all."""
    with behind(["events=4"]) as (_, port), door(port, **env) as d:
        how = {"clients": 48, "cancel": 10, "key": d.token, "model": "both"}
        ends = [load(d.port, requests=begin, **how)]
        first = anonymous(d.p.pid)
        ends.append(load(d.port, requests=total - begin, **how))
        last = anonymous(d.p.pid)
        with urllib.request.urlopen("http://127.0.0.1:%d/meter" % port) as r:
            meter = json.load(r)
        end = time.monotonic() + 120
        while time.monotonic() < end and any(s["open"] for s in d.sums("key")):
            time.sleep(0.5)
        sums = d.sums("key")
        print("%d requests, %d asked of the upstream; %.1f MiB, then %.1f MiB" % (
            total, meter["asked"], first / 2**20, last / 2**20))
        check(not sum(e["failed"] for e in ends), "no request fails", str(ends))
        check(sum(e["left"] for e in ends) > total // 11, "each tenth was left", str(ends))
        check(sum(s["attempts"] for s in sums) == meter["asked"] and not sum(s["open"] for s in sums),
              "the ledger has a row for each", "%s %s" % (sums, meter))
        return (last - first) / (total - begin)


def growth(total):
    begin = min(100000, total // 2)
    each = grown(total, begin)
    check(each < 8, "memory grows by less than 8 bytes a request", "%.2f" % each)
    control = grown(2 * begin, begin, LD_PRELOAD=os.path.abspath(os.path.join(BUILD, "leak.so")), LEAK_BYTES=LEAK)
    check(control >= 8, "control: a planted leak is found", "%.2f" % control)
    print("%.2f bytes a request; with a planted leak %.2f" % (each, control))
    sys.exit(croft.done())


def main():
    p = argparse.ArgumentParser(usage=__doc__)
    p.add_argument("--growth", nargs="?", type=int, const=1000000)
    p.add_argument("--seconds", type=int, default=10)
    p.add_argument("--litellm")
    a = p.parse_args()
    if a.growth:
        growth(a.growth)
    if not NGINX:
        sys.exit("nginx is not installed: apt-get install nginx, or NGINX=path of the program")
    compare(a.seconds, a.litellm)


if __name__ == "__main__":
    main()
