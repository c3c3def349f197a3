"""folders.py - Hugging Face folders and adapters as a person names them, whole and broken.

The folders are the golden ones, copied and changed.
"""
import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
import croft
from croft import check

GOLDEN = os.path.join(croft.ROOT, "tests/golden")
QWEN3 = os.path.join(GOLDEN, "qwen3-nano")
V3 = os.path.join(GOLDEN, "v3-nano")
FP8 = os.path.join(GOLDEN, "v3-fp8")


def copy(folder, model=QWEN3):
    """The files of a folder that a model needs."""
    shutil.rmtree(folder, ignore_errors=True)
    os.mkdir(folder)
    for name in os.listdir(model):
        if name.endswith((".json", ".safetensors")) and not name.startswith("golden"):
            shutil.copy(os.path.join(model, name), folder)
    return folder


def change(path, **values):
    with open(path) as f:
        j = json.load(f)
    j.update(values)
    with open(path, "w") as f:
        json.dump(j, f)


def run(*args, **more):
    return croft.run(["run"] + list(args) + ["--temp", "0", "-n", "4"], **more)


def refused(p, code, name, *words):
    ok = p.returncode in (1, 2, 3) and "[E-" + code + "]" in p.stderr
    check(ok and all(w in p.stderr for w in words), name,
          "status %d: %s" % (p.returncode, p.stderr[-300:]))


def names(folder):
    """Every way to name one folder is the same model."""
    copy(folder)
    want = run(folder, "hi").stdout
    link = folder + "-link"
    os.symlink(folder, link)
    for path in (folder + "/", folder + "/config.json", folder + "/model.safetensors", link,
                 os.path.relpath(folder)):
        p = run(path, "hi")
        check(p.returncode == 0 and p.stdout == want, "named as " + os.path.basename(path),
              p.stderr[-200:])
    many = run(V3, "hi").stdout
    for name in ("model-00002-of-00003.safetensors", "model.safetensors.index.json"):
        p = run(os.path.join(V3, name), "hi")
        check(p.returncode == 0 and p.stdout == many, "named as " + name, p.stderr[-200:])
    for flags in (["--no-mmap"], ["--mlock"]):
        check(run(V3, "hi", *flags).stdout == many, "shards with " + flags[0])


def configs(folder):
    for key, value, code in (("rope_scaling", 5, "LOAD-91"), ("rope_scaling", "yarn", "LOAD-91"),
                             ("rope_parameters", [4], "LOAD-91"),
                             ("layer_types", ["full_attention", "sliding_attention"], "LOAD-92"),
                             ("vocab_size", 100, "LOAD-90"), ("vocab_size", -1, "WEIGHTS-10"),
                             ("num_key_value_heads", 3, "MODEL-12"), ("head_dim", 31, "LOAD-96"),
                             ("head_dim", 1, "WEIGHTS-11")):
        config = os.path.join(copy(folder), "config.json")
        change(config, **{key: value})
        refused(run(folder, "hi"), code, "%s %s" % (key, value), "config.json", key)
    config = os.path.join(copy(folder), "config.json")
    change(config, layer_types=["full_attention"] * 3, rope_scaling=None)
    check(run(folder, "hi").returncode == 0, "layer_types of full attention, no scaling")
    change(config, model_type="gpt2")
    refused(run(folder, "hi"), "MODEL-35", "another family", "deepseek_v3 qwen2 qwen3 ")


def read_header(path):
    with open(path, "rb") as f:
        n = struct.unpack("<Q", f.read(8))[0]
        return json.loads(f.read(n)), f.read()


def write_header(path, header, data):
    text = json.dumps(header).encode()
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + data)


def fp8_parts(folder):
    """Scales and vectors of an FP8 folder that are of another type or shape."""
    def rewrite(name, dtype, shape, n_bytes):
        copy(folder, FP8)
        for shard in sorted(os.listdir(folder)):
            path = os.path.join(folder, shard)
            header, data = read_header(path) if shard.endswith(".safetensors") else ({}, b"")
            if name not in header:
                continue
            parts, at = [], 0
            for key in sorted((k for k in header if k != "__metadata__"),
                              key=lambda k: header[k]["data_offsets"]):
                begin, end = header[key]["data_offsets"]
                part = data[begin:end]
                if key == name:
                    header[key].update(dtype=dtype, shape=shape)
                    part = bytes(n_bytes)
                header[key]["data_offsets"] = [at, at + len(part)]
                at += len(part)
                parts.append(part)
            write_header(path, header, b"".join(parts))
    norm, up = "model.norm.weight", "model.layers.0.mlp.up_proj.weight"
    rewrite(norm, "F8_E4M3", [256], 256)
    refused(run(folder, "hi"), "MODEL-46", "a vector in FP8", norm)
    rewrite(up + "_scale_inv", "BF16", [4, 2], 16)
    refused(run(folder, "hi"), "MODEL-39", "scales in BF16", up + "_scale_inv", "BF16")
    for shape in ([2, 4], [4, 1], [5, 2], [8]):
        n_bytes = 4
        for d in shape:
            n_bytes *= d
        rewrite(up + "_scale_inv", "F32", shape, n_bytes)
        refused(run(folder, "hi"), "MODEL-30", "scales of %s" % shape, up + "_scale_inv")


