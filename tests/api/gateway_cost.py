"""gateway_cost.py - `croft gateway cost`: a grid of usages against litellm's costs, the list of
understood fields in docs/prices.md against price.def (--write makes it anew), the command itself."""
import gzip
import json
import os
import re
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
import croft
from croft import check

DATA = "tests/data/prices/"
DOC = "docs/prices.md"
TEMP = tempfile.TemporaryDirectory(prefix="croft-cost-")
PRICES = os.path.join(TEMP.name, "prices.json")
ENV = {k: v for k, v in os.environ.items() if k != "CROFT_PRICES"}


def unzipped(name):
    with gzip.open(DATA + name) as f:
        return f.read()


def cost(model, usages, *args, prices=PRICES):
    text = usages if isinstance(usages, str) else "".join(json.dumps(u) + "\n" for u in usages)
    return subprocess.run([croft.CROFT, "gateway", "cost", "--prices", prices, "--model", model,
                           *args], input=text, capture_output=True, text=True, env=ENV,
                          timeout=120)


def picos(text):
    whole, _, part = text.partition(".")
    return int(whole) * 10 ** 12 + int((part + "0" * 12)[:12])


def amounts(line):
    c = json.loads(line)
    if "error" in c:
        return c["error"]["code"]
    return [picos(c[k]) for k in ("prompt_usd", "completion_usd", "other_usd")]


def costs_of(model, usages, args):
    """A list of amounts, or of an error's code."""
    return [amounts(line) for line in cost(model, usages, "--json", *args).stdout.splitlines()]


def explanation(got, want, case, entry):
    """Why croft (got) and litellm (want) differ: a name of differences.json, or None."""
    usage = case["usage"]
    if want[0] is None:
        return None
    if got == "E-COST-04" and case["tier"] == "batch":
        return "no-batch-price"
    if got == "E-COST-03" and want[2] in (0, 35 * 10 ** 9) and \
            "web_search_requests" in json.dumps(usage):
        return "no-search-price"
    if got == "E-COST-06" and usage.get("speed") == "fast":
        return "no-factor"
    if got == "E-COST-02" and "output_cost_per_image" in entry and \
            usage["completion_tokens_details"]["image_tokens"]:
        return "image-output"
    if isinstance(got, list) and got[:2] == want[:2] and want[2] == 0 and \
            entry["litellm_provider"] == "anthropic" and "prompt_tokens" in usage:
        return "search-in-chat-form"
    return None


def grid_against_litellm():
    with open(DATA + "grid.json") as f:
        grid = json.load(f)
    with open(DATA + "differences.json") as f:
        known = json.load(f)
    prices, costs = json.loads(unzipped("prices.json.gz")), json.loads(unzipped("costs.json.gz"))
    groups, seen, equal, wrong = {}, {k: 0 for k in known}, 0, []
    for i, case in enumerate(grid):
        groups.setdefault((case["tier"], case["residency"]), []).append(i)
    for model, row in costs.items():
        for (tier, place), numbers in groups.items():
            args = (["--tier", tier] if tier else []) + (["--residency", place] if place else [])
            got = costs_of(model, [grid[i]["usage"] for i in numbers], args)
            check(len(got) == len(numbers), "a line for each usage", model)
            for i, g in zip(numbers, got):
                if g == row[i]:
                    equal += 1
                    continue
                why = explanation(g, row[i], grid[i], prices[model])
                if why:
                    seen[why] += 1
                else:
                    wrong.append((model, grid[i], g, row[i]))
    check(not wrong, "every difference to litellm is explained",
          "%d are not, the first: %s" % (len(wrong), wrong[:1]))
    n = len(costs) * len(grid)
    check(n > 16000 and equal + sum(seen.values()) + len(wrong) == n, "the whole grid is compared")
    for name, entry in known.items():
        check(seen[name] == entry["cases"] > 0, "differences: " + name,
              "%d cases, %d listed" % (seen[name], entry["cases"]))
    print("%d costs, %d equal to litellm's, %d explained" % (n, equal, sum(seen.values())))


def rows():
    """price.def as (kind, [arguments]); neighbouring string literals are one."""
    with open("src/gateway/price.def") as f:
        text = re.sub(r"/\*.*?\*/", "", f.read(), flags=re.S)
    for kind, args in re.findall(r"^(TIER|RATE|TIMES|REFUSE|WORD|PLAIN)\((.*?)\)$", text,
                                 flags=re.S | re.M):
        args = re.sub(r'"\s*\n\s*"', "", args)
        yield kind, [a.strip().strip('"') for a in
                     re.findall(r'"[^"]*"|[^,"]+', re.sub(r"\s+", " ", args)) if a.strip(" ")]


