"""hf_big.py - DeepSeek-V3 as it is published: 91,991 tensors in 163 shards, in a sparse folder.

Every shard is a header and a hole: 688 GB in all that take some 20 MB on disk.  `croft show` must
report all of it from the headers: its memory, mapped pages included, stays below 256 MiB.  Then a
few weights are planted and one token is computed: an embedding row, norms, a routed expert of the
last layer in FP8 with its block scales, and a row of the head, whose logit is known.
"""
import json
import math
import os
import resource
import struct
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
import croft
import hf_folder
from croft import check

TENSORS, PARAMETERS, MTP = 91991, 671026419200, 13463426304
SHOW_MAX = 256 << 20


def sparse_files_work(folder):
    path = os.path.join(folder, "try")
    try:
        with open(path, "wb") as f:
            f.truncate(8 << 30)
        return os.stat(path).st_blocks * 512 < 1 << 20
    except OSError:
        return False
    finally:
        if os.path.exists(path):
            os.unlink(path)


def show(folder, total):
    p = croft.run(["show", folder, "--json"])
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    check(p.returncode == 0, "show", p.stderr[-300:])
    try:
        report = json.loads(p.stdout)
    except ValueError:
        check(False, "show writes JSON", p.stdout[:200] + p.stderr[-300:])
        return
    check(report["container"] == "Hugging Face", "the container", report["container"])
    check(report["tensors"]["count"] == TENSORS, "tensors", str(report["tensors"]["count"]))
    check(report["tensors"]["bytes"] == total, "bytes", str(report["tensors"]["bytes"]))
    check(report["parameters"]["total"] == PARAMETERS, "parameters", str(report["parameters"]))
    check(report["parameters"]["mtp"] == MTP, "parameters of MTP", str(report["parameters"]))
    check(len(report["files"]) == 164, "files", str(len(report["files"])))
    experts = report["tensors"]["classes"]["ffn_routed"]["F8_E4M3"]
    check(experts["count"] == 58 * 256 * 3, "tensors of experts", str(experts))
    check(experts["parameters"] == 653908770816, "parameters of experts", str(experts))
    check(peak < SHOW_MAX, "show reads headers alone", "peak of memory %d bytes" % peak)
    print("show: peak of memory %d MiB" % (peak >> 20), flush=True)


def bf16(*values):
    return b"".join(struct.pack("<f", v)[2:] for v in values)


def one_token(folder):
    """x is all ones; equal scores choose experts 0 to 7; expert 7 adds silu(1) * 1 to element 5."""
    embd, last = 7168, "model.layers.60.mlp.experts.7."
    ones = bf16(*[1.0] * embd)
    hf_folder.plant(folder, "model.embed_tokens.weight", 5 * len(ones), ones)
    hf_folder.plant(folder, "model.norm.weight", 0, ones)
    hf_folder.plant(folder, "model.layers.60.post_attention_layernorm.weight", 0, ones)
    for part in ("gate_proj", "up_proj"):
        hf_folder.plant(folder, last + part + ".weight", 3 * embd, b"\x38" * embd)
        hf_folder.plant(folder, last + part + ".weight_scale_inv", 0,
                        struct.pack("<56f", *[1 / embd] * 56))
    hf_folder.plant(folder, last + "down_proj.weight", 5 * 2048 + 3, b"\x38")
    hf_folder.plant(folder, last + "down_proj.weight_scale_inv", 0, struct.pack("<f", 1))
    hf_folder.plant(folder, "lm_head.weight", (129279 * embd + 5) * 2, bf16(2.0))
    got = croft.logits(folder, [5], name="one token of V3")
    if got is None:
        return
    logits = got["logits"][1]
    added = 2.5 / 8 / (1 + math.exp(-1))
    want = 2 * (1 + added) / math.sqrt((embd - 1 + (1 + added) ** 2) / embd)
    check(abs(logits[129279] / want - 1) < 2**-8, "the logit that was planted",
          "%g, not %g" % (logits[129279], want))      # activations may be rounded to bf16
    check(not any(logits[:129279]), "all other logits are zero")


def broken(folder):
    """What a download that broke off leaves."""
    names = sorted(n for n in os.listdir(folder) if n.endswith(".safetensors"))
    os.truncate(os.path.join(folder, names[80]), 1 << 30)
    p = croft.run(["show", folder])
    check(p.returncode == 1 and "cut short" in p.stderr and names[80] in p.stderr,
          "a shard cut short", p.stderr[-300:])
    for name in names[80:]:
        os.unlink(os.path.join(folder, name))
    p = croft.run(["show", folder])
    check(p.returncode == 3 and "83 of the 163 files" in p.stderr and names[80] in p.stderr,
          "shards that are missing", "%d %s" % (p.returncode, p.stderr[-300:]))


def main():
    with tempfile.TemporaryDirectory(dir=os.environ.get("CROFT_BIG_DIR")) as folder:
        if not sparse_files_work(folder):
            croft.skip("the V3 folder", "%s does not hold sparse files; name another folder with "
                       "CROFT_BIG_DIR" % folder)
            return croft.done()
        total = hf_folder.write_folder(folder, hf_folder.V3_CONFIG, hf_folder.v3_shards())
        disk = sum(os.stat(os.path.join(folder, n)).st_blocks * 512 for n in os.listdir(folder))
        check(total > 688 * 10**9, "the folder is as large as V3", str(total))
        check(disk < 128 << 20, "the sparse folder takes little disk", "%d bytes" % disk)
        show(folder, total)
        one_token(folder)
        broken(folder)
    return croft.done()


if __name__ == "__main__":
    sys.exit(main())
