#!/usr/bin/env python3
"""report.py - what `croft bench --json` wrote, as a page with plots that needs nothing else.

    tests/bench/report.py BENCH.json... > page.html

`make bench` runs both.  Several files (models, levels) become sections of one page.
"""
import html
import json
import sys

COLOURS = ["#4477aa", "#66ccee", "#228833", "#ccbb44", "#ee6677", "#aa3377", "#999933", "#88ccaa",
           "#332288", "#ddaa77", "#117733", "#bb5566", "#6699cc", "#777777"]
ARITHMETIC = ("int8", "bf16", "f32")
PARTS = ("first", "main", "last")
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 72em; margin: 2em auto; padding: 0 1em;
       color: #222; background: #fff; }
h1, h2, h3 { line-height: 1.2; } h2 { margin-top: 2.5em; border-bottom: 1px solid #ccc; }
table { border-collapse: collapse; margin: 1em 0; font-variant-numeric: tabular-nums; }
th, td { padding: .25em .7em; border-bottom: 1px solid #ddd; text-align: right; }
th:first-child, td:first-child { text-align: left; }
svg { display: block; margin: 1em 0; max-width: 100%; height: auto; } .note { color: #666; }
svg text { font: 12px system-ui, sans-serif; fill: #222; } summary { cursor: pointer; }
.key i { display: inline-block; width: .8em; height: .8em; margin: 0 .3em 0 1em; }
"""


def esc(text):
    return html.escape(str(text))


def table(head, rows):
    out = ["<table><tr>", *("<th>%s</th>" % esc(h) for h in head), "</tr>"]
    for row in rows:
        out += ["<tr>", *("<td>%s</td>" % esc(c) for c in row), "</tr>"]
    return "".join(out) + "</table>\n"


def row_name(row, threads):
    name = "%s %d at depth %d" % (row["test"], row["n"], row["depth"])
    if "batch" in row:
        name += ", batch %d" % row["batch"]
    if row.get("parallel", 1) > 1:
        name += ", %d sequences" % row["parallel"]
    if row.get("rows", 1) > 1:
        name += ", %d rows each" % row["rows"]
    return name + (", %d threads" % row["threads"] if threads else "")


def spread(x):
    return "%.2f (%.2f - %.2f)" % (x["tok_per_s"], x["min"], x["max"])


def rows_table(j, names):
    head = ["test", "croft, tok/s"]
    rows = [[name, spread(r)] for name, r in zip(names, j["rows"])]
    if any("peer" in r for r in j["rows"]):
        head += ["peer, tok/s", "ratio (interval)"]
        for out, r in zip(rows, j["rows"]):
            p = r["peer"]
            out += [spread(p) + (", fa" if p["flash_attn"] else ", no fa"),
                    "%.2f (%.2f - %.2f)" % (p["ratio"]["median"], p["ratio"]["low"],
                                            p["ratio"]["high"])]
    if any("ceiling_tok_per_s" in r for r in j["rows"]):
        head += ["ceiling, tok/s", "share"]
        for out, r in zip(rows, j["rows"]):
            out += ["%.2f" % r["ceiling_tok_per_s"], "%.0f %%" % (100 * r["ceiling_share"])]
    if any("step_cost" in r for r in j["rows"]):
        head += ["step, ms", "of one row's"]
        for out, r in zip(rows, j["rows"]):
            out += ["%.3f" % r["step_ms"] if "step_ms" in r else "",
                    "%.2f" % r["step_cost"] if "step_cost" in r else ""]
    if any("ratio" in r for r in j["rows"]):
        head += ["to the earlier"]
        for out, r in zip(rows, j["rows"]):
            out += ["%.2fx" % r["ratio"] if "ratio" in r else ""]
    if any("others" in r for r in j["rows"]):
        head += ["others"]
        for out, r in zip(rows, j["rows"]):
            out += ["%.0f %%" % (100 * r.get("others", 0))]
    return table(head, rows)


def bar(x, y, width, height, colour, title):
    return ('<rect x="%.1f" y="%.1f" width="%.1f" height="%d" fill="%s"><title>%s</title></rect>'
            % (x, y, max(width, 0), height, colour, esc(title)))


def speed_plot(j, names):
    """Bars of each row against its ceiling; where there is none, against the faster of the two."""
    left, wide, tall = 300, 560, 46
    out = []
    for i, (name, r) in enumerate(zip(names, j["rows"])):
        y, peer = i * tall + 4, r.get("peer", {}).get("tok_per_s", 0)
        most = r.get("ceiling_tok_per_s") or max(r["tok_per_s"], peer)
        out.append('<text x="0" y="%d">%s</text>' % (y + 20, esc(name)))
        if "ceiling_tok_per_s" in r:
            out.append(bar(left, y, wide, 36, "#e8e8e8", "ceiling %.2f tok/s" % most))
        out.append(bar(left, y + 2, wide * r["tok_per_s"] / most, 15, "#4477aa",
                       "croft %.2f tok/s" % r["tok_per_s"]))
        out.append('<text x="%d" y="%d">%.1f</text>' % (left + wide + 6, y + 14, r["tok_per_s"]))
        if peer:
            out.append(bar(left, y + 19, wide * peer / most, 15, "#ccbb44",
                           "peer %.2f tok/s" % peer))
            out.append('<text x="%d" y="%d">%.1f</text>' % (left + wide + 6, y + 31, peer))
    key = '<p class="key"><i style="background:#4477aa"></i>croft'
    if "peer" in j:
        key += '<i style="background:#ccbb44"></i>' + esc(j["peer"])
    if j.get("ceilings"):
        key += '<i style="background:#e8e8e8"></i>ceiling'
    return ('%s</p><svg viewBox="0 0 %d %d" width="%d" role="img" aria-label="speeds">%s</svg>\n'
            % (key, left + wide + 90, len(names) * tall + 8, left + wide + 90, "".join(out)))


def work(record, key):
    return sum(record.get(part, {}).get(key, 0) for part in PARTS)


def add_up(records, by):
    """{operation or layer: [ms, ceiling ms, MB, Gop]} of one step, in the order of the records."""
    out = {}
    for r in records["records"]:
        sums = out.setdefault(r[by], [0, 0, 0, 0])
        for i, x in enumerate((r["ns"] * 1e-6, r.get("ceiling_ns", 0) * 1e-6,
                               work(r, "bytes") * 1e-6,
                               sum(work(r, a) for a in ARITHMETIC) * 1e-9)):
            sums[i] += x / records["steps"]
    return out


def profile_plot(ops, colour):
    """The time of a step and what it is at the ceilings, operation by operation."""
    left, wide = 90, 760
    most = max(sum(v[0] for v in ops.values()), sum(v[1] for v in ops.values())) or 1
    out = []
    for y, which, label in ((4, 0, "measured"), (44, 1, "ceiling")):
        x = float(left)
        out.append('<text x="0" y="%d">%s</text>' % (y + 20, label))
        for op, v in ops.items():
            width = wide * v[which] / most
            out.append(bar(x, y, width, 32, colour[op], "%s: %.3f ms" % (op, v[which])))
            x += width
        out.append('<text x="%.0f" y="%d">%.2f ms</text>'
                   % (x + 6, y + 20, sum(v[which] for v in ops.values())))
    return ('<svg viewBox="0 0 %d 80" width="%d" role="img" aria-label="profile">%s</svg>\n'
            % (left + wide + 90, left + wide + 90, "".join(out)))


def profile_table(sums, first):
    whole = sum(v[0] for v in sums.values()) or 1
    rows = []
    for name, (ms, ceiling, mb, gop) in sums.items():
        s = ms * 1e-3 or 1
        rows.append([name, "%.3f" % ms, "%.1f %%" % (100 * ms / whole), "%.2f" % mb,
                     "%.1f" % (mb * 1e-3 / s), "%.3f" % gop, "%.1f" % (gop / s), "%.3f" % ceiling,
                     "%.0f %%" % (100 * ceiling / (ms or 1))])
    return table([first, "ms", "time", "MB", "GB/s", "Gop", "Gop/s", "ceiling, ms", "share"], rows)


def profile_section(row, name):
    ops = add_up(row["profile"], "op")
    colour = {op: COLOURS[i % len(COLOURS)] for i, op in enumerate(ops)}
    layers = {"outside" if k == -1 else "layer %d" % k: v
              for k, v in add_up(row["profile"], "layer").items()}
    key = "".join('<i style="background:%s"></i>%s' % (colour[op], esc(op)) for op in ops)
    return ("<h3>%s: one %s</h3>\n%s<p class=key>%s</p>\n%s<details><summary>by layer</summary>%s"
            "</details>\n" % (esc(name), "step" if row["test"] == "decode" else "chunk",
                              profile_plot(ops, colour), key, profile_table(ops, "operation"),
                              profile_table(layers, "layer")))


def ceilings_text(c):
    peaks = ", ".join("%s %.0f Gop/s" % (a, c[a] * 1e-9) for a in ARITHMETIC if a in c)
    raised = ", raised to what a run reached: " + ", ".join(c["raised"]) if c["raised"] else ""
    return ("<p>Ceilings of %d threads, medians of %d: reading %.1f GB/s (plain %.1f, prefetched "
            "%.1f, of %.2f GiB), %s%s.</p>\n"
            % (c["threads"], c["rounds"], c["read"] * 1e-9, c["read_plain"] * 1e-9,
               c["read_prefetched"] * 1e-9, c["read_bytes"] / 2**30, peaks, esc(raised)))


def section(j):
    model, machine = j["model"], j["machine"]
    several = len({r["threads"] for r in j["rows"]}) > 1
    names = [row_name(r, several) for r in j["rows"]]
    out = ["<h2>%s</h2>\n<p>%s, %.1f M parameters, %.2f GB. %s, %d cores, %.1f GiB; %s, KV cache "
           "%s%s. croft %s (%s)%s.</p>\n"
           % (esc(model["name"] or model["path"]), esc(model["arch"]), model["parameters"] / 1e6,
              model["weight_bytes"] / 1e9, esc(machine["cpu"]), machine["cores"],
              machine["memory"] / 2**30, esc(j["isa"]), esc(j["kv_type"]),
              ", all logits" if j.get("all_logits") else "", esc(j["croft"]), esc(j["commit"]),
              "; peer: " + esc(j["peer"]) if "peer" in j else "")]
    out += [ceilings_text(c) for c in j.get("ceilings", [])]
    out += [speed_plot(j, names), rows_table(j, names)]
    out += [profile_section(r, n) for r, n in zip(j["rows"], names) if "profile" in r]
    return "".join(out)


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    parts = []
    for path in sys.argv[1:]:
        with open(path, encoding="utf-8") as f:
            parts.append(section(json.load(f)))
    print('<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>croft bench</title>'
          '<style>%s</style></head><body>\n<h1>croft bench</h1>\n<p class="note">Medians, slowest '
          "and fastest run. The ceiling of a step is the sum over its operations of the longer of "
          "reading their bytes and computing their operations.</p>\n%s</body></html>"
          % (STYLE, "".join(parts)))


if __name__ == "__main__":
    main()
