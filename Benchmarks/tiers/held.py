#!/usr/bin/env python3
"""How many conversations stay resumable: with the device's pool alone, and with host memory and files below it.

    swift build -c release --product swerve
    python3 Benchmarks/tiers/held.py --swerve .build/release/swerve [--model DIR] [--device 8MiB] [--host 32MiB] [--nvme 256MiB]

Has so many conversations computed that all tiers are full, then comes back to each, the latest first, with a few words more. One is
held when all whole blocks of what was said are found; the search ends after ten in a row that are not. Prints one JSON object: how
many were held both ways, their ratio, and milliseconds per thousand tokens to come back to one and to compute one. The
sizes are 1/128 of 1, 4 and 32 GiB.
"""
import argparse
import json
import os
import statistics
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../separation"))
from recovery import serving  # noqa: E402
from reload import first_token  # noqa: E402


def run(arguments, flags, conversations):
    words = [arguments.swerve, "serve"] + ([arguments.model] if arguments.model else []) + [
        "--max-model-len", str(arguments.length + 32), "--kv-cache-memory-bytes", arguments.device,
        "--enable-prompt-tokens-details"] + flags + arguments.flags.split()
    with serving(words) as (_, port, _):
        first_token(port, [5] * 64)
        computing = [first_token(port, prompt)[0] for prompt in conversations]
        held, missed, back = 0, 0, []
        for prompt in reversed(conversations):
            seconds, cached, _ = first_token(port, prompt + [7] * 4)
            # The last token's block is computed with what is new.
            if cached >= (arguments.length - 1) // 16 * 16:
                held, missed = held + 1, 0
                back.append(seconds)
            else:
                missed += 1
            if missed == 10:
                break
        scale = 1e6 / arguments.length
        return held, statistics.median(back or [0]) * scale, statistics.median(computing) * scale


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--swerve", required=True)
    parser.add_argument("--model", help="default: the embedded one")
    parser.add_argument("--length", type=int, default=320, help="tokens of a conversation")
    parser.add_argument("--device", default="8MiB")
    parser.add_argument("--host", default="32MiB")
    parser.add_argument("--nvme", default="256MiB")
    parser.add_argument("--most", type=int, default=450, help="conversations")
    parser.add_argument("--flags", default="", help="for both servers, as one word")
    arguments = parser.parse_args()
    conversations = [[(7 * place + 131 * index + place * place % 97 + index // 7 * 13) % 900 + 3 for place in
                      range(arguments.length)] for index in range(arguments.most)]
    # What tells them apart comes first: no two share a block.
    for index, conversation in enumerate(conversations):
        conversation[:2] = [3 + index % 900, 3 + index // 900]
    with tempfile.TemporaryDirectory() as folder:
        with open(f"{folder}/key", "wb") as key:
            key.write(os.urandom(32))
        os.chmod(f"{folder}/key", 0o600)
        alone, back_alone, _ = run(arguments, [], conversations[:200])
        tiers = f"host={arguments.host},nvme={arguments.nvme}:{folder}/kv"
        held, back, computed = run(arguments, ["--kv-tiers", tiers, "--kv-key-file", f"{folder}/key"], conversations)
    print(json.dumps({
        "tokens": arguments.length, "device": arguments.device, "host": arguments.host, "nvme": arguments.nvme,
        "held_by_the_device": alone, "held_with_tiers": held, "ratio": held / max(alone, 1),
        "ms_per_1000_tokens": {"from_the_device": back_alone, "from_tiers": back, "computed": computed}}, indent=1))


if __name__ == "__main__":
    main()
