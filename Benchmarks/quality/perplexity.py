#!/usr/bin/env python3
"""Perplexity of one model in every weight format, as the table of Docs/quantization.md.

    python3 Benchmarks/quality/perplexity.py [MODEL] [--text FILE] [--swerve PATH] [-- FLAGS OF swerve]

Runs `swerve bench perplexity` once a format, float32 first, and prints bytes of weights, perplexity and how far it is
from float32. Perplexity does not depend on the machine's load; on its kernel set only by rounding.
"""

import argparse
import json
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]

FORMATS = [
    ("float32", ["--dtype", "float32"]),
    ("bfloat16", ["--dtype", "bfloat16"]),
    ("int8", ["--dtype", "bfloat16", "--quantization", "int8"]),
    ("int8-dynamic", ["--dtype", "bfloat16", "--quantization", "int8-dynamic"]),
] + [
    (f"{method}, groups of {group}", [
        "--dtype", "bfloat16", "--quantization", method, "--quantization-config", json.dumps({"group_size": group})
    ]) for method, group in [("int4", 32), ("int4", 64), ("int4", 128), ("nf4", 64), ("int4-dynamic", 128)]
]


def measure(swerve, model, text, flags):
    """The result object, and the bytes of weights as the start report prints them."""
    command = [swerve, "bench", "perplexity", model, "--text", text] + flags
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}: {done.stderr.strip().splitlines()[-1:]}")
    weights = re.search(r"^\s+weights(?: \([^)]*\))?\s+(\S+ \S+)$", done.stderr, re.MULTILINE)
    return json.loads(done.stdout), weights.group(1) if weights else "?"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="story")
    parser.add_argument("--text", default=str(ROOT / "Benchmarks/quality/heldout.txt"))
    parser.add_argument("--swerve", default=str(ROOT / ".build/release/swerve"))
    parser.add_argument("flags", nargs="*", help="further flags of swerve, after --")
    options = parser.parse_args()

    print("| weights | size | perplexity | bits per byte | against float32 |")
    print("|---|---|---|---|---|")
    base = None
    for name, flags in FORMATS:
        result, size = measure(options.swerve, options.model, options.text, flags + options.flags)
        base = base or result["perplexity"]
        change = (result["perplexity"] / base - 1) * 100
        print(f"| {name} | {size} | {result['perplexity']:.4f} | {result['bits_per_byte']:.4f} | {change:+.2f} % |")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