def document():
    out = {k: [] for k in ("TIER", "RATE", "TIMES", "REFUSE", "WORD", "PLAIN")}
    field_of = {a[0]: a[1] for k, a in rows() if k == "RATE"}
    for kind, a in rows():
        if kind == "TIER":
            out[kind].append("| %s | %s | %s |" % (
                a[2], "`%s`" % a[1] if a[1] else "", a[3] if len(a) > 3 else ""))
        elif kind == "RATE":
            out[kind].append("| `%s` | %s | %s |" % (
                a[1], a[-1], "`%s`" % field_of[a[2]] if a[2] != "NONE" else "no price"))
        elif kind == "TIMES":
            out[kind].append("| `%s` | %s |" % (a[2], a[-1]))
        elif kind == "REFUSE":
            out[kind].append("| `%s` | %s |" % (a[0], a[-1]))
        else:
            out[kind].append("| `%s` | %s |" % (a[-2], a[-1]))
    return """# What croft understands of a price file

Made from `src/gateway/price.def` by `python3 tests/api/gateway_cost.py --write`.

The file is LiteLLM's `model_prices_and_context_window.json`: an object of models, dollars for one of each unit. Amounts
are read as integers of 10^-12 dollar from their decimal text; more than 12 decimals are rounded, halves up. A field of a
model that is in none of these lists makes the model one without a price, unless it is a truth value, a text or a list of
texts and its name does not speak of money. What differs from the Python package litellm, and why, is in
`tests/data/prices/differences.json`.

## Prices

Each has forms with `_above_<N>_tokens` or `_above_<N>k_tokens` for prompts that are longer, cached tokens included (from
that length on for xAI), and a tier's ending behind. A request in a tier that has no such form pays the one without tier;
in a batch only reads of the cache do, all else has no price then.

| field | is paid by | where a model has none |
| --- | --- | --- |
%(RATE)s

| tier | ending | other words for it |
| --- | --- | --- |
%(TIER)s

## Factors

On the rates of prompt and completion, each rounded to 10^-12 dollar, halves up.

| field | when |
| --- | --- |
%(TIMES)s

## Known and not computed: an error when it applies

| field | what it is about |
| --- | --- |
%(REFUSE)s

## Looked at

| field | for |
| --- | --- |
%(WORD)s

## Without a part in the cost

| field | why |
| --- | --- |
%(PLAIN)s
""" % {k: "\n".join(v) for k, v in out.items()}


def documented():
    with open(DOC) as f:
        check(f.read() == document(), DOC + " says what price.def does",
              "python3 tests/api/gateway_cost.py --write")
    check(sum(1 for _ in rows()) > 50, "all of price.def is read")


USAGE = {"prompt_tokens": 1000, "completion_tokens": 200,
         "prompt_tokens_details": {"cached_tokens": 300}}


def refused(p, status, code, name):
    check(p.returncode == status and "[E-%s]" % code in p.stderr and not p.stdout, name,
          "%d %r %r" % (p.returncode, p.stdout, p.stderr))


def command():
    p = cost("gpt-4o", [USAGE])
    check(p.returncode == 0 and p.stdout.splitlines()[-1].split() == ["total", "$0.004125"],
          "text: parts and total", p.stdout + p.stderr)
    p = cost("gpt-4o", [USAGE, USAGE])
    check(p.stdout.splitlines()[-1] == "sum of 2: $0.00825", "several: their sum", p.stdout)
    pretty = cost("gpt-4o", json.dumps(USAGE, indent=2), "--json")
    check(len(pretty.stdout.splitlines()) == 1 and amounts(pretty.stdout) ==
          [2125000000, 2000000000, 0], "one object over several lines", pretty.stderr)
    reply = {"id": "x", "model": "gpt-5.4", "service_tier": "priority", "usage": USAGE}
    check(json.loads(cost("gpt-5.4", [reply], "--json").stdout)["tier"] == "priority",
          "a whole reply, with its tier")
    check(json.loads(cost("gpt-5.4", [reply], "--json", "--tier", "flex").stdout)["tier"] == "flex",
          "--tier wins")
    check(cost("openai/gpt-4o", [USAGE]).stdout == cost("gpt-4o", [USAGE]).stdout != "",
          "provider/name is name, of that provider")
    path = os.path.join(TEMP.name, "usage.json")
    with open(path, "w") as f:
        json.dump(USAGE, f)
    check(cost("gpt-4o", "", "--usage", path).stdout == cost("gpt-4o", [USAGE]).stdout,
          "--usage FILE")
    refused(cost("xai/gpt-4o", [USAGE]), 3, "GATEWAY-04", "not of another provider")
    refused(cost("gpt-4o", ""), 1, "GATEWAY-03", "no usage")
    refused(cost("gpt-4o", [USAGE, {"prompt_tokens": -1}]), 1, "USAGE-01", "a wrong line: no output")
    p = cost("gpt-4o", [USAGE, {"prompt_tokens": -1}, USAGE], "--json")
    check(p.returncode == 1 and "[E-GATEWAY-07]" in p.stderr and
          [amounts(line) for line in p.stdout.splitlines()] ==
          [[2125000000, 2000000000, 0], "E-USAGE-01", [2125000000, 2000000000, 0]],
          "a wrong line in JSON: the others have their costs", p.stdout + p.stderr)
    refused(cost("gpt-4o", [dict(USAGE, citation_tokens=3)]), 1, "USAGE-04", "an unknown count")
    refused(cost("gpt-4o", [USAGE], prices=path), 1, "PRICE-02", "no price file")
    p = subprocess.run([croft.CROFT, "gateway", "cost"], capture_output=True, text=True, env=ENV)
    refused(p, 2, "GATEWAY-06", "what is missing is said")
    p = subprocess.run([croft.CROFT, "gateway", "fly"], capture_output=True, text=True, env=ENV)
    refused(p, 2, "GCMD-04", "an unknown action")


def main():
    if "--write" in sys.argv:
        with open(DOC, "w") as f:
            f.write(document())
        return 0
    with open(PRICES, "wb") as f:
        f.write(unzipped("prices.json.gz"))
    command()
    documented()
    grid_against_litellm()
    return croft.done()


sys.exit(main())
