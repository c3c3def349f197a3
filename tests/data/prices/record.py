#!/usr/bin/env python3
"""record.py PRICES.json - what the Python package litellm says that a grid of usages costs, over
the chat models of a price file: writes prices.json.gz, grid.json and costs.json.gz beside itself.

Run it where litellm is installed (SOURCE.txt says which version); the tests read the files alone.
Amounts are whole numbers of 10^-12 dollar: [prompt, completion, searches], or null and the
sentence where litellm fails."""
import gzip
import json
import os
import sys
from decimal import Decimal

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
HERE = os.path.dirname(os.path.abspath(__file__))
MODES = ("chat", "completion", "responses")


def chat(prompt, completion, cached=0, written=0, reasoning=0, audio=0, image=0, out_audio=0,
         out_image=0, searches=0):
    details = {"cached_tokens": cached, "cache_write_tokens": written, "audio_tokens": audio,
               "image_tokens": image, "web_search_requests": searches}
    out = {"reasoning_tokens": reasoning, "audio_tokens": out_audio, "image_tokens": out_image}
    u = {"prompt_tokens": prompt, "completion_tokens": completion,
         "total_tokens": prompt + completion}
    details = {k: v for k, v in details.items() if v}
    out = {k: v for k, v in out.items() if v}
    if details:
        u["prompt_tokens_details"] = details
    if out:
        u["completion_tokens_details"] = out
    return u


def messages(fresh, output, read=0, m5=0, h1=0, searches=0, **more):
    u = {"input_tokens": fresh, "output_tokens": output, "cache_read_input_tokens": read,
         "cache_creation_input_tokens": m5 + h1,
         "cache_creation": {"ephemeral_5m_input_tokens": m5, "ephemeral_1h_input_tokens": h1}}
    if searches:
        u["server_tool_use"] = {"web_search_requests": searches}
    u.update(more)
    return u


def responses(prompt, output, cached=0, reasoning=0):
    return {"input_tokens": prompt, "output_tokens": output, "total_tokens": prompt + output,
            "input_tokens_details": {"cached_tokens": cached},
            "output_tokens_details": {"reasoning_tokens": reasoning}}


def grid():
    """(usage, tier, residency): each edge of each threshold, each kind of token, each tier."""
    cases = [(chat(*n), None, None) for n in
             [(1, 0), (1, 1), (17, 5), (1000, 200), (127999, 1), (128000, 7), (128001, 7),
              (199999, 3), (200000, 3), (200001, 3), (271999, 9), (272000, 9), (272001, 9),
              (999983, 65521)]]
    for prompt in (2048, 200001, 272001):
        cases += [(chat(prompt, 999, cached=1024), None, None),
                  (chat(prompt, 999, cached=prompt), None, None),
                  (chat(prompt, 999, cached=1024, written=512), None, None),
                  (chat(prompt, 999, reasoning=640), None, None),
                  (chat(prompt, 640, reasoning=640), None, None),
                  (chat(prompt, 999, audio=100, out_audio=50), None, None),
                  (chat(prompt, 999, cached=128, audio=100, image=258), None, None),
                  (responses(prompt, 999, cached=1000, reasoning=333), None, None)]
        for tier in ("flex", "priority", "batch"):
            cases += [(chat(prompt, 777), tier, None),
                      (chat(prompt, 777, cached=1536, reasoning=500), tier, None),
                      (chat(prompt, 777, cached=1024, written=512), tier, None)]
    for fresh in (100, 200001):
        cases += [(messages(fresh, 50), None, None), (messages(fresh, 50, read=4096), None, None),
                  (messages(fresh, 50, m5=3000), None, None),
                  (messages(fresh, 50, read=4096, m5=1000, h1=2000), None, None),
                  (messages(fresh, 50, read=77, m5=11, service_tier="priority"), None, None)]
    cases += [(messages(100, 50, read=199990, m5=10), None, None),
              (messages(100, 50, read=10, searches=3), None, None),
              (messages(100, 50, read=10, h1=10, inference_geo="us"), None, None),
              (messages(100, 50, read=10, inference_geo="global", speed="standard"), None, None),
              (messages(100, 50, read=10, speed="fast"), None, None),
              (messages(100, 50, read=10, speed="fast", inference_geo="us"), None, None),
              (chat(500, 100, searches=2), None, None), (chat(900, 300, out_image=200), None, None)]
    for place in ("us", "eu"):
        cases += [(chat(3000, 1001, cached=1024, reasoning=77), None, place),
                  (chat(300000, 1001, cached=1024), "priority", place)]
    return cases