def broken_adapters(folder):
    tensors = os.path.join(folder, "adapter_model.safetensors")
    shutil.copytree(os.path.join(QWEN3, "lora"), folder)
    header, data = read_header(tensors)
    name, first = next((k, v) for k, v in header.items() if k != "__metadata__")
    nan = {"F32": b"\0\0\xc0\x7f", "F16": b"\0\x7e", "BF16": b"\xc0\x7f"}[first["dtype"]]
    at = first["data_offsets"][1] - len(nan)
    write_header(tensors, header, data[:at] + nan + data[at + len(nan):])
    refused(run(QWEN3, "hi", "--lora", folder), "LOAD-93", "a NaN in an adapter", folder, name)

    shutil.rmtree(folder)
    shutil.copytree(os.path.join(V3, "lora"), folder)
    header, data = read_header(tensors)
    write_header(tensors, {k.replace(".experts.0.", ".experts.2147483647."): v
                           for k, v in header.items()}, data)
    refused(run(V3, "hi", "--lora", folder), "MODEL-45", "an expert nobody has", "2147483647")

    other = os.path.join(GOLDEN, "qwen2-nano/lora")
    p = run(QWEN3, "hi", "--lora", other)
    refused(p, "LORA-01", "an adapter of another model")
    check(p.stderr.count(other) == 1, "its name is said once", p.stderr[-300:])


def adapter_names(folder):
    adapter = os.path.join(QWEN3, "lora/adapter.gguf")
    want = run(QWEN3, "hi", "--lora", adapter).stdout
    check(want != run(QWEN3, "hi").stdout, "the adapter changes the answer")
    for name, option in (("ad:2", "ad:2"), ("b", "b:1"), ("x:y", "x:y:1")):
        shutil.copy(adapter, os.path.join(folder, name))
        p = run(QWEN3, "hi", "--lora", os.path.join(folder, option))
        check(p.returncode == 0 and p.stdout == want, "--lora " + option, p.stderr[-200:])
    for text in ("", "x:", "x:nan", "x:inf", "x:1e300", ":1"):
        refused(run(QWEN3, "hi", "--lora", text), "LOAD-11", "--lora '%s'" % text)
    refused(run(adapter, "hi"), "LOAD-94", "an adapter as the model", "--lora")
    refused(run(os.path.join(QWEN3, "lora"), "hi"), "CMD-90", "its folder as the model", "--lora")


def places(folder):
    pipe = os.path.join(folder, "pipe")
    os.mkfifo(pipe)
    refused(run(QWEN3, "hi", "--save-state", pipe), "CMD-92", "a pipe to save to")
    refused(run(QWEN3, "hi", "--save-state", ""), "CMD-91", "no name to save to")
    for args in ([pipe, "hi"], [QWEN3, "hi", "--lora", pipe], [QWEN3, "hi", "--load-state", pipe]):
        refused(run(*args), "FILE-09", "a pipe as " + args[-2])


def interrupted(folder):
    """Ctrl-C ends a long chunk between two steps, and counts whole chunks only."""
    text, config = os.path.join(folder, "text"), os.path.join(copy(folder + "/m"), "config.json")
    change(config, max_position_embeddings=1 << 20)
    with open(text, "w") as f:
        f.write("word " * 200000)
    p = subprocess.Popen([croft.CROFT, "perplexity", os.path.dirname(config), "-f", text,
                          "--chunk-size", "200000", "--threads", "1"], stdin=subprocess.DEVNULL,
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        p.communicate(timeout=3)
        check(False, "the text was meant to take longer")
    except subprocess.TimeoutExpired:
        p.send_signal(signal.SIGINT)
    try:
        out, err = p.communicate(timeout=60)
    except subprocess.TimeoutExpired:
        p.kill()
        out, err = p.communicate()
    check(p.returncode == 130 and not out, "perplexity ends within a chunk",
          "status %d: %s" % (p.returncode, err[-200:]))


def main():
    with tempfile.TemporaryDirectory() as folder:
        names(os.path.join(folder, "names"))
        configs(os.path.join(folder, "config"))
        fp8_parts(os.path.join(folder, "fp8"))
        broken_adapters(os.path.join(folder, "adapter"))
        adapter_names(folder)
        places(folder)
        interrupted(folder)
    return croft.done()


sys.exit(main())
