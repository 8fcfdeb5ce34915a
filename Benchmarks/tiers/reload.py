#!/usr/bin/env python3
"""A long prefix from files against computing it: seconds to the first token, before and after a restart.

    swift build -c release --product swerve
    python3 Benchmarks/tiers/reload.py --swerve .build/release/swerve --model DIR [--length 4096] [--prompts 5] [--host 0]

Serves the model with an encrypted file tier, sends prompts that share nothing, starts the server anew with the same files and key, and
sends them again. Where it may, it drops the system's page cache in between, so that files come from the medium. Prints one JSON object.
"""
import argparse
import http.client
import json
import os
import statistics
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../separation"))
from recovery import serving  # noqa: E402


def first_token(port, prompt):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
    body = {"model": "m", "prompt": prompt, "max_tokens": 1, "temperature": 0, "ignore_eos": True, "return_token_ids": True}
    begin = time.monotonic()
    connection.request("POST", "/v1/completions", json.dumps(body), {"Content-Type": "application/json"})
    answer = json.loads(connection.getresponse().read())
    if "error" in answer:
        raise SystemExit(answer["error"]["message"])
    cached = (answer["usage"].get("prompt_tokens_details") or {}).get("cached_tokens") or 0
    return time.monotonic() - begin, cached, answer["choices"][0].get("token_ids")


def serve(arguments, folder, prompts):
    tiers = (f"host={arguments.host}," if arguments.host != "0" else "") + f"nvme=16GiB:{folder}/kv"
    words = [arguments.swerve, "serve", arguments.model, "--max-model-len", str(arguments.length + 16),
             "--kv-cache-memory-bytes", arguments.pool, "--kv-tiers", tiers, "--kv-key-file", f"{folder}/key",
             "--enable-prompt-tokens-details"] + arguments.flags.split()
    with serving(words) as (_, port, _):
        first_token(port, [5] * 64)
        return [first_token(port, prompt) for prompt in prompts]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--swerve", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--length", type=int, default=4096)
    parser.add_argument("--prompts", type=int, default=5)
    parser.add_argument("--pool", default="2GiB")
    parser.add_argument("--host", default="0", help="memory between pool and files; 0: none")
    parser.add_argument("--flags", default="", help="for the server, as one word: --flags='--quantization int8'")
    arguments = parser.parse_args()
    prompts = [[(7 * place + 131 * index + place * place % 97) % 900 + 3 for place in range(arguments.length)]
               for index in range(arguments.prompts)]
    with tempfile.TemporaryDirectory() as folder:
        with open(f"{folder}/key", "wb") as key:
            key.write(os.urandom(32))
        os.chmod(f"{folder}/key", 0o600)
        computed = serve(arguments, folder, prompts)
        try:
            os.sync()
            with open("/proc/sys/vm/drop_caches", "w") as drop:
                drop.write("1\n")
            dropped = True
        except OSError:
            dropped = False
        # The weights again, so that the start does not count.
        reloaded = serve(arguments, folder, prompts)
    if [answer[2] for answer in computed] != [answer[2] for answer in reloaded]:
        raise SystemExit("tokens differ after the restart")
    times = [[answer[0] for answer in answers] for answers in (computed, reloaded)]
    print(json.dumps({
        "length": arguments.length, "page_cache_dropped": dropped, "computed_seconds": times[0], "reloaded_seconds": times[1],
        "found_tokens": [answer[1] for answer in reloaded], "ratio": round(statistics.median(times[0]) / statistics.median(times[1]), 1),
        "ratios": [round(a / b, 1) for a, b in zip(*times)]}, indent=1))


if __name__ == "__main__":
    main()