def picos(x):
    return int((Decimal(x) * 10 ** 12).to_integral_value(rounding="ROUND_HALF_UP"))


def main():
    import litellm
    from litellm.llms import get_cost_for_web_search_request
    from litellm.llms.anthropic.chat.transformation import AnthropicConfig
    from litellm.responses.utils import ResponseAPILoggingUtils
    from litellm.types.utils import Usage
    from litellm.utils import _invalidate_model_cost_lowercase_map as forget

    with open(sys.argv[1], "rb") as f:
        raw = f.read()
    prices = json.loads(raw)
    litellm.model_cost.clear()
    litellm.model_cost.update(prices)
    litellm.add_known_models()
    forget()
    litellm.suppress_debug_info = True

    def read(usage):
        if "prompt_tokens" in usage:
            return Usage(**json.loads(json.dumps(usage)))
        if "total_tokens" in usage:
            return ResponseAPILoggingUtils._transform_response_api_usage_to_chat_usage(usage)
        u = AnthropicConfig().calculate_usage(usage_object=dict(usage), reasoning_content=None,
                                              speed=usage.get("speed"))
        if usage.get("inference_geo"):
            u.inference_geo = usage["inference_geo"]
        return u

    def cost(model, entry, case):
        usage, tier, place = case
        provider = entry["litellm_provider"]
        if provider.startswith("vertex_ai"):
            provider = "vertex_ai"
        u = read(usage)
        tier = tier or usage.get("service_tier")
        prompt, completion = litellm.cost_per_token(
            model=model, custom_llm_provider=provider, usage_object=u,
            prompt_tokens=u.prompt_tokens, completion_tokens=u.completion_tokens,
            call_type="retrieve_batch" if tier == "batch" else "completion",
            service_tier=None if tier == "batch" else tier, data_residency=place)
        n = (usage.get("server_tool_use") or usage.get("prompt_tokens_details") or {}).get(
            "web_search_requests", 0)
        searches = 0
        if n:
            info = litellm.get_model_info(model=model, custom_llm_provider=provider)
            searches = get_cost_for_web_search_request(provider, u, info)
            if searches is None:        # OpenAI's: a call costs one search, medium when not said
                searches = n * (info.get("search_context_cost_per_query") or {}).get(
                    "search_context_size_medium", 0)
        return [picos(prompt), picos(completion), picos(searches or 0)]

    cases = grid()
    costs = {}
    for model, entry in sorted(prices.items()):
        if entry.get("mode") not in MODES:
            continue
        costs[model] = []
        for case in cases:
            try:
                costs[model].append(cost(model, entry, case))
            except Exception as e:
                costs[model].append([None, str(e)[:200]])

    def write(name, data):
        with open(os.path.join(HERE, name), "wb") as f:
            f.write(gzip.compress(data, 9, mtime=0) if name.endswith(".gz") else data)

    write("prices.json.gz", raw)
    write("grid.json", ("[\n%s\n]\n" % ",\n".join(
        json.dumps({"usage": u, "tier": t, "residency": r}) for u, t, r in cases)).encode())
    write("costs.json.gz", json.dumps(costs, separators=(",", ":")).encode())
    print("%d models, %d cases" % (len(costs), len(cases)))


if __name__ == "__main__":
    main()
