#!/usr/bin/env python3
"""vocab_gguf.py - a GGUF file with only a vocabulary, from a Hugging Face tokenizer.json.

    tools/vocab_gguf.py tokenizer.json[.gz] PRE OUT.gguf [--bos TEXT] [--eos TEXT] [--rows N]

PRE is the name for tokenizer.ggml.pre.  Byte-level BPE only.  Standard library only.
"""
import argparse
import gzip
import json
import re
import struct

UINT32, INT32, BOOL, STRING, ARRAY = 4, 5, 7, 8, 9
NORMAL, CONTROL, USER_DEFINED, UNUSED = 1, 3, 4, 5


def string(text):
    raw = text.encode("utf-8")
    return struct.pack("<Q", len(raw)) + raw


def entry(key, kind, value):
    return string(key) + struct.pack("<I", kind) + value


def array(kind, items, pack):
    return struct.pack("<IQ", kind, len(items)) + b"".join(pack(x) for x in items)


def read_json(path):
    with (gzip.open if path.endswith(".gz") else open)(path, "rb") as f:
        return json.load(f)


def vocabulary(tokenizer, rows):
    """Texts, types and merges in GGUF's terms."""
    model = tokenizer["model"]
    assert model["type"] == "BPE", "not a BPE tokenizer"
    added = {t["id"]: t for t in tokenizer["added_tokens"]}
    text_of = {i: t for t, i in model["vocab"].items()}
    n = max(rows, max(list(text_of) + list(added)) + 1)
    texts, types = [], []
    for i in range(n):
        if i in added:
            text = added[i]["content"]
            marked = added[i]["special"] or re.fullmatch(r"<[|｜].*[|｜]>", text)
            types.append(CONTROL if marked else USER_DEFINED)
        elif i in text_of:
            text = text_of[i]
            types.append(NORMAL)
        else:
            text = "[PAD%d]" % i
            types.append(UNUSED)
        texts.append(text)
    merges = [m if isinstance(m, str) else " ".join(m) for m in model["merges"]]
    return texts, types, merges


def write(path, pre, texts, types, merges, bos, eos):
    meta = [
        entry("general.architecture", STRING, string("vocab")),
        entry("tokenizer.ggml.model", STRING, string("gpt2")),
        entry("tokenizer.ggml.pre", STRING, string(pre)),
        entry("tokenizer.ggml.tokens", ARRAY, array(STRING, texts, string)),
        entry("tokenizer.ggml.token_type", ARRAY,
              array(INT32, types, lambda x: struct.pack("<i", x))),
        entry("tokenizer.ggml.merges", ARRAY, array(STRING, merges, string)),
    ]
    for name, text in (("bos", bos), ("eos", eos)):
        if text is not None:
            meta.append(entry("tokenizer.ggml.%s_token_id" % name, UINT32,
                              struct.pack("<I", texts.index(text))))
    with open(path, "wb") as f:
        f.write(struct.pack("<4sIQQ", b"GGUF", 3, 0, len(meta)) + b"".join(meta))


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("tokenizer")
    p.add_argument("pre")
    p.add_argument("out")
    p.add_argument("--bos")
    p.add_argument("--eos")
    p.add_argument("--rows", type=int, default=0)
    a = p.parse_args()
    write(a.out, a.pre, *vocabulary(read_json(a.tokenizer), a.rows), a.bos, a.eos)


if __name__ == "__main__":
    main()
